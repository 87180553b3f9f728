"""Models and settings of one's own, without a change to the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adasparse_cli.foreign import foreign_model
from adasparse_cli.models.dnn import Dnn
from adasparse_cli.testing import sample
from adasparse_cli.testing.check import check_model, maker
from adasparse_cli.testing.contract import CHECKS, BrokenContractError
from tests import small
from tests.commands.typing_in import ENVIRONMENT, adasparse

TINY = ("data=twin", "data.rows=3000", "network.hidden=[8]", "network.embedding_width=2", "threads=1")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a new model in it, which can be imported."""
    adasparse(tmp_path, "models", "new", "new_model")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "new_model", raising=False)
    return tmp_path


def changed(folder: Path, old: str, new: str) -> None:
    page = folder / "new_model.py"
    assert old in page.read_text()
    page.write_text(page.read_text().replace(old, new))


def test_a_new_model_keeps_the_contract_trains_and_is_used_like_any_other(home: Path) -> None:
    model = "new_model:NewModel"
    told = adasparse(home, "train", "--model", model, "model.scale=2.0", *TINY)
    assert f"model={model}: importing new_model, which is not part of adasparse, runs its code" not in told.stdout
    (run,) = home.glob("runs/twin/new_model.NewModel/*")
    assert json.loads((run / "report.json").read_text())["settings"]["model"] == {"scale": 2.0, "name": model}
    (line,) = json.loads(adasparse(home, "runs", "ls", "--json").stdout)["rows"]
    assert line["settings"].split()[0] == f"model={model}"
    assert "model.scale=2.0" in line["settings"].split()
    adasparse(home, "evaluate", "latest")
    adasparse(home, "compare", "--models", f"dnn,{model}", "--seeds", "1", "--dry-run", *TINY)
    adasparse(home, "sweep", f"model={model}", "model.scale=1.0,2.0", "--dry-run", *TINY)
    # a file of settings chooses it as a word does
    (home / "mine.yaml").write_text(f"model:\n  name: {model}\n  scale: 3.0\n")
    assert "scale: 3.0" in adasparse(home, "config", "show", "--config", "mine.yaml").stdout


def test_a_models_own_settings_are_explained_and_shown(home: Path) -> None:
    """Also through a file of the user's settings folder; only a model that is named is imported."""
    model = "new_model:NewModel"
    said = json.loads(adasparse(home, "config", "explain", f"model={model}", "--json").stdout)["rows"]
    assert {row["key"]: row["default"] for row in said} == {"model.name": f'"{model}"', "model.scale": "1.0"}
    assert "bias" in next(row["meaning"] for row in said if row["key"] == "model.scale")
    told = adasparse(home, "config", "explain", "model.scale", f"model={model}")
    assert "number, at least 0" in told.stdout
    shown = json.loads(adasparse(home, "models", "show", model, "--json").stdout)
    assert "logit =" in shown["description"]
    assert [row["key"] for row in shown["settings"]] == ["model.scale"]
    assert shown["cost"]["domain_parameters"] > 0
    (home / "mine/model").mkdir(parents=True)
    (home / "mine/model/wide.yaml").write_text("defaults: [apg, _self_]\nrank: 3\n")
    assert (
        "default  3" in adasparse(home, "--config-dir", "mine", "config", "explain", "model.rank", "model=wide").stdout
    )
    (home / "mine/model/own.yaml").write_text(f"name: {model}\nscale: 5.0\n")
    assert (
        "default  5.0"
        in adasparse(home, "--config-dir", "mine", "config", "explain", "model.scale", "model=own").stdout
    )
    done = adasparse(home, "--no-modules", "config", "explain", f"model={model}", code=2)
    assert "--no-modules refuses it" in done.stderr
    assert "unknown model" in adasparse(home, "config", "explain", "model=sta", code=2).stderr


def test_a_check_of_a_model_ends_with_a_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checks: a model is trained in some others."""
    two = {name: CHECKS[name] for name in ("one logit per row", "costs add up")}
    monkeypatch.setattr("adasparse_cli.testing.check.CHECKS", two)
    checked = json.loads(adasparse(home, "models", "check", "new_model:NewModel", "--json").stdout)["rows"]
    assert [row["passed"] for row in checked] == [True, True]
    changed(home, "backbone=(self.blocks, self.head)", "backbone=(self.head,)")
    monkeypatch.delitem(sys.modules, "new_model")
    done = adasparse(home, "models", "check", "new_model:NewModel", "--json", code=1)
    assert [row["passed"] for row in json.loads(done.stdout)["rows"]] == [True, False]


def test_a_changed_model_is_another_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs are trained anew, and its old weights are not scored with the new code."""
    model = "new_model:NewModel"
    adasparse(home, "train", "--model", model, *TINY)
    plan = ("compare", "--models", model, "--seeds", "1", *TINY, "--dry-run")
    assert "all runs are done" in adasparse(home, *plan).stdout
    changed(home, "self.scale * own", "-self.scale * own")
    monkeypatch.delitem(sys.modules, "new_model")
    assert "1 of 1 runs left" in adasparse(home, *plan).stdout
    done = adasparse(home, "evaluate", "latest", code=4)
    assert "has changed since" in done.stderr


def test_a_run_without_its_module_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adasparse(home, "train", "--model", "new_model:NewModel", *TINY)
    done = adasparse(home, "evaluate", "latest", code=2, apart=True)
    assert "unknown module new_model" in done.stderr
    assert "PYTHONPATH" in done.stderr


def test_errors_of_ones_own_model_name_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = adasparse(home, "train", "model=new_model:NewModel", "model.penalti=1", *TINY, code=2)
    assert "model.scale" in done.stderr
    assert "model.mode" not in done.stderr
    changed(home, "return Prediction(one_logit(self.head, x)", "return Prediction(self.haed(x)")
    monkeypatch.delitem(sys.modules, "new_model")
    done = adasparse(home, "train", "model=new_model:NewModel", *TINY, code=1, apart=False)
    assert "adasparse models check says what is broken" in done.stderr
    assert "fault of adasparse" not in done.stderr


def test_the_new_test_passes(home: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "logit", "test_new_model.py"]
    done = subprocess.run(
        words, cwd=home, env={**ENVIRONMENT, "PYTHONPATH": str(home)}, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "check", "said"),
    [
        ("return Prediction(", "return Prediction(float('nan') * ", "one logit per row", "finite"),
        ("self.scale * own", "0 * own", "every parameter receives a gradient", "biases.weight"),
        ("x = block(x)", "x = block(x - x.mean(0))", "rows do not influence one another in evaluation", "alone"),
        ("self.places(batch)", "batch.domain_ids % 6", "an unseen domain is scored by the shared part", "domain"),
        ("backbone=(self.blocks, self.head)", "backbone=(self.head,)", "costs add up", "multiply-adds"),
    ],
)
def test_what_is_broken_is_named(home: Path, old: str, new: str, check: str, said: str) -> None:
    changed(home, old, new)
    with pytest.raises(BrokenContractError, match=said):
        CHECKS[check](maker(["model=new_model:NewModel"], check))


def test_a_check_that_fails_otherwise_says_where(home: Path) -> None:
    changed(home, "one_logit(self.head, x) +", "one_logit(self.haed, x) +")
    (found,) = [one.broken for one in check_model(["model=new_model:NewModel"]) if one.check == "one logit per row"]
    assert found is not None
    assert "haed" in found
    assert "AttributeError" in found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such:Model", "unknown module no_such"),
        ("new_model:Missing", "Missing of new_model is not a class derived from"),
        ("new_model:", "is not the name of a module"),
        ("os:path", "a module of Python itself"),
        ("new model:NewModel", "is not the name of a module"),
    ],
)
def test_a_model_that_is_none_is_named(home: Path, name: str, said: str) -> None:
    done = adasparse(home, "train", f'model="{name}"', *TINY, code=2)
    assert said in done.stderr


def test_values_that_are_missing_or_wrong_are_named(home: Path) -> None:
    (home / "new_model.yaml").write_text("scale: -1.0\n")
    assert "model.scale" in adasparse(home, "train", "model=new_model:NewModel", *TINY, code=2).stderr
    (home / "new_model.yaml").unlink()
    done = adasparse(home, "train", "model=new_model:NewModel", *TINY, code=2)
    assert "new_model.yaml does not exist; it must hold the model's values" in done.stderr


def test_modules_can_be_refused_and_listing_imports_none(home: Path) -> None:
    done = adasparse(home, "train", "model=new_model:NewModel", "--no-modules", *TINY, code=2)
    assert "names a module that is not part of adasparse" in done.stderr
    adasparse(home, "train", "model=new_model:NewModel", *TINY)
    (home / "new_model.py").write_text("open('imported', 'w')\n")
    for words in (("runs", "ls"), ("runs", "show", "latest")):
        adasparse(home, *words, apart=True)
    assert (
        "--no-modules" in adasparse(home, "predict", "latest", "rows.txt", "--no-modules", code=None, apart=True).stderr
    )
    assert not (home / "imported").exists()


def test_an_installed_package_offers_its_model_by_name(home: Path) -> None:
    metadata = home / "my_models-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[adasparse.models]\nshort = new_model:NewModel\n")
    found = foreign_model("short")
    assert found is not None
    assert (found.module, found.attribute) == ("new_model", "NewModel")
    adasparse(home, "train", "--model", "short", *TINY)
    assert list(home.glob("runs/twin/short/*/DONE"))
    assert foreign_model("shorter") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("models", "new", "new_model"), "already exists"),
        (("models", "new", "New-Model"), "cannot be the name of a module"),
        (("models", "new", "other", "--folder", "nowhere"), "the folder nowhere does not exist"),
    ],
)
def test_nothing_is_written_over(home: Path, words: tuple[str, ...], said: str) -> None:
    assert said in adasparse(home, *words, code=2).stderr


def test_a_folder_of_ones_own_adds_choices_and_replaces_none(tmp_path: Path) -> None:
    for group, name, text in (
        (
            "experiment",
            "mine",
            "title: Mine\nquestion: Is it?\nbaseline: dnn\nseeds: 1\narms:\n  dnn: [model=dnn]\n  wide: [model=wide]\n",
        ),
        ("model", "wide", "defaults: [biasnet, _self_]\nbias_hidden: [128]\n"),
        ("model", "dnn", "name: biasnet\nbias_hidden: [1]\n"),
    ):
        (tmp_path / "own" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / group / f"{name}.yaml").write_text(text)
    plan = adasparse(tmp_path, "compare", "--experiment", "mine", "--config-dir", "own", "--dry-run", "--json", *TINY)
    assert {row["arm"] for row in json.loads(plan.stdout)["rows"]} == {"dnn", "wide"}
    assert "- 128" in adasparse(tmp_path, "config", "show", "model=wide", "--config-dir=own").stdout
    assert "bias_hidden" not in adasparse(tmp_path, "config", "show", "model=dnn", "--config-dir=own").stdout
    assert "unknown experiment 'mine'" in adasparse(tmp_path, "compare", "--experiment", "mine", code=2).stderr
    assert "--config-dir" in adasparse(tmp_path, "runs", "ls", "--config-dir", code=2).stderr
    assert "is not a folder with" in adasparse(tmp_path, "runs", "ls", "--config-dir", "nowhere", code=2).stderr


class Focal(Dnn):
    """The plain network with a loss of its own."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return ((labels - torch.sigmoid(logits)) ** 2).mean()


def test_training_minimises_the_models_own_loss(tmp_path: Path) -> None:
    """Truth: the gradient of the squared error for the head's bias, by hand."""
    from adasparse_cli.training.standard import StandardLoop

    model = Focal(Dnn.Settings(name="dnn"), small.network(), sample.SHAPE)
    batch = sample.rows(32).batch(slice(0, 32))
    assert batch.labels is not None
    p = torch.sigmoid(model(batch).logits)
    expected = (2 * (p - batch.labels) * p * (1 - p)).mean()
    seen: list[torch.Tensor] = []
    model.head.bias.register_hook(lambda gradient: seen.append(gradient.clone()))
    StandardLoop(
        model,
        sample.rows(32),
        sample.rows(32),
        6,
        small.loop_settings(epochs=1, batch_size=32, max_steps=1),
        0,
        tmp_path,
    ).run()
    torch.testing.assert_close(seen[0][0], expected.detach())

"""`adasparse export` and `predict` with what it wrote, as a person types them: in another folder, with wrong files."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.files import read_sealed, write_sealed
from tests.commands.typing_in import adasparse
from tests.serving import made

TINY = ("network.hidden=[16,8]", "network.embedding_width=4", "network.context.width=4", "loop.batch_size=128")
# so that each domain prunes about half of its neurons
PRUNED = ("model.regulariser.interval=[.45,.55]", "model.regulariser.start=100", "loop.learning_rate=0.01")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run, its artefact, and new rows to score."""
    folder = tmp_path_factory.mktemp("home")
    made.prepare(folder)
    adasparse(folder, "train", "data=shop", "loop.epochs=6", *TINY, *PRUNED)
    adasparse(folder, "export", "latest", "-o", "model")
    made.write_table(folder / "new.csv", 500, seed=9)
    return folder


def scores(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def logits(path: Path) -> list[float]:
    return [float(row["logit"]) for row in scores(path)]


def test_an_exported_model_says_what_the_run_says(home: Path) -> None:
    adasparse(home, "predict", "latest", "new.csv", "-o", "run.csv")
    expected = scores(home / "run.csv")
    assert len(expected) == 500
    for engine in ("numpy", "torch"):
        done = adasparse(home, "predict", "model", "new.csv", "-o", f"{engine}.csv", "--engine", engine)
        assert "rows/s from ids to logits" in done.stdout
        found = scores(home / f"{engine}.csv")
        for one, other in zip(found, expected, strict=True):
            assert (one["line"], one["domain"]) == (other["line"], other["domain"])
            assert abs(float(one["logit"]) - float(other["logit"])) <= 1e-5
            assert abs(float(one["probability"]) - float(other["probability"])) <= 1e-6


def test_sub_networks_are_smaller_and_reported(home: Path) -> None:
    report = json.loads(adasparse(home, "export", "latest", "-o", "again", "--json").stdout)
    assert report["parity"] <= 1e-5
    assert len(report["domains"]) > 5
    assert max(one["ratio"] for one in report["domains"]) > 1.5
    assert {"domain", "train_rows", "kept", "multiply_adds", "ratio", "parity"} <= report["domains"][0].keys()
    index = read_sealed(home / "again/adasparse.json", "format_version", unsealed=None)
    inputs = {one["name"]: (one["type"], one["list"]) for one in index["signature"]["inputs"]}
    assert inputs == {
        "country": ("text", False),
        "device": ("text", False),
        "item": ("text", False),
        "price": ("number", False),
        "tags": ("text", True),
    }


def test_domains_are_chosen_by_number_or_key(home: Path) -> None:
    named = json.loads(adasparse(home, "export", "latest", "-o", "top", "--domains", "top:2", "--json").stdout)
    assert [one["domain"] for one in named["domains"]] == ["DE/mobile", "FR/mobile"]
    words = ("--domains", "top:1", "--domains", "FR/mobile", "--domains", "a\\/b/mobile", "--json")
    named = json.loads(adasparse(home, "export", "latest", "-o", "keys", *words).stdout)
    assert {one["domain"] for one in named["domains"]} == {"DE/mobile", "FR/mobile", "a\\/b/mobile"}
    adasparse(home, "predict", "keys", "new.csv", "-o", "keys.csv")
    adasparse(home, "predict", "model", "new.csv", "-o", "all.csv")
    assert logits(home / "keys.csv") == pytest.approx(logits(home / "all.csv"), abs=2e-6)
    for word in ("XX/mobile", "top:0", "top:", "top:x"):
        done = adasparse(home, "export", "latest", "-o", "x", "--domains", word, code=2)
        assert f"--domains {word}: unknown domain" in done.stderr
    assert not (home / "x").exists()


def test_the_check_passes_and_names_what_it_left_out(home: Path) -> None:
    done = adasparse(home, "export", "--check", "model")
    assert "is valid" in done.stdout
    found = {
        one["engine"]: one for one in json.loads(adasparse(home, "export", "--check", "model", "--json").stdout)["rows"]
    }
    assert found["torch"]["rows"] == found["numpy"]["rows"] > 64
    assert found["numpy"]["logit"] <= 1e-5


def test_a_run_copied_elsewhere_exports_and_predicts_without_its_data(home: Path, tmp_path: Path) -> None:
    run = next((home / "runs/shop/adasparse-fusion").glob("*-s0"))
    shutil.copytree(run, tmp_path / "copied")
    shutil.copy(home / "new.csv", tmp_path)
    adasparse(tmp_path, "export", "copied", "-o", "model")
    adasparse(tmp_path, "export", "--check", "model")
    adasparse(tmp_path, "predict", "model", "new.csv", "-o", "a.csv")
    shutil.copytree(home / "model", tmp_path / "moved")
    adasparse(tmp_path, "predict", "moved", "new.csv", "-o", "b.csv")
    assert logits(tmp_path / "a.csv") == logits(tmp_path / "b.csv")


def test_predicting_loads_neither_torch_nor_polars(home: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from adasparse_cli.app import main\n"
        f"sys.argv = ['adasparse', 'predict', {str(home / 'model')!r}, {str(home / 'new.csv')!r}, '-o', 'out.csv']\n"
        "try: main()\nexcept SystemExit as done: assert not done.code, done.code\n"
        "found = {'torch', 'polars', 'hydra', 'scipy', 'onnxruntime'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(scores(tmp_path / "out.csv")) == 500


def rewritten(source: Path, target: Path, change: Any) -> None:
    with source.open(newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    if target.suffix == ".jsonl":
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def expected(home: Path) -> list[float]:
    adasparse(home, "predict", "model", "new.csv", "-o", "expected.csv")
    return logits(home / "expected.csv")


def as_json(row: dict[str, str]) -> dict[str, Any]:
    """The same row with the types of JSON: an item that is a number, a list of tags, null for missing."""
    return {
        "country": row["country"] or None,
        "device": row["device"],
        "item": int(row["item"]),
        "price": float(row["price"]) if row["price"] else None,
        "tags": [tag for tag in row["tags"].split("|") if tag],
    }


def test_other_formats_and_orders_of_columns_give_the_same_scores(home: Path, expected: list[float]) -> None:
    rewritten(home / "new.csv", home / "turned.csv", lambda row: dict(reversed(row.items())))
    rewritten(home / "new.csv", home / "new.jsonl", as_json)
    rewritten(home / "new.csv", home / "decimals.csv", lambda row: {**row, "item": f"{row['item']}.0"})
    subprocess.run(["gzip", "-k", str(home / "new.csv")], check=True)
    import polars as pl

    pl.read_csv(home / "new.csv", infer_schema=False).write_parquet(home / "new.parquet")
    for name in ("turned.csv", "new.jsonl", "decimals.csv", "new.csv.gz", "new.parquet"):
        adasparse(home, "predict", "model", name, "-o", "other.csv", "--overwrite")
        assert logits(home / "other.csv") == pytest.approx(expected, abs=2e-6), name


def test_a_missing_field_is_named(home: Path) -> None:
    rewritten(home / "new.csv", home / "lacks.csv", lambda row: {key: row[key] for key in row if key != "price"})
    done = adasparse(home, "predict", "model", "lacks.csv", "-o", "x.csv", code=3)
    assert "lacks the column price" in done.stderr
    assert not (home / "x.csv").exists()
    (home / "lacks.jsonl").write_text(
        '{"country": "DE", "device": "mobile", "item": "1", "price": 2, "tags": []}\n{}\n'
    )
    done = adasparse(home, "predict", "model", "lacks.jsonl", "-o", "one.csv")
    assert "is missing; null is a missing value" in done.stdout
    assert len(scores(home / "one.csv")) == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", "cheap", "a finite number is needed"),
        ("price", float("nan"), "a finite number is needed"),
        ("price", 1e999, "a finite number is needed"),
        ("price", True, "a finite number is needed"),
        ("item", 1.5, "a text is needed"),
        ("item", ["1"], "a text is needed"),
        ("country", {"a": 1}, "a text is needed"),
        ("tags", 7, "a list is needed"),
        ("tags", [["t1"]], "a text is needed"),
    ],
)
def test_a_value_of_another_type_rejects_its_row(home: Path, field: str, value: Any, reason: str) -> None:
    row = {"country": "DE", "device": "mobile", "item": "1", "price": 2.5, "tags": ["t1"]}
    (home / "typed.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, {**row, field: value}, row)))
    done = adasparse(home, "predict", "model", "typed.jsonl", "-o", "typed.csv", "--overwrite")
    assert reason in done.stdout
    assert [one["line"] for one in scores(home / "typed.csv")] == ["1", "3"]


def test_unseen_values_are_scored_and_told(home: Path) -> None:
    rewritten(home / "new.csv", home / "strange.csv", lambda row: {**row, "country": "Mars", "item": "no such item"})
    done = adasparse(home, "predict", "model", "strange.csv", "-o", "strange.csv.out.csv")
    assert "500 of them in domains that are not in the training split" in done.stdout
    assert "item in 100% of rows" in done.stdout
    assert {row["domain"] for row in scores(home / "strange.csv.out.csv")} == {""}
    adasparse(home, "predict", "latest", "strange.csv", "-o", "strange-run.csv")
    assert logits(home / "strange.csv.out.csv") == pytest.approx(logits(home / "strange-run.csv"), abs=1e-5)


def test_a_file_without_rows_is_refused(home: Path) -> None:
    (home / "empty.csv").write_text((home / "new.csv").read_text().splitlines()[0] + "\n")
    done = adasparse(home, "predict", "model", "empty.csv", "-o", "x.csv", code=3)
    assert "no row could be read" in done.stderr


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "domains.safetensors", "vocabularies/item.json", "domains.json", "golden.jsonl"]
)
def test_a_damaged_or_missing_file_is_found(home: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(home / "model", tmp_path / "model")
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = adasparse(tmp_path, "export", "--check", "model", code=4)
    assert name in done.stderr
    assert "checksum differs" in done.stderr
    if name != "golden.jsonl":
        adasparse(tmp_path, "predict", "model", str(home / "new.csv"), "-o", "x.csv", code=4)
    path.unlink()
    assert "is missing" in adasparse(tmp_path, "export", "--check", "model", code=4).stderr


def test_a_folder_that_differs_in_its_scores_fails_the_check(home: Path, tmp_path: Path) -> None:
    """Every checksum fits, and yet the weights are not those of the golden rows."""
    from adasparse_cli.files import sha256_of

    shutil.copytree(home / "model", tmp_path / "model")
    golden = tmp_path / "model/golden.jsonl"
    lines = golden.read_text().splitlines()
    first = json.loads(lines[0])
    golden.write_text("\n".join([json.dumps({**first, "logit": first["logit"] + 0.001}), *lines[1:]]) + "\n")
    path = tmp_path / "model/adasparse.json"
    index = read_sealed(path, "format_version", unsealed=None)
    write_sealed(path, {**index, "files": {**index["files"], "golden.jsonl": sha256_of(golden)}})
    done = adasparse(tmp_path, "export", "--check", "model", code=4)
    assert "differs on 1 of" in done.stderr


def test_a_newer_format_is_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "model", tmp_path / "model")
    path = tmp_path / "model/adasparse.json"
    index = read_sealed(path, "format_version", unsealed=None)
    write_sealed(path, {**index, "format_version": 99})
    for words in (("export", "--check", "model"), ("predict", "model", str(home / "new.csv"), "-o", "x.csv")):
        assert "artefact format 99" in adasparse(tmp_path, *words, code=4).stderr
    for wrong in ({"files": ["a"]}, {"engines": 3}, {"domain": {"fields": "country"}}):
        write_sealed(path, {**index, **wrong})
        assert (
            f"adasparse.json is damaged: {next(iter(wrong))}"
            in adasparse(tmp_path, "export", "--check", "model", code=4).stderr
        )
    path.write_text(path.read_text().replace("shop", "shot"))
    assert "checksum differs" in adasparse(tmp_path, "export", "--check", "model", code=4).stderr


def test_what_would_be_lost_is_refused(home: Path) -> None:
    assert "exists" in adasparse(home, "export", "latest", "-o", "model", code=2).stderr
    adasparse(home, "export", "latest", "-o", "model", "--overwrite")
    adasparse(home, "export", "--check", "model")
    assert "exists" in adasparse(home, "export", "latest", "-o", "data", "--overwrite", code=2).stderr
    assert (home / "data/shop/manifest.json").exists()
    done = adasparse(home, "predict", "model", "new.csv", "-o", "model/x.csv", code=2)
    assert "an exported model" in done.stderr
    assert "does not exist" in adasparse(home, "export", "latest", "-o", "no/where", code=2).stderr


def test_wrong_words_are_explained(home: Path) -> None:
    assert "needs either a run or" in adasparse(home, "export", code=2).stderr
    assert "--engine jax is unknown" in adasparse(home, "predict", "model", "new.csv", "--engine", "jax", code=2).stderr
    done = adasparse(home, "predict", "model", "new.csv", "--engine", "onnx", "-o", "x.csv", code=2)
    assert "--onnx" in done.stderr
    assert (
        "needs an exported model" in adasparse(home, "predict", "latest", "new.csv", "--engine", "numpy", code=2).stderr
    )
    assert "is missing" in adasparse(home, "export", "--check", "data", code=4).stderr


def test_the_graph_is_one_more_engine(home: Path, expected: list[float]) -> None:
    adasparse(home, "export", "latest", "-o", "graph", "--onnx")
    found = {
        one["engine"]: one for one in json.loads(adasparse(home, "export", "--check", "graph", "--json").stdout)["rows"]
    }
    assert found["onnx"]["rows"] == found["torch"]["rows"]
    adasparse(home, "predict", "graph", "new.csv", "-o", "by-onnx.csv", "--engine", "onnx")
    assert logits(home / "by-onnx.csv") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rank", ["null", "3"])
def test_cross_networks_and_learnable_gates_are_exact_after_training(home: Path, rank: str) -> None:
    """DCNv2 as backbone, sharpness and threshold learnt: every engine gives the score of the run."""
    words = (
        "model.backbone=dcnv2",
        f"model.cross.rank={rank}",
        "model.sharpness.rule=learnable",
        "model.threshold.rule=learnable",
    )
    adasparse(
        home, "train", "data=shop", "loop.epochs=2", *TINY, *PRUNED[1:], "model.regulariser.interval=[.3,.5]", *words
    )
    run = "adasparse-fusion-dcnv2" if (home / "runs/shop/adasparse-fusion-dcnv2").exists() else "latest"
    adasparse(home, "export", run, "-o", f"crossed-{rank}", "--onnx")
    found = json.loads(adasparse(home, "export", "--check", f"crossed-{rank}", "--json").stdout)["rows"]
    assert [one["engine"] for one in found if one["skipped"] is None] == [
        "torch",
        "numpy",
        "onnx",
        "onnx, domains.onnx",
    ]
    index = read_sealed(home / f"crossed-{rank}/adasparse.json", "format_version", unsealed=None)
    assert index["network"]["cross"] > 0
    gates = index["network"]["gates"]
    assert len({gate["sharpness"] for gate in gates}) == len({gate["threshold"] for gate in gates}) == len(gates) > 1
    assert max(one["ratio"] for one in index["sub_networks"]["domains"]) > 1.05
    adasparse(home, "predict", run, "new.csv", "-o", f"crossed-{rank}-run.csv")
    for engine in ("numpy", "torch", "onnx"):
        adasparse(
            home, "predict", f"crossed-{rank}", "new.csv", "-o", f"crossed-{rank}-{engine}.csv", "--engine", engine
        )
        expected = logits(home / f"crossed-{rank}-run.csv")
        assert logits(home / f"crossed-{rank}-{engine}.csv") == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_control_arm_is_refused(home: Path) -> None:
    adasparse(home, "train", "data=shop", "loop.epochs=1", "loop.placebo=true", *TINY)
    run = next((home / "runs/shop/adasparse-fusion-placebo").glob("*-s0"))
    done = adasparse(home, "export", str(run), "-o", "x", code=2)
    assert "control arm" in done.stderr


@pytest.mark.parametrize("model", ["dnn", "star"])
def test_a_model_without_sub_networks_is_exported_uncut(home: Path, model: str) -> None:
    adasparse(home, "train", "--model", model, "data=shop", "loop.epochs=1", *TINY)
    run = str(next((home / f"runs/shop/{model}").glob("*-s0")))
    done = adasparse(home, "export", run, "-o", model)
    assert "no sub-networks: this model prunes nothing" in done.stderr
    adasparse(home, "predict", model, "new.csv", "-o", f"{model}.csv")
    adasparse(home, "predict", run, "new.csv", "-o", f"{model}-run.csv")
    assert logits(home / f"{model}.csv") == pytest.approx(logits(home / f"{model}-run.csv"), abs=1e-5)
    if model == "star":
        done = adasparse(home, "predict", model, "new.csv", "--engine", "numpy", "-o", "x.csv", code=2)
        assert "computed by torch alone" in done.stderr
    assert "prunes nothing" in adasparse(home, "export", run, "-o", "y", "--domains", "all", code=2).stderr

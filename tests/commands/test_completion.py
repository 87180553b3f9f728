"""What Tab offers, through the variables that the shells' own scripts set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.models import MODELS
from tests.commands.typing_in import ENVIRONMENT, adasparse

HEAVY = ("torch", "polars", "hydra", "omegaconf", "numpy", "sklearn", "scipy")
SCRIPT = f"""
import sys
from adasparse_cli.app import main
try:
    main()
finally:
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, loaded
"""


def complete(folder: Path, shell: str, variables: dict[str, str], *, apart: bool = False) -> str:
    own = {**variables, "_ADASPARSE_COMPLETE": f"complete_{shell}"}
    if apart:
        words = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(words, cwd=folder, env=ENVIRONMENT | own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout
    with mock.patch.dict(os.environ, own):
        said = adasparse(folder)
    assert not said.stderr
    return said.stdout


def in_bash(*words: str) -> dict[str, str]:
    return {"COMP_WORDS": "\n".join(("adasparse", *words)), "COMP_CWORD": str(len(words))}


def bash(folder: Path, *words: str) -> list[str]:
    """The last word is the one under the cursor; bash parts words at `=`."""
    return [line for line in complete(folder, "bash", in_bash(*words)).split("\n") if line]


def zsh(folder: Path, line: str) -> list[str]:
    said = complete(folder, "zsh", {"_TYPER_COMPLETE_ARGS": f"adasparse {line}"})
    return said.split('"')[1::2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with names alone: completion reads no contents but those of studies."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("clicks", "sales"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "manifest.json").write_text("{}")
    (folder / "data" / "half").mkdir()
    for run in ("clicks/dnn/20260101T120000Z-s0", "clicks/star/20260102T120000Z-s1"):
        (folder / "runs" / run).mkdir(parents=True)
        (folder / "runs" / run / "config.yaml").write_text("{}")
    (folder / "studies" / "ablate-clicks").mkdir(parents=True)
    (folder / "studies" / "ablate-clicks" / "study.json").write_text(
        '{"study_version": 2, "arms": [{"name": "no pruner", "runs": {"0": "../../runs/clicks/dnn/20260101T120000Z-s0"}}]}'
    )
    return folder


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("train", "loop."), "loop.select="),
        (("train", "data", "=", ""), "clicks"),
        (("train", "--model", ""), "star"),
        (("runs", "show", ""), "latest"),
        (("report", ""), "ablate-clicks"),
        (("data", "show", ""), "sales"),
        (("config", "explain", "mo"), "model.scale"),
    ],
)
def test_completion_loads_nothing_heavy(home: Path, words: tuple[str, ...], offered: str) -> None:
    assert offered in complete(home, "bash", in_bash(*words), apart=True).split("\n")


def test_models_modes_and_experiments(home: Path) -> None:
    assert set(bash(home, "train", "--model", "")) == {*offered("model"), "maml"}
    assert set(MODELS) <= set(offered("model"))
    assert bash(home, "train", "--model", "st") == zsh(home, "train --model st") == ["star"]
    assert bash(home, "train", "--model", "=", "st") == ["star"]
    assert bash(home, "train", "--mode", "") == ["binarization", "scaling", "fusion"]
    assert bash(home, "compare", "--models", "dnn,st") == ["dnn,star"]
    assert "dnn,dnn" not in bash(home, "compare", "--models", "dnn,")
    assert bash(home, "compare", "--experiment", "") == list(offered("experiment"))


def test_keys_then_values(home: Path) -> None:
    assert "loop.batch_size=" in bash(home, "train", "loop.")
    assert "loop.batch_size=" in zsh(home, "train loop.")
    assert bash(home, "train", "loop.select", "=") == ["auc", "log_loss", "gauc_domain"]
    assert bash(home, "train", "loop.select", "=", "au") == ["auc"]
    assert zsh(home, "train loop.select=") == [f"loop.select={name}" for name in ("auc", "log_loss", "gauc_domain")]
    assert zsh(home, "train loop.select=au") == ["loop.select=auc"]
    assert zsh(home, "train model=st") == ["model=star"]
    assert bash(home, "sweep", "model", "=", "apg,st") == ["apg,star"]
    assert bash(home, "train", "data.domain_id", "=", "") == ["true", "false"]


def test_a_key_without_its_value_gets_no_space(home: Path) -> None:
    """Shells add one behind the only word that is offered."""
    assert bash(home, "train", "loop.batch") == ["loop.batch_size=", "loop.batch_size=1024"]
    assert {"model=", "model."} == set(bash(home, "train", "mod"))
    assert len(bash(home, "train", "pat")) > 1


def test_keys_are_those_of_the_model_that_stands_before(home: Path) -> None:
    assert "model.auxiliary_hidden=" in bash(home, "train", "model", "=", "star", "model.")
    assert "model.auxiliary_hidden=" in zsh(home, "train model=star model.")
    assert "model.auxiliary_hidden=" not in bash(home, "train", "model.")
    assert "data.label=" in zsh(home, "prep data=tabular data.")


def test_prepared_data_and_packaged_data(home: Path) -> None:
    assert set(bash(home, "train", "data", "=", "")) == {*offered("data"), "clicks", "sales"}
    assert bash(home, "data", "show", "") == ["clicks", "sales"]
    assert bash(home, "train", "data.name", "=", "") == ["clicks", "sales"]
    assert bash(home, "models", "ls", "--on", "c") == ["clicks"]
    (home / "elsewhere" / "other").mkdir(parents=True)
    (home / "elsewhere" / "other" / "manifest.json").write_text("{}")
    assert bash(home, "data", "show", "--data", "elsewhere", "") == ["other"]
    assert zsh(home, "train paths.data=elsewhere data.name=") == ["data.name=other"]


@pytest.mark.parametrize(
    "command", [["predict"], ["evaluate"], ["runs", "show"], ["runs", "verify"], ["runs", "rm"], ["analyze", "overlap"]]
)
def test_runs_and_arms(home: Path, command: list[str]) -> None:
    offered = zsh(home, " ".join([*command, ""]))
    assert offered[:3] == ["latest", "clicks/star/20260102T120000Z-s1", "clicks/dnn/20260101T120000Z-s0"]
    assert offered[3:] == ["ablate-clicks/no pruner"]
    assert bash(home, *command, "2026") == ["20260102T120000Z-s1", "20260101T120000Z-s0"]
    assert bash(home, *command, "abl") == ["ablate-clicks/no\\ pruner"]
    assert bash(home, *command, "./ru") == []  # files are the shell's


def test_studies_are_offered_for_a_report(home: Path) -> None:
    assert bash(home, "report", "abl") == ["ablate-clicks", "ablate-clicks/no\\ pruner"]


def test_keys_to_explain(home: Path) -> None:
    assert bash(home, "config", "explain", "model.pruner") == [
        "model.pruner", "model.pruner.input_layer", "model.pruner.inputs", "model.pruner.rank"
    ]  # fmt: skip
    assert bash(home, "config", "explain", "loop", "loop", "=", "m") == ["maml"]
    assert bash(home, "config", "show", "pr") == ["prep", "prep.engine=", "prep.master=", "prep.cores="]


def test_a_persons_own_folder_is_offered(home: Path) -> None:
    (home / "own" / "model").mkdir(parents=True)
    (home / "own" / "model" / "mine.yaml").write_text("defaults: [star, _self_]\n")
    assert "mine" in bash(home, "train", "--config-dir", "own", "model", "=", "")
    assert zsh(home, "train --config-dir own model=mi") == ["model=mine"]
    assert "mine" not in bash(home, "train", "model", "=", "")


def test_a_line_that_is_wrong_is_left_alone(home: Path) -> None:
    assert bash(home, "train", "no.such.key", "=", "") == []
    complete(home, "bash", {"COMP_WORDS": "adasparse train", "COMP_CWORD": "x"})
    shutil.copytree(home, home / "broken", dirs_exist_ok=True)
    (home / "broken" / "studies" / "ablate-clicks" / "study.json").write_text("{")
    assert "latest" in bash(home / "broken", "runs", "show", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_for_bash_completes_what_bash_hands_over(home: Path) -> None:
    """The script that `--install-completion` installs, in a bash, with words parted as readline parts them."""
    program = home / "bin" / "adasparse"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m adasparse_cli "$@"\n')
    program.chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    line = (
        'eval "$(_ADASPARSE_COMPLETE=source_bash adasparse)"; COMP_WORDS=(adasparse train loop.select = lo); COMP_CWORD=4; '
        '_adasparse_completion adasparse; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", line], cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["log_loss"], done.stderr

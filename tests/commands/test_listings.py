"""Commands that only read files answer at once: they load neither torch nor, where no table is read, polars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adasparse_cli.catalogue.model_list import list_models, listed_models
from tests.commands.typing_in import ENVIRONMENT, adasparse

SCRIPT = """
import sys
from adasparse_cli.app import main
sys.argv = ["adasparse", *{words!r}]
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""
NO_TABLE, NO_HYDRA = ("torch", "polars", "sklearn", "scipy"), ("hydra", "omegaconf")
COMMANDS = (
    (("runs", "ls"), NO_TABLE + NO_HYDRA),
    (("runs", "ls", "--data", "twin", "--sort", "gauc", "--limit", "3"), NO_TABLE + NO_HYDRA),
    (("runs", "show", "latest"), NO_TABLE + NO_HYDRA),
    (("runs", "verify", "latest"), ("sklearn",)),
    (("data", "ls"), NO_TABLE + NO_HYDRA),
    (("data", "show", "twin"), ("torch", "sklearn", "scipy", *NO_HYDRA)),
    (("config", "show", "train"), NO_TABLE),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    adasparse(folder, "train", "data=twin", "data.rows=3000", "network.hidden=[4]", "network.embedding_width=2")
    return folder


@pytest.mark.parametrize(("words", "heavy"), COMMANDS, ids=lambda value: " ".join(value) if value[0] != "torch" else "")
def test_listings_load_nothing_heavy(home: Path, words: tuple[str, ...], heavy: tuple[str, ...]) -> None:
    script = SCRIPT.format(words=words, heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_models_are_weighed_once(home: Path, tmp_path: Path) -> None:
    """Truth: the rows themselves. A file of another hash is removed, a damaged one is made anew."""
    rows = json.loads(json.dumps(list_models()))
    cache = tmp_path / "cache"
    assert listed_models(home / "data", None, cache) == rows
    (kept,) = cache.glob("models-*.json")
    kept.write_text(kept.read_text().replace('"star"', '"sun"'))
    assert "sun" in {row["model"] for row in listed_models(home / "data", None, cache)}  # nothing was weighed
    kept.write_text("{")
    assert listed_models(home / "data", None, cache) == rows
    on_twin = listed_models(home / "data", "twin", cache)
    assert [row["model"] for row in on_twin] == [row["model"] for row in rows]
    assert on_twin != rows
    (other,) = cache.glob("models-*.json")
    assert other.name != kept.name


def test_a_home_that_cannot_be_written_only_costs_time(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert listed_models(home / "data", None, tmp_path / "file" / "below")

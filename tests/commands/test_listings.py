"""Commands that only read files answer at once: they load neither torch nor, where no table is read, polars."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adasparse_cli.catalogue.model_list import listed_models
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
TINY = ("data.rows=3000", "network.hidden=[4]", "network.embedding_width=2")
COMMANDS = (
    (("runs", "ls"), NO_TABLE + NO_HYDRA),
    (("runs", "ls", "--data", "twin", "--sort", "gauc", "--limit", "3"), NO_TABLE + NO_HYDRA),
    (("runs", "show", "latest"), NO_TABLE + NO_HYDRA),
    (("runs", "verify", "latest"), ("sklearn",)),
    (("data", "ls"), NO_TABLE + NO_HYDRA),
    (("data", "show", "twin"), ("torch", "numpy", "sklearn", "scipy", *NO_HYDRA)),
    (("config", "show", "train"), NO_TABLE + NO_HYDRA),
    (("config", "validate", "settings.yaml"), (*NO_TABLE, *NO_HYDRA, "numpy")),
    (("models", "ls"), NO_TABLE + NO_HYDRA),
    (("models", "show", "star"), NO_TABLE + NO_HYDRA),
    (("train", "--dry-run", *TINY), NO_TABLE + NO_HYDRA),
    (("compare", "--dry-run", "--models", "dnn,star,maml"), NO_TABLE + NO_HYDRA),
    (("compare", "--dry-run", "model.rank=4", "--models", "dnn,apg"), NO_TABLE + NO_HYDRA),
    (("ablate", "--dry-run"), NO_TABLE + NO_HYDRA),
    (("reproduce", "--dry-run"), NO_TABLE + NO_HYDRA),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    adasparse(folder, "train", *TINY)
    (folder / "settings.yaml").write_text(adasparse(folder, "config", "show", *TINY).stdout)
    return folder


@pytest.mark.parametrize(("words", "heavy"), COMMANDS, ids=lambda value: " ".join(value) if value[0] != "torch" else "")
def test_listings_load_nothing_heavy(home: Path, words: tuple[str, ...], heavy: tuple[str, ...]) -> None:
    """Costs of models are kept by the first call, which may load torch."""
    if words[0] not in ("runs", "data", "config"):
        adasparse(home, *words)
    script = SCRIPT.format(words=words, heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_cost_of_a_model_is_counted_once(home: Path, tmp_path: Path) -> None:
    """Truth: the rows without a cache. Costs of another version of the code are removed, a damaged file is made anew."""
    rows = listed_models(home / "data", None, None)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "costs-0123456789abcdef.json").write_text("{}")
    assert listed_models(home / "data", None, cache) == rows
    (kept,) = cache.glob("costs-*.json")
    domain = next(row["domain parameters"] for row in rows if row["model"] == "star")
    kept.write_text(kept.read_text().replace(f" {domain},", " 12345,"))
    assert [
        row for row in listed_models(home / "data", None, cache) if row["domain parameters"] == 12345
    ]  # not counted
    kept.write_text("{")
    assert listed_models(home / "data", None, cache) == rows
    on_twin = listed_models(home / "data", "twin", cache)
    assert [row["model"] for row in on_twin] == [row["model"] for row in rows]
    assert on_twin != rows


def test_a_home_that_cannot_be_written_only_costs_time(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert listed_models(home / "data", None, tmp_path / "file" / "below")

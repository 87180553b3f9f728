"""What programs read: every command that shows something has `--json` and `--csv`, with one shape and one spelling of keys."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from adasparse_cli.app import app
from adasparse_cli.findings.finding import Interval
from adasparse_cli.findings.machine import SCHEMA_VERSION, machine_rows, snake_case
from tests.commands.typing_in import adasparse

TINY = ("data.rows=4000", "network.hidden=[8]", "loop.batch_size=512", "network.embedding_width=2", "loop.epochs=1")
SERIES = ("data.rows=4000", "network.hidden=[4]", "loop.batch_size=1024", "loop.epochs=1")
# Commands that show no result: they write or remove files, answer requests, or print a page of the documentation.
SHOW_NOTHING = {"serve", "runs rm", "data rm", "models new", "config reference"}
# What is typed for each of the others; DNN and PRUNED are runs.
WALK: dict[str, Sequence[str]] = {
    "prep": TINY[:1],
    "train": ("--model", "dnn", "--resume", *TINY),
    "evaluate": ("DNN",),
    "predict": ("DNN", "data/twin/raw/twin_train.txt", "-o", "scores.csv", "--overwrite"),
    "export": ("PRUNED", "-o", "model", "--overwrite"),
    "compare": ("--models", "dnn,biasnet", "--seeds", "2", *TINY),
    "ablate": ("--dry-run", *TINY),
    "sweep": ("loop.learning_rate=0.001,0.01", "model=dnn", *TINY),
    "hpo": ("loop.learning_rate=0.001,0.01", "model=dnn", "--trials", "2", *TINY),
    "tune": ("--models", "dnn", "--trials", "2", *TINY),
    "analyze overlap": ("PRUNED", "--min-rows", "15", "--permutations", "99"),
    "analyze exposure": ("compare-twin",),
    "analyze abtest": ("DNN", "PRUNED", "--auctions", "200"),
    "analyze sparsity": ("--dry-run", *TINY),
    "analyze domains": ("--fields", "user_gender_id", "--seeds", "1", *SERIES),
    "report": ("compare-twin",),
    "reproduce": ("--dry-run", *TINY),
    "runs ls": (),
    "runs show": ("DNN",),
    "runs diff": ("DNN", "PRUNED"),
    "runs verify": ("DNN",),
    "models ls": (),
    "models show": ("star",),
    "models check": ("dnn",),
    "data ls": (),
    "data about": ("kuairand-pure",),
    "data show": ("twin",),
    "data verify": ("twin",),
    "config show": ("model=dnn",),
    "config explain": ("loop",),
    "config validate": ("bad.yaml",),
    "doctor": (),
}
# Keys below these are names of a person: settings, splits and roles by field, runs; or those of plotly.
OPEN = {"settings", "figures", "metrics", "best_possible", "unseen", "rejected", "vocabularies", "files", "failed"}


def command_paths(group: typer.Typer, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for one in group.registered_commands:
        yield f"{prefix}{one.name}", one.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from command_paths(inner.typer_instance, f"{prefix}{inner.name} ")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, two runs, a study and a file of settings."""
    folder = tmp_path_factory.mktemp("machine")
    adasparse(folder, "train", "--model", "dnn", *TINY)
    adasparse(folder, "train", "--mode", "binarization", *TINY)
    adasparse(folder, "compare", *WALK["compare"])
    for name, pattern in (("DNN", "twin/dnn"), ("PRUNED", "twin/adasparse-binarization")):
        (folder / name).symlink_to(min(folder.glob(f"runs/{pattern}/*")))
    (folder / "bad.yaml").write_text("model: dnn\nloop:\n  lr: 2\n")
    return folder


def test_the_walk_knows_every_command() -> None:
    assert {name for name, _ in command_paths(app)} == WALK.keys() | SHOW_NOTHING


@pytest.mark.parametrize("command", WALK)
def test_every_command_that_shows_something_speaks_to_programs(home: Path, command: str) -> None:
    """The lines of `--csv` are the rows of `--json`: the same keys, as many of them."""
    if command == "hpo":
        pytest.importorskip("optuna")
    words = (*command.split(), *WALK[command])
    found = json.loads(adasparse(home, *words, "--json", code=None).stdout)
    assert isinstance(found, dict), "an object, whatever the command"
    assert found["schema_version"] == SCHEMA_VERSION
    rows = found["rows"]
    assert isinstance(rows, list)
    assert rows
    own = {"runs diff"}
    for row in rows:
        assert row.keys() == rows[0].keys()
        if command not in own:
            assert not [key for key in row if not is_plain(key) and "." not in key]
    assert not list(odd_keys({key: value for key, value in found.items() if key != "rows"}))
    table = list(csv.reader(io.StringIO(adasparse(home, *words, "--csv", code=None).stdout)))
    assert table[0] == list(rows[0])
    assert len(table) == len(rows) + 1


def is_plain(key: str) -> bool:
    return re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", key) is not None


def odd_keys(value: Any) -> Iterator[str]:
    """Keys that are not snake_case, but for those that belong to a person."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not is_plain(key) and "." not in key:
                yield key
            if key not in OPEN:
                yield from odd_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from odd_keys(inner)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("GAUC by domain", "gauc_domain"),
        ("time (UTC)", "time_utc"),
        ("multiply-adds per row", "multiply_adds_per_row"),
        ("domains better, %", "domains_better_percent"),
        ("largest Δ logit", "largest_delta_logit"),
        ("95 % interval", "interval"),
        ("AUC fusion-placebo", "auc_fusion_placebo"),
        ("already_so", "already_so"),
    ],
)
def test_names_of_columns_become_keys(name: str, key: str) -> None:
    assert snake_case(name) == key
    assert snake_case(key) == key


def test_intervals_take_two_keys_and_equal_names_are_told_apart() -> None:
    rows = machine_rows(
        [{"gain": Interval(0.1, 0.3), "over seeds": 1}, {"gain": None, "over seeds": 2, "over seeds ": 3}]
    )
    assert rows == [
        {"gain_low": 0.1, "gain_high": 0.3, "over_seeds": 1, "over_seeds_2": None},
        {"gain_low": None, "gain_high": None, "over_seeds": 2, "over_seeds_2": 3},
    ]


def test_settings_and_names_of_runs_stand_as_they_are() -> None:
    row = {"loop.learning_rate": 1, "20260101T120000Z-s0": 2}
    assert machine_rows([row], names=["20260101T120000Z-s0"]) == [row]

"""Wrong words: two lines, whatever is wrong, and the second one says what to type."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from adasparse_cli.app import app
from adasparse_cli.config.error_rows import error_row
from tests.commands.test_machine import command_paths
from tests.commands.typing_in import adasparse


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("train lr=0.01", "unknown setting lr", "did you mean loop.learning_rate?"),
        ("train bs=64", "unknown setting bs", "loop.batch_size"),
        ("train epochs=2", "unknown setting epochs", "loop.epochs"),
        ("train dropout=0.1", "unknown setting dropout", "network.dropout"),
        ("train gauc=1", "unknown setting gauc", "loop.select"),
        ("train embedding_dim=8", "unknown setting embedding_dim", "network.embedding_width"),
        ("train loop.select=gauc", "must be one of auc, log_loss, gauc_domain: did you mean gauc_domain?", "loop"),
        ("train seeds=3", "seeds is an option, not a setting", "write --seeds 3"),
        ("train --learning-rate 0.01", "unknown option --learning-rate", "adasparse train loop.learning_rate=0.01"),
        ("train --dropout=0.1", "unknown option --dropout", "adasparse train network.dropout=0.1"),
        ("train --epochs 3", "unknown option --epochs", "adasparse train loop.epochs=3"),
        ("train --bogus", "unknown option --bogus", "adasparse train --help lists the options"),
        ("train --seeds x", "--seeds: must be a valid integer", "adasparse train --help"),
        ("train --seeds 0", "--seeds: must be greater than or equal to 1", "adasparse train --help"),
        ("runs ls --sort foo", "--sort: unknown value 'foo'", "valid values: time, data"),
        ("runs ls --sort", "needs a value", "--help"),
        ("predict", "missing argument RUN", "usage: adasparse predict RUN FILE..."),
        ("tran", "unknown command 'tran'", "did you mean train?"),
        ("runs nosuch", "unknown command 'nosuch'", "adasparse runs --help lists the commands"),
        ("prep clicks.csv", "'clicks.csv' is a file, not a setting", "data=tabular raw=clicks.csv"),
        ("prep data=clicks.csv", "data=clicks.csv names a file", "data=tabular raw=clicks.csv"),
        ("train dnn", "'dnn' is a model, not a setting", "write model=dnn"),
        ("train device=cuda:9 data.rows=2000", "device=cuda:9: no GPU", "device=cpu"),
        ("compare --models dnn device=cuda:9 data.rows=2000", "device=cuda:9: no GPU", "device=cpu"),
    ],
)
def test_a_wrong_word_gets_an_error_and_a_hint(
    tmp_path: Path, words: str, error: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = adasparse(tmp_path, *shlex.split(words), code=2)
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert error in first
    assert hint in second
    assert not done.stdout
    assert not list(tmp_path.iterdir()), "nothing is prepared"


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    """Unknown keys of several sections, and values of others."""
    (tmp_path / "bad.yaml").write_text(
        "model: dnn\nmodl: x\nloop:\n  lr: 0.1\n  batch_size: 0\nnetwork:\n  dropout: 3\n  hiden: [3]\ndata:\n  splitt: day\n"
    )
    said = adasparse(tmp_path, "config", "validate", "bad.yaml", code=2).stderr
    for name in ("modl", "loop.lr", "network.hiden", "data.splitt", "loop.batch_size=0", "network.dropout=3"):
        assert name in said
    assert "loop.learning_rate" in said
    assert len(said.splitlines()) == 2
    done = adasparse(tmp_path, "config", "validate", "bad.yaml", "--json", code=2)
    document = json.loads(done.stdout)
    assert (document["valid"], document["file"]) == (False, "bad.yaml")
    rows = {row["key"]: row for row in document["rows"]}
    assert rows.keys() == {"modl", "loop.lr", "network.hiden", "data.splitt", "loop.batch_size", "network.dropout"}
    assert (rows["loop.batch_size"]["value"], rows["network.dropout"]["value"]) == ("0", "3")
    assert rows["loop.lr"]["message"] == "unknown setting loop.lr"
    assert rows["loop.lr"]["hint"] == "did you mean loop.learning_rate?"
    assert all(row.keys() == {"key", "value", "message", "hint"} and row["hint"] for row in document["rows"])


def test_a_valid_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("model: dnn\n")
    document = json.loads(adasparse(tmp_path, "config", "validate", "good.yaml", "--json").stdout)
    assert (document["rows"], document["valid"]) == ([], True)
    assert adasparse(tmp_path, "config", "validate", "good.yaml", "--csv").stdout == "key,value,message,hint\n"


@pytest.mark.parametrize(
    ("message", "key", "value"),
    [
        ("model.mode=fussion must be one of scaling, fusion: did you mean fusion?", "model.mode", "fussion"),
        ("network.hidden[0]=x must be a whole number", "network.hidden[0]", "x"),
        ("data.label is missing", "data.label", None),
        ("model=nope: unknown model", "model", "nope"),
        ("the file cannot be read", None, None),
    ],
)
def test_errors_of_settings_are_rows(message: str, key: str | None, value: str | None) -> None:
    row = error_row(message, "look")
    assert (row["key"], row["value"]) == (key, value)
    assert row["hint"] == ("did you mean fusion?" if "fussion" in message else "look")


def test_help_says_no_words_of_python(tmp_path: Path) -> None:
    for command, _ in command_paths(app):
        text = adasparse(tmp_path, *command.split(), "--help").stdout
        assert not re.search(r"list\[|\brange>|Optional|\[\[", text), command


def test_nothing_is_removed_without_a_yes(tmp_path: Path) -> None:
    adasparse(tmp_path, "prep", "data.rows=2000")
    said = adasparse(tmp_path, "data", "rm", "twin", code=1, apart=True).stderr
    assert "error: not confirmed" in said
    assert (tmp_path / "data/twin/manifest.json").exists()

"""Files of scores: columns that are kept, the standard input and output, JSON lines; from runs and from exported folders."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.commands.typing_in import ENVIRONMENT, adasparse
from tests.serving import made

TINY = ("network.hidden=[8]", "network.embedding_width=4", "network.context.width=4", "loop.batch_size=128")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its artefact, and a table whose notes need quotes and whose second row is broken."""
    folder = tmp_path_factory.mktemp("scores")
    made.prepare(folder)
    adasparse(folder, "train", "data=shop", "loop.epochs=1", *TINY)
    adasparse(folder, "export", "latest", "-o", "model")
    made.write_table(folder / "plain.csv", 40, seed=4)
    with (folder / "plain.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["note"], row["line"] = f'a "quoted", {number}', str(1000 + number)
    with (folder / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = (folder / "new.csv").read_text().splitlines()
    lines.insert(2, "broken")
    (folder / "new.csv").write_text("\n".join(lines) + "\n")
    (folder / "new.ndjson").write_text("".join(json.dumps({**row, "line": [1, 2]}) + "\n" for row in rows))
    pl.DataFrame(rows).with_columns(pl.col("line").cast(pl.Int64)).write_parquet(folder / "new.parquet")
    return folder


def typed(folder: Path, *words: str, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "adasparse_cli", *words],
        cwd=folder, input=stdin, capture_output=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.mark.parametrize("source", ["latest", "model"])
def test_kept_columns_stand_beside_their_own_row(home: Path, source: str) -> None:
    """Truth: the raw file, by the line that the output names; a row that is rejected shifts nothing."""
    adasparse(home, "predict", source, "new.csv", "--keep", "note,line", "-o", f"kept-{source}.csv")
    with (home / "new.csv").open(newline="") as file:
        raw = dict(enumerate(csv.DictReader(file), start=2))
    with (home / f"kept-{source}.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 40
    assert [row["line"] for row in found] == ["2", *map(str, range(4, 43))]
    for row in found:
        own = raw[int(row["line"])]
        assert (row["note"], row["input_line"]) == (own["note"], own["line"])


@pytest.mark.parametrize("source", ["latest", "model"])
def test_ndjson_and_parquet_keep_values_as_they_are(home: Path, source: str) -> None:
    adasparse(home, "predict", source, "new.ndjson", "--keep", "line,note", "-o", f"{source}.ndjson")
    rows = [json.loads(line) for line in (home / f"{source}.ndjson").read_text().splitlines()]
    assert [row["input_line"] for row in rows] == [[1, 2]] * 40
    assert rows[3]["note"] == 'a "quoted", 3'
    assert all(0 < row["probability"] < 1 for row in rows)
    adasparse(home, "predict", source, "new.parquet", "--keep", "line", "-o", f"{source}.parquet")
    table = pl.read_parquet(home / f"{source}.parquet")
    assert table["input_line"].to_list() == list(range(1000, 1040))
    assert table["probability"].to_list() == pytest.approx([row["probability"] for row in rows], abs=1e-6)


@pytest.mark.parametrize("source", ["latest", "model"])
def test_a_pipe_is_read_and_written(home: Path, source: str) -> None:
    """Scores alone are on the standard output; what is said of them is not."""
    file = typed(home, "predict", source, "plain.csv", "-o", "-")
    pipe = typed(home, "predict", source, "-", stdin=(home / "plain.csv").read_bytes())
    rows, piped = (list(csv.DictReader(io.StringIO(one.stdout.decode()))) for one in (file, pipe))
    assert [row["source"] for row in piped] == ["stdin"] * 40
    assert [row["logit"] for row in rows] == [row["logit"] for row in piped]
    assert b"40 rows scored" in pipe.stderr
    lines = typed(home, "predict", source, "-", "--format", "ndjson", stdin=(home / "new.ndjson").read_bytes()).stdout
    assert [json.loads(line)["logit"] for line in lines.splitlines()] == pytest.approx(
        [float(row["logit"]) for row in rows], abs=1e-5
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("new.csv", "--keep", "nota"), 3, "no column nota, which --keep names"),
        (("new.csv", "--keep", "note,note"), 2, "names a column twice"),
        (("new.csv", "-o", "x.csv", "--format", "ndjson"), 2, "say different formats"),
        (("new.csv", "-o", "x.txt"), 2, "not the name of a .csv"),
        (("-", "-"), 2, "`-` is given more than once"),
        (("-", "--json"), 2, "standard output cannot hold both the scores and --json"),
        (("-",), 3, "standard input is empty"),
    ],
)
@pytest.mark.parametrize("source", ["latest", "model"])
def test_what_cannot_be_kept_or_written_is_said(
    home: Path, source: str, words: tuple[str, ...], code: int, says: str
) -> None:
    done = typed(home, "predict", source, *words, code=code)
    assert says in " ".join(done.stderr.decode().split())
    assert not list(home.glob("*.predictions.*"))
    assert not (home / "x.csv").exists()

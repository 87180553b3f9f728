"""Paths are taken literally from raw file to predictions, and several files of one name stay apart."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import polars as pl
import pytest

from tests.commands.typing_in import adasparse
from tests.raw.test_packing import PACK

TINY = ("--model", "dnn", "network.hidden=[4]", "network.embedding_width=2", "loop.max_steps=2")
WORDS = ("data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=clicks")


def table(rows: int, prefix: str) -> pl.DataFrame:
    draw = random.Random(prefix)
    return pl.DataFrame(
        {
            "clicked": [int(draw.random() < 0.4) for _ in range(rows)],
            "country": [f"{prefix}{draw.randrange(3)}" for _ in range(rows)],
        }
    )


def test_characters_of_patterns_are_literal_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `abs [v2]`, also for temporary files, and a file `log[1].parquet` beside `log1.parquet`."""
    folder = tmp_path / "abs [v2]"
    (folder / "tmp*?").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(folder / "tmp*?"))
    table(300, "right").write_parquet(folder / "log[1].parquet")
    table(200, "wrong").write_parquet(folder / "log1.parquet")
    where = f'paths.data="{folder}/data [1]"'
    adasparse(folder, "prep", "--inspect", *WORDS, 'raw="log[1].parquet"', where)
    adasparse(folder, "prep", *WORDS, 'raw="log[1].parquet"', where)
    domains = pl.read_parquet(folder / "data [1]" / "clicks" / "domains.parquet", glob=False)
    assert set(domains["country"]) == {"right0", "right1", "right2"}
    adasparse(folder, "train", "data=tabular", "data.name=clicks", where, *TINY)
    both = ("predict", "latest", "--data", "data [1]")
    assert "300 rows scored, 0 of them" in adasparse(folder, *both, "log[1].parquet", "-o", "a[1].csv").stdout
    # a pattern where no file has that name
    assert "200 rows scored, 200 of them" in adasparse(folder, *both, "log[1-9].parquet", "-o", "b[1].csv").stdout
    adasparse(folder, "evaluate", "latest", "--data", "data [1]")
    assert "no file matches" in adasparse(folder, *both, "x*.parquet", code=3).stderr


READERS = ("read_parquet", "scan_parquet", "read_csv", "scan_csv", "scan_ipc")
PATTERNS_ONLY = ("read_ipc", "read_ndjson", "scan_ndjson", "read_parquet_schema")


def test_every_path_goes_to_polars_as_it_is() -> None:
    """By default polars takes a path for a pattern; some readers cannot be told not to."""
    root = Path(__file__).parents[2]
    faults = []
    for path in sorted([*(root / "src").rglob("*.py"), *(root / "data_prep").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name, of = node.func.attr, node.func.value
            if not (isinstance(of, ast.Name) and of.id == "pl"):
                continue
            literal = any(one.arg == "glob" and ast.unparse(one.value) == "False" for one in node.keywords)
            if name in PATTERNS_ONLY or (name in READERS and not literal):
                faults.append(f"{path.relative_to(root)}:{node.lineno}: pl.{name} without glob=False")
    assert not faults


def test_predictions_and_rejects_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        path = tmp_path / "logs" / f"day={day}" / "part-0.csv"
        path.parent.mkdir(parents=True)
        table(120, "c").write_csv(path)
    (tmp_path / "logs" / "_SUCCESS").touch()
    adasparse(tmp_path, "prep", *WORDS, "raw=logs", "data.domain_aware=[country,day]")
    adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", *TINY)
    new = tmp_path / "logs" / "day=3" / "part-0.csv"
    new.write_text(new.read_text() + "1,c1,more\n")
    done = adasparse(tmp_path, "predict", "latest", "logs/day=2", "logs/day=3/*.csv", "-o", "out.parquet")
    assert "day=3/part-0.csv" in done.stdout
    counts = pl.read_parquet(tmp_path / "out.parquet")["source"].value_counts().sort("source").rows()
    assert counts == [("day=2/part-0.csv", 120), ("day=3/part-0.csv", 120)]


@pytest.mark.parametrize("name", ["clicks.csv.zst", "clicks.csv.xz", "clicks.csv.bz2"])
def test_a_packed_table_is_prepared(tmp_path: Path, name: str) -> None:
    pack = PACK[{"zst": "zstd", "xz": "xz", "bz2": "bzip2"}[name.rsplit(".", 1)[1]]]
    (tmp_path / name).write_bytes(pack(table(200, "c").write_csv().encode()))
    done = adasparse(tmp_path, "prep", *WORDS, f"raw={name}")
    assert "rejected rows: 0" in done.stdout

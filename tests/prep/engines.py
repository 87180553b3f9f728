"""Small raw files with everything that preparation handles, and their preparation by an engine."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.config.compose import compose
from adasparse_cli.files import sha256_of
from adasparse_cli.prep.engine import Engine
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent, recipe_named
from adasparse_cli.typed import plain, typed

ROWS = 600
TABLE = (
    "data=tabular", "data.label=y", "data.domain=[place,kind]", "data.user=user", "data.timestamp=at", "data.split=day",
    "data.kinds={tags: multi_valued,price: numeric}", "data.max_rejected=0.2",
)  # fmt: skip
RANDOM = (*TABLE, "data.split=random", "data.duplicates=drop", "data.min_count=1")


def lines(seed: int, *, labelled: bool = True) -> list[str]:
    """CSV with a header, missing values, lists, repeated and bad rows."""
    draw = random.Random(seed)
    found = ["place,kind,user,at,tags,price,note" + (",y" if labelled else "")]
    for _ in range(ROWS):
        row = [
            draw.choice(["a", "b", "ç", "", "NA"]), draw.choice("xyz"), draw.choice(["", *map(str, range(40))]),
            str(1_700_000_000 + 86_400 * draw.randrange(5)), "|".join(draw.sample("pqrstu", draw.randrange(4))),
            draw.choice(["", "0.5", "-0.0", f"{draw.random():.3f}"]), draw.choice(["n", "N/A", "a/b", '"c, d"']),
        ]  # fmt: skip
        found.append(",".join([*row, draw.choice("01")] if labelled else row))
    found[100:110] = found[300:310]
    found[20], found[400] = "too,few", found[400] + ",many"
    found[50] = found[50].replace(",17000", ",x17000", 1)
    return found


def raw_files(folder: Path) -> list[Path]:
    """Two text files, one of them unlabelled, a packed one and a Parquet file, in this order."""
    texts = {"a.csv": lines(1), "b.csv": lines(2, labelled=False), "c.csv.gz": lines(3)}
    for name, text in texts.items():
        content = ("\r\n" if name == "b.csv" else "\n").join(text).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    good = [line.split(",") for line in lines(4) if line.count(",") == 7 and '"' not in line and "x17000" not in line]
    pl.DataFrame(good[1:], schema=good[0], orient="row").write_parquet(folder / "d.parquet")
    return [folder / name for name in (*texts, "d.parquet")]


def made(folder: Path, raw: list[Path], words: tuple[str, ...], engine: Engine) -> dict[str, Any]:
    """Prepare, and return the manifest and the sha256 of every file."""
    recipe = recipe_named(compose("prep", list(words))["data"]["recipe"])
    settings = typed(compose("prep", list(words))["data"], recipe.Settings, "data")
    prepare(settings, plain(settings), raw, folder, Silent(), engine)
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*.*"))}
    del found["manifest.json"], manifest["checksum"]
    for source in manifest["sources"]:
        del source["modified_ns"]
    return {**manifest, "on disk": found}

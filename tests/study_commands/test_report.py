"""The commands that a page prints, typed in an empty folder; and a page that cannot be written where it was asked for."""

from __future__ import annotations

import html
import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.commands.typing_in import adasparse

TINY = ("network.hidden=[8]", "network.embedding_width=2", "loop.batch_size=256", "loop.epochs=1", "threads=1")
TABLE = ("data=tabular", "data.name=shops", "data.label=bought it", "data.domain=[the shop]", "data.min_count=1")


def commands(page: str) -> list[list[str]]:
    """Every command of the page, `adasparse` left out."""
    section = page.split('<section id="reproduction">')[1].split("</section>")[0]
    found = re.findall(r'<code class="command">(.*?)</code>', section)
    return [shlex.split(html.unescape(one))[1:] for one in found]


def table(path: Path) -> None:
    draw = random.Random(3)
    lines = ["bought it,the shop,colour,price"]
    lines += [
        f"{int(draw.random() < 0.3 + 0.1 * (k % 3))},s{k % 3},c{draw.randrange(5)},{draw.random():.3f}"
        for k in range(900)
    ]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


def works_elsewhere(home: Path, empty: Path, run: Path) -> list[list[str]]:
    """Type what the page says in a folder with a copy of the raw files and of the run: the same fingerprint and metrics."""
    done = adasparse(home, "report", str(run), "-o", "page.html")
    assert "page.html" in done.stdout
    page = (home / "page.html").read_text(encoding="utf-8")
    prep, train = commands(page)
    assert str(home) not in page.split('<section id="reproduction">')[1]
    for part in ("raw files", run.parts[0]):
        if (home / part).exists():
            shutil.copytree(home / part, empty / part)
    report = json.loads((home / run / "report.json").read_text())
    prepared = json.loads(adasparse(empty, *prep, "--json").stdout)
    assert prepared["fingerprint"] == report["data"]["fingerprint"]
    again = adasparse(empty, *train, "--json")
    assert "preparing it anew" not in again.stderr
    assert json.loads(again.stdout)["data"]["fingerprint"] == report["data"]["fingerprint"]
    assert json.loads(again.stdout)["metrics"] == report["metrics"]
    assert len(list((empty / run).parent.iterdir())) == 2
    return [prep, train]


def test_a_twin_of_other_settings_is_made_again_from_what_the_page_says(tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    words = ("data.name=tiny", "data.rows=3000", "data.heterogeneity=2", "data.min_count=3", "paths.data=prepared")
    adasparse(home, "train", "--model", "dnn", *words, *TINY)
    (run,) = home.glob("runs/tiny/dnn/*")
    prep, _ = works_elsewhere(home, empty, run.relative_to(home))
    assert {"data.rows=3000", "data.min_count=3", "paths.data=prepared"} <= set(prep)
    assert not any(word.startswith("raw=") for word in prep)


@pytest.mark.parametrize("first", [True, False], ids=["prepared first", "prepared by train"])
def test_a_table_is_prepared_and_trained_on_again_from_what_the_page_says(tmp_path: Path, first: bool) -> None:
    """Its name is no packaged one, the path was relative, and nearly every word needs quotes."""
    home, empty = tmp_path / "my home", tmp_path / "empty"
    empty.mkdir()
    table(home / "raw files" / "it's a table.csv")
    raw = 'raw="raw files/it\'s a table.csv"'
    if first:
        adasparse(home, "prep", *TABLE, raw)
        adasparse(home, "train", "--model", "dnn", "data=tabular", "data.name=shops", *TINY)
    else:
        adasparse(home, "train", "--model", "dnn", *TABLE, raw, *TINY)
    (run,) = home.glob("runs/shops/dnn/*")
    works_elsewhere(home, empty, run.relative_to(home))


def test_next_commands_of_a_table_work_where_it_lies(tmp_path: Path) -> None:
    table(tmp_path / "raw" / "table.csv")
    said = adasparse(tmp_path, "prep", *TABLE, "raw=raw/table.csv").stdout
    words = shlex.split(said.split("next: adasparse ")[1].splitlines()[0])
    done = adasparse(tmp_path, *words, "--model", "dnn", "loop.max_steps=2", *TINY)
    assert "anew" not in done.stderr


def test_a_folder_given_as_the_pages_file_is_a_fault_in_two_lines(tmp_path: Path) -> None:
    adasparse(tmp_path, "train", "--model", "dnn", "data.rows=2000", "loop.max_steps=2", *TINY)
    done = adasparse(tmp_path, "report", "latest", "-o", str(tmp_path), code=2)
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error == f"error: {tmp_path} is a folder, but the page is a file"
    assert hint == f"hint: name a file: -o {tmp_path}/report.html"

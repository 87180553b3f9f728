"""Every command of the documentation runs, in its order, unless it is marked as long; every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.commands.typing_in import adasparse

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
# A block with a title says why it is not run.
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))).splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    for name in ("clicks.csv", "new_clicks.csv"):
        rows = [
            f"{['NO', 'SE', 'DK'][draw.integers(3)]},{['phone', 'desk'][draw.integers(2)]},a{draw.integers(20)},"
            f"{draw.gamma(3):.2f},{draw.integers(24)},{draw.integers(2)}"
            for _ in range(20_000)
        ]
        (tmp_path / name).write_text("\n".join(["country,device,ad,price,hour,clicked", *rows]) + "\n")
    (tmp_path / "shop").mkdir()
    views = [f"u{draw.integers(50)},i{draw.integers(30)},{draw.integers(60)},m{draw.integers(3)}" for _ in range(2_000)]
    (tmp_path / "shop" / "views.csv").write_text("\n".join(["user,item,seconds,market", *views]) + "\n")
    users = [f"u{k},{draw.integers(18, 80)}" for k in range(50)]
    (tmp_path / "shop" / "users.csv").write_text("\n".join(["user,age", *users]) + "\n")
    typed = commands(page)
    assert typed
    for line in typed:
        words = shlex.split(line)
        if words[0] == "PYTHONPATH=.":
            monkeypatch.syspath_prepend(str(tmp_path))
            words = words[1:]
        assert words[0] == "adasparse", line
        found = [
            [str(path.relative_to(tmp_path)) for path in tmp_path.glob(word)] if "*" in word else [] for word in words
        ]
        words = [one for word, own in zip(words, found, strict=True) for one in own or [word]]
        adasparse(tmp_path, *words[1:])


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}

"""What is said of public data sets. Truth: the settings that prepare them, and the page that lists them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from adasparse_cli.catalogue.public_data import about_data, known_data
from adasparse_cli.config.packaged_sections import offered, packaged_section
from adasparse_cli.errors import UsageError
from tests.commands.typing_in import adasparse

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "public-data.md"


def test_every_packaged_data_set_that_others_publish_is_described() -> None:
    own = {
        "tabular",
        "joined",
        *(name for name in offered("data") if packaged_section("data", name)["recipe"] == "twin"),
    }  # type: ignore[index]
    assert set(known_data()) == set(offered("data")) - own


def test_the_page_lists_the_same_data_sets_with_their_rows_and_domains() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, about in known_data().items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` ")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells == [f"`{name}`", about.what, about.rows.partition(" (")[0], about.domains, about.page]


@pytest.mark.parametrize("name", known_data())
def test_about_tells_everything_that_is_known(name: str, tmp_path: Path) -> None:
    about = about_data(name)
    said = adasparse(tmp_path, "data", "about", name).stdout
    for text in (about.domain, about.get, about.terms, *about.traps, *about.unverified):
        assert text in said
    assert json.loads(adasparse(tmp_path, "data", "about", name, "--json").stdout)["rows"][0]["terms"] == about.terms


def test_listings_show_what_is_prepared_and_what_can_be(tmp_path: Path) -> None:
    said = adasparse(tmp_path, "data", "ls").stdout
    assert "no prepared data in data" in said
    assert all(name in said for name in known_data())
    # an address would be broken by the column's width; `data about` prints it
    assert not any(one.page in said for one in known_data().values() if "." in one.page)
    assert json.loads(adasparse(tmp_path, "data", "ls", "--json").stdout)["rows"] == []
    rows = list(csv.DictReader(io.StringIO(adasparse(tmp_path, "data", "ls", "--recipes", "--csv").stdout)))
    assert [row["recipe"] for row in rows] == list(known_data())
    assert [row["page"] for row in rows] == [one.page for one in known_data().values()]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="kuairand") as caught:
        about_data("kuairand")
    assert "kuairand-1k" in caught.value.hint

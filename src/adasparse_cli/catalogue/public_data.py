"""What is known of the packaged data sets before they are prepared: size, domains, where the files are given out, traps."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from adasparse_cli.choices import nearest_names
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.errors import UsageError
from adasparse_cli.typed import from_yaml, typed


@dataclass(frozen=True, kw_only=True)
class About:
    """A data set that somebody else publishes.

    Args:
        what: rows and label. rows, size: as published. domains: how many, and of what.
        domain: why this is the domain, by the literature.
        publisher: who collected the data. paper: which describes them. page: of the publisher. get: which files a person
            gets, and how.
        raw: what `raw=` is then. terms: what the data may be used for.
        traps: what a reader of results must know. unverified: what no public description confirmed.
    """

    what: str
    rows: str
    size: str
    domains: str
    domain: str
    publisher: str
    paper: str
    page: str
    get: str
    raw: str
    terms: str
    traps: tuple[str, ...]
    unverified: tuple[str, ...]


@functools.cache
def known_data() -> dict[str, About]:
    """The data sets of conf/about/data.yaml by name."""
    values = from_yaml((files("adasparse_cli.conf.about") / "data.yaml").read_text(encoding="utf-8"))
    return {name: typed(value, About, name) for name, value in values.items()}


def about_data(name: str) -> About:
    """What is known of a data set.

    Raises:
        UsageError: nothing is.
    """
    known = known_data()
    if name not in known:
        generic = f"data={name} reads your own files or makes its own; " if name in offered("data") else ""
        raise UsageError(
            f"{name!r} is no published data set that is known here",
            hint=f"{generic}there are {nearest_names(name, list(known))}",
        )
    return known[name]


def recipe_rows() -> list[dict[str, Any]]:
    """One line for each data set that somebody publishes."""
    return [
        {
            "recipe": name,
            "what": one.what,
            "rows": one.rows.partition(" (")[0],
            "size": one.size.partition(" (")[0],
            "domains": one.domains,
            "page": one.page,
        }
        for name, one in known_data().items()
    ]

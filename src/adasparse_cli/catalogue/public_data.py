"""Information on the packaged data sets before they are prepared: size, domains, download, known problems."""

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
    """A published data set.

    Args:
        what: rows and label. rows, size: as published. domains: number of domains and their definition.
        domain: why this is the domain, according to the literature.
        publisher: who collected the data. paper: the paper that describes them. page: of the publisher. get: which files to
            download, and how.
        raw: the value of `raw=` for them. terms: permitted uses of the data.
        traps: what a reader of results must know. unverified: what no public description confirms.
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
    """The information on a data set.

    Raises:
        UsageError: there is none.
    """
    known = known_data()
    if name not in known:
        generic = f"data={name} reads your own files or makes its own; " if name in offered("data") else ""
        raise UsageError(
            f"{name!r} is not a known public data set",
            hint=f"{generic}public data sets include {nearest_names(name, list(known))}",
        )
    return known[name]


def recipe_rows() -> list[dict[str, Any]]:
    """One row for each published data set."""
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

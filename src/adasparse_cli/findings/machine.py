"""What a program reads: the same shape for `--json` of every command, the same names for `--json` and `--csv`.

A document is an object with `schema_version` and `rows`: a list of flat objects, the lines of `--csv`. What does not fit
into lines has keys of its own beside them. Keys are snake_case. Names that belong to a person stand as they are typed:
settings, fields, domains and runs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.findings.finding import Finding, Interval

# Raised when a key is renamed or removed, or a value means something else.
SCHEMA_VERSION = 1
_SIGNS = {"Δ": " delta ", "%": " percent ", "×": " x ", "±": " plus minus ", "α": "alpha", "β": "beta", "ε": "epsilon"}


def snake_case(name: str) -> str:
    """The name of a column as a key: `GAUC by domain` is `gauc_domain`, `95 % interval` is `interval`."""
    words = name.replace("95 % interval", "interval").replace("GAUC by ", "GAUC ")
    words = re.sub(r",\s*%$", " %", words)
    plain = unicodedata.normalize("NFKD", "".join(_SIGNS.get(sign, sign) for sign in words))
    return re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")


def machine_rows(rows: Sequence[Mapping[str, Any]], *, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows with snake_case keys; an interval `x` takes two, `x_low` and `x_high`. Every row has the same keys.

    Args:
        names: columns whose name belongs to a person, such as a run's; they stand as they are.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    wide = {name for name in columns if any(isinstance(row.get(name), Interval) for row in rows)}
    keys = _distinct([name if name in names else _key(name) for name in columns])
    found = []
    for row in rows:
        own: dict[str, Any] = {}
        for name, key in zip(columns, keys, strict=True):
            value = row.get(name)
            if name not in wide:
                own[key] = value
            else:
                low, high = (value.low, value.high) if isinstance(value, Interval) else (None, None)
                own |= {f"{key}_low": low, f"{key}_high": high}
        found.append(own)
    return found


def document(
    rows: Sequence[Mapping[str, Any]], more: Mapping[str, Any] | None = None, *, names: Sequence[str] = ()
) -> dict[str, Any]:
    """The object that `--json` prints.

    Args:
        more: what does not fit into rows. names: as in `machine_rows`.
    """
    return {"schema_version": SCHEMA_VERSION, "rows": machine_rows(rows, names=names), **(more or {})}


def finding_details(finding: Finding) -> dict[str, Any]:
    """A finding without what concerns its looks alone."""
    tables = [
        {"name": one.name, "title": one.title, "caption": one.caption, "rows": machine_rows(one.rows)}
        for one in finding.tables
    ]
    values = finding.to_json()
    rest = {name: values[name] for name in ("name", "title", "question", "answers", "notes", "figures")}
    return {**rest, "tables": tables}


def _key(name: str) -> str:
    """A setting such as `loop.learning_rate` keeps its name."""
    return name if re.fullmatch(r"[a-z_]\w*(\.\w+)+", name) else snake_case(name)


def _distinct(keys: Sequence[str]) -> list[str]:
    """Keys of which no two are equal: the second `over_seeds` is `over_seeds_2`."""
    found: list[str] = []
    for key in keys:
        number, own = 1, key
        while own in found:
            number += 1
            own = f"{key}_{number}"
        found.append(own)
    return found

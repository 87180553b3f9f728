"""What the columns of a table are: the fields, their kinds, and what was inferred from the first rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from adasparse_cli.choices import FieldKind, FieldRole, Spelling, SplitRule, TimeUnit
from adasparse_cli.data_prep import tabular_times
from adasparse_cli.data_prep.tabular_settings import DERIVED
from adasparse_cli.data_prep.tabular_times import NUMBER
from adasparse_cli.data_prep.tabular_values import Missing, spelling_of
from adasparse_cli.prep.recipe import FieldPlan, Finding
from adasparse_cli.tables.formats import Table

if TYPE_CHECKING:
    from adasparse_cli.data_prep.tabular_settings import Settings

MOSTLY = 0.95
LISTS = 0.3  # share of a column's values that have a separator, from which on it may hold lists
_SEPARATORS = ("|", ";", ",")
_WHOLE = r"^[+-]?\d+$"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The fields of a table.

    Args:
        derived: those of `plans` that are made from the timestamp.
        notes: one line for each thing inferred. findings: what to warn of.
    """

    plans: Sequence[FieldPlan]
    derived: Sequence[str]
    notes: Sequence[str]
    findings: Sequence[Finding]


def columns_of(settings: Settings, table: Table, fields: Sequence[str] | None) -> Columns:
    """The fields, by settings and the first rows.

    Args:
        fields: the only ones to read, whatever the columns look like; None to find them.
    """
    aware = settings.domain_aware or settings.domain
    named = {*settings.domain, *aware, settings.user}
    derived = _derived(settings, table.columns, fields)
    special = {settings.label, settings.timestamp, settings.propensity} if fields is None else set()
    left_out = (FieldRole.ignored, FieldRole.label, FieldRole.timestamp)
    plans, notes, findings = [], [], []
    if settings.label not in table.columns:
        notes.append(f"{table.name} has no column {settings.label}: its rows are unlabelled")
    # a file to be scored may lack the user's column
    absent = [name for name in fields or () if name == settings.user and name not in table.columns]
    plans += [FieldPlan(name=name, role=_role(name, settings), kind=FieldKind.categorical) for name in absent]
    for name in table.columns:
        role = settings.roles.get(name)
        if name in derived and name != settings.timestamp and role not in left_out:
            others = ",".join(other for other in derived if other != name)
            text = f"{name}: is made from {settings.timestamp}; the column of that name is not read"
            findings.append(Finding("warning", text, f"data.derived=[{others}] reads the column"))
        if name in derived or name in special or role in left_out or (fields is not None and name not in fields):
            continue
        values = known_values(table.sample[name], settings)
        separator = None if name in (*settings.kinds, *settings.domain) else _separator(values.drop_nulls())
        if separator:
            own = "" if separator == settings.list_separator else f" 'data.list_separator=\"{separator}\"'"
            notes.append(f"{name}: looks like lists; 'data.kinds={{{name}: multi_valued}}'{own} takes them apart")
        kind, why = _inferred(name, values, settings, named=name in named)
        if kind is None:
            notes.append(f"{name}: left out, {why}")
            continue
        parse = _splitter(settings.list_separator, settings.spelling) if kind is FieldKind.multi_valued else None
        plans.append(FieldPlan(name=name, role=_role(name, settings), kind=kind, parse=parse))
        missing = values.null_count() / max(len(values), 1)
        notes.append(f"{name}: {kind} ({why}{f', {missing:.1%} missing' if missing else ''})")
    for name in derived:
        plans.append(FieldPlan(name=name, role=_role(name, settings), kind=FieldKind.categorical))
        notes.append(f"{name}: categorical (from {settings.timestamp})")
    if fields is None and settings.timestamp is None:
        findings += _unnamed_times(settings, table)
    return Columns(plans=plans, derived=derived, notes=notes, findings=findings)


def _derived(settings: Settings, columns: Sequence[str], fields: Sequence[str] | None) -> list[str]:
    """The fields that are made from the timestamp; a column of the same name gives way to them."""
    if settings.timestamp is None:
        return []
    if settings.derived is None:  # the rule of data that were prepared before this setting
        chosen = [name for name in DERIVED if name not in columns]
    else:
        chosen = [name for name in DERIVED if name in settings.derived]
    return [
        name
        for name in chosen
        if settings.roles.get(name) is not FieldRole.ignored and (fields is None or name in fields)
    ]


def known_values(texts: pl.Series, settings: Settings) -> pl.Series:
    """A column's values in their one spelling, null where they are missing."""
    return Missing(settings.missing).known(texts, settings.spelling)


def _role(name: str, settings: Settings) -> FieldRole:
    aware = settings.domain_aware or settings.domain
    tells = name in aware or settings.roles.get(name) is FieldRole.domain_aware
    return FieldRole.domain_aware if tells else FieldRole.domain_agnostic


def _inferred(name: str, values: pl.Series, settings: Settings, *, named: bool) -> tuple[FieldKind | None, str]:
    if name in settings.kinds:
        return settings.kinds[name], "as set"
    known = values.drop_nulls()
    distinct = known.n_unique()
    numbers = known.filter(known.str.contains(NUMBER))
    # a few values that are no numbers are faults of their rows, not a sign that the column is text
    if len(known) and len(numbers) >= MOSTLY * len(known) and not numbers.str.contains(_WHOLE).all():
        # whole numbers written as 3.0 are levels, not magnitudes
        if (numbers.cast(pl.Float64) % 1 == 0).all():
            return FieldKind.categorical, f"{distinct} distinct whole numbers in the first {len(values)} rows"
        return FieldKind.numeric, "numbers with decimals"
    if not named and len(known) >= 1000 and distinct > settings.identifier_share * len(known):
        if tabular_times.looks_like_times(name, known) is not None:
            return None, "it looks like times"
        return None, f"almost every row has a different value; data.kinds={{{name}: categorical}} keeps it"
    return FieldKind.categorical, f"{distinct} distinct in the first {len(values)} rows"


def _unnamed_times(settings: Settings, table: Table) -> list[Finding]:
    """Columns that look like times although data.timestamp names none."""
    taken = {
        *settings.domain,
        *settings.domain_aware,
        *settings.kinds,
        settings.label,
        settings.user,
        settings.propensity,
    }
    found = []
    for name in table.columns:
        if name in taken or settings.roles.get(name) not in (None, FieldRole.timestamp):
            continue
        known = known_values(table.sample[name], settings).drop_nulls()
        unit = tabular_times.looks_like_times(name, known)
        if unit is not None:
            what = tabular_times.described(known, TimeUnit.auto, unit)
            without = " and the split is random" if settings.split is SplitRule.random else ""
            text = f"{name}: looks like times ({what}), but data.timestamp names no column{without}"
            found.append(Finding("warning", text, f"data.timestamp={name} data.split=day"))
    return found


def _separator(texts: pl.Series) -> str | None:
    """What stands between the values of lists, where texts look like lists: they have fewer different parts than wholes."""
    for separator in _SEPARATORS:
        parted = int(texts.str.contains(separator, literal=True).sum())
        if (
            parted
            and parted >= LISTS * len(texts)
            and texts.str.split(separator).explode().n_unique() < texts.n_unique()
        ):
            return separator
    return None


def _splitter(separator: str, spelling: Spelling) -> Callable[[pl.Series], pl.Series]:
    values = spelling_of(pl.element().filter(pl.element() != ""), spelling)
    return lambda texts: texts.str.split(separator).list.eval(values)

"""A log with side tables, as publishers ship them: `ratings.dat`, `users.dat`, `movies.dat`. Described by values alone.

The files are found by their names in a folder. Each row of the log gets the columns of the side tables by key; columns are
renamed or made from others (see `joined_forms`). All that follows is as for `data=tabular`: kinds, times, labels, rejected
rows by file, line, column and value. `raw` may also be a table that has the prepared columns already, where rows are scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adasparse_cli.choices import Encoding, FieldRole, nearest_names
from adasparse_cli.data_prep import tabular
from adasparse_cli.data_prep.joined_files import Names, found_files
from adasparse_cli.data_prep.joined_forms import Form, columns_in, forms_of
from adasparse_cli.data_prep.joined_sides import Side, loaded
from adasparse_cli.data_prep.tabular_fields import known_values
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.recipe import Finding, Progress, RawData
from adasparse_cli.raw.raw_files import raw_files, source_names
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.schema import Field
from adasparse_cli.tables.formats import Table
from adasparse_cli.tables.opened import opened_table

LOG = "the log"
as_raw = tabular.as_raw


@dataclass(frozen=True, kw_only=True)
class SideFiles:
    """A table with one row for each key.

    Args:
        files: names of its files, as those of the log.
        header: names of the columns, where its files have no header line.
        key: the side table's column by the log's, which must be equal.
        take: columns that the rows of the log get, by their new names; empty for all but the keys.
    """

    files: tuple[str, ...]
    header: tuple[str, ...]
    key: Mapping[str, str]
    take: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Settings(tabular.Settings):
    """What the files of a data set are, beside what their columns are.

    Args:
        files: names of the log's files. `*` is any text; `{country}` is any text and a column of this name; names
            after `!` are excluded.
        take: columns of the log by their new names, each a column or a form such as `rating >= 4`; empty for all.
        sides: side tables by name. They have the separator and the encoding of the log.
        labels: columns that are known only after the impression. `data.label` is one of them; the others are never features.
        needs: columns of the log's files; rows that lack a value in one of them are left out and counted.
        only: accepted texts by column; rows with other texts are left out and counted.
    """

    files: tuple[str, ...]
    take: Mapping[str, str]
    sides: Mapping[str, SideFiles]
    labels: tuple[str, ...]
    needs: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels and self.label not in self.labels:
            raise UsageError(
                f"data.label={self.label} is not a label of {self.name}",
                hint=f"its labels are {', '.join(self.labels)}",
            )
        if not self.files:
            raise UsageError("data.files names no file", hint="such as 'data.files=[ratings.dat]'")
        taken = dict.fromkeys(self.take, "data.take")
        for name, side in self.sides.items():
            if not side.key:
                raise UsageError(f"data.sides.{name}.key names no column", hint="such as {user_id: user_id}")
            for column in side.take:
                if column in taken:
                    raise UsageError(
                        f"data.sides.{name}.take names {column}, which {taken[column]} has too",
                        hint="give one of them another name",
                    )
            taken |= dict.fromkeys(side.take, f"data.sides.{name}.take")
        forms_of("data.take", self.take)

    def as_prepared(self, fields: Sequence[Field]) -> ScoringSettings:
        """Only what a score needs: the fields, of the kinds they were prepared with."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}
        scoring = super().as_prepared(fields)
        return ScoringSettings(**own | {one.name: getattr(scoring, one.name) for one in dataclasses.fields(scoring)})


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings, tabular.ScoringSettings):
    """How files are read to be scored: those of the publisher, or a table of the prepared columns."""


@dataclass(frozen=True, kw_only=True)
class _Format:
    """How files of one kind are read.

    Args:
        needed: the columns that are; None for all.
    """

    separator: str | None
    list_separator: str
    quoted_newlines: bool
    header: tuple[str, ...]
    encoding: Encoding
    needed: frozenset[str] | None

    def reads(self, column: str) -> bool:
        """Whether a column's values are needed."""
        return self.needed is None or column in self.needed


def files(settings: Settings, raw: Sequence[str | Path]) -> tuple[Path, ...]:
    """The data set's files in the folders, or among the files, that a person names; those of the log come first."""
    if isinstance(settings, ScoringSettings) and _is_flat(settings, [Path(path) for path in raw]):
        return raw_files(raw)
    return found_files(settings.name, _kinds(settings), raw)


def sources(settings: Settings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """The files, as given."""
    if not raw:
        wanted = ", ".join(pattern for names in _kinds(settings).values() for pattern in names.wanted)
        raise UsageError(
            "no raw files are named",
            hint=f"adasparse prep data={settings.name} raw=FOLDER, a folder with {wanted}; "
            f"adasparse data about {settings.name} names the publisher's page",
        )
    for name, paths in _sorted(settings, raw).items():
        if name != LOG and paths:
            size = sum(path.stat().st_size for path, _ in paths)
            progress.note(f"{name}: {', '.join(path.name for path, _ in paths)} ({size / 1e6:,.1f} MB) is read first")
    return raw


def read(settings: Settings, sources: list[Path]) -> RawData:
    """Open the files, read the side tables, infer what was not said, and say what was inferred."""
    scoring = isinstance(settings, ScoringSettings)
    found = _sorted(settings, sources)
    if scoring and _is_flat(settings, sources):
        flat = {one.name: getattr(settings, one.name) for one in dataclasses.fields(tabular.ScoringSettings)}
        plain = {"header": (), "encoding": Encoding.utf_8, "separator": None}
        return tabular.read(tabular.ScoringSettings(**flat | plain), sources)
    for kind, paths in found.items():
        if not paths:
            raise DataError(
                f"no file of {kind} is named ({', '.join(_kinds(settings)[kind].wanted)})",
                hint=f"name the folder that holds all files of {settings.name}",
            )
    rejects: list[Reject] = []
    names = dict(zip(sources, source_names(sources), strict=True))
    sides = [
        _side(name, settings, [(path, names[path], values) for path, values in found[name]], rejects)
        for name in settings.sides
    ]
    left_out: dict[str, int] = {}
    tables = [_log(settings, path, names[path], values, sides, left_out, rejects) for path, values in found[LOG]]
    others = {name: FieldRole.ignored for name in settings.labels if name != settings.label}
    own = settings if scoring else dataclasses.replace(settings, roles={**others, **settings.roles})
    places = [sources.index(path) for path, _ in found[LOG]]
    raw = tabular.read_tables(own, tables, rejects, places)
    labelled = dict(zip(places, raw.labelled, strict=True))
    read_before = sum(path.stat().st_size for path in sources) - sum(path.stat().st_size for path, _ in found[LOG])
    return dataclasses.replace(
        raw,
        test_sources=tabular.test_sources(settings, sources),
        labelled=tuple(labelled.get(place, False) for place in range(len(sources))),
        consumed=lambda: read_before + raw.consumed(),
        noticed=lambda: (*raw.noticed(), *_left_out(left_out), *(one for side in sides for one in side.findings())),
    )


def _is_flat(settings: Settings, paths: Sequence[Path]) -> bool:
    """Whether files are tables of the prepared columns: none has the name of a file of the data set."""
    kinds = _kinds(settings).values()
    return not any(path.is_dir() or names.values(path) is not None for path in paths for names in kinds)


def _kinds(settings: Settings) -> dict[str, Names]:
    sides = {name: Names(patterns=side.files) for name, side in settings.sides.items()}
    return {LOG: Names(patterns=settings.files), **sides}


def _sorted(settings: Settings, paths: Sequence[Path]) -> dict[str, list[tuple[Path, Mapping[str, str]]]]:
    """The files of each kind, with the values that their names give."""
    kinds = _kinds(settings)
    found: dict[str, list[tuple[Path, Mapping[str, str]]]] = {kind: [] for kind in kinds}
    for path in paths:
        for kind, names in kinds.items():
            if (values := names.values(path)) is not None:
                found[kind].append((path, values))
                break
    return found


def _opened(
    settings: Settings, header: tuple[str, ...], needed: Sequence[str] | None, path: Path, name: str, sink: list[Reject]
) -> Table:
    return opened_table(
        path,
        name,
        _Format(
            separator=settings.separator,
            list_separator=settings.list_separator,
            quoted_newlines=settings.quoted_newlines,
            header=header,
            encoding=settings.encoding,
            needed=None if needed is None else frozenset(needed),
        ),
        sink,
    )


def _require_columns(table: Table, values: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Refuse a file that lacks a column.

    Args:
        wanted: the setting by the column that it names.
    """
    known = [*table.columns, *values]
    for column, key in wanted.items():
        if column not in known:
            raise DataError(
                f"{table.path}:1: no column {column}, which {key} names",
                hint=f"did you mean {nearest_names(column, known)}? Another version of the data may have other columns",
            )


def _side(
    name: str, settings: Settings, files: Sequence[tuple[Path, str, Mapping[str, str]]], rejects: list[Reject]
) -> Side:
    side = settings.sides[name]
    forms = forms_of(f"data.sides.{name}.take", side.take)
    needed = [*side.key.values(), *columns_in(forms)] if forms else None
    tables = []
    for path, called, values in files:
        table = _opened(settings, side.header, needed, path, called, rejects)
        wanted = dict.fromkeys(side.key.values(), f"data.sides.{name}.key")
        wanted |= {form.column: f"data.sides.{name}.take.{new}" for new, form in forms.items()}
        _require_columns(table, values, wanted)
        tables.append((table, values))
    if not forms:
        own = [column for column in tables[0][0].columns if column not in side.key.values()]
        forms = {column: Form(column=column) for column in own}
    return loaded(name, tables, side.key, forms, settings, rejects)


def _log(
    settings: Settings,
    path: Path,
    name: str,
    values: Mapping[str, str],
    sides: Sequence[Side],
    left_out: dict[str, int],
    rejects: list[Reject],
) -> Table:
    """A file of the log with the columns of the side tables."""
    forms = forms_of("data.take", settings.take)
    keys = {key: f"data.sides.{side.name}.key" for side in sides for key in side.keys}
    needs = () if isinstance(settings, ScoringSettings) else settings.needs
    needed = [*keys, *needs, *columns_in(forms)] if forms else None
    table = _opened(settings, settings.header, needed, path, name, rejects)
    known = [*table.columns, *values]
    if settings.label in forms and forms[settings.label].column not in known:
        # a file without the label is unlabelled
        forms = {new: form for new, form in forms.items() if new not in (settings.label, *settings.labels)}
        needs = tuple(column for column in needs if column in known)
    if isinstance(settings, ScoringSettings):
        forms = {new: form for new, form in forms.items() if form.column in known}
    wanted = {form.column: f"data.take.{new}" for new, form in forms.items()}
    _require_columns(table, values, dict.fromkeys(needs, "data.needs") | wanted | keys)
    if not settings.take:
        forms = {column: Form(column=column) for column in known}
    for side in sides:
        if twice := [column for column in side.values.columns if column in forms]:
            raise UsageError(
                f"the column {twice[0]} is in the log and in {side.name}",
                hint=f"data.sides.{side.name}.take gives it another name",
            )

    def joined(frame: pl.DataFrame, *, counted: bool) -> pl.DataFrame:
        frame = frame.with_columns(pl.lit(value, dtype=pl.String).alias(column) for column, value in values.items())
        frame = _kept(frame, settings, needs, left_out if counted else {})
        made = frame.select(*(form.made(settings.list_separator).alias(new) for new, form in forms.items()))
        parts = [made, *(side.joined(frame, counted=counted) for side in sides)]
        lines = frame.select(column for column in frame.columns if column not in table.columns and column not in values)
        whole = pl.concat([*parts, lines], how="horizontal")
        return _only(whole, settings, left_out if counted else {})

    def frames() -> Iterator[pl.DataFrame]:
        return (joined(frame, counted=True) for frame in table.frames())

    return dataclasses.replace(
        table,
        columns=[*forms, *(column for side in sides for column in side.values.columns)],
        first=lambda: joined(table.sample, counted=False),
        frames=frames,
    )


def _kept(frame: pl.DataFrame, settings: Settings, needs: Sequence[str], left_out: dict[str, int]) -> pl.DataFrame:
    for column in needs:
        good = known_values(frame[column], settings).is_not_null()
        _count(left_out, f"{column} is missing (data.needs)", good)
        frame = frame.filter(good)
    return frame


def _only(frame: pl.DataFrame, settings: Settings, left_out: dict[str, int]) -> pl.DataFrame:
    if isinstance(settings, ScoringSettings):
        return frame
    for column, texts in settings.only.items():
        if column not in frame.columns:
            raise UsageError(
                f"data.only names {column}, which is not a column",
                hint=f"did you mean {nearest_names(column, frame.columns)}?",
            )
        good = known_values(frame[column], settings).is_in(list(texts)).fill_null(False)
        _count(left_out, f"{column} is not {' or '.join(texts)} (data.only)", good)
        frame = frame.filter(good)
    return frame


def _count(left_out: dict[str, int], reason: str, good: pl.Series) -> None:
    if number := len(good) - int(good.sum()):
        left_out[reason] = left_out.get(reason, 0) + number


def _left_out(left_out: Mapping[str, int]) -> list[Finding]:
    return [
        Finding(
            "note",
            f"{number:,} {'row is' if number == 1 else 'rows are'} left out: {reason}",
            "they are not rejected; the setting in brackets keeps them",
        )
        for reason, number in left_out.items()
    ]

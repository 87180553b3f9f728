"""Raw files → prepared data, in three passes with bounded memory: values, vocabularies, ids.

The data are made in a hidden folder next to their final place and moved there as a unit. `manifest.json` is
written last, so a folder with a manifest is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.choices import FieldKind, FieldRole, Split, nearest_names
from adasparse_cli.errors import DataError, DiskFullError, TooManyRejectedError, UsageError
from adasparse_cli.files import checksums, disk_is_full, file_stem, no_room, write_sealed
from adasparse_cli.prep.encode import Encoder, domain_count, domain_table
from adasparse_cli.prep.engine import Engine, LocalEngine
from adasparse_cli.prep.noticed import (
    FINDINGS,
    about_days,
    about_splits,
    day_count,
    day_counts,
    leaks,
    spellings,
    write_findings,
)
from adasparse_cli.prep.recipe import (
    TIMESTAMP,
    USER,
    DataSettings,
    FieldPlan,
    Progress,
    RawData,
    recipe_named,
    with_domain_id,
)
from adasparse_cli.prep.spill import Spill, field_columns
from adasparse_cli.prep.splits import add_split, count_duplicates, split_rows
from adasparse_cli.prep.vocabulary import (
    Vocabulary,
    bag_vocabulary,
    bucket_vocabulary,
    categorical_vocabulary,
    encoded_bags,
    value_count,
)
from adasparse_cli.prep.writer import parts_by_split, write_part, write_table
from adasparse_cli.prepared.place import MANIFEST, put_in_place, rejects_of_a_failed_try, work_folder
from adasparse_cli.prepared.tables import key_columns
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject, advice, examples
from adasparse_cli.schema import ENCODING_VERSION, FORMAT_VERSION, Field, Manifest, Source, SplitCounts

SPLITS = (Split.train, Split.valid, Split.test, Split.unlabelled)


def prepare(
    settings: DataSettings,
    values: Mapping[str, Any],
    raw: Sequence[Path],
    folder: Path,
    progress: Progress,
    engine: Engine | None = None,
) -> Manifest:
    """Prepare data into `folder`. Existing data are replaced only when the new data are complete.

    Args:
        settings: of the recipe.
        values: the same as plain values, for the manifest.
        raw: the raw files; empty for a recipe that writes its own files.
        engine: where the steps run; None for this machine. The bytes of the data do not depend on it.

    Raises:
        DataError: a file cannot be read, or more rows than `max_rejected` were rejected.
        DiskFullError: the disk is full.
        UsageError: the engine is not available, or cannot run the recipe.
    """
    recipe = recipe_named(settings.recipe)
    work = work_folder(folder)
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        with engine or LocalEngine() as running:
            sources = recipe.sources(settings, list(raw), work, progress)
            digests = running.digests(sources)
            data = with_domain_id(recipe.read(settings, sources), settings)
            manifest = _prepare(data, settings, values, sources, digests, work, progress, running)
        write_sealed(work / MANIFEST, manifest.to_json())
        put_in_place(folder)
    except Exception as error:
        if not disk_is_full(error):
            raise
        needed = _bytes_on_disk(work) + (error.needed if isinstance(error, DiskFullError) else no_room(folder).needed)
        shutil.rmtree(work, ignore_errors=True)
        raise no_room(folder, needed) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def _prepare(
    raw: RawData,
    settings: DataSettings,
    values: Mapping[str, Any],
    sources: Sequence[Path],
    digests: Callable[[], list[str]],
    work: Path,
    progress: Progress,
    engine: Engine,
) -> Manifest:
    plans = field_columns(raw.plans)
    _require_domain(raw, plans)
    _require_own_names(raw.domain, plans)
    if not any(raw.labelled):
        raise DataError(
            f"no file has the label column {raw.label}",
            hint=f"data.label sets it; similar columns are {nearest_names(raw.label, [p.name for p in plans])}",
        )
    for note in raw.notes:
        progress.note(note)
    size = sum(path.stat().st_size for path in sources)
    progress.start("reading", size, "bytes")
    spill = engine.read(raw, work / "spill", progress, size=size)
    names = source_names(sources)
    place = {name: k for k, name in enumerate(names)}
    raw.rejects.sort(key=lambda reject: (place.get(reject.source, len(place)), reject.line))
    for hint in advice(raw.rejects):
        progress.note(f"rejected rows: {hint}")
    _require_few_rejects(raw.rejects, spill.rows, settings, work)
    duplicates = count_duplicates(spill, settings.duplicates, engine)
    add_split(spill, settings, engine)
    assert spill.split is not None

    progress.start("counting", len(plans), "fields")
    countable = [plan for plan in plans if plan.kind is not FieldKind.numeric]
    asked = [value_count(plan, min_count=settings.min_count) for plan in countable]
    counts = engine.count(spill, [*asked, domain_count(raw.domain), day_count()])
    vocabularies, fields = {}, []
    for plan in plans:
        own = None if plan.kind is FieldKind.numeric else next(counts)
        vocabularies[plan.name], field = _field(plan, own, spill, settings, work, engine)
        fields.append(field)
        progress.advance(1)
    domains = domain_table(next(counts), raw.domain)
    days = day_counts(next(counts))
    write_table(domains, work / "domains.parquet")

    spill.bags.clear()
    progress.start("encoding", spill.rows, "rows")
    columns = spill.scan().collect_schema().names()
    users = engine.distinct(spill, USER) if USER in columns else None
    encoder = Encoder(plans, vocabularies, raw.domain, domains, users)
    parts = parts_by_split(spill.paths, list(engine.map(split_rows, spill.split, spill.paths)))
    known = {}
    for part, (name, digest) in zip(
        parts, engine.map(write_part, (encoder, spill.split, work), parts, at_once=2), strict=True
    ):
        known[name] = digest
        progress.advance(part.rows)
    unseen = _unseen_in_test(work, fields)
    counted = {
        split: SplitCounts(
            rows=int(domains[f"{split}_rows"].sum()),
            positives=None if split is Split.unlabelled else int(domains[f"{split}_positives"].sum()),
        )
        for split in SPLITS
    }
    noticed = (
        *raw.noticed(),
        *about_splits([{"split": split.value, **asdict(counts)} for split, counts in counted.items()]),
        *about_days(days, settings.split),
        *spellings(domains, raw.domain, vocabularies),
        *leaks(work, fields),
    )
    write_findings(noticed, work)
    _write_rejects(raw.rejects, work)
    shutil.rmtree(work / "spill")

    keep_raw = getattr(settings, "keep_raw", True)
    made = [
        Source(
            name=names[index],
            path=_recorded_path(path, work),
            bytes=path.stat().st_size,
            sha256=digest,
            rows=spill.rows_per_source.get(index, 0),
            labelled=raw.labelled[index],
            modified_ns=path.stat().st_mtime_ns,
        )
        for index, (path, digest) in enumerate(zip(sources, digests(), strict=True))
    ]
    if not keep_raw:
        shutil.rmtree(work / "raw", ignore_errors=True)
    # the checksums of raw files are stored with the sources, the checksums of parts are known
    others = {path.relative_to(work).as_posix(): path for path in work.rglob("*") if path.is_file()}
    paths = [path for name, path in others.items() if name not in known and not name.startswith("raw/")]
    files = dict(sorted({**checksums(work, paths), **known}.items()))
    described = {
        "format_version": ENCODING_VERSION,
        "recipe": settings.recipe,
        "settings": dict(values),
        "sources": [source.sha256 for source in made],
        "fields": [asdict(field) for field in fields],
        # findings contain wording, which may differ in a later version
        "files": {name: digest for name, digest in files.items() if name != FINDINGS},
    }
    return Manifest(
        format_version=FORMAT_VERSION,
        name=settings.name,
        recipe=settings.recipe,
        settings=dict(values),
        sources=tuple(made),
        label=raw.label,
        domain=raw.domain,
        fields=tuple(fields),
        num_domains=int((domains["train_rows"] > 0).sum()),
        num_all_domains=domains.height,
        splits={str(split): counts for split, counts in counted.items()},
        rejected=dict(Counter(reject.reason for reject in raw.rejects)),
        duplicates=duplicates,
        unseen=unseen,
        has_user=USER in columns,
        has_timestamp=TIMESTAMP in columns,
        files=files,
        escaped_keys=True,
        fingerprint=hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest(),
    )


def _recorded_path(path: Path, work: Path) -> str:
    """The recorded path of a source: absolute, or relative to the data's folder for a source that was written into it."""
    return str(path.relative_to(work) if path.is_relative_to(work) else path.resolve())


def _field(
    plan: FieldPlan, counts: pl.DataFrame | None, spill: Spill, settings: DataSettings, work: Path, engine: Engine
) -> tuple[Vocabulary, Field]:
    """Make and write the vocabulary of a field; `counts` is its `value_count`, None for a numeric field."""
    (work / "vocabularies").mkdir(exist_ok=True)
    bags = 0
    if counts is None:
        vocabulary = bucket_vocabulary(spill, plan.name, settings.numeric_buckets, engine)
    elif plan.kind is FieldKind.multi_valued:
        table = spill.bags[plan.name]
        vocabulary, values = bag_vocabulary(counts, plan, table, min_count=settings.min_count)
        bags = len(table) + 1
        (work / "bags").mkdir(exist_ok=True)
        lists = encoded_bags(vocabulary, values, first_bag=0, bags=bags)
        write_table(lists.alias("ids").to_frame(), work / "bags" / f"{file_stem(plan.name)}.parquet")
        if len(table):
            write_table(table.texts().to_frame(), work / "bags" / f"{file_stem(plan.name)}.texts.parquet")
    else:
        vocabulary = categorical_vocabulary(counts)
    write_table(vocabulary.table, work / "vocabularies" / f"{file_stem(plan.name)}.parquet")
    return vocabulary, Field(name=plan.name, role=plan.role, kind=plan.kind, size=vocabulary.size, bags=bags)


def _unseen_in_test(work: Path, fields: Sequence[Field]) -> dict[str, float]:
    """Per field, the share of the test rows' values that have id 0."""
    parts = sorted((work / Split.test).glob("part-*.parquet"))
    if not parts:
        return {}
    test = pl.scan_parquet(parts, glob=False)
    shares: dict[str, float] = {}
    for field in fields:
        if field.kind is FieldKind.multi_valued:
            lists = pl.read_parquet(work / "bags" / f"{file_stem(field.name)}.parquet", glob=False)["ids"]
            sizes = pl.DataFrame(
                {
                    "bag": pl.int_range(0, len(lists), dtype=pl.Int32, eager=True),
                    "values": lists.list.len().cast(pl.Int64),
                    "zeros": lists.list.eval(pl.element() == 0).list.sum().fill_null(0).cast(pl.Int64),
                }
            )
            uses = test.group_by(pl.col(field.name).alias("bag")).agg(pl.len().cast(pl.Int64).alias("uses")).collect()
            found = uses.join(sizes, on="bag")
            values = int((found["uses"] * found["values"]).sum())
            shares[field.name] = int((found["uses"] * found["zeros"]).sum()) / values if values else 0.0
        else:
            shares[field.name] = float(test.select((pl.col(field.name) == 0).mean()).collect().item())
    return shares


def _require_domain(raw: RawData, plans: Sequence[FieldPlan]) -> None:
    kinds = {plan.name: plan.kind for plan in plans}
    categorical = [name for name, kind in kinds.items() if kind is FieldKind.categorical]
    for name in raw.domain:
        if name not in categorical:
            raise UsageError(
                f"data.domain names {name}, which is {kinds.get(name, 'not a field')}",
                hint=f"a domain is made of categorical fields: {', '.join(categorical)}",
            )
    if not any(plan.role is FieldRole.domain_aware for plan in plans):
        raise UsageError(
            "no field is domain-aware", hint="data.domain_aware=[FIELD,…], or leave it empty to use the domain's fields"
        )


def _require_own_names(domain: Sequence[str], plans: Sequence[FieldPlan]) -> None:
    """Check that fields do not share a column of the domains, or a file: the texts of lists are stored next to the lists."""
    keys = key_columns(domain)
    for name, key in zip(domain, keys, strict=True):
        if keys.count(key) > 1:
            raise UsageError(
                f"data.domain names {name}, whose column {key!r} is also the column of another field",
                hint="rename one of the columns",
            )
    multi = {file_stem(plan.name): plan.name for plan in plans if plan.kind is FieldKind.multi_valued}
    for stem, name in multi.items():
        if f"{stem}.texts" in multi:
            raise UsageError(
                f"the multi-valued fields {name} and {multi[f'{stem}.texts']} would be written to the same file",
                hint="rename one of the columns",
            )


def _require_few_rejects(rejects: Sequence[Reject], good: int, settings: DataSettings, work: Path) -> None:
    share = len(rejects) / max(good + len(rejects), 1)
    if share <= settings.max_rejected:
        return
    kept = rejects_of_a_failed_try(work.parent, settings.name)
    write_table(reject_table(rejects), kept)
    worst = Counter(reject.reason for reject in rejects).most_common()
    raise TooManyRejectedError(
        f"{len(rejects)} of {good + len(rejects)} rows were rejected "
        f"({share:.2%}, allowed {settings.max_rejected:.2%}); "
        f"for example {examples(rejects)}",
        hint="; ".join([f"{kept} lists them all", *advice(rejects), "data.max_rejected=SHARE allows more"]),
        reasons=dict(worst),
    )


def reject_table(rejects: Sequence[Reject]) -> pl.DataFrame:
    """Rejected rows as a table."""
    schema = {"source": pl.String, "line": pl.Int64, "column": pl.String, "value": pl.String, "reason": pl.String}
    return pl.DataFrame([asdict(reject) for reject in rejects], schema=schema)


def _write_rejects(rejects: Sequence[Reject], work: Path) -> None:
    write_table(reject_table(rejects), work / "rejects.parquet")


def _bytes_on_disk(folder: Path) -> int:
    """Bytes on disk of a folder's files."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))

"""Recipes of public data sets. Truth: the values that were drawn and written into synthetic files of the raw formats."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import offered, packaged_section
from adasparse_cli.data_prep import joined
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.files import file_stem
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import LABEL, LINE, SOURCE, TIMESTAMP, Silent
from adasparse_cli.prepared.tables import read_bags
from adasparse_cli.runs.prepare import plan_prep, run_prep
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, typed
from tests.commands.typing_in import adasparse
from tests.data_prep.public_sets import FILE, LABELS, MAKERS, NUMBER, TIME, Row


def settings_of(name: str, *words: str) -> joined.Settings:
    return typed(compose("prep", [f"data={name}", *words])["data"], joined.Settings, "data")


def made(name: str, folder: Path) -> list[Row]:
    folder.mkdir()
    return MAKERS[name](folder, random.Random(7))


def field_names(rows: list[Row]) -> list[str]:
    return [name for name in rows[0] if name not in (FILE, NUMBER, TIME, LABELS)]


def decoded(folder: Path, manifest: Manifest) -> dict[tuple[str, int], Row]:
    """Categorical and multi-valued values of prepared rows by file and line, and the label."""
    found: dict[tuple[str, int], Row] = {}
    for path in sorted(folder.glob("*/part-*.parquet")):
        frame = pl.read_parquet(path)
        columns: dict[str, list[Any]] = {}
        for field in manifest.fields:
            if field.kind == "numeric":
                continue
            table = pl.read_parquet(folder / "vocabularies" / f"{file_stem(field.name)}.parquet")
            values: dict[int, Any] = dict(zip(table["id"].to_list(), table["value"].to_list(), strict=True))
            if field.kind == "multi_valued":
                bags = read_bags(folder, manifest, field.name).to_list()
                columns[field.name] = [[values[one] for one in bags[bag]] for bag in frame[field.name].to_list()]
            else:
                columns[field.name] = [values[one] if one else "unseen" for one in frame[field.name].to_list()]
        for k, (source, line, label) in enumerate(frame.select(SOURCE, LINE, LABEL).iter_rows()):
            key = (manifest.sources[source].name, line)
            assert key not in found
            found[key] = {name: column[k] for name, column in columns.items()} | {"label of the row": label}
    return found


def test_every_recipe_of_this_kind_is_tested() -> None:
    names = {name for name in offered("data") if (packaged_section("data", name) or {})["recipe"] == "joined"}
    assert names - {"joined"} == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_every_value_that_is_read_is_the_one_that_was_written(name: str, tmp_path: Path) -> None:
    rows = made(name, tmp_path / "raw")
    settings = settings_of(name)
    files = list(joined.files(settings, [str(tmp_path / "raw")]))
    raw = joined.read(settings, files)
    frame = pl.concat(list(raw.frames))
    assert not raw.rejects
    fields = field_names(rows)
    assert {plan.name for plan in raw.plans} == set(fields)
    splitters = {plan.name: plan.parse for plan in raw.plans if plan.parse is not None}
    found = {}
    for row in frame.iter_rows(named=True):
        values = {key: row[key] for key in fields}
        for key, parse in splitters.items():
            texts = pl.Series([values[key]], dtype=pl.String)
            values[key] = [] if values[key] is None else parse(texts).to_list()[0]
        found[files[row[SOURCE]].name, row[LINE]] = values | {TIME: row.get(TIMESTAMP), LABELS: row[LABEL]}
    expected = {
        (row[FILE], row[NUMBER]): {key: row[key] for key in fields}
        | {TIME: row.get(TIME), LABELS: row[LABELS][settings.label]}
        for row in rows
    }
    assert found == expected


@pytest.mark.parametrize("name", MAKERS)
def test_every_prepared_value_and_every_label_is_the_one_that_was_written(name: str, tmp_path: Path) -> None:
    """Ids are turned back into values by the vocabularies. Values that only other splits have are unseen."""
    rows = made(name, tmp_path / "raw")
    for label in rows[0][LABELS]:
        # all rows but a few are for training, so that every value has an id
        words = [f"data.label={label}", "data.split=random", "data.valid_share=0.01", "data.test_share=0.01"]
        settings = settings_of(name, "data.min_count=1", *words)
        files = joined.files(settings, [str(tmp_path / "raw")])
        folder = tmp_path / "data" / label
        folder.parent.mkdir(exist_ok=True)
        manifest = prepare(settings, plain(settings), list(files), folder, Silent())
        assert not manifest.rejected
        assert manifest.label == label
        kinds = {field.name: field.kind for field in manifest.fields}
        fields = [one for one in field_names(rows) if kinds[one] != "numeric"]
        assert not set(kinds) & set(rows[0][LABELS])
        found = decoded(folder, manifest)
        assert len(found) == len(rows)
        unseen = 0
        for row in rows:
            own = found[row[FILE], row[NUMBER]]
            assert own["label of the row"] == row[LABELS][label]
            for one in fields:
                if own[one] == "unseen":
                    unseen += 1
                else:
                    assert own[one] == row[one], (one, row)
        assert unseen < 0.05 * len(rows) * len(fields)


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_that_is_missing_or_renamed_is_named(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "raw")
    settings = settings_of(name)
    kinds = [settings.files, *(side.files for side in settings.sides.values())]
    for pattern in (one for patterns in kinds for one in patterns if not one.startswith("!")):
        own = [path for path in joined.files(settings, [str(tmp_path / "raw")]) if _is(pattern, path)]
        for path in own:
            path.rename(path.with_name(f"x{path.name}x"))
        with pytest.raises(DataError, match=r"lacks") as caught:
            joined.files(settings, [str(tmp_path / "raw")])
        assert pattern in caught.value.message
        for path in own:
            path.with_name(f"x{path.name}x").rename(path)
    assert joined.files(settings, [str(tmp_path / "raw")])


def _is(pattern: str, path: Path) -> bool:
    return joined.Names(patterns=[pattern]).values(path) is not None


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith(("amazon", "aliexpress", "avazu"))])
def test_the_row_of_a_truncated_log_is_rejected_with_its_file_and_line(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "raw")
    settings = settings_of(name)
    files = list(joined.files(settings, [str(tmp_path / "raw")]))
    log = files[0]
    text = log.read_bytes()
    log.write_bytes(text[: text.rstrip(b"\n").rfind(b"\n") + 4])  # a few bytes of the last line
    raw = joined.read(settings, files)
    rows = sum(frame.height for frame in raw.frames)
    (reject,) = raw.rejects
    assert (reject.source, reject.line) == (log.name, text.count(b"\n"))
    assert "too few columns" in reject.reason
    assert rows > 0


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith(("amazon", "aliexpress", "avazu"))])
def test_a_packed_file_that_is_cut_off_is_named(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "raw")
    settings = settings_of(name)
    files = list(joined.files(settings, [str(tmp_path / "raw")]))
    files[0].write_bytes(files[0].read_bytes()[:-300])
    with pytest.raises(DataError, match=files[0].name):
        list(joined.read(settings, files).frames)


@pytest.mark.parametrize(
    "name", [name for name in MAKERS if name not in ("movielens-1m", "ali-ccp", "criteo", "aliexpress")]
)
def test_a_column_that_is_missing_or_renamed_is_named_with_the_file(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "raw")
    last = list(settings_of(name).take)[-1]
    settings = settings_of(name, f"data.take.{last}=nobody")
    files = list(joined.files(settings, [str(tmp_path / "raw")]))
    with pytest.raises(DataError, match=rf"no column nobody, which data.take.{last} names") as caught:
        joined.read(settings, files)
    assert files[0].name in caught.value.message


@pytest.mark.parametrize("name", ["movielens-1m", "ali-ccp", "criteo"])
def test_another_file_of_the_same_name_is_refused_by_its_columns(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "raw")
    settings = settings_of(name)
    files = list(joined.files(settings, [str(tmp_path / "raw")]))
    files[-1].write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=rf"{files[-1].name}:1: \d columns?, where \d+ are expected"):
        joined.read(settings, files)


def test_a_label_is_chosen_by_its_name_and_no_other_label_is_a_feature(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data.label=bought is not a label of ali-ccp") as caught:
        settings_of("ali-ccp", "data.label=bought")
    assert caught.value.hint == "its labels are click, conversion"
    rows = made("ali-ccp", tmp_path / "raw")
    words = [
        "data=ali-ccp",
        f"raw={tmp_path}/raw",
        "data.label=conversion",
        "data.only={click: ['1']}",
        f"paths.data={tmp_path}/data",
    ]
    manifest = run_prep(plan_prep(words)).manifest
    clicked = [row for row in rows if row[LABELS]["click"]]
    assert sum(counts.rows for counts in manifest.splits.values()) == len(clicked)
    assert sum(counts.positives or 0 for counts in manifest.splits.values()) == sum(
        row[LABELS]["conversion"] for row in clicked
    )
    assert not {"click", "conversion"} & {field.name for field in manifest.fields}


@pytest.mark.parametrize("name", ["kuairand-pure", "movielens-1m"])
def test_the_command_works_at_the_first_try_and_scores_the_files_again(name: str, tmp_path: Path) -> None:
    rows = made(name, tmp_path / "raw")
    done = adasparse(tmp_path, "prep", f"data={name}", "raw=raw", "data.split=random")
    assert f"prepared in data/{name}" in done.stdout
    assert "is up to date" in adasparse(tmp_path, "prep", f"data={name}", "raw=raw", "data.split=random").stderr
    small = ["network.hidden=[8,4]", "loop.batch_size=16", "loop.epochs=1"]
    adasparse(tmp_path, "train", f"data={name}", *small, "--model", "dnn")
    files = [str(path.relative_to(tmp_path)) for path in joined.files(settings_of(name), [str(tmp_path / "raw")])]
    adasparse(tmp_path, "predict", "latest", *files, "--output", "scores.csv")
    scores = pl.read_csv(tmp_path / "scores.csv")
    assert sorted(scores.select("source", "line").rows()) == sorted((row[FILE], row[NUMBER]) for row in rows)
    adasparse(tmp_path, "predict", "latest", "raw", "--output", "folder.csv")
    assert (tmp_path / "folder.csv").read_text() == (tmp_path / "scores.csv").read_text()
    # a table of the prepared columns gives the same scores
    fields = field_names(rows)
    listed = "|" if name == "movielens-1m" else ","
    flat = pl.DataFrame(
        {one: [listed.join(row[one]) if isinstance(row[one], list) else row[one] for row in rows] for one in fields}
        | {
            ("time_ms" if name == "kuairand-pure" else "timestamp"): [
                row[TIME] * (1000 if name == "kuairand-pure" else 1) for row in rows
            ]
        }
    )
    flat.write_parquet(tmp_path / "flat.parquet")
    adasparse(tmp_path, "predict", "latest", "flat.parquet", "--output", "flat.csv")
    again = pl.read_csv(tmp_path / "flat.csv")["probability"].to_list()
    by_row = {(source, line): one for source, line, one in scores.select("source", "line", "probability").iter_rows()}
    assert again == pytest.approx([by_row[row[FILE], row[NUMBER]] for row in rows], abs=1e-6)
    # and so does an exported model, whose reader has none of these files' settings by itself
    adasparse(tmp_path, "export", "latest", "--output", "art")
    adasparse(tmp_path, "predict", "art", *files, "--output", "exported.csv")
    exported = pl.read_csv(tmp_path / "exported.csv")
    assert exported.height == len(rows)
    for source, line, one in exported.select("source", "line", "probability").iter_rows():
        assert one == pytest.approx(by_row[source, line], abs=1e-6)
    assert (
        "no file of the log is named"
        in adasparse(tmp_path, "predict", "latest", files[-1], "--output", "x.csv", code=3).stderr
    )


def test_lists_that_few_rows_have_do_not_hinder_the_export_of_sub_networks(tmp_path: Path) -> None:
    """Truth: the check that every export makes of itself."""
    made("movielens-1m", tmp_path / "raw")
    small = ["network.hidden=[8]", "loop.batch_size=8", "loop.epochs=1"]
    adasparse(tmp_path, "train", "data=movielens-1m", "raw=raw", *small)
    assert "exported: art" in adasparse(tmp_path, "export", "latest", "--output", "art").stdout
    adasparse(tmp_path, "export", "--check", "art")


def test_several_labels_are_prepared_one_by_one_under_their_names(tmp_path: Path) -> None:
    rows = made("ali-ccp", tmp_path / "raw")
    labels = "data.label=[click,conversion]"
    adasparse(tmp_path, "prep", "data=ali-ccp", "raw=raw", labels)
    for label in ("click", "conversion"):
        said = json.loads(adasparse(tmp_path, "data", "show", f"ali-ccp-{label}", "--json").stdout)
        assert said["label"] == label
        assert sum(one["positives"] for one in said["splits"].values() if one["rows"]) == sum(
            row[LABELS][label] for row in rows
        )
        assert not {"click", "conversion"} & {field["name"] for field in said["fields"]}
    adasparse(tmp_path, "train", "data=ali-ccp-conversion", "--model", "dnn", "network.hidden=[4]", "loop.epochs=1")
    refused = adasparse(tmp_path, "train", "data=ali-ccp", labels, code=2).stderr
    assert "a model is trained on one label" in refused
    assert "ali-ccp-click and ali-ccp-conversion" in refused


def test_several_labels_of_a_table_are_no_features_of_one_another(tmp_path: Path) -> None:
    lines = [f"{k % 2},{k % 3 // 2},{k % 4},{k % 7}" for k in range(400)]
    (tmp_path / "a.csv").write_text("\n".join(["click,buy,place,item", *lines]) + "\n")
    adasparse(
        tmp_path, "prep", "data=tabular", "raw=a.csv", "data.label=[click,buy]", "data.domain=[place]", "data.name=mine"
    )
    for label in ("click", "buy"):
        said = json.loads(adasparse(tmp_path, "data", "show", f"mine-{label}", "--json").stdout)
        assert (said["label"], {field["name"] for field in said["fields"]}) == (label, {"place", "item"})


def test_a_sequence_is_a_bag_that_words_add_to_a_recipe(tmp_path: Path) -> None:
    rows = made("ali-ccp", tmp_path / "raw")
    side = 'data.sides={common: {take: {past: "features[150_14]"}}}'
    settings = settings_of("ali-ccp", side, "data.kinds={past: multi_valued}")
    raw = joined.read(settings, list(joined.files(settings, [str(tmp_path / "raw")])))
    (plan,) = [plan for plan in raw.plans if plan.name == "past"]
    assert plan.parse is not None
    bags = plan.parse(pl.concat(list(raw.frames))["past"]).to_list()
    assert [sorted(bag) for bag in bags] == [["998", "999"]] * len(rows)


def test_a_part_of_a_setting_that_differs_from_prepared_data_is_refused(tmp_path: Path) -> None:
    made("movielens-1m", tmp_path / "raw")
    adasparse(tmp_path, "prep", "data=movielens-1m", "raw=raw")
    changed = 'data.take.label="rating >= 5"'
    said = adasparse(tmp_path, "train", "data=movielens-1m", changed, code=2).stderr
    assert "this command asks for" in said
    assert "rating >= 5" in said

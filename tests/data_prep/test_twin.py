"""The synthetic twin: IAAC's format to the letter, IAAC's numbers within tolerance, and only what is planted."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import iaac, twin
from adasparse_cli.data_prep.twin_world import logit as twin_logit
from adasparse_cli.errors import UsageError
from adasparse_cli.metrics import auc
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.prepared.earlier_data import settings_as_today
from adasparse_cli.prepared.tables import read_split
from adasparse_cli.typed import plain, typed

ROWS = 60_000


def settings_of(*words: str) -> twin.Settings:
    return typed(compose("prep", ["data=twin", f"data.rows={ROWS}", *words])["data"], twin.Settings, "data")


def calibration() -> ModuleType:
    """The benchmark that prints the comparison with IAAC."""
    path = Path(__file__).parents[2] / "benchmarks" / "twin_calibration.py"
    spec = importlib.util.spec_from_file_location("twin_calibration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    (path,) = twin.sources(settings_of(), [], folder, Silent())
    return path


def test_the_text_has_the_contests_form_to_the_letter(raw: Path) -> None:
    """Read with str.split alone."""
    lines = raw.read_bytes().decode("ascii").split("\n")
    assert lines[0] == " ".join(iaac.SCHEMA)
    assert lines[-1] == ""
    assert len(lines) == ROWS + 2
    for line in lines[1:-1:97]:
        row = dict(zip(iaac.SCHEMA, line.split(" "), strict=True))
        for name, kind in iaac.SCHEMA.items():
            if kind is pl.Int64:
                assert row[name] == str(int(row[name]))
                assert -1 <= int(row[name]) < 2**63
        for name in iaac.NUMERIC:
            assert row[name] in ("-1", "1") or 0 <= float(row[name]) < 1
        assert 7 <= len(row["item_property_list"].split(";")) <= 100
        assert 1 <= len(row["predict_category_property"].split(";")) <= 12


def test_the_reader_of_the_real_files_takes_every_row(raw: Path) -> None:
    data = twin.read(settings_of(), [raw])
    assert sum(frame.height for frame in data.frames) == ROWS
    assert not data.rejects


def test_rows_stand_in_blocks_by_day_and_within_a_day_by_shop(raw: Path) -> None:
    table = calibration().raw_text(raw)
    day = ((table["context_timestamp"] + 8 * 3600) // 86400).to_numpy()
    assert (np.diff(day) >= 0).all()
    assert len(np.unique(day)) == 7
    shop = table["shop_id"].to_numpy()
    for own in np.unique(day):
        shops = shop[day == own]
        changes = 1 + int((shops[1:] != shops[:-1]).sum())
        assert changes == len(np.unique(shops))


def test_an_item_is_the_same_in_all_its_rows(raw: Path) -> None:
    table = calibration().raw_text(raw)
    names = ["shop_id", "item_brand_id", "item_city_id", "item_category_list", "item_property_list", "item_price_level"]
    assert table.select("item_id", *names).unique().height == table["item_id"].n_unique()
    users = ["user_gender_id", "user_age_level", "user_occupation_id", "user_star_level"]
    assert table.select("user_id", *users).unique().height == table["user_id"].n_unique()


@pytest.mark.parametrize("heterogeneity", [0.0, 1.0, 2.0])
def test_rates_of_all_levels_hold_at_any_heterogeneity(heterogeneity: float) -> None:
    """Truth: IAAC's rates; the true probabilities are compared, so that chance in the labels plays no part."""
    world = twin.World.drawn(settings_of(f"data.heterogeneity={heterogeneity}"))
    gender = world.users["gender"].to_numpy()[world.user]
    price = world.items["price"].to_numpy()[world.item]
    assert world.probability.mean() == pytest.approx(0.01887, rel=0.03)
    assert world.probability[gender == 1].mean() / world.probability[gender == 0].mean() == pytest.approx(
        2.12 / 1.85, rel=0.03
    )
    assert world.probability[price == 4].mean() == pytest.approx(0.05, rel=0.05)
    assert world.probability[price == 8].mean() == pytest.approx(0.013, rel=0.05)


def test_at_heterogeneity_0_domains_differ_in_their_base_rate_alone() -> None:
    """The logit is a sum of a part of the user and a part of the rest: no domain has a taste of its own."""
    world = twin.World.drawn(settings_of("data.heterogeneity=0"))
    np.testing.assert_allclose(world.probability, world.without_taste, rtol=1e-12)
    other = twin.World.drawn(settings_of("data.heterogeneity=1"))
    assert np.array_equal(world.item, other.item)
    assert not np.allclose(other.probability, other.without_taste)
    # the taste is a table of group × category, price, brand, city, hour: equal keys, equal taste
    logit = np.log(other.probability / (1 - other.probability))
    taste = logit - np.log(other.without_taste / (1 - other.without_taste))
    domain = twin_logit.domain_of_users(other.users)[other.user]
    first, second = other.groups.first[domain], other.groups.second[domain]
    table = pl.DataFrame(
        {
            "taste": taste.round(9),
            "first": first,
            "second": second,
            "item": other.item,
            "hour": (other.seconds + 8 * 3600) % 86400 // 3600 // 4,
        }
    )
    keys = ["first", "second", "item", "hour"]
    assert table.group_by(keys).agg(pl.col("taste").n_unique())["taste"].max() == 1
    assert auc(other.label, other.probability) > auc(world.label, world.probability) + 0.04  # type: ignore[operator]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    texts = []
    for k, words in enumerate((["data.rows=3000"], ["data.rows=3000"], ["data.rows=3000", "data.seed=1"])):
        folder = tmp_path / str(k)
        folder.mkdir()
        settings = typed(compose("prep", ["data=twin", *words])["data"], twin.Settings, "data")
        (path,) = twin.sources(settings, [], folder, Silent())
        texts.append((path.read_bytes(), (folder / "truth" / "rows.parquet").read_bytes()))
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[2][0]


def test_the_default_worlds_have_the_bytes_of_the_first_version(tmp_path: Path) -> None:
    """Truth: digests taken before `straying`, `second_group` and `tastes` became settings."""
    for words, text, truth in (
        (["data.rows=3000"], "b295685032edf485", "099ff06156294eea"),
        (["data.rows=3000", "data.seed=1", "data.heterogeneity=2"], "762091194f52da56", "0b18b59b2cfac179"),
    ):
        folder = tmp_path / text
        folder.mkdir()
        settings = typed(compose("prep", ["data=twin", *words])["data"], twin.Settings, "data")
        (path,) = twin.sources(settings, [], folder, Silent())
        rows = pl.read_parquet(folder / "truth" / "rows.parquet").write_csv().encode()
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == text
        assert hashlib.sha256(rows).hexdigest()[:16] == truth


def test_data_of_the_version_before_have_the_settings_that_were_constants() -> None:
    values = plain(settings_of())
    added = ("straying", "second_group", "tastes")
    assert settings_as_today({key: value for key, value in values.items() if key not in added}) == values


def test_without_strays_all_domains_of_one_cell_have_one_taste() -> None:
    world = twin.World.drawn(settings_of("data.straying=0", "data.second_group=0"))
    assert len(np.unique(np.concatenate([*world.tastes.values()], axis=1), axis=0)) == twin_logit.GROUPS
    strays = twin.World.drawn(settings_of("data.straying=1", "data.second_group=0"))
    assert not np.array_equal(world.groups.first, strays.groups.first)
    assert world.domains()["second_weight"].unique().to_list() == [0.0]


def test_the_truth_stands_beside_the_text_and_no_field_comes_from_it(tmp_path: Path) -> None:
    settings = settings_of("data.rows=5000")
    manifest = prepare(settings, plain(settings), [], tmp_path / "twin", Silent())
    truth = pl.read_parquet(tmp_path / "twin" / "truth" / "rows.parquet")
    domains = pl.read_parquet(tmp_path / "twin" / "truth" / "domains.parquet")
    assert domains["group"].n_unique() == twin_logit.GROUPS
    rows = pl.concat([read_split(tmp_path / "twin", manifest, split) for split in ("train", "valid", "test")])  # type: ignore[arg-type]
    joined = rows.join(truth, left_on="__line", right_on="line")
    assert joined.height == 5000
    assert joined["probability"].mean() == pytest.approx(joined["__label"].mean(), rel=0.3)  # type: ignore[arg-type]
    assert not any("probability" in field.name or "group" in field.name for field in manifest.fields)


def test_raw_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="writes its own"):
        twin.sources(settings_of(), [tmp_path / "x"], tmp_path, Silent())


@pytest.mark.slow
def test_every_known_figure_of_iaac_is_met_within_its_tolerance_at_its_own_size(tmp_path: Path) -> None:
    settings = typed(compose("prep", ["data=twin-round1"])["data"], twin.Settings, "data")
    (path,) = twin.sources(settings, [], tmp_path, Silent())
    module = calibration()
    missed = [found for found in module.quantities(module.raw_text(path)) if not found.holds]
    assert not missed


def test_round_2_has_its_own_days_and_rates() -> None:
    world = twin.World.drawn(settings_of("data.profile=round2"))
    day = (world.seconds + 8 * 3600) // 86400 - twin.marginals.ROUND2.first_day
    assert len(np.unique(day)) == 8
    hours = (world.seconds + 8 * 3600) % 86400 // 3600
    assert hours[day == 7].max() == 11
    for k, rate in enumerate(twin.marginals.ROUND2.day_rates or ()):
        assert world.probability[day == k].mean() == pytest.approx(rate, rel=0.15)

"""Domain definitions keep the settings of the prepared data, except the domain."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.errors import DataError
from adasparse_cli.runs.prepare import plan_prep, run_prep
from adasparse_cli.studies.domain_definitions import plan_definitions, run_definitions
from adasparse_cli.typed import plain
from tests.earlier import data_of_before


@pytest.mark.parametrize("earlier", [False, True], ids=["of today", "of an earlier version"])
def test_definitions_keep_the_settings_of_prepared_data_that_are_named_only(tmp_path: Path, earlier: bool) -> None:
    table = tmp_path / "a.csv"
    table.write_text("y,site,dev,tags\n" + "".join(f"{k % 2},s{k % 3},d{k % 4},a|b{k % 5}\n" for k in range(90)))
    named = ["data=tabular", "data.name=mine", f"paths.data={tmp_path}"]
    own = [f"raw={table}", "data.label=y", "data.domain=[site]", "data.split=random", "data.kinds={tags: multi_valued}"]
    manifest = run_prep(plan_prep([*named, *own])).manifest
    settings = dict(manifest.settings)
    if earlier:
        data_of_before(tmp_path / "mine", lacking=("header", "encoding", "test_files"))
    job = plan_definitions([*named, "model=adasparse", f"paths.studies={tmp_path}"], fields=["site", "dev"], seeds=1)
    assert [definition.name for definition in job.definitions] == ["one domain", "site", "site × dev"]
    finest = {"name": f"mine-by-site-dev-{manifest.fingerprint[:8]}", "domain": ["site", "dev"]}
    for definition, other in zip(job.definitions, ({}, {}, finest), strict=True):
        (one,) = definition.jobs
        assert plain(one.data.settings) == settings | other
        assert one.data.raw == (table,)


def test_other_definitions_are_refused_once_the_raw_file_has_changed(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("y,site,dev\n" + "".join(f"{k % 2},s{k % 3},d{k % 4}\n" for k in range(90)))
    named = ["data=tabular", "data.name=mine", f"paths.data={tmp_path}"]
    run_prep(plan_prep([*named, f"raw={table}", "data.label=y", "data.domain=[site]"]))
    table.write_text("y,site,dev\n" + "".join(f"{k % 2},s{k % 3},d{k % 4}\n" for k in range(80)))
    job = plan_definitions([*named, "model=adasparse", f"paths.studies={tmp_path}"], fields=["site", "dev"], seeds=1)
    with pytest.raises(DataError, match=r"a.csv has changed since .*mine was prepared from it"):
        run_definitions(job)


@pytest.mark.parametrize(("sites", "found"), [(1, "1 of the 1"), (2, "0 of the 2")], ids=["one domain", "of one class"])
def test_nothing_is_trained_where_there_is_nothing_to_compare(tmp_path: Path, sites: int, found: str) -> None:
    table = tmp_path / "a.csv"
    rows = [f"{k % 2},s{k % sites},d{k % 3}" for k in range(200)]
    table.write_text("\n".join(["y,site,dev", *rows]) + "\n")
    words = [
        "data=tabular",
        "data.name=mine",
        f"paths.data={tmp_path}",
        f"paths.studies={tmp_path}",
        f"paths.runs={tmp_path}",
    ]
    run_prep(plan_prep([*words[:3], f"raw={table}", "data.label=y", "data.domain=[site]", "data.split=random"]))
    with pytest.raises(DataError, match=f"only {found} test domains of mine"):
        plan_definitions([*words, "model=adasparse"], fields=[], seeds=3)

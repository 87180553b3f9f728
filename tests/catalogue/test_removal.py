"""Only a run's own folder is removed: in its place, reached without links, and with nothing else in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.catalogue.removal import remove_run, require_removable, warnings_of
from adasparse_cli.errors import UsageError
from tests.runs.runs_made import made, study_of

NAME = "20260101T000000Z-s0"


def test_a_run_is_removed_with_all_that_it_holds(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", NAME)
    for name in ("findings/overlap/pairs.csv", "checkpoints/last/step-3.safetensors", ".report.json.tmp123"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    remove_run(run, tmp_path / "runs")
    assert not run.exists()


@pytest.mark.parametrize("name", ["thesis.odt", "findings/thesis.csv.odt", "checkpoints/best/notes.txt", ".secret"])
def test_a_folder_with_a_file_that_is_not_a_runs_is_kept_and_the_file_named(tmp_path: Path, name: str) -> None:
    run = made(tmp_path / "runs", NAME)
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("years of work")
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        remove_run(run, tmp_path / "runs")
    assert (run / name).read_text() == "years of work"
    assert (run / "config.yaml").exists()


@pytest.mark.parametrize("place", ["..", "../elsewhere/twin/dnn", "twin", "twin/dnn/deeper"])
def test_a_folder_elsewhere_is_no_run_of_ours(tmp_path: Path, place: str) -> None:
    run = made(tmp_path / "runs", NAME, place=place)
    with pytest.raises(UsageError, match="is not a run folder of"):
        remove_run(run, tmp_path / "runs")
    with pytest.raises(UsageError, match="is not a run folder of"):
        remove_run(made(tmp_path / "runs", "my-thesis"), tmp_path / "runs")
    assert (run / "config.yaml").exists()


@pytest.mark.parametrize("linked", ["run", "model", "inside"])
def test_links_are_never_followed(tmp_path: Path, linked: str) -> None:
    other = made(tmp_path / "elsewhere", NAME)
    root = tmp_path / "runs"
    if linked == "run":
        (root / "twin/dnn").mkdir(parents=True)
        (root / "twin/dnn" / NAME).symlink_to(other)
    elif linked == "model":
        (root / "twin").mkdir(parents=True)
        (root / "twin/dnn").symlink_to(other.parent)
    else:
        (made(root, NAME) / "findings").symlink_to(other)
    with pytest.raises(UsageError, match=r"symbolic link|do not belong to a run"):
        remove_run(root / "twin/dnn" / NAME, root)
    assert (other / "config.yaml").exists()


def test_a_root_that_is_a_link_is_the_persons_own(tmp_path: Path) -> None:
    made(tmp_path / "large-disk", NAME)
    (tmp_path / "runs").symlink_to(tmp_path / "large-disk")
    require_removable(tmp_path / "runs/twin/dnn" / NAME, tmp_path / "runs")


def test_studies_that_use_a_run_are_named(tmp_path: Path) -> None:
    run, of_hpo = made(tmp_path / "runs", NAME), made(tmp_path / "runs", NAME[:-1] + "1", command="hpo")
    study_of(tmp_path / "studies", "ablation-twin-1", {"dnn": {0: run}})
    assert warnings_of(run, tmp_path / "studies") == ["the study arm ablation-twin-1/dnn uses this run"]
    assert warnings_of(of_hpo, tmp_path / "studies") == ["adasparse hpo trained this run, and finds it again"]
    assert warnings_of(run, tmp_path / "none") == []

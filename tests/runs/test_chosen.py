"""Which run is used: `latest` is a finished run that a person trained; anything else must be named, and is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.runs.chosen import choose_run, find_run
from tests.runs.runs_made import made, study_of


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return tmp_path / "studies"


@pytest.mark.parametrize("command", ["ablate", "compare", "sweep", "hpo", "analyze", "reproduce"])
def test_latest_skips_control_arms_runs_of_studies_and_runs_without_a_result(
    runs: Path, studies: Path, command: str
) -> None:
    own = made(runs, "20260101T000000Z-s0", "loop.learning_rate=0.5")
    made(runs, "20260102T000000Z-s0", command=command)
    made(runs, "20260103T000000Z-s0", "loop.placebo=true")
    made(runs, "20260104T000000Z-s0", state="")
    made(runs, "20260105T000000Z-s0", state="FAILED")
    for words in ("latest", None):
        chosen = choose_run(words, runs, studies)
        assert chosen.folder == own
        assert "loop.learning_rate=0.5" in chosen.line
        assert "skipped newer runs: 1 failed, 1 unfinished, 1 control arm, 1 of a study" in chosen.line
    assert chosen.to_json()["settings"] == ["loop.learning_rate=0.5"]
    assert find_run("latest", runs, studies) == own


def test_a_run_of_an_earlier_version_belongs_to_the_study_that_names_it_unless_train_made_it(
    runs: Path, studies: Path
) -> None:
    reused = made(runs, "20260101T000000Z-s0")
    unknown = made(runs, "20260102T000000Z-s0", command=None)
    study_of(studies, "ablation-twin-1", {"dnn": {0: reused}, "fusion": {0: unknown}})
    assert choose_run("latest", runs, studies).folder == reused
    assert choose_run("latest", runs, studies.with_name("none")).folder == unknown


def test_where_only_studies_have_runs_latest_is_refused_with_what_to_type(runs: Path, studies: Path) -> None:
    arm = made(runs, "20260101T000000Z-s0", command="ablate")
    study_of(studies, "ablation-twin-1", {"dnn": {3: arm, 1: made(runs, "20260101T000000Z-s1", command="ablate")}})
    with pytest.raises(UsageError, match="2 of a study") as caught:
        choose_run("latest", runs, studies)
    assert "ablation-twin-1/dnn" in caught.value.hint
    assert choose_run("ablation-twin-1/dnn", runs, studies).folder.name == "20260101T000000Z-s1"
    for words in ("ablation-twin-1", "ablation-twin-1/star"):
        with pytest.raises(UsageError) as caught:
            choose_run(words, runs, studies)
        assert "ablation-twin-1/dnn" in caught.value.hint


def test_the_latest_of_a_model_is_of_that_model(runs: Path, studies: Path) -> None:
    fusion = made(runs, "20260101T000000Z-s0", place="twin/adasparse-fusion")
    made(runs, "20260102T000000Z-s0", place="twin/adasparser")
    made(runs, "20260103T000000Z-s0", "loop.placebo=true", place="twin/adasparse-fusion-placebo")
    assert choose_run(None, runs, studies, model="adasparse").folder == fusion
    with pytest.raises(UsageError, match="no finished run of star"):
        choose_run(None, runs, studies, model="star")


@pytest.mark.parametrize(("state", "reason"), [("", "is unfinished"), ("FAILED", "is failed: the disk is full")])
def test_a_run_without_a_result_is_used_only_when_that_is_asked_for(
    runs: Path, studies: Path, state: str, reason: str
) -> None:
    run = made(runs, "20260101T000000Z-s0", state=state)
    for words in (str(run), run.name):
        with pytest.raises(UsageError, match=reason) as caught:
            choose_run(words, runs, studies)
        assert "--unfinished" in caught.value.hint
        assert "the best checkpoint so far is used" in choose_run(words, runs, studies, unfinished=True).line
    assert find_run(run.name, runs, studies) == run


def test_a_control_arm_that_is_named_is_used_and_called_one(runs: Path, studies: Path) -> None:
    run = made(runs, "20260101T000000Z-s0", "loop.placebo=true")
    assert "this is a control arm" in choose_run(run.name, runs, studies).line


def test_a_whole_part_of_a_path_goes_before_a_piece_of_one(runs: Path, studies: Path) -> None:
    fusion = made(runs, "20260101T000000Z-s0", place="twin/adasparse-fusion")
    made(runs, "20260102T000000Z-s0", "loop.placebo=true", place="twin/adasparse-fusion-placebo")
    assert find_run("adasparse-fusion", runs, studies) == fusion
    with pytest.raises(UsageError, match="2 runs match 'fusion'"):
        find_run("fusion", runs, studies)


def test_a_damaged_study_hides_no_run(runs: Path, studies: Path) -> None:
    run = made(runs, "20260101T000000Z-s0")
    study_of(studies, "torn", {"dnn": {0: run}}).joinpath("study.json").write_text('{"arms": [3]}')
    assert choose_run("latest", runs, studies).folder == run

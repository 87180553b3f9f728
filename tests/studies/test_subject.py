"""What a person names: a study or runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import write_sealed
from adasparse_cli.studies.study import STUDY, STUDY_VERSION
from adasparse_cli.studies.subject import find_subject
from tests.studies.test_comparison import run


def study(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    arms = []
    for arm in ("dnn", "star"):
        made = run(folder, arm, 0)
        (made / "DONE").touch()
        arms.append({"name": arm, "words": [], "runs": {"0": made.name}})
    told = {
        "study_version": STUDY_VERSION,
        "title": "t",
        "question": "q",
        "baseline": "dnn",
        "arms": arms,
        "failed": {},
    }
    write_sealed(folder / STUDY, told)
    return folder


def test_a_study_can_be_looked_at_from_another_baseline(tmp_path: Path) -> None:
    folder = study(tmp_path / "studies", "compare-a")
    where = {"runs": tmp_path / "runs", "studies": tmp_path / "studies"}
    assert find_subject([str(folder)], baseline=None, **where).comparison.baseline == "dnn"
    assert find_subject([], baseline="star", **where).comparison.baseline == "star"
    with pytest.raises(UsageError, match="is not an arm"):
        find_subject([], baseline="apg", **where)


def test_words_that_match_several_studies_say_so(tmp_path: Path) -> None:
    for name in ("compare-a", "compare-b"):
        study(tmp_path / "studies", name)
    with pytest.raises(UsageError, match="2 studies match 'compare'"):
        find_subject(["compare"], baseline=None, runs=tmp_path / "runs", studies=tmp_path / "studies")


def test_a_torn_study_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = study(tmp_path / "studies", "compare-a") / STUDY
    path.write_text(path.read_text()[:-9])
    with pytest.raises(IntegrityError, match=r"study\.json is damaged") as caught:
        find_subject([], baseline=None, runs=tmp_path / "runs", studies=tmp_path / "studies")
    assert "it reuses finished runs" in caught.value.hint

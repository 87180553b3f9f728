"""The log of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.errors import DiskFullError
from adasparse_cli.runs.run_results import log, logged

FULL = Path("/dev/full")


def end_with(error: Exception, folder: Path) -> None:
    with logged(folder):
        log.info("%s", "began")
        raise error


def test_lines_and_the_error_that_ends_a_run_are_logged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such thing"):
        end_with(ValueError("no such thing"), tmp_path)
    assert [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()] == [
        "INFO began",
        "ERROR ValueError: no such thing",
    ]


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_log_on_a_full_disk_does_not_hide_the_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").symlink_to(FULL)
    with pytest.raises(DiskFullError, match="checkpoint"):
        end_with(DiskFullError("checkpoint could not be written, the disk is full", hint="", needed=1), tmp_path)
    assert capfd.readouterr() == ("", "")

"""A file that a person names is written only where nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.scoring.output import predictions_name, require_output
from tests.runs.runs_made import made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clicks.2024-01-01.csv", "clicks.2024-01-01.predictions.csv"),
        ("clicks.2024-01-02.csv.gz", "clicks.2024-01-02.predictions.csv"),
        ("round1.a.b.txt", "round1.a.b.predictions.csv"),
        ("x.ZIP", "x.predictions.csv"),
        ("new", "new.predictions.csv"),
        ("a.v2", "a.v2.predictions.csv"),
        (".csv", ".csv.predictions.csv"),
    ],
)
def test_predictions_keep_the_whole_name_of_their_file(name: str, expected: str) -> None:
    assert str(predictions_name(Path("logs") / name)) == expected


@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link", "other spelling", "link to be"])
def test_an_input_is_never_the_output_whatever_is_asked_for(tmp_path: Path, how: str) -> None:
    source, output = tmp_path / "new.csv", tmp_path / "out.csv"
    source.write_text("a\n1\n")
    if how == "itself":
        output = source
    elif how == "symbolic link":
        output.symlink_to(source)
    elif how == "hard link":
        os.link(source, output)
    elif how == "other spelling":
        output = tmp_path / "x" / ".." / "new.csv"
    else:
        source.unlink()
        output.symlink_to(source)
    with pytest.raises(UsageError, match="is also the input"):
        require_output(output, inputs=[source], overwrite=True)


def test_nothing_is_overwritten_unless_that_is_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    require_output(output)
    output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists") as caught:
        require_output(output)
    assert "--overwrite" in caught.value.hint
    require_output(output, overwrite=True)


def test_no_file_goes_into_a_folder_of_a_run_or_of_prepared_data(tmp_path: Path) -> None:
    run = made(tmp_path / "runs", "20260101T000000Z-s0")
    data = tmp_path / "data" / "clicks"
    (data / "train").mkdir(parents=True)
    for name in ("manifest.json", "domains.parquet"):
        (data / name).write_text("")
    for output in (run / "predictions.parquet", run / "findings/x.csv", data / "train/part-0.parquet"):
        with pytest.raises(UsageError, match="is inside the folder of"):
            require_output(output, overwrite=True)
    require_output(run / "report.html", own="report.html")
    require_output(tmp_path / "data" / "out.csv")

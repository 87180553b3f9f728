"""What a killed preparation leaves beside its data, and what the next command makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.files import only_owner
from adasparse_cli.prepared.place import owner_folder, prepared_folders, put_in_place, recover, work_folder


def made(folder: Path, content: str | None) -> Path:
    """A data folder; without content it is not complete."""
    folder.mkdir(parents=True)
    (folder / "part").write_text(content or "half")
    if content is not None:
        (folder / "manifest.json").write_text(content)
    return folder


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name not in ("clicks", ".clicks.owner"))


def test_new_data_take_the_place_of_old_ones(tmp_path: Path) -> None:
    folder = made(tmp_path / "clicks", "old")
    made(work_folder(folder), "new")
    put_in_place(folder)
    assert (folder / "part").read_text() == "new"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("there", "old", "new", "found"),
    [
        (None, "old", "new", "new"),  # killed between the two renames
        (None, "old", None, "old"),  # the new ones were removed since
        ("new", "old", None, "new"),  # killed while the old ones were removed
        ("old", None, "new", "old"),  # killed before the first rename
        (None, None, "new", None),  # nothing was replaced: prepared again
    ],
)
def test_a_killed_swap_loses_no_data(
    tmp_path: Path, there: str | None, old: str | None, new: str | None, found: str | None
) -> None:
    folder = tmp_path / "clicks"
    for place, content in ((folder, there), (tmp_path / ".clicks.old", old), (work_folder(folder), new)):
        if content is not None:
            made(place, content)
    assert [one.name for one in prepared_folders(tmp_path)] == ([] if found is None else ["clicks"])
    recover(folder)
    assert (folder / "part").read_text() == found if found else not folder.exists()
    assert hidden(tmp_path) == []


def test_a_preparation_under_way_is_left_alone(tmp_path: Path) -> None:
    folder = made(tmp_path / "clicks", "old")
    made(work_folder(folder), None)
    with only_owner(owner_folder(folder)):
        recover(folder)
    assert hidden(tmp_path) == [".clicks.preparing"]

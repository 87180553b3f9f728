"""One bit flipped in any file of prepared data, a run or a study is found before a number is shown."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adasparse_cli.catalogue.verify import verify_data
from adasparse_cli.errors import IntegrityError
from adasparse_cli.studies.subject import verify_subject
from tests.commands.typing_in import adasparse
from tests.earlier import data_of_before, run_of_before, study_of_before
from tests.faults.made import TINY, Made


@contextlib.contextmanager
def flipped(path: Path, draw: random.Random) -> Iterator[str]:
    """A file with one bit flipped, as it was afterwards."""
    whole = path.read_bytes()
    place, bit = draw.randrange(len(whole)), draw.randrange(8)
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        yield f"{path}: bit {bit} of byte {place}"
    finally:
        path.write_bytes(whole)


def test_a_flipped_bit_in_any_file_is_found_before_a_number_is_shown(
    made: Made, attacks: Callable[[int, int], int]
) -> None:
    draw = random.Random(14)
    kinds: dict[str, list[Path]] = {}
    for path in made.files:
        kinds.setdefault(made.kind(path), []).append(path)
    missed = []
    order = sorted(kinds)
    for number in range(attacks(3000, 60)):
        path = draw.choice(kinds[order[number % len(order)]])
        readers = made.readers(path)
        with flipped(path, draw) as where:
            missed += [where for reader in readers if not found_by(reader, path)]
    assert not missed, f"{len(missed)} flips were not found: {missed[:10]}"


def found_by(reader: Callable[[], object], path: Path) -> bool:
    """Whether a reader refuses a file, by its name or that of its checkpoint."""
    try:
        reader()
    except IntegrityError as error:
        return bool(error.hint) and (path.name in error.message or str(path.parent) in error.message)
    return False


def test_files_that_are_not_damaged_are_read(made: Made) -> None:
    """Else the attack would prove nothing."""
    for path in {made.kind(path): path for path in made.files}.values():
        for reader in made.readers(path):
            reader()
    checked = verify_data(made.data) + verify_subject(made.source)
    assert checked == len(made.files) - 3, (
        "all but study.json and table.json, which were checked as the study was opened, and the trials of a search"
    )


COMMANDS = {
    "data/manifest.json": ("data", "show", "twin"),
    "data/domains.parquet": ("data", "show", "twin"),
    "data/test/part-00000.parquet": ("evaluate", "RUN"),
    "data/truth/rows.parquet": ("evaluate", "RUN"),
    "data/train/part-00000.parquet": ("train", *TINY, "model=dnn", "seed=9"),
    "data/vocabularies/*.parquet": ("predict", "RUN", "RAW"),
    "runs/config.yaml": ("evaluate", "RUN"),
    "runs/report.json": ("runs", "show", "RUN"),
    "runs/predictions.parquet": ("report", "RUN"),
    "runs/metrics.jsonl": ("report", "RUN"),
    "runs/domains.csv": ("report", "RUN"),
    "runs/environment.json": ("report", "RUN"),
    "runs/DONE": ("runs", "show", "RUN"),
    "runs/findings/overlap/finding.json": ("report", "RUN"),
    "data/rejects.parquet": ("data", "verify", "twin"),
    "data/bags/*.parquet": ("train", "--resume", *TINY, "model=dnn", "seed=9"),
    "runs/checkpoints/last/checkpoint.json": ("evaluate", "RUN", "--verify"),
    "runs/train.log": ("runs", "verify", "RUN"),
    "studies/study.json": ("report", "STUDY"),
    "studies/table.json": ("report", "STUDY"),
    "studies/findings/exposure/finding.json": ("report", "STUDY"),
}


def test_commands_end_with_exit_4_and_show_nothing(made: Made, attacks: Callable[[int, int], int]) -> None:
    draw = random.Random(15)
    places = {"RUN": str(made.run), "STUDY": str(made.study), "RAW": str(made.raw())}
    for kind in draw.sample(sorted(COMMANDS), attacks(len(COMMANDS), 5)):
        path = draw.choice(
            [p for p in made.files if made.kind(p) == kind and (kind[:4] != "runs" or made.run in p.parents)]
        )
        with flipped(path, draw) as where:
            done = adasparse(made.home, *(places.get(word, word) for word in COMMANDS[kind]), code=4)
        assert done.stdout == "", where
        assert path.name in done.stderr.replace("\n", ""), where


def test_what_earlier_versions_left_is_still_read(made: Made, tmp_path: Path) -> None:
    for room in ("data", "runs", "studies"):
        shutil.copytree(made.home / room, tmp_path / room)
    places = [tmp_path / path.relative_to(made.home) for path in (made.data, *made.runs, made.study)]
    data_of_before(places[0])
    for run in places[1:-1]:
        run_of_before(run)
    study_of_before(places[-1])
    run = next(path for path in places[1:-1] if "adasparse" in str(path))
    adasparse(tmp_path, "data", "show", "twin")
    before = json.loads((made.run / "report.json").read_text())["metrics"]["test"]
    again = json.loads(adasparse(tmp_path, "evaluate", str(run), "--split", "test", "--json").stdout)
    assert again["metrics"]["test"] == pytest.approx(before)
    adasparse(tmp_path, "report", str(places[-1]), "--verify")
    assert "have no checksum" in adasparse(tmp_path, "runs", "verify", str(run)).stdout

"""JSON files with a right checksum and a value of another type, as another version or an editor may leave them.

Every command either does without the value or ends with a named error; none shows a traceback.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.checkpoints.checkpoint import tensors_digest
from adasparse_cli.files import checksums, write_json, write_sealed
from adasparse_cli.runs.run_folder import finish
from tests.commands.typing_in import adasparse
from tests.faults.made import TINY, Made

# Of each kind of file, the commands that read it.
COMMANDS = {
    "data/manifest.json": [("data", "show", "twin"), ("evaluate", "RUN"), ("train", *TINY, "model=dnn")],
    "data/findings.json": [("data", "show", "twin")],
    "runs/encoder/manifest.json": [("predict", "RUN", "RAW", "-o", "OUT", "--overwrite")],
    "runs/report.json": [("runs", "show", "RUN"), ("runs", "ls"), ("report", "RUN"), ("report", "STUDY")],
    "runs/environment.json": [("report", "RUN"), ("runs", "ls"), ("evaluate", "RUN")],
    "runs/checkpoints/best/checkpoint.json": [("evaluate", "RUN")],
    "runs/DONE": [("runs", "show", "RUN"), ("runs", "ls")],
    "runs/metrics.jsonl": [("report", "RUN")],
    "runs/findings/overlap/finding.json": [("report", "RUN")],
    "studies/study.json": [("report", "STUDY"), ("runs", "ls")],
    "studies/table.json": [("report", "STUDY")],
    "studies/findings/exposure/finding.json": [("report", "STUDY")],
}
OTHERS: tuple[Any, ...] = (None, True, 7, 0.5, "x", [], [None], ["x"], {}, {"x": None})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree of JSON."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def kind_of(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def with_other(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A tree in which the value at a path is another one."""
    found = copy.deepcopy(value)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other
    return found


def write(path: Path, made: Made, values: Any) -> None:
    """Write a file, and the checksums that cover it, as if it had been written so."""
    if path.name == "metrics.jsonl":
        path.write_text("".join(json.dumps(line) + "\n" for line in values))
    elif path.name == "checkpoint.json":
        write_json(path, {**values, "index_sha256": tensors_digest(values)} if isinstance(values, dict) else values)
    elif path.name in ("report.json", "table.json", "findings.json"):
        write_json(path, values)
    else:
        write_sealed(path, values)
    run = next((run for run in made.runs if run in path.parents), None)
    if run is not None and path.name != "DONE" and "findings" not in path.parts:
        finish(run)
    elif path.name in ("table.json", "findings.json"):
        owner = made.study / "study.json" if path.name == "table.json" else made.data / "manifest.json"
        known = json.loads(owner.read_text())
        known.pop("checksum")
        known["files"] |= checksums(path.parent, [path])
        write_sealed(owner, known)


def read(path: Path) -> Any:
    text = path.read_text()
    if path.name == "metrics.jsonl":
        return [json.loads(line) for line in text.splitlines()]
    values = json.loads(text)
    if isinstance(values, dict):
        values.pop("checksum", None)
        values.pop("index_sha256", None)
    return values


@contextmanager
def edited(path: Path, made: Made, values: Any) -> Iterator[None]:
    kept = {
        own: own.read_bytes() for own in made.all_files() if own.suffix in (".json", ".jsonl") or own.name == "DONE"
    }
    try:
        write(path, made, values)
        yield
    finally:
        for own, content in kept.items():
            own.write_bytes(content)


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_value_of_another_type_is_named_or_not_needed(
    made: Made,
    attacks: Callable[[int, int], int],
    kind: str,
    tmp_path: Path,
) -> None:
    draw, faults = random.Random(kind), []
    path = next(
        path for path in made.files if made.kind(path) == kind and (kind[:4] != "runs" or made.run in path.parents)
    )
    whole = read(path)
    found = list(places(whole))
    named = {"RUN": str(made.run), "STUDY": str(made.study), "RAW": str(made.raw()), "OUT": str(tmp_path / "out.csv")}
    for _ in range(attacks(40, 1)):
        place = draw.choice(found)
        other = draw.choice([one for one in OTHERS if kind_of(one) != kind_of(at(whole, place))])
        values = with_other(whole, place, other)
        with edited(path, made, values):
            for words in COMMANDS[kind]:
                done = adasparse(made.home, *(named.get(word, word) for word in words), code=None)
                if done.returncode not in (0, 2, 3, 4) or "Traceback" in done.stderr:
                    shown = re.sub(r"\s+", " ", done.stderr)[-300:]
                    faults.append(
                        f"{kind} {'.'.join(map(str, place))}={other!r}: {' '.join(words[:2])}: exit {done.returncode}: {shown}"
                    )
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults[:40])

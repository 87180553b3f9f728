"""The house's rules: imports point down, the package list is whole, only the top floors print."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adasparse_cli.catalogue.public_data import known_data
from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import offered

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "adasparse_cli"
FLOORS = {
    "errors": -1, "choices": -1,  # the ground that floor 0 itself stands on
    "command_line": 0, "lazily": 0, "schema": 0, "files": 0, "foreign": 0, "typed": 0, "columns": 0, "batches": 0, "metrics": 0,
    "config": 1, "cluster": 1, "findings": 1, "raw": 1, "layers": 1, "prepared": 1, "numpy_engine": 1,
    "machine": 2, "prep": 2, "page": 2, "models": 2, "distributed": 2,
    "tables": 3, "spark": 3, "rows": 3, "checkpoints": 3, "analysis": 3, "serving": 3,
    "data_prep": 4, "training": 4, "exporting": 4, "server": 4,
    "runs": 5, "testing": 5,
    "scoring": 6, "execution": 6,
    "catalogue": 7, "neurons": 7,
    "studies": 8, "terminal": 8,
    "search": 9, "insights": 9,
    "paper": 10,
    "api": 11, "commands": 11, "study_commands": 11,
    "app": 12,
}  # fmt: skip
LONGEST_ROOM, LONGEST_FILE = 2500, 400  # lines


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).parts[0].removesuffix(".py"), path
    for path in sorted((ROOT / "data_prep").rglob("*.py")):
        yield "data_prep", path


def imported(path: Path) -> Iterator[str]:
    """Rooms of the project that a file imports from; type-checking imports count too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adasparse_cli"):
            inner = (node.module or "").split(".")[1:]
            yield from [inner[0]] if inner else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("adasparse_cli"), f"{path}: import from it instead"


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda value: getattr(value, "stem", str(value)))
def test_imports_point_down(room: str, path: Path) -> None:
    if room in ("__init__", "__main__"):
        return
    for other in imported(path):
        if other in (room, "__version__"):
            continue
        # nothing finds a recipe but by its name
        assert other != "data_prep" or room == "data_prep", f"{path} imports a recipe"
        assert FLOORS[other] < FLOORS[room], f"{path.relative_to(ROOT)} imports {other}, which is not below it"


def test_the_package_list_holds_every_folder() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(("adasparse_cli", *path.parent.relative_to(SOURCE).parts)) for path in SOURCE.rglob("__init__.py")
    }
    for name in ("conf", "data_prep"):
        for path in (ROOT / name).rglob("__init__.py"):
            found.add(".".join(("adasparse_cli", *path.parent.relative_to(ROOT).parts)))
    assert listed == found
    with_yaml = {
        ".".join(("adasparse_cli", *path.parent.relative_to(ROOT).parts)) for path in (ROOT / "conf").rglob("*.yaml")
    }
    assert with_yaml <= set(project["tool"]["setuptools"]["package-data"])


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_composes(path: Path) -> None:
    parts = path.relative_to(ROOT / "conf").with_suffix("").parts
    if len(parts) == 1:
        assert compose(parts[0], [])
    elif parts[0] == "about":
        assert known_data()  # read by listings alone
    elif parts[-1] != "common":
        group, name = parts
        assert name in offered(group)
        if group == "experiment":
            assert compose(f"{group}/{name}", [])[group]["arms"]
            return
        if group == "search":  # not part of a configuration; tests/search/test_tune.py reads each
            return
        assert compose("train", [f"{group}={name}"])[group]


def test_only_commands_render_progress_and_app_print() -> None:
    for room, path in modules():
        prints = room in ("commands", "study_commands", "app") or path.stem in ("render", "progress")
        if not prints:
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
            assert "print" not in names, path


def test_no_room_and_no_file_is_too_long_to_read() -> None:
    """A room of the package has at most 2,500 lines, a file 400. The world of the twin has a folder of its own in data_prep."""
    rooms: Counter[str] = Counter()
    files: dict[str, int] = {}
    for room, path in modules():
        number = len(path.read_text(encoding="utf-8").splitlines())
        rooms[path.parent.name if room == "data_prep" else room] += number
        files[str(path.relative_to(ROOT))] = number
    assert {"twin_world", "models", "app"} <= rooms.keys()
    assert {room: number for room, number in rooms.items() if number > LONGEST_ROOM} == {}
    assert {name: number for name, number in files.items() if number > LONGEST_FILE} == {}


def test_the_readmes_tree_names_what_is_there_and_nothing_else() -> None:
    readme = (ROOT / "README.md").read_text()
    tree = readme.split("```text\n", 1)[1].split("```", 1)[0]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()}
    rooms = {path.name for path in SOURCE.iterdir() if not path.name.startswith(("__", "py.typed"))}
    tops = {
        "conf",
        "data_prep",
        "src/adasparse_cli",
        "tests",
        "benchmarks",
        "docs",
        "pyproject.toml",
        "constraints.txt",
    }
    assert rooms | tops <= named, (rooms | tops) - named
    for name in named - {"…"}:
        places = [ROOT / name, SOURCE / name, ROOT / "conf" / name, ROOT / "docs" / name, ROOT / "data_prep" / name]
        assert any(place.exists() for place in places), name


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_nothing_outside_the_package_uses_its_private_names(folder: str) -> None:
    private = re.compile(r"_[a-z]\w*")
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adasparse_cli"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if private.fullmatch(name)], path

"""Files that were made to do harm: each runs nothing, writes nothing outside its folder, and ends with a named error.

Every attack is built by the test itself and run in a process with limits on memory, time and disk.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import select
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from adasparse_cli.checkpoints.checkpoint import tensors_digest
from adasparse_cli.files import read_sealed, sha256_of, write_sealed
from adasparse_cli.runs.run_folder import finish
from tests.commands.typing_in import ENVIRONMENT

ROOT = Path(__file__).parents[2]
SECONDS = 10
TABLE = ("data=tabular", "data.label=clicked", "data.domain=[country]")
SMALL = ("network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256", "loop.epochs=1")
MARKUP = "<script>canary</script>"


@dataclass(frozen=True)
class Ended:
    code: int
    said: str
    seen: str
    seconds: float


class Machine:
    """Runs commands in processes with limits; see malicious_server.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.malicious_server"],
            cwd=ROOT,
            env={**ENVIRONMENT, "POLARS_MAX_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, home: Path, *words: str, seconds: int = 120) -> Ended:
        log, seen = self.folder / "log", self.folder / "seen"
        asked = {
            "folder": str(home),
            "words": words,
            "seconds": seconds,
            "log": str(log),
            "seen": str(seen),
            "modules": str(self.folder / "modules"),
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        started = time.monotonic()
        self.server.stdin.write(json.dumps(asked).encode() + b"\n")
        self.server.stdin.flush()
        if not select.select([self.server.stdout], [], [], seconds + 60)[0]:
            self.close()
            raise AssertionError(f"{words} did not end in {seconds} s: {log.read_text()}")
        code = int(self.server.stdout.readline())
        return Ended(code, log.read_text(errors="replace"), seen.read_text(), time.monotonic() - started)

    def close(self) -> None:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), 9)
        self.server.kill()
        self.server.communicate()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("malicious")


@pytest.fixture(scope="module")
def machine(place: Path) -> Iterator[Machine]:
    (place / "modules" / "canary").mkdir(parents=True)
    (place / "modules" / "canary" / "__init__.py").write_text("open('canary-ran', 'w')\n")
    (place / "modules" / "canary" / "recipe.py").write_text("")
    started = Machine(place)
    yield started
    started.close()


@pytest.fixture(scope="module")
def home(machine: Machine, place: Path) -> Path:
    """A folder with a prepared table, a run and a study, to be copied and spoilt."""
    folder = place / "home"
    folder.mkdir()
    _write_table(folder / "clicks.csv")
    for words in (
        ("prep", *TABLE, "raw=clicks.csv", "data.name=clicks"),
        ("train", *TABLE, "data.name=clicks", "--model", "dnn", *SMALL),
    ):
        done = machine.run(folder, *words)
        assert done.code == 0, done.said
    return folder


def _write_table(path: Path, country: str = "c") -> None:
    rows = "".join(f"{country}{k % 3},a{k % 7},{int(k % 5 == 0)}\n" for k in range(600))
    path.write_text("country,ad,clicked\n" + rows)


def _run(home: Path) -> Path:
    return next(home.glob("runs/*/*/*"))


Build = Callable[[Path], tuple[str, ...]]
ATTACKS: dict[str, tuple[Build, set[int], str]] = {}


def attack(code: int, says: str = "") -> Callable[[Build], Build]:
    """An attack: it builds its files in a copy of `home` and returns the words of the command that meets them."""

    def known(build: Build) -> Build:
        ATTACKS[build.__name__] = (build, {code}, says)
        return build

    return known


# --- settings -------------------------------------------------------------------------------------------------------


def _words(name: str, *words: str, says: str = "is not allowed") -> None:
    ATTACKS[name] = (lambda home: ("config", "show", *words), {2}, says)


_words("env_with_a_space", "data.name=${ oc.env:SECRET}")
_words("env_by_escapes", r"data.name=$\{oc.env:SECRET\}")
_words("env_in_a_mapping", "data=tabular", "data.roles={a: '${oc.env:SECRET}'}")
_words("env_as_a_choice", "data=${oc.env:SECRET}")
_words("resolver_by_name", "data.name='${oc.${seed}:SECRET}'")
_words("resolvers_of_hydra", "data.name='${hydra:runtime.cwd}'")
_words("package_of_hydra", "hydra.searchpath=[pkg://canary]", says="not a setting")
_words("nesting_in_words", "data.name=" + "[" * 2000, says="cannot be read")


def _file(name: str, text: Callable[[], str], says: str = "") -> None:
    def build(home: Path) -> tuple[str, ...]:
        (home / "bad.yaml").write_text(text())
        return ("config", "validate", "bad.yaml")

    ATTACKS[name] = (build, {2}, says)


def _doubling(line: str) -> str:
    return "\n".join(line.format(k, k - 1) for k in range(1, 40))


_file("env_in_a_file", lambda: "data: {name: '${oc.env:SECRET}'}\n", "is not allowed")
_file("target_in_a_file", lambda: "model: {_target_: os.system, command: touch canary-ran}\n")
_file("hydra_in_a_file", lambda: "hydra: {searchpath: ['pkg://canary']}\n", "not a setting")
_file("python_tag", lambda: "a: !!python/object/apply:os.system ['touch canary-ran']\n", "the tag")
_file("aliases", lambda: "a0: &a0 [x, x]\n" + _doubling("a{0}: &a{0} [*a{1}, *a{1}]"), "an alias")
_file("merged_keys", lambda: "a0: &a0 {x: 1}\n" + _doubling("a{0}: &a{0} {{<<: [*a{1}, *a{1}]}}"), "an alias")
_file("alias_of_itself", lambda: "a: &a [*a]\n", "an alias")
_file("nesting_in_yaml", lambda: "a: " + "[" * 100_000, "nested deeper")
_file("long_number", lambda: "seed: " + "1" * 100_000)
_file("large_file", lambda: "a: 1\n" * 10**6, "larger than")
_file("many_keys", lambda: "data:\n" + "".join(f"  k{k}: 1\n" for k in range(10_000)), "at most")
_file(
    "doubling_references",
    lambda: "data:\n  a0: xx\n" + _doubling("  a{0}: '${{data.a{1}}}${{data.a{1}}}'"),
    "is not allowed",
)
_file("nul_in_a_path", lambda: 'raw: ["a\\0b"]\n', "NUL")
_file("place_in_etc", lambda: "paths: {data: /etc/canary}\ndata: {rows: -1}\n")


@attack(2, "not a regular file")
def settings_from_a_pipe(home: Path) -> tuple[str, ...]:
    os.mkfifo(home / "bad.yaml")
    return ("config", "validate", "bad.yaml")


@attack(2, "not a regular file")
def settings_from_a_device(home: Path) -> tuple[str, ...]:
    return ("train", "--config", "/dev/zero")


# --- modules --------------------------------------------------------------------------------------------------------


@attack(2, "not the name of a module")
def recipe_by_path(home: Path) -> tuple[str, ...]:
    return ("prep", *TABLE, "data.recipe=../../canary", "raw=clicks.csv")


@attack(2, "a module of Python itself")
def recipe_of_python(home: Path) -> tuple[str, ...]:
    return ("prep", *TABLE, "data.recipe=antigravity.x", "raw=clicks.csv")


@attack(2, "canary.recipe names a module")
def refused_module_in_words(home: Path) -> tuple[str, ...]:
    return ("prep", *TABLE, "data.recipe=canary.recipe", "raw=clicks.csv", "--no-modules")


@attack(2, "canary.recipe names a module")
def refused_module_of_a_run(home: Path) -> tuple[str, ...]:
    _in_config(home, "recipe: tabular", "recipe: canary.recipe")
    return ("evaluate", "latest", "--no-modules")


@attack(4, "unknown model os.system")
def model_of_a_run(home: Path) -> tuple[str, ...]:
    _in_config(home, "name: dnn", "name: os.system")
    return ("evaluate", "latest")


@attack(4)
def tag_in_a_run(home: Path) -> tuple[str, ...]:
    _in_config(home, "seed: 0", "seed: !!python/object/apply:os.system ['touch canary-ran']")
    return ("evaluate", "latest")


def _in_config(home: Path, old: str, new: str) -> None:
    path = _run(home) / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    finish(_run(home))  # who makes a run to do harm gives it the right checksums


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _checkpoint(name: str, spoil: Callable[[Path], object], says: str = "") -> None:
    """Tensors of a run are replaced, and the index is written anew with the right checksums."""

    def build(home: Path) -> tuple[str, ...]:
        folder = _run(home) / "checkpoints" / "best"
        path = next(folder.glob("*.safetensors"))
        spoil(path)
        _index(folder, sha256=sha256_of(path))
        finish(_run(home))
        return ("evaluate", "latest")

    ATTACKS[name] = (build, {4}, says)


def _index(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "checkpoint.json").read_text())
    index.pop("index_sha256")
    index |= changes
    (folder / "checkpoint.json").write_text(json.dumps({**index, "index_sha256": tensors_digest(index)}))


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary-ran",)


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return spoil


def _header(text: str, length: int | None = None) -> Callable[[Path], object]:
    content = text.encode()
    return lambda path: path.write_bytes(
        struct.pack("<Q", len(content) if length is None else length) + content + bytes(16)
    )


def _overlap() -> str:
    return json.dumps(
        {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("model.a", "model.b")}
    )


_checkpoint("pickle", lambda path: path.write_bytes(pickle.dumps(_Payload())), "not a file of tensors")
_checkpoint("torch_pickle", lambda path: torch.save({"model.a": _Payload()}, path), "not a file of tensors")
_checkpoint("header_of_2_to_the_60", _header("{}", 2**60), "not a file of tensors")
_checkpoint("nested_header", _header('{"a":' * 50_000), "not a file of tensors")
_checkpoint("overlapping_tensors", _header(_overlap()), "not a file of tensors")
_checkpoint(
    "tensor_of_2_to_the_60",
    _header('{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,16]}}'),
    "not a file of tensors",
)
_checkpoint(
    "other_type", _tensors(lambda found: found.update({k: v.double() for k, v in found.items()})), "does not match"
)
_checkpoint("more_tensors", _tensors(lambda found: found.update({"model.canary": torch.zeros(3)})), "does not match")


@attack(4, "damaged")
def tensors_of_others(home: Path) -> tuple[str, ...]:
    folder = _run(home) / "checkpoints" / "best"
    path = next(folder.glob("*.safetensors"))
    shutil.move(path, home / "elsewhere.safetensors")
    _index(folder, tensors="../../../../../../elsewhere.safetensors")
    finish(_run(home))
    return ("evaluate", "latest")


@attack(4)
def tensors_from_a_pipe(home: Path) -> tuple[str, ...]:
    path = next((_run(home) / "checkpoints" / "best").glob("*.safetensors"))
    path.unlink()
    os.mkfifo(path)
    return ("evaluate", "latest")


@attack(4)
def nesting_in_a_checkpoint(home: Path) -> tuple[str, ...]:
    (_run(home) / "checkpoints" / "best" / "checkpoint.json").write_text("[" * 10**6)
    finish(_run(home))
    return ("evaluate", "latest")


# --- raw files ------------------------------------------------------------------------------------------------------


def _raw(name: str, write: Callable[[Path], object], file: str = "bad.csv", says: str = "", code: int = 3) -> None:
    def build(home: Path) -> tuple[str, ...]:
        write(home / file)
        return ("prep", *TABLE, f"raw={file}", "data.name=bad")

    ATTACKS[name] = (build, {code}, says)


def _gzip_of(line: bytes) -> Callable[[Path], None]:
    """Half a GiB in half a megabyte."""
    return lambda path: path.write_bytes(gzip.compress(b"country,ad,clicked\n") + gzip.compress(line * (64 << 20)) * 8)


def _zip_of(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def _linked(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def _absurd_parquet(path: Path) -> None:
    pl.DataFrame({"country": ["a", "b"], "ad": ["x", "y"], "clicked": ["0", "1"]}).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1")


def _absurd_thrift(path: Path) -> None:
    path.write_bytes(b"PAR1" + b"\x15\x02\x19\xfc" + b"\xff" * 60 + struct.pack("<I", 64) + b"PAR1")


_raw("device", lambda path: path.symlink_to("/dev/zero"), says="not a regular file")
_raw("pipe", lambda path: os.mkfifo(path), says="not a regular file")
_raw("loop_of_links", _linked)
_raw("zeros_without_end", _gzip_of(b"\0"), file="bad.csv.gz")
_raw("one_line_without_end", _gzip_of(b"x"), file="bad.csv.gz")
_raw(
    "zip_with_20000_files",
    lambda path: path.write_bytes(_zip_of(*((f"{k}.csv", b"") for k in range(20_000)))),
    file="bad.zip",
    says="20000 files",
)
_raw(
    "zip_in_a_zip", lambda path: path.write_bytes(_zip_of(("a.zip", _zip_of(("a.csv", b"\0" * 2**20))))), file="bad.zip"
)
_raw("zip_of_zeros", lambda path: path.write_bytes(_zip_of(("a.csv", b"\0" * (128 << 20)))), file="bad.zip")
_raw(
    "a_million_columns", lambda path: path.write_text(",".join(f"c{k}" for k in range(10**6)) + "\n1\n"), says="at most"
)
_raw("json_nesting", lambda path: path.write_text('{"a":' * 10**6 + "\n"), file="bad.ndjson")
_raw(
    "json_nesting_later",
    lambda path: path.write_text('{"country": "a", "ad": "x", "clicked": 1}\n' + '{"a":' * 10**6 + "\n"),
    file="bad.ndjson",
)
_raw("absurd_parquet", _absurd_parquet, file="bad.parquet")
_raw("absurd_thrift", _absurd_thrift, file="bad.parquet")


@attack(0)
def zip_that_leaves_its_folder(home: Path) -> tuple[str, ...]:
    """Nothing is unpacked to disk, so the name of the member is only a name."""
    (home / "bad.zip").write_bytes(_zip_of(("../../../canary-ran", (home / "clicks.csv").read_bytes())))
    return ("prep", *TABLE, "raw=bad.zip", "data.name=bad")


@attack(3, "not a regular file")
def pipe_to_score(home: Path) -> tuple[str, ...]:
    os.mkfifo(home / "new.csv")
    return ("predict", "latest", "new.csv")


# --- prepared data, runs, studies -----------------------------------------------------------------------------------


def _manifest(
    name: str,
    change: Callable[[dict[str, Any]], Any],
    code: int = 4,
    says: str = "",
    words: tuple[str, ...] = ("evaluate", "latest"),
) -> None:
    def build(home: Path) -> tuple[str, ...]:
        path = home / "data" / "clicks" / "manifest.json"
        values = read_sealed(path, "format_version", unsealed=None)
        change(values)
        write_sealed(path, values)
        return words

    ATTACKS[name] = (build, {code}, says)


_manifest("files_of_others", lambda found: found["files"].update({"../../../../../etc/passwd": "0" * 64}))
_manifest("absolute_files", lambda found: found["files"].update({"/dev/zero": "0" * 64}))
_manifest("data_by_path", lambda found: found.update(name="../../../canary"))
_manifest("list_in_a_manifest", lambda found: found.update(settings=[]), words=("data", "show", "clicks"), code=4)


@attack(4)
def pipe_in_data(home: Path) -> tuple[str, ...]:
    path = next((home / "data" / "clicks" / "test").glob("*.parquet"))
    path.unlink()
    os.mkfifo(path)
    return ("evaluate", "latest")


@attack(4)
def deep_report(home: Path) -> tuple[str, ...]:
    (_run(home) / "report.json").write_text("[" * 10**6)
    finish(_run(home))
    return ("report", _run(home).name)


@attack(4)
def report_from_a_pipe(home: Path) -> tuple[str, ...]:
    (_run(home) / "report.json").unlink()
    os.mkfifo(_run(home) / "report.json")
    return ("report", _run(home).name)


def _study(name: str, run: str, code: int = 4, says: str = "") -> None:
    def build(home: Path) -> tuple[str, ...]:
        folder = home / "studies" / "bad"
        folder.mkdir(parents=True)
        arms = [{"name": "dnn", "words": [], "runs": {"0": run}}]
        values = {
            "study_version": 2,
            "name": "bad",
            "title": MARKUP,
            "question": MARKUP,
            "baseline": "dnn",
            "arms": arms,
            "failed": {MARKUP: MARKUP},
            "data": {},
        }
        (folder / "study.json").write_text(json.dumps(values))
        return ("report", "bad")

    ATTACKS[name] = (build, {code}, says)


_study("study_of_etc", "/etc", says="not a finished run")
_study("study_of_parents", "../../../../../../../../etc", says="not a finished run")
_study("study_with_nul", "a\0b")
_study("study_of_a_long_name", "x" * 100_000)


NAMES = sorted(ATTACKS)


def test_there_are_at_least_twenty() -> None:
    assert len(NAMES) >= 20


def test_malicious_files_end_with_a_named_error_and_nothing_else(
    attacks: Callable[[int, int], int], machine: Machine, home: Path, tmp_path: Path
) -> None:
    number = attacks(len(NAMES), 8)
    faults = []
    for name in NAMES if number == len(NAMES) else NAMES[:: -(-len(NAMES) // number)]:
        build, codes, says = ATTACKS[name]
        folder = tmp_path / name
        shutil.copytree(home, folder)
        words = build(folder)
        ended = machine.run(folder, *words, seconds=30)
        right = ended.code in codes and says in ended.said.replace("\n", " ") and not ended.seen
        named = ended.code == 0 or ("error:" in ended.said and "hint:" in ended.said and "Traceback" not in ended.said)
        if not (
            right
            and named
            and ended.seconds < SECONDS
            and "the-secret" not in ended.said
            and not list(tmp_path.rglob("canary-ran"))
        ):
            faults.append(
                f"{name}: exit {ended.code} in {ended.seconds:.1f} s, seen {ended.seen[:300]!r}, said {ended.said[-600:]!r}"
            )
        for path in folder.rglob("*.gz"):
            path.unlink()
    assert not faults, "\n".join(faults)


def test_markup_in_every_text_of_the_page_is_shown_not_run(machine: Machine, tmp_path: Path) -> None:
    table = f"country{MARKUP},ad,clicked\n" + "".join(
        f"{MARKUP}{k % 3},a{k % 7},{int(k % 5 == 0)}\n" for k in range(600)
    )
    (tmp_path / "clicks.csv").write_text(table)
    words = ("data=tabular", "data.label=clicked", f"data.domain=['country{MARKUP}']", "data.name=clicks")
    for command in (
        ("prep", *words, "raw=clicks.csv"),
        ("train", *words, "--model", "dnn", *SMALL),
        ("report", "latest"),
    ):
        done = machine.run(tmp_path, *command)
        assert done.code == 0, done.said
    pages = list(tmp_path.rglob("*.html"))
    assert pages
    for page in pages:
        text = page.read_text()
        assert "canary" in text
        assert not re.search(r"<script>\s*canary", text)


def test_a_module_that_is_not_ours_is_named_before_it_is_imported(machine: Machine, home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    _in_config(tmp_path / "home", "recipe: tabular", "recipe: canary.recipe")
    ended = machine.run(tmp_path / "home", "evaluate", "latest")
    assert "data.recipe=canary.recipe: importing canary.recipe" in ended.said
    assert (tmp_path / "home" / "canary-ran").exists(), "the canary sings where a module is imported"

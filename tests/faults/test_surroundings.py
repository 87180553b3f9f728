"""Each command once in surroundings that are not those of a laptop: every one ends right, or with a named error.

Closed pipes and other encodings are the process's own file descriptors 1 and 2; the commands run in this process, which
has torch loaded already. What only a process of its own shows (a closed terminal, another locale) is typed apart.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
import typer

from adasparse_cli.app import app, main
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.runs.train import run_train
from adasparse_cli.search import hpo, tune
from adasparse_cli.studies import domain_definitions, study
from tests.commands.typing_in import ENVIRONMENT

TINY = ("network.hidden=[8]", "network.embedding_width=2", "loop.batch_size=512", "loop.epochs=1", "threads=1")
TABLE = ("data=tabular", 'raw="it\'s.csv"', 'data.label="clicked ü"', "data.domain=[shop]")
STRANGE = "with spaces ü 猫 [1] 'q' $x"
# Commands in their order; each uses what those before it left.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("prep", "data=twin", "data.rows=2500"),
    ("prep", *TABLE, "data.name=shops"),
    ("train", "--model", "dnn", *TINY),
    ("train", "--mode", "fusion", *TINY),
    ("evaluate", "latest"),
    ("predict", "latest", "data/twin/raw/twin_train.txt"),
    ("compare", "--models", "dnn,adasparse", "--seeds", "1", *TINY),
    ("ablate", "--dry-run", *TINY),
    ("sweep", "--seeds", "1", "model=dnn", "loop.learning_rate=0.001,0.002", *TINY),
    ("hpo", "--trials", "1", "model=dnn", "loop.learning_rate=0.001,0.002", *TINY),
    ("tune", "--models", "dnn", "--trials", "2", *TINY),
    ("analyze", "overlap", "--split", "train", "--min-rows", "20", "--permutations", "99"),
    ("analyze", "exposure"),
    ("analyze", "abtest", "latest", "latest", "--auctions", "50"),
    ("analyze", "sparsity", "--dry-run"),
    ("analyze", "domains", "--seeds", "1", "--fields", "hour", *TINY),
    ("report", "-o", "page.html"),
    ("reproduce", "--dry-run"),
    ("runs", "ls"),
    ("runs", "show", "latest"),
    ("runs", "verify", "latest"),
    ("models", "ls"),
    ("models", "show", "dnn"),
    ("models", "new", "my_model"),
    ("export", "latest", "--output", "exported"),
    ("data", "ls"),
    ("data", "about", "avazu"),
    ("data", "show", "twin"),
    ("data", "verify", "twin"),
    ("data", "rm", "shops", "--yes"),
    ("config", "show"),
    ("config", "explain", "loop.select"),
    ("config", "reference"),
    ("config", "validate", "settings.yaml"),
    ("doctor",),
    ("runs", "rm", "twin/adasparse-fusion", "--yes"),
)
MANY_RUNS = ("ablate", "domains", "hpo", "models", "reproduce", "sparsity", "sweep", "tune")


def in_this_process(runs: Sequence[NamedRun], progress: Progress, **how: object) -> dict[str, str]:
    """What `train_all` does, without a process for each run."""
    for run in runs:
        run_train(run.job, progress, resume=True, prepared=run.prepared)
    return {}


@contextlib.contextmanager
def streams(stdout: int, stderr: int, encoding: str = "utf-8") -> Iterator[None]:
    """The process's standard streams on other descriptors, as Python opens them when it starts."""
    kept, before = (os.dup(1), os.dup(2)), (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for own, other in ((1, stdout), (2, stderr)):
        os.dup2(other, own)
    out, err = (
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(own, "w", closefd=False)), encoding, "strict") for own in (1, 2)
    )
    try:
        with mock.patch.multiple(sys, stdout=out, stderr=err, __stdout__=out, __stderr__=err):
            yield
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    finally:
        for own, other in zip((1, 2), kept, strict=True):
            os.dup2(other, own)
            os.close(other)
        assert (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__) == before


def typed(home: Path, words: Sequence[str]) -> int:
    """The exit code of a command typed in `home`."""
    with (
        contextlib.chdir(home),
        mock.patch.object(sys, "argv", ["adasparse", *words]),
        mock.patch.object(study, "train_all", in_this_process),
        mock.patch.object(hpo, "train_all", in_this_process),
        mock.patch.object(tune, "train_all", in_this_process),
        mock.patch.object(domain_definitions, "train_all", in_this_process),
    ):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def written(home: Path, words: Sequence[str], out: Path, err: Path, encoding: str = "utf-8") -> int:
    """The exit code of a command whose output goes to two files."""
    with out.open("wb") as stdout, err.open("wb") as stderr, streams(stdout.fileno(), stderr.fileno(), encoding):
        return typed(home, words)


def furnished(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    rows = [f"{k % 3 == 0:d},s/{k % 2}=,c{k % 5}" for k in range(400)]
    (home / "it's.csv").write_text("\n".join(["clicked ü,shop,colour", *rows]) + "\n", encoding="utf-8")
    (home / "settings.yaml").write_text("loop:\n  learning_rate: 0.002\n")
    return home


def require_all_right(home: Path, commands: Sequence[tuple[str, ...]]) -> None:
    """Type each command; optional packages may be missing."""
    for words in commands:
        code = written(home, words, home / "out.txt", home / "err.txt")
        out, err = ((home / name).read_text(encoding="utf-8") for name in ("out.txt", "err.txt"))
        assert code == 0 or (code == 2 and "optuna, which is not installed" in err), (words, err)
        assert out.strip() or code, words
        assert "Traceback" not in err


def test_the_list_holds_every_command() -> None:
    def leaves(command: object, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name
        else:
            for own, below in inner.items():
                yield from leaves(below, (*name, own))

    known = set(leaves(typer.main.get_command(app)))
    # one waits for requests, one needs the names of two runs, one trains small models only and reads no file
    known -= {("serve",), ("runs", "diff"), ("models", "check")}
    assert known == {words[: 2 if words[:2] in known else 1] for words in COMMANDS}


def linked(home: Path) -> None:
    for name in ("data", "runs", "studies"):
        (home.parent / f"disk {name}").mkdir(parents=True)
        (home / name).symlink_to(home.parent / f"disk {name}")


def long_path(folder: Path) -> Path:
    """A folder below `folder` whose path has at least 250 characters."""
    while len(str(folder)) < 250:
        folder = folder / ("long " * 40)[: max(260 - len(str(folder)), 8)].strip()
    return folder


@pytest.fixture(autouse=True)
def same_zone() -> Iterator[None]:
    yield
    time.tzset()


def test_commands_work_in_strange_folders_behind_links_and_in_other_time_zones(
    tmp_path: Path, attacks: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once first; the full form takes each by itself as well."""
    kinds = [("long", "strange", "links", "zone"), ("long",), ("strange",), ("links",), ("zone",), ()]
    # those that train, plan or build several take most of the time
    commands = [words for words in COMMANDS if not {*words[:2]} & {*MANY_RUNS}]
    commands = list(COMMANDS) if attacks(1, 0) else commands
    fingerprints = set()
    for number, kind in enumerate(kinds[: attacks(len(kinds), 1)]):
        home = tmp_path / str(number) / (STRANGE if "strange" in kind else "plain")
        home = furnished(long_path(home) if "long" in kind else home)
        if "links" in kind:
            linked(home)
        monkeypatch.setenv("TZ", "Pacific/Kiritimati" if "zone" in kind else "UTC")
        time.tzset()
        require_all_right(home, commands)
        fingerprints.add(json.loads((home / "data/twin/manifest.json").read_text())["fingerprint"])
    assert len(fingerprints) == 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has been typed once, but for the last."""
    folder = furnished(tmp_path_factory.mktemp("home"))
    for words in COMMANDS[:4]:
        assert written(folder, words, folder / "out.txt", folder / "err.txt") == 0, (folder / "err.txt").read_text()
    return folder


# What the commands need besides what `home` has; those that only look take no time.
LOOKING = [
    words for words in COMMANDS if words[0] in ("runs", "models", "data", "config", "evaluate", "predict", "report")
]
REPEATED = [(*words, "--overwrite") if words[0] in ("predict", "report") else words for words in LOOKING[:-1]]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_that_the_encoding_lacks_is_replaced_and_the_command_ends_well(
    home: Path, tmp_path: Path, encoding: str, attacks: Callable[[int, int], int]
) -> None:
    commands = [
        ("train", "--model", "dnn", "--seeds", "2", *TINY),
        ("compare", "--models", "dnn,adasparse", "--seeds", "1", *TINY),
        *REPEATED,
    ]
    for words in commands[: attacks(len(commands), 5)]:
        code = written(home, words, tmp_path / "out", tmp_path / "err", encoding)
        text, told = (tmp_path / "out").read_bytes().decode(encoding), (tmp_path / "err").read_bytes().decode(encoding)
        assert code == 0, (words, told)
        assert text.strip()
        if words[0] == "train":
            assert "+/-" in text or "±" in text
            assert "?" not in text


def test_json_in_ascii_says_the_same(home: Path, tmp_path: Path) -> None:
    found = []
    for encoding in ("utf-8", "ascii"):
        with (tmp_path / "out").open("wb") as out, streams(out.fileno(), 2, encoding):
            assert typed(home, ("data", "show", "shops", "--json")) == 0
        found.append(json.loads((tmp_path / "out").read_text(encoding)))
    assert found[0] == found[1]
    assert "ü" in json.dumps(found[0], ensure_ascii=False)


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stdout and stderr"])
def test_a_reader_that_goes_away_ends_no_work_and_leaves_no_complaint(
    home: Path, tmp_path: Path, both: bool, attacks: Callable[[int, int], int]
) -> None:
    commands = [("train", "--model", "star", f"seed={3 + both}", *TINY), *REPEATED, ("--help",), ("train", "--help")]
    for words in [*commands[: attacks(len(commands), 4)], ("--help",)]:
        reader, writer = os.pipe()
        os.close(reader)
        with (tmp_path / "err").open("wb") as err, streams(writer, writer if both else err.fileno()):
            code = typed(home, words)
        os.close(writer)
        assert code == 0, (words, (tmp_path / "err").read_text())
        assert "error" not in (tmp_path / "err").read_text()
    (run,) = home.glob(f"runs/twin/star/*-s{3 + both}")
    assert (run / "DONE").exists()


def apart(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "adasparse_cli", *words],
        cwd=home,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        check=False,
    )


def test_a_process_in_the_c_locale_reads_and_writes_unicode(home: Path, attacks: Callable[[int, int], int]) -> None:
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    commands = [("prep", *TABLE, "data.name=again"), *REPEATED]
    for words in commands[: attacks(len(commands), 1)]:
        done = apart(home, *words, **environment)
        assert done.returncode == 0, done.stderr
        done.stdout.decode("ascii")


def test_a_process_without_standard_output_does_its_work(home: Path, tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err, streams(err.fileno(), err.fileno()):
        os.close(1)
        with mock.patch.multiple(sys, stdout=None, __stdout__=None):
            code = typed(home, ("predict", "latest", "data/twin/raw/twin_train.txt", "-o", "closed.csv"))
            assert os.fstat(1).st_rdev == Path(os.devnull).stat().st_rdev
            sys.stdout.close()
    assert code == 0
    assert (home / "closed.csv").read_text().startswith("source,line,domain")


def test_a_full_device_for_the_output_is_an_error(home: Path, tmp_path: Path) -> None:
    assert written(home, ("runs", "ls"), Path("/dev/full"), tmp_path / "err") == 5
    assert re.search(r"^error: .*No space left", (tmp_path / "err").read_text(), re.MULTILINE)


def test_a_terminal_that_is_closed_ends_training_after_saving(home: Path) -> None:
    words = ("train", "--model", "dnn", "data=twin", *TINY[:3], "threads=1", "loop.epochs=4000", "seed=9")
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.chdir(home)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        os.execve(sys.executable, [sys.executable, "-m", "adasparse_cli", *words], ENVIRONMENT)
    deadline = time.monotonic() + 90
    while not list(home.glob("runs/twin/dnn/*-s9/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    (run,) = home.glob("runs/twin/dnn/*-s9")
    assert os.waitstatus_to_exitcode(status) in (143, -signal.SIGTERM, -signal.SIGHUP)
    assert (run / "checkpoints/last/checkpoint.json").exists()
    assert not (run / "DONE").exists()
    assert not (run / "FAILED").exists()

"""Mounts the commands, and turns every fault into one red line, one hint and its exit code. Floor 6."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from adasparse_cli import __version__
from adasparse_cli.command_line import remember
from adasparse_cli.commands import config, data, doctor, evaluate, export, models, predict, prep, runs, serve, train
from adasparse_cli.config.private import with_private_folder
from adasparse_cli.errors import AdasparseError, InterruptedRun, TooManyRejectedError, UsageError
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.foreign import Rule, imported_files, rule_of_modules
from adasparse_cli.machine.threads import wait_quietly_when_busy
from adasparse_cli.study_commands import analyze, hpo, report, reproduce, study, tune
from adasparse_cli.terminal.plain_help import use_plain_help
from adasparse_cli.terminal.render import complain, note, show
from adasparse_cli.terminal.streams import prepare_streams
from adasparse_cli.terminal.usage import explained_usage, is_call_for_help, is_usage_fault

EXAMPLES = """
Examples:

  adasparse train --mode fusion           (prepares the twin first)

  adasparse prep data=iaac raw=FILE.zip   (the contest's own file)

  adasparse train data=iaac --seeds 3

  adasparse ablate                        (is the gain real, and why?)

  adasparse doctor                        (is this machine ready?)
"""

PROGRAM = "adasparse"
# Set by the scripts of `--install-completion` while a line is being typed.
COMPLETING = "_ADASPARSE_COMPLETE"

app = typer.Typer(
    name=PROGRAM,
    help="Multi-domain click and conversion prediction: prepare a log, train AdaSparse or a baseline on it, "
    "and report its accuracy in each domain.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.command("prep", epilog=prep.EXAMPLES)(prep.prep)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("compare", epilog=study.COMPARE_EXAMPLES)(study.compare)
app.command("ablate", epilog=study.ABLATE_EXAMPLES)(study.ablate)
app.command("sweep", epilog=study.SWEEP_EXAMPLES)(study.sweep)
app.command("hpo", epilog=hpo.EXAMPLES)(hpo.hpo)
app.command("tune", epilog=tune.EXAMPLES)(tune.tune)
app.add_typer(analyze.app, name="analyze")
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("reproduce", epilog=reproduce.EXAMPLES)(reproduce.reproduce)
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
use_plain_help(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adasparse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_modules: Annotated[
        bool,
        typer.Option(
            "--no-modules",
            help="Refuse recipes and models that are not part of adasparse. Importing them runs their code.",
        ),
    ] = False,
    config_dir: Annotated[
        str | None,
        typer.Option(
            "--config-dir", metavar="DIR", help="Also read settings from DIR/data, DIR/model, DIR/experiment …"
        ),
    ] = None,
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line and leave with the exit code of DESIGN: 0 done, 2 usage, 3 data, 4 integrity, …"""
    words = sys.argv[1:]
    remember(words)
    if COMPLETING in os.environ:
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        with contextlib.suppress(Exception), with_private_folder(_config_dir(line.split())[0]):
            app(standalone_mode=True, prog_name=PROGRAM)  # whatever is wrong, a line that is being typed is left alone
        return
    debug = "--debug" in words
    rule = Rule(allowed="--no-modules" not in words, tell=note)
    # the flags may stand anywhere: who meets a fault adds one at the end
    # no process that a command starts looks for modules in the current folder, which may hold anyone's files
    os.environ["PYTHONSAFEPATH"] = "1"
    prepare_streams()
    wait_quietly_when_busy(os.environ)
    # a closed terminal asks for an end as SIGTERM does: work is saved first; nohup has its way
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        try:
            own, sys.argv[1:] = _config_dir([word for word in words if word not in ("--debug", "--no-modules")])
            with rule_of_modules(rule), with_private_folder(own), _ended_by_signals():
                _run()
        finally:
            sys.stdout.flush()
    except AdasparseError as error:
        if debug:
            raise
        if isinstance(error, TooManyRejectedError):
            show([{"reason": reason, "rows": rows} for reason, rows in error.reasons.items()], title="Rejected rows")
        complain(error.message, error.hint)
        _leave(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted", "nothing was saved by this command; run it again")
        _leave(130)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if debug:
            raise
        complain(str(error.strerror or error) + (f": {error.filename}" if error.filename else ""), "check the path")
        _leave(3)
    except (MemoryError, OSError) as error:
        if debug:
            raise
        if disk_is_full(error) and getattr(error, "filename", None):
            full = no_room(Path(error.filename))  # type: ignore[union-attr]
            complain(full.message, full.hint)
        else:
            complain(
                f"{type(error).__name__}: {error}",
                "free some memory or disk, also where the output goes, or check the path's permissions",
            )
        _leave(5)
    except Exception as error:
        if debug:
            raise
        foreign = ", ".join(imported_files())
        hint = (
            f"{foreign} is not part of adasparse: adasparse models check says what is broken, --debug where"
            if foreign
            else "this is a fault of adasparse; --debug shows where it happened"
        )
        complain(f"{type(error).__name__}: {error}", hint)
        _leave(1)


def _run() -> None:
    """Run the command that was typed.

    Raises:
        UsageError: the words do not fit it. InterruptedRun, KeyboardInterrupt: it was stopped.
    """
    try:
        code = app(standalone_mode=False, prog_name=PROGRAM)
    except typer.Abort:
        raise InterruptedRun(
            "not confirmed, so nothing was done", hint="--yes skips the question", exit_code=1
        ) from None
    except Exception as error:
        if is_call_for_help(error):
            error.show()  # type: ignore[attr-defined]  # of typer's own exception
            _leave(2)
        if is_usage_fault(error):
            raise explained_usage(error, sys.argv[1:]) from None
        raise
    if code == 130:  # typer's word for Ctrl-C
        raise KeyboardInterrupt
    if isinstance(code, int) and code:
        _leave(code)


def _config_dir(words: list[str]) -> tuple[Path | None, list[str]]:
    """The folder after `--config-dir`, and the other words; the last one counts."""
    folder, others = None, []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name != "--config-dir":
            others.append(word)
        elif (value := value if equals else next(rest, "")) == "":
            raise UsageError("--config-dir names no folder", hint="for example --config-dir my_settings")
        else:
            folder = Path(value)
    return folder, others


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end a command as an error does: what is half-written is removed. Training and studies have
    handlers of their own, which save; a second signal ends at once.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise InterruptedRun(
            f"ended by {signal.Signals(number).name}",
            hint="nothing half-written is left; run the command again",
            exit_code=128 + number,
        )

    try:
        old = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are someone else's business
        old = {}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _leave(code: int) -> None:
    sys.exit(code)

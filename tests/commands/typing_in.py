"""Commands as a person types them: in this process, which has torch loaded already, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from adasparse_cli.app import main

ENVIRONMENT = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def adasparse(folder: Path, *words: str, code: int | None = 0, apart: bool = False) -> Done:
    """Type `adasparse WORDS` in a folder.

    Args:
        code: the exit code that must come; None for any. apart: in a process of its own.
    """
    done = _apart(folder, words) if apart else _here(folder, words)
    assert code in (None, done.returncode), done.stdout + done.stderr
    return done


def _apart(folder: Path, words: tuple[str, ...]) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "adasparse_cli", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _here(folder: Path, words: tuple[str, ...]) -> Done:
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", ["adasparse", *words]),
        mock.patch.dict(os.environ, {"COLUMNS": "200"}),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, stdout.getvalue(), stderr.getvalue())

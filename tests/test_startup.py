"""`--help` answers at once: it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    [], ["prep"], ["train"], ["evaluate"], ["predict"], ["runs"], ["runs", "ls"], ["runs", "show"], ["runs", "rm"], ["runs", "verify"], ["runs", "diff"],
    ["export"], ["serve"], ["models"], ["models", "ls"], ["models", "show"], ["models", "check"], ["models", "new"], ["data"], ["data", "about"], ["data", "ls"], ["data", "show"], ["data", "verify"], ["data", "rm"], ["config"], ["config", "show"],
    ["config", "explain"], ["config", "reference"], ["config", "validate"], ["doctor"], ["compare"], ["ablate"], ["sweep"], ["report"], ["reproduce"], ["hpo"], ["tune"], ["analyze"],
    ["analyze", "overlap"], ["analyze", "exposure"], ["analyze", "abtest"], ["analyze", "sparsity"], ["analyze", "domains"],
]  # fmt: skip
HEAVY = (
    "torch",
    "polars",
    "hydra",
    "omegaconf",
    "numpy",
    "sklearn",
    "scipy",
    "safetensors",
    "plotly",
    "jinja2",
    "optuna",
    "pyspark",
)
SCRIPT = """
import sys
from pathlib import Path
from adasparse_cli.app import main
sys.argv = ["adasparse", *{words!r}, "--help"]
try:
    main()
except SystemExit as done:
    assert done.code == 0, done.code
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "adasparse")
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = SCRIPT.format(words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_every_command_is_tested() -> None:
    from typer.main import get_command

    from adasparse_cli.app import app

    root = get_command(app)
    found = [[]]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    assert sorted(found) == sorted(COMMANDS)


def test_modules_of_the_current_folder_are_never_imported(tmp_path: Path) -> None:
    """Neither by the command nor by the processes that it starts: the folder may hold anyone's files."""
    for name in ("typer", "torch", "hydra_plugins", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}-ran', 'w')\n")
    code = (
        "import subprocess, sys; from adasparse_cli.app import main; sys.argv = ['adasparse', '--version']\n"
        "try: main()\nexcept SystemExit: subprocess.run([sys.executable, '-c', 'import multiprocessing'], check=True)"
    )
    for words in (["-m", "adasparse_cli", "config", "show"], ["-P", "-c", code]):
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    assert not list(tmp_path.glob("*-ran"))

"""`adasparse doctor`: check the machine and the installation."""

from __future__ import annotations

import typer

from adasparse_cli.terminal.arguments import AsCsv, AsJson
from adasparse_cli.terminal.render import chosen_format, show

EXAMPLES = """
Example:

  adasparse doctor
"""


def doctor(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Check versions, memory, disk, device and speed. Exit code 5 if a check fails."""
    from adasparse_cli.machine.doctor import examine

    checks = examine()
    show(checks, form=chosen_format(as_json, as_csv), columns=("check", "result", "passed"))
    if not all(check["passed"] for check in checks):
        raise typer.Exit(5)

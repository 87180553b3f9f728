"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands import completion

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings, such as data=iaac or loop.batch_size=2048.",
        autocompletion=completion.overrides,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings; words on the command line win over it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Write the result as CSV.")]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, a part of its path, `latest`, or STUDY/ARM.",
        autocompletion=completion.runs,
    ),
]
DataName = Annotated[str, typer.Argument(help="Name of a prepared data set.", autocompletion=completion.prepared_data)]
Unfinished = Annotated[
    bool,
    typer.Option("--unfinished", help="Use a run that failed or was interrupted, with its best checkpoint so far."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where the runs lie.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Where the prepared data lie.")]
StudiesFolder = Annotated[Path, typer.Option("--studies", help="Where the studies lie.")]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="First read and check every file, also those checked before and unchanged since."),
]
Baseline = Annotated[str | None, typer.Option("--baseline", help="The arm that differences are taken to.")]
Seeds = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Seeds of every arm; with one, no interval can be had.")
]
Worlds = Annotated[
    str | None,
    typer.Option(
        "--worlds", help="Values of data.seed, such as 0,1,2: train every arm in each of these synthetic worlds."
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Runs at a time, each on one core.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and how long it will take; train nothing.")]

"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.catalogue import completion

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings, such as data=iaac or loop.batch_size=2048.",
        autocompletion=completion.overrides,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file of settings. Settings on the command line override it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Folder of a run, a part of its path, `latest`, or STUDY/ARM.",
        autocompletion=completion.runs,
    ),
]
DataName = Annotated[str, typer.Argument(help="Name of a prepared data set.", autocompletion=completion.prepared_data)]
PublicName = Annotated[
    str,
    typer.Argument(
        help="Name of a public data set; adasparse data ls lists them.", autocompletion=completion.public_data
    ),
]
Unfinished = Annotated[
    bool,
    typer.Option("--unfinished", help="Use a run that failed or was interrupted, with its best checkpoint so far."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Directory of runs.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Directory of prepared data.")]
StudiesFolder = Annotated[Path, typer.Option("--studies", help="Directory of studies.")]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Check the checksum of every file first, also of files that were checked before."),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", help="Baseline arm. Default: dnn, or the study's baseline.")
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Seeds per arm. At least 2 are needed for confidence intervals.")
]
Worlds = Annotated[
    str | None,
    typer.Option(
        "--worlds",
        help="Values of data.seed, such as 0,1,2. Every arm is trained on each of these synthetic data sets.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of runs at the same time, one core each.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and the expected time. Train nothing.")]

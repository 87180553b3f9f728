"""Prepared data, runs, a study and findings, to be damaged or edited; and who reads which of their files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from adasparse_cli.catalogue.verify import verify_data, verify_run
from adasparse_cli.choices import Split
from adasparse_cli.files import file_stem
from adasparse_cli.findings.kept import read_finding
from adasparse_cli.insights.behaviour import curves_finding
from adasparse_cli.insights.domains import whole_domain_table
from adasparse_cli.insights.rerun_commands import reproduction
from adasparse_cli.neurons.overlap import similarities
from adasparse_cli.prep.noticed import read_findings
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.prepared.tables import read_bags, read_domains, read_split
from adasparse_cli.rows.dataset import Rows, load_rows
from adasparse_cli.runs.run_tables import extreme_domains, read_predictions
from adasparse_cli.runs.saved_run import ENCODER, read_config, read_environment, read_report
from adasparse_cli.scoring.new_files import encode_rows
from adasparse_cli.scoring.score import SavedRun, open_run, trained_model, true_metrics
from adasparse_cli.search.hpo import Trial, read_trials, write_trials
from adasparse_cli.studies.comparison import domain_table
from adasparse_cli.studies.study import open_study
from adasparse_cli.studies.subject import Subject, find_subject, verify_subject
from tests.commands.typing_in import adasparse

TINY = ("data.rows=3000", "network.hidden=[8,8]", "network.embedding_width=2", "loop.batch_size=512", "loop.epochs=1",
        "threads=1")  # fmt: skip
# Not covered, since nothing is read from them: locks and the cache of checks (hidden), and the page, which is an output.
NOT_COVERED = re.compile(r"(^|/)\.[^/]+$|(^|/)report\.html$")


class Made:
    """Prepared data, a study of two runs, and findings of both; opened before anything is damaged."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for model in ("dnn", "adasparse"):  # in this process; the study finds them done
            adasparse(home, "train", "--model", model, *TINY)
        adasparse(home, "compare", "--models", "dnn,adasparse", *TINY, "--seeds", "1")
        self.data = home / "data/twin"
        (self.study,) = (path.parent for path in home.glob("studies/*/study.json"))
        self.runs = sorted(path.parent for path in home.glob("runs/*/*/*/DONE"))
        (self.run,) = (run for run in self.runs if "adasparse" in str(run))
        adasparse(home, "analyze", "overlap", str(self.run), "--min-rows", "5")
        adasparse(home, "analyze", "exposure", str(self.study))
        adasparse(home, "report", str(self.study))
        (searched := home / "studies" / "hpo-twin").mkdir()
        write_trials(searched, [Trial(settings={"loop.learning_rate": 0.001}, value=0.6)])
        self.files = [path for path in self.all_files() if not NOT_COVERED.search(str(path.relative_to(home)))]
        self.manifest = open_prepared(self.data)
        with contextlib.chdir(home):
            self.saved: SavedRun = open_run(self.run, data_root=self.data.parent)
            self.source: Subject = find_subject([str(self.study)], runs=home / "runs", studies=home, baseline=None)
        self.train: Rows = load_rows(self.data, self.manifest, Split.train, device=trained_model(self.saved)[0].device)

    def all_files(self) -> list[Path]:
        found = (path for room in ("data", "runs", "studies") for path in (self.home / room).rglob("*"))
        return sorted(path for path in found if path.is_file())

    def kind(self, path: Path) -> str:
        """What a file is, such as `runs/checkpoints/best/*.safetensors`."""
        room, *rest = path.relative_to(self.home).parts
        inside = "/".join(rest[{"data": 1, "runs": 3, "studies": 1}[room] :])
        return f"{room}/{re.sub(r'step-[0-9]+|(?<=vocabularies/)[^.]+|(?<=bags/)[^.]+', '*', inside)}"

    def readers(self, path: Path) -> list[Callable[[], object]]:
        """Everything that shows numbers from a file; what checks it, where nothing shows any."""
        run = next((run for run in self.runs if run in path.parents), self.run)
        name, data, manifest = path.name, self.data, self.manifest
        by_kind: dict[str, list[Callable[[], object]]] = {
            # a run reads the copy in its encoder, which is this file by another name until one of them is written anew
            "data/manifest.json": [lambda: open_prepared(data)],
            "data/domains.parquet": [lambda: read_domains(data, manifest)],
            "data/bags/*.parquet": [
                lambda: [read_bags(data, manifest, f.name) for f in manifest.fields if file_stem(f.name) == path.stem]
            ],
            "data/truth/rows.parquet": [lambda: true_metrics(data, manifest, Split.test)],
            "data/truth/domains.parquet": [self._similarities],
            "data/rejects.parquet": [lambda: verify_data(data)],
            "data/findings.json": [lambda: read_findings(data, manifest)],
            "runs/encoder/manifest.json": [lambda: open_run(run, data_root=data.parent)],
            "runs/config.yaml": [lambda: read_config(run), lambda: open_run(run, data_root=data.parent)],
            "runs/environment.json": [
                lambda: read_environment(run),
                *([lambda: reproduction(self.source)] if run == self._first() else []),
            ],
            "runs/report.json": [lambda: read_report(run)],
            "runs/predictions.parquet": [lambda: read_predictions(run)],
            "runs/metrics.jsonl": [lambda: curves_finding(self.source.comparison)],
            "runs/train.log": [lambda: verify_run(run)],
            "runs/DONE": [
                lambda: read_report(run),
                lambda: read_predictions(run),
                lambda: extreme_domains(run, 5),
                lambda: open_study(self.study),
            ],
            "runs/domains.csv": [
                lambda: extreme_domains(run, 5),
                lambda: whole_domain_table(self.source.comparison),
                *([lambda: domain_table(self.source.comparison)] if run == self._first() else []),
            ],
            "studies/study.json": [lambda: open_study(self.study)],
            "studies/table.json": [lambda: open_study(self.study)],
            "studies/trials.json": [lambda: read_trials(path.parent)],
        }
        kind = self.kind(path)
        if kind in by_kind:
            return by_kind[kind]
        if re.match(r"data/(train|valid|test|unlabelled)/part-\d+\.parquet$", kind):
            return [lambda: read_split(data, manifest, Split(path.parent.name))]
        if re.match(r"data/(vocabularies|bags)/", kind):
            return [lambda: list(encode_rows(data, manifest, self.saved.job.data.settings, [self.raw()]))]
        if kind.startswith("runs/encoder/"):
            return [self._predicting] if run == self.run else [lambda: verify_run(run)]
        if kind.startswith("data/raw/"):
            return [lambda: verify_data(data)]
        if kind.startswith("runs/checkpoints/best/") and run == self.run:
            return [lambda: trained_model(self.saved)]
        if kind.startswith("runs/checkpoints/"):
            return [lambda: verify_run(run)]
        if name == "finding.json":
            return [lambda: read_finding(path)]
        if "/findings/" in kind:
            return [lambda: verify_subject(self.source)]
        raise AssertionError(f"{path} is of a kind that nothing checks: add its checksum, and a line here")

    def _similarities(self) -> object:
        return similarities(self.saved, self.train, read_domains(self.data, self.manifest), np.arange(5))

    def _predicting(self) -> object:
        """What `predict` reads of the run: its model, and how new rows are encoded."""
        settings = self.saved.job.data.settings
        trained_model(self.saved)
        return list(encode_rows(self.run / ENCODER, self.manifest, settings, [self.raw()]))

    def _first(self) -> Path:
        return next(run for arm in self.source.comparison.arms for run in arm.folders.values())

    def raw(self) -> Path:
        return next(path for path in self.files if self.data / "raw" in path.parents)

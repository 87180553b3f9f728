"""What auctions say, also where a figure or its interval cannot be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import checksums
from adasparse_cli.findings.finding import Finding
from adasparse_cli.findings.kept import read_finding
from adasparse_cli.insights.abtest import AbTestJob, run_abtest


def made(root: Path, domains: int = 4, rate: float = 0.1) -> AbTestJob:
    """Two runs on rows of known rates; B ranks better than A."""
    number = 40 * domains
    draw = np.random.default_rng(0)
    truth = np.clip(rate * np.exp(draw.normal(0, 0.7, number)), 0, 0.9)
    data = root / "data"
    (data / "truth").mkdir(parents=True)
    lines = np.arange(number)
    pl.DataFrame({"line": lines, "probability": truth}).write_parquet(data / "truth" / "rows.parquet")
    named = [f"[/{d}] :smile:" for d in range(domains)]
    pl.DataFrame({"domain": range(domains), "place": named, "train_rows": [100] * domains}).write_parquet(
        data / "domains.parquet"
    )
    files = checksums(data, [data / "truth" / "rows.parquet", data / "domains.parquet"])
    manifest = SimpleNamespace(fingerprint="f", name="made", domain=["place"], files=files)
    runs = []
    for name, noise in (("a", 1.5), ("b", 0.1)):
        folder = root / name
        folder.mkdir()
        scores = np.clip((truth + 1e-3) * np.exp(noise * draw.normal(size=number)), 1e-4, 0.99)
        frame = {
            "source": 0 * lines,
            "line": lines,
            "domain": lines % domains,
            "label": 0 * lines,
            "probability": scores,
        }
        pl.DataFrame(frame).write_parquet(folder / "predictions.parquet")
        job = SimpleNamespace(label=name)
        runs.append(SimpleNamespace(folder=folder, job=job, manifest=manifest, data_folder=data))
    a, b = cast("list[Any]", runs)
    return AbTestJob(a=a, b=b, auctions=2000, candidates=4, bid_spread=0.5, seed=0)


def found(job: AbTestJob) -> Finding:
    """Read back from what is kept, so that it is known to be plain values."""
    finding, kept = run_abtest(job)
    assert read_finding(kept / "finding.json").answers == finding.answers
    json.dumps(finding.to_json(), allow_nan=False)
    return finding


def test_a_better_ranking_is_found_with_its_interval(tmp_path: Path) -> None:
    finding = found(made(tmp_path))
    ctr = finding.answers[0]
    assert ctr.startswith("CTR: +")
    assert "[" in ctr
    assert "chance" not in ctr
    assert finding.tables[0].title == "2,000 auctions in 4 domains"


@pytest.mark.parametrize("auctions", [1, 50])
def test_auctions_in_one_domain_have_no_interval_and_say_so(tmp_path: Path, auctions: int) -> None:
    """One auction has one domain; so has a log of one domain however many are held."""
    job = made(tmp_path, domains=4 if auctions == 1 else 1)
    finding = found(replace(job, auctions=auctions, seed=1))
    changed = [answer for answer in finding.answers[:3] if "no change." not in answer]
    assert changed
    assert all(answer.endswith(" %; no interval is available from auctions in one domain.") for answer in changed)
    assert "chance" not in " ".join(finding.answers)
    assert finding.tables[0].title == f"{auctions} auction{'' if auctions == 1 else 's'} in 1 domain"


def test_where_nothing_is_clicked_no_change_is_called_a_number(tmp_path: Path) -> None:
    """As on a log whose shown rows all have the label 0."""
    finding = found(made(tmp_path, rate=0.0))
    assert finding.answers[:3] == [
        f"{name}: not available, because arm A has no clicks." for name in ("CTR", "CPC", "RPM")
    ]
    assert all(row["change, %"] is None for row in finding.tables[0].rows)
    assert all(row["change, %"] is None for row in finding.tables[1].rows)


@pytest.mark.parametrize("spread", [1000.0, 5.01, -0.1, float("nan"), float("inf")])
def test_bids_that_vary_beyond_reason_are_refused(tmp_path: Path, spread: float) -> None:
    job = made(tmp_path)
    with pytest.raises(UsageError, match="must be from 0 to 5"):
        run_abtest(replace(job, bid_spread=spread))
    assert len(found(replace(job, bid_spread=5.0)).answers) == 4


def test_predictions_that_are_gone_are_named(tmp_path: Path) -> None:
    job = made(tmp_path)
    (tmp_path / "b" / "predictions.parquet").unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        run_abtest(job)

"""The paper's claims, and what finished studies say of each; beside them two of ours, which tell why a gain is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.analysis.abtest import ENOUGH_AUCTIONS, over_seeds, trial, uplift_over_seeds
from adasparse_cli.analysis.exposure import exposure
from adasparse_cli.analysis.overlap import overlap
from adasparse_cli.analysis.statistics import Difference, compare, corrected
from adasparse_cli.analysis.verdict import SMALLEST, Verdict, alike, better, no_worse, together
from adasparse_cli.choices import Split
from adasparse_cli.findings.finding import ENOUGH_POSITIVES, Interval
from adasparse_cli.findings.wording import none_if_nan
from adasparse_cli.insights.overlap import key_fields, mantel_tests, similarities
from adasparse_cli.insights.overlap_finding import SIMILARITIES
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.prep.prepared_files import truth_file
from adasparse_cli.prep.prepared_tables import read_domains
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.runs.saved_run import read_config
from adasparse_cli.runs.score import SavedRun, open_run, trained_model
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.studies.domain_ladder import LadderJob, judged_ladder
from adasparse_cli.studies.study import StudyReport
from adasparse_cli.training.activity import activity
from adasparse_cli.training.dataset import load_rows

AUCTIONS, CANDIDATES, BID_SPREAD = 200_000, 8, 0.5
MOST_DOMAINS = 0.9
BINS = 3


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper, the verdict, and what it rests on. `verdict` is None where these data cannot answer it."""

    name: str
    says: str
    verdict: Verdict | None
    rows: Sequence[Mapping[str, Any]]
    remarks: Sequence[str] = ()


def modes(comparison: Comparison) -> Claim:
    asked = [
        ("fusion", "binarization", no_worse),
        ("binarization", "scaling", no_worse),
        ("scaling", "dnn", better),
        ("fusion", "dnn", better),
    ]
    return _pairs(
        "modes",
        "Fusion is no worse than binarization, binarization no worse than scaling, and all are better than the DNN.",
        comparison,
        asked,
    )


def opponents(comparison: Comparison, others: Sequence[str]) -> Claim:
    asked = [("fusion", other, better) for other in ("dnn", *others)]
    return _pairs("baselines", "AdaSparse (fusion) is better than DNN, MAML, STAR, APG and DCNv2.", comparison, asked)


def domain(comparison: Comparison) -> Claim:
    return _pairs(
        "domain",
        "The gain is due to the domain (ours: the same model whose pruner is told another row's domain gains less).",
        comparison,
        [("fusion", "placebo", better)],
    )


def negative_control(control: StudyReport | None) -> Claim:
    says = "Where domains differ in their base rate alone, knowing the domain is worth nothing (ours: the negative control)."
    if control is None:
        return Claim(
            name="control",
            says=says,
            verdict=None,
            rows=(),
            remarks=("These data have no negative control; the synthetic twin does.",),
        )
    claim = _pairs("control", says, control.comparison, [("fusion", "placebo", alike)])
    beside = _difference(control.comparison, "fusion", "dnn")
    remark = (
        f"Fusion over dnn at heterogeneity 0: {_said(beside)}. Were it above 0, it would be a gain from gating, regularisation or "
        "optimisation, not from the domain."
    )
    return Claim(name=claim.name, says=says, verdict=claim.verdict, rows=claim.rows, remarks=(remark,))


def _pairs(
    name: str,
    says: str,
    comparison: Comparison,
    asked: Sequence[tuple[str, str, Callable[[Difference], Verdict]]],
) -> Claim:
    able = [(a, b, judge) for a, b, judge in asked if a in comparison.logits and b in comparison.logits]
    found = corrected([_difference(comparison, a, b) for a, b, _ in able])
    rows, verdicts = [], []
    for (a, b, judge), one in zip(able, found, strict=True):
        verdict = judge(one)
        verdicts.append(verdict)
        word = {"better": "better than", "no_worse": "no worse than", "alike": "like"}[judge.__name__]
        rows.append({"question": f"{a} {word} {b}?", "verdict": verdict.value, **_figures(one)})
    missing = [f"{a} or {b} has no result" for a, b, _ in asked if (a, b) not in [(x, y) for x, y, _ in able]]
    return Claim(name=name, says=says, verdict=together(verdicts), rows=rows, remarks=missing)


def _difference(comparison: Comparison, arm: str, base: str) -> Difference:
    assert comparison.rows is not None
    pair = {arm: comparison.logits[arm], base: comparison.logits[base]}
    return compare("gauc_domain", comparison.rows, pair, baseline=base)[arm]


def _figures(found: Difference) -> dict[str, Any]:
    return {
        "GAUC difference": found.difference,
        "95 % interval": Interval.of(found.low, found.high),
        "p (Holm)": none_if_nan(found.p_holm),
        "detectable": none_if_nan(found.detectable),
    }


def _said(found: Difference) -> str:
    reach = Interval.of(found.low, found.high)
    return f"{found.difference:+.4f} {'(one seed: no interval)' if reach.low is None else reach}"


def number_of_domains(ladder: LadderJob) -> Claim:
    says = "Gains grow with the number of domains, then turn."
    rungs = judged_ladder(ladder)
    arms = {name: logits for name, logits in rungs.arms.items() if name != "dnn"}
    names = list(arms)
    own = " × ".join(ladder.reference.manifest.domain)
    middle = own if own in arms else names[-1]
    pairs = [(middle, names[0], "more domains better than one?")]
    if names[-1] != middle:
        pairs.append((middle, names[-1], "are still more domains worse?"))
    found = corrected(
        [compare("gauc_domain", rungs.rows, {a: arms[a], b: arms[b]}, baseline=b)[a] for a, b, _ in pairs]
    )
    verdicts = [better(one) for one in found]
    rows = [
        {"question": f"{word} ({a} against {b})", "verdict": verdict.value, **_figures(one)}
        for (a, b, word), one, verdict in zip(pairs, found, verdicts, strict=True)
    ]
    return Claim(name="number-of-domains", says=says, verdict=together(verdicts), rows=rows)


def shared_neurons(main: StudyReport, control: StudyReport | None, *, minimum_rows: int) -> Claim:
    says = "Similar domains share more neurons."
    rows, verdict = [], None
    for study, word in ((main, ""), (control, " (heterogeneity 0)")):
        if study is None:
            continue
        found = _mantels(study, minimum_rows)
        kinds = [kind for kind, *_ in found]
        deciding = next((kind for kind in ("planted | key", "labels | key") if kind in kinds), "key")
        for kind, correlation, p, number in found:
            decided = Verdict.holds if p is not None and p < 0.05 and (correlation or 0) > 0 else Verdict.undecided
            if kind == deciding and study is main:
                verdict = decided
            elif kind == deciding and decided is Verdict.holds:
                verdict = Verdict.undecided  # what is found where nothing is to be learnt is no sign of learning
            rows.append(
                {
                    "question": f"alike by {SIMILARITIES[kind]}{word}?",
                    "verdict": decided.value,
                    "rank correlation": correlation,
                    "p": p,
                    "domains": number,
                }
            )
    remarks = (
        "Closeness of the shares of rows in which neurons are active, all layers, mean over seeds; Mantel's test.",
        "Domains with similar keys have similar embeddings, so a pruner that has learnt nothing agrees with everything that follows "
        "the key. What goes beyond the values of the key's fields decides: the planted groups where they are known, else how labels "
        "behave; unless it is found at heterogeneity 0 as well, where there is nothing to learn.",
    )
    return Claim(name="overlap", says=says, verdict=verdict, rows=rows, remarks=remarks)


def _mantels(study: StudyReport, minimum_rows: int) -> list[tuple[str, float | None, float | None, int]]:
    """Per similarity: correlation, p, and how many domains were compared."""
    folders = next(arm for arm in study.comparison.arms if arm.name == "fusion").folders
    if not folders:
        return []
    closeness, chosen, similar, keys = [], None, None, []
    for folder in folders.values():
        saved = _opened(folder)
        model, _ = trained_model(saved)
        assert isinstance(model, AdaSparse)
        rows = load_rows(saved.data_folder, saved.manifest, Split.test, device=model.device)
        found = activity(
            model, rows, num_domains=saved.manifest.num_all_domains, batch_size=saved.job.loop.evaluation_batch_size
        )
        if chosen is None or similar is None:
            domains = read_domains(saved.data_folder, saved.manifest)
            chosen = np.flatnonzero((found.rows >= minimum_rows) & (domains["train_rows"].to_numpy() > 0))
            if len(chosen) < 3:
                return []
            train = load_rows(saved.data_folder, saved.manifest, Split.train, device=model.device)
            similar, keys = similarities(saved, train, domains, chosen), key_fields(saved, domains, chosen)
        closeness.append(overlap(found.all_layers()[chosen], prunes=found.prunes).closeness)
    assert chosen is not None
    assert similar is not None
    mean = np.mean(closeness, axis=0)
    return [
        (kind, None if test is None else test.correlation, None if test is None else test.p, len(chosen))
        for kind, test in mantel_tests(similar, mean, keys=keys).items()
    ]


def _opened(folder: Path) -> SavedRun:
    """A run of a study, with its data where the run says that they lie."""
    return open_run(folder, data_root=Path(read_config(folder)["paths"]["data"]))


def little_exposure(comparison: Comparison) -> Claim:
    says = "Domains with little exposure gain too."
    assert comparison.rows is not None
    pair = {arm: comparison.logits[arm] for arm in ("fusion", "dnn")}
    train_rows = domain_table(comparison)["train_rows"].to_numpy()
    found = exposure(comparison.rows, train_rows, pair, baseline="dnn", number=BINS)
    able = [own for own in found.bins if own.gains["fusion"] is not None]
    gains = corrected([one for own in able if (one := own.gains["fusion"]) is not None])
    judged = [
        better(gain) if own.positives >= ENOUGH_POSITIVES else Verdict.undecided
        for own, gain in zip(able, gains, strict=True)
    ]
    rows = [
        {
            "question": f"a gain in domains of {own.low:,} – {own.high:,} training rows?",
            "verdict": verdict.value,
            "positives": own.positives,
            **_figures(gain),
        }
        for own, gain, verdict in zip(able, gains, judged, strict=True)
    ]
    remarks = []
    if not able or able[0] is not found.bins[0]:
        # the claim is about the sparsest bin; the next one does not answer for it
        remarks.append("In the sparsest bin no domain has both classes, so the claim cannot be judged.")
    if (contrast := found.contrasts.get("fusion")) is not None:
        remarks.append(f"Gain in the sparsest bin minus gain in the densest: {_said(contrast)}.")
    decided = judged[0] if able and able[0] is found.bins[0] else Verdict.undecided
    return Claim(name="exposure", says=says, verdict=decided, rows=rows, remarks=tuple(remarks))


def moderate_sparsity(study: StudyReport) -> Claim:
    comparison = study.comparison
    asked = [
        ("15–25 %", "dnn", better),
        ("15–25 %", "35–45 %", better),
        ("35–45 %", "dnn", alike),
        ("dnn", "60–70 %", better),
    ]
    says = "Moderate sparsity (15 to 25 %) is best, at 35 to 45 % there is parity with the DNN, and above it harm."
    return _pairs("sparsity", says, comparison, asked)


def online(main: StudyReport) -> Claim:
    says = (
        "Online, CTR went up, cost per click down, and more than 90 % of scenarios gained (here: simulated auctions)."
    )
    arms = {arm.name: arm for arm in main.comparison.arms}
    folder = next(iter(arms["dnn"].folders.values()))
    saved = _opened(folder)
    truth = truth_file(saved.data_folder, saved.manifest, "rows.parquet")
    if truth is None:
        return Claim(
            name="online", says=says, verdict=None, rows=(), remarks=("The true rates of these data are not known.",)
        )
    rates = pl.read_parquet(truth, glob=False)
    trials = []
    for seed, run in arms["dnn"].folders.items():
        a = read_predictions(run)
        b = read_predictions(arms["fusion"].folders[seed])
        known_rates = (
            a.select("line").join(rates, on="line", how="left", maintain_order="left")["probability"].to_numpy()
        )
        trials.append(
            trial(
                a["domain"].to_numpy().astype(np.int64),
                known_rates,
                a["probability"].to_numpy(),
                b["probability"].to_numpy(),
                auctions=AUCTIONS,
                candidates=CANDIDATES,
                bid_spread=BID_SPREAD,
                seed=0,
            )
        )
    up, cost = (over_seeds([one.changes[k] for one in trials]) for k in (0, 1))
    cheaper = cost.negated()
    share = uplift_over_seeds(trials, above=MOST_DOMAINS)
    verdicts = [
        better(found, smallest=smallest)
        for found, smallest in zip(corrected([up, cheaper, share]), (SMALLEST, SMALLEST, 0.0), strict=True)
    ]
    asked = (
        ("CTR up?", up, 0.0),
        ("CPC down?", cost, 0.0),
        (f"CTR up in more than {MOST_DOMAINS:.0%} of domains?", share, MOST_DOMAINS),
    )
    rows = [
        {
            "question": question,
            "verdict": verdict.value,
            "found, %": none_if_nan(100 * (found.difference + above)),
            "95 % interval, %": Interval.of(100 * (found.low + above), 100 * (found.high + above), decimals=2),
        }
        for (question, found, above), verdict in zip(asked, verdicts, strict=True)
    ]
    return Claim(
        name="online",
        says=says,
        verdict=together(verdicts),
        rows=rows,
        remarks=(
            "Auctions as in `adasparse analyze abtest`. Found: the relative change, and in the last row the share of domains, of those "
            f"with {ENOUGH_AUCTIONS} auctions or more ({int((trials[0].auctions >= ENOUGH_AUCTIONS).sum())}); in domains of fewer CTR is up or down by chance.",
        ),
    )

"""The claims of the paper, and the verdict of finished studies on each; plus two control claims about the cause of gains."""

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
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.neurons.activity import activity
from adasparse_cli.neurons.overlap import key_fields, mantel_tests, similarities
from adasparse_cli.neurons.overlap_finding import SIMILARITIES
from adasparse_cli.prepared.files import truth_file
from adasparse_cli.prepared.tables import read_domains
from adasparse_cli.rows.dataset import load_rows
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.runs.saved_run import read_config
from adasparse_cli.scoring.score import SavedRun, open_run, trained_model
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.studies.domain_definitions import DefinitionsJob, judged_definitions
from adasparse_cli.studies.study import StudyReport

AUCTIONS, CANDIDATES, BID_SPREAD = 200_000, 8, 0.5
MOST_DOMAINS = 0.9
BINS = 3


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, its verdict and the evidence. `verdict` is None if these data cannot answer it."""

    name: str
    statement: str
    verdict: Verdict | None
    rows: Sequence[Mapping[str, Any]]
    remarks: Sequence[str] = ()


def modes(comparison: Comparison) -> Claim:
    questions = [
        ("fusion", "binarization", no_worse),
        ("binarization", "scaling", no_worse),
        ("scaling", "dnn", better),
        ("fusion", "dnn", better),
    ]
    return _pairs(
        "modes",
        "Fusion is no worse than binarization, binarization no worse than scaling, and all are better than the DNN.",
        comparison,
        questions,
    )


def opponents(comparison: Comparison, others: Sequence[str]) -> Claim:
    questions = [("fusion", other, better) for other in ("dnn", *others)]
    statement = "AdaSparse (fusion) is better than DNN, MAML, STAR, APG and DCNv2."
    return _pairs("baselines", statement, comparison, questions)


def domain(comparison: Comparison) -> Claim:
    return _pairs(
        "domain",
        "The gain is due to the domain (added here: the same model gains less if its pruner receives another row's domain).",
        comparison,
        [("fusion", "placebo", better)],
    )


def negative_control(control: StudyReport | None) -> Claim:
    statement = (
        "If domains differ only in their base rate, the domain brings no gain (added here: the negative control)."
    )
    if control is None:
        return Claim(
            name="control",
            statement=statement,
            verdict=None,
            rows=(),
            remarks=("These data have no negative control; the synthetic twin does.",),
        )
    claim = _pairs("control", statement, control.comparison, [("fusion", "placebo", alike)])
    to_dnn = _difference(control.comparison, "fusion", "dnn")
    remark = (
        f"Fusion minus dnn at heterogeneity 0: {_spelled(to_dnn)}. A value above 0 is a gain from gating, regularisation or "
        "optimisation, not from the domain."
    )
    return Claim(name=claim.name, statement=statement, verdict=claim.verdict, rows=claim.rows, remarks=(remark,))


def _pairs(
    name: str,
    statement: str,
    comparison: Comparison,
    questions: Sequence[tuple[str, str, Callable[[Difference], Verdict]]],
) -> Claim:
    answerable = [(a, b, judge) for a, b, judge in questions if a in comparison.logits and b in comparison.logits]
    differences = corrected([_difference(comparison, a, b) for a, b, _ in answerable])
    rows, verdicts = [], []
    for (a, b, judge), difference in zip(answerable, differences, strict=True):
        verdict = judge(difference)
        verdicts.append(verdict)
        relation = {"better": "better than", "no_worse": "no worse than", "alike": "equal to"}[judge.__name__]
        rows.append({"question": f"{a} {relation} {b}?", "verdict": verdict.value, **_figures(difference)})
    pairs = [(a, b) for a, b, _ in answerable]
    missing = [f"{a} or {b} has no result" for a, b, _ in questions if (a, b) not in pairs]
    return Claim(name=name, statement=statement, verdict=together(verdicts), rows=rows, remarks=missing)


def _difference(comparison: Comparison, arm: str, base: str) -> Difference:
    assert comparison.rows is not None
    pair = {arm: comparison.logits[arm], base: comparison.logits[base]}
    return compare("gauc_domain", comparison.rows, pair, baseline=base)[arm]


def _figures(difference: Difference) -> dict[str, Any]:
    return {
        "GAUC difference": difference.difference,
        "95 % interval": Interval.of(difference.low, difference.high),
        "p (Holm)": none_if_nan(difference.p_holm),
        "detectable": none_if_nan(difference.detectable),
    }


def _spelled(difference: Difference) -> str:
    interval = Interval.of(difference.low, difference.high)
    return f"{difference.difference:+.4f} {'(one seed: no interval)' if interval.low is None else interval}"


def number_of_domains(definitions: DefinitionsJob) -> Claim:
    statement = "Gains grow with the number of domains, up to an optimum."
    judged = judged_definitions(definitions)
    arms = {name: logits for name, logits in judged.arms.items() if name != "dnn"}
    names = list(arms)
    prepared = " × ".join(definitions.reference.manifest.domain)
    middle = prepared if prepared in arms else names[-1]
    pairs = [(middle, names[0], "more domains better than one?")]
    if names[-1] != middle:
        pairs.append((middle, names[-1], "even more domains worse?"))
    differences = corrected(
        [compare("gauc_domain", judged.rows, {a: arms[a], b: arms[b]}, baseline=b)[a] for a, b, _ in pairs]
    )
    verdicts = [better(difference) for difference in differences]
    rows = [
        {"question": f"{question} ({a} minus {b})", "verdict": verdict.value, **_figures(difference)}
        for (a, b, question), difference, verdict in zip(pairs, differences, verdicts, strict=True)
    ]
    return Claim(name="number-of-domains", statement=statement, verdict=together(verdicts), rows=rows)


def shared_neurons(main: StudyReport, control: StudyReport | None, *, minimum_rows: int) -> Claim:
    statement = "Similar domains share more neurons."
    rows, verdict = [], None
    for study, suffix in ((main, ""), (control, " (heterogeneity 0)")):
        if study is None:
            continue
        tests = _mantels(study, minimum_rows)
        kinds = [kind for kind, *_ in tests]
        deciding = next((kind for kind in ("planted | key", "labels | key") if kind in kinds), "key")
        for kind, correlation, p, number in tests:
            decided = Verdict.holds if p is not None and p < 0.05 and (correlation or 0) > 0 else Verdict.undecided
            if kind == deciding and study is main:
                verdict = decided
            elif kind == deciding and decided is Verdict.holds:
                verdict = (
                    Verdict.undecided
                )  # the same correlation without anything to learn is not evidence of learning
            rows.append(
                {
                    "question": f"similar by {SIMILARITIES[kind]}{suffix}?",
                    "verdict": decided.value,
                    "rank correlation": correlation,
                    "p": p,
                    "domains": number,
                }
            )
    remarks = (
        "Mantel's test on the similarity of the shares of rows in which neurons are active, all layers, mean over seeds.",
        "Domains with similar keys have similar embeddings, so even an untrained pruner correlates with everything that depends on the "
        "key. The verdict therefore uses similarity beyond the key: the planted groups if they are known, else the behaviour of labels. "
        "It is undecided if the same correlation appears at heterogeneity 0, where there is nothing to learn.",
    )
    return Claim(name="overlap", statement=statement, verdict=verdict, rows=rows, remarks=remarks)


def _mantels(study: StudyReport, minimum_rows: int) -> list[tuple[str, float | None, float | None, int]]:
    """For each kind of similarity: its name, correlation, p, and number of domains."""
    folders = next(arm for arm in study.comparison.arms if arm.name == "fusion").folders
    if not folders:
        return []
    closeness, chosen, similar, keys = [], None, None, []
    for folder in folders.values():
        saved = _opened(folder)
        model, _ = trained_model(saved)
        assert isinstance(model, AdaSparse)
        rows = load_rows(saved.data_folder, saved.manifest, Split.test, device=model.device)
        active = activity(
            model, rows, num_domains=saved.manifest.num_all_domains, batch_size=saved.job.loop.evaluation_batch_size
        )
        if chosen is None or similar is None:
            domains = read_domains(saved.data_folder, saved.manifest)
            chosen = np.flatnonzero((active.rows >= minimum_rows) & (domains["train_rows"].to_numpy() > 0))
            if len(chosen) < 3:
                return []
            train = load_rows(saved.data_folder, saved.manifest, Split.train, device=model.device)
            similar, keys = similarities(saved, train, domains, chosen), key_fields(saved, domains, chosen)
        closeness.append(overlap(active.all_layers()[chosen], prunes=active.prunes).closeness)
    assert chosen is not None
    assert similar is not None
    mean = np.mean(closeness, axis=0)
    return [
        (kind, None if test is None else test.correlation, None if test is None else test.p, len(chosen))
        for kind, test in mantel_tests(similar, mean, keys=keys).items()
    ]


def _opened(folder: Path) -> SavedRun:
    """Open a run of a study, with the data directory of its settings."""
    return open_run(folder, data_root=Path(read_config(folder)["paths"]["data"]))


def little_exposure(comparison: Comparison) -> Claim:
    statement = "Domains with few training rows also gain."
    assert comparison.rows is not None
    pair = {arm: comparison.logits[arm] for arm in ("fusion", "dnn")}
    train_rows = domain_table(comparison)["train_rows"].to_numpy()
    by_exposure = exposure(comparison.rows, train_rows, pair, baseline="dnn", number=BINS)
    usable = [one for one in by_exposure.bins if one.gains["fusion"] is not None]
    gains = corrected([gain for one in usable if (gain := one.gains["fusion"]) is not None])
    verdicts = [
        better(gain) if one.positives >= ENOUGH_POSITIVES else Verdict.undecided
        for one, gain in zip(usable, gains, strict=True)
    ]
    rows = [
        {
            "question": f"gain in domains with {one.low:,} – {one.high:,} training rows?",
            "verdict": verdict.value,
            "positives": one.positives,
            **_figures(gain),
        }
        for one, gain, verdict in zip(usable, gains, verdicts, strict=True)
    ]
    remarks = []
    has_sparsest = bool(usable) and usable[0] is by_exposure.bins[0]
    if not has_sparsest:
        # the claim is about the sparsest bin; the next bin cannot replace it
        remarks.append("No domain of the sparsest bin has both classes, so the claim cannot be tested.")
    if (contrast := by_exposure.contrasts.get("fusion")) is not None:
        remarks.append(f"Gain in the sparsest bin minus gain in the densest: {_spelled(contrast)}.")
    decided = verdicts[0] if has_sparsest else Verdict.undecided
    return Claim(name="exposure", statement=statement, verdict=decided, rows=rows, remarks=tuple(remarks))


def moderate_sparsity(study: StudyReport) -> Claim:
    comparison = study.comparison
    questions = [
        ("15–25 %", "dnn", better),
        ("15–25 %", "35–45 %", better),
        ("35–45 %", "dnn", alike),
        ("dnn", "60–70 %", better),
    ]
    statement = "Moderate sparsity (15 to 25 %) is best; 35 to 45 % equals the DNN; more is worse than the DNN."
    return _pairs("sparsity", statement, comparison, questions)


def online(main: StudyReport) -> Claim:
    statement = "Online, CTR went up, cost per click went down, and more than 90 % of domains gained (here: simulated auctions)."
    arms = {arm.name: arm for arm in main.comparison.arms}
    folder = next(iter(arms["dnn"].folders.values()))
    saved = _opened(folder)
    truth = truth_file(saved.data_folder, saved.manifest, "rows.parquet")
    if truth is None:
        return Claim(
            name="online",
            statement=statement,
            verdict=None,
            rows=(),
            remarks=("The true rates of these data are unknown.",),
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
        better(change, smallest=smallest)
        for change, smallest in zip(corrected([up, cheaper, share]), (SMALLEST, SMALLEST, 0.0), strict=True)
    ]
    questions = (
        ("CTR up?", up, 0.0),
        ("CPC down?", cost, 0.0),
        (f"CTR up in more than {MOST_DOMAINS:.0%} of domains?", share, MOST_DOMAINS),
    )
    rows = [
        {
            "question": question,
            "verdict": verdict.value,
            "result, %": none_if_nan(100 * (change.difference + above)),
            "95 % interval, %": Interval.of(100 * (change.low + above), 100 * (change.high + above), decimals=2),
        }
        for (question, change, above), verdict in zip(questions, verdicts, strict=True)
    ]
    return Claim(
        name="online",
        statement=statement,
        verdict=together(verdicts),
        rows=rows,
        remarks=(
            "Auctions as in `adasparse analyze abtest`. Result: the relative change; in the last row, the share of domains among the "
            f"{int((trials[0].auctions >= ENOUGH_AUCTIONS).sum())} domains with at least {ENOUGH_AUCTIONS} auctions. With fewer auctions, changes of CTR are mostly chance.",
        ),
    )

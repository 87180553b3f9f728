"""The report page from made-up runs: what cannot be known is said, what is damaged is named, what is long stays readable."""

from __future__ import annotations

import dataclasses
import errno
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.errors import AdasparseError, IntegrityError, ResourceError, UsageError
from adasparse_cli.findings.card import ArmOutcome, Outcome
from adasparse_cli.findings.figures import LONGEST_LABEL, hover, label, places
from adasparse_cli.findings.finding import Figure, Finding, Interval, Style
from adasparse_cli.findings.kept import FINDINGS
from adasparse_cli.insights import report
from adasparse_cli.insights.behaviour import evened
from adasparse_cli.insights.card import card_of, headline
from adasparse_cli.insights.differences import forest, verdict
from adasparse_cli.insights.report import findings_of, write_kept, write_report
from adasparse_cli.insights.rerun_commands import typed_path
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import compare_arms
from adasparse_cli.studies.subject import Subject
from adasparse_cli.typed import to_yaml
from tests.studies.test_comparison import run

NAMES = ("plain", 'shop "A" & <b>co</b>', "it's", "x" * 300, "x" * 299 + "y", "six")
SPARSITY = {"layers": ["input"], "interval": [0.1, 0.2], "at_end": [0.1], "test": [0.1]}


def finished(root: Path, name: str, seed: int, *, cut: float = 0.0, words: Sequence[str] = ()) -> Path:
    """A run's folder with every file that the page reads."""
    folder = run(root, name, seed)
    found = json.loads((folder / "report.json").read_text())
    found["data"] |= {"num_domains": 6, "words": "data=made"}
    found["sparsity"] = SPARSITY
    (folder / "report.json").write_text(json.dumps(found))
    frame = pl.read_parquet(folder / "predictions.parquet").group_by("domain").agg(pl.len(), pl.col("label").sum())
    frame = frame.sort("domain")
    table = pl.DataFrame(
        {"domain": range(6), "shop": NAMES, "train_rows": [60, 50, 40, 30, 20, 10], "test_rows": frame["len"],
         "test_positives": frame["label"], "sparsity_input": [cut] * 6}
    )  # fmt: skip
    table.write_csv(folder / "domains.csv")
    lines = [{"kind": "train", "step": step, "loss": 0.5} for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tree = compose(
        "train", ["data=tabular", "data.name=made", "data.label=y", "data.domain=[shop]", "raw=a.csv", *words]
    )
    (folder / "config.yaml").write_text(to_yaml(tree))
    sitting = {
        "versions": {"torch": "2"},
        "host": {"python": "3", "system": "s", "cores": 2},
        "threads": 1,
        "device": "cpu",
    }
    (folder / "environment.json").write_text(json.dumps({"sittings": [sitting]}))
    return folder


def source(root: Path, seeds: int = 2, *, names: Sequence[str] = ("dnn", "other"), **changes: Any) -> Subject:
    runs = {name: {seed: finished(root, name, seed, **changes) for seed in range(seeds)} for name in names}
    return opened(root, runs)


def opened(root: Path, runs: Mapping[str, Mapping[int, Path | None]]) -> Subject:
    arms = [Arm(name=name, runs=own) for name, own in runs.items()]
    comparison = compare_arms(arms, baseline=arms[0].name)
    return Subject(title="t", question="q", comparison=comparison, folder=root, failed={})


def part(found: Subject, name: str) -> Finding:
    return next(finding for finding in findings_of(found) if finding.name == name)


def figure(finding: Finding, name: str) -> Figure:
    return next(one for one in finding.figures if one.name == name)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_one_seed_gives_no_verdict_no_forest_plot_and_the_reason(tmp_path: Path) -> None:
    found = source(tmp_path, 1)
    page = write_report(found).read_text(encoding="utf-8")
    assert "No verdict: one seed does not show the variation between seeds" in page
    assert verdict(found).figures == []
    assert [one.outcome for one in card_of(found).arms] == [Outcome.unknown]
    assert card_of(found).arms[0].difference is not None


def arm(name: str, difference: float, low: float | None, outcome: Outcome = Outcome.undecided) -> ArmOutcome:
    high = None if low is None else 2 * difference - low
    return ArmOutcome(
        arm=name, style=Style.of(1), outcome=outcome, difference=difference, interval=Interval(low, high), detectable=None
    )  # fmt: skip


def test_an_arm_without_an_interval_has_no_place_in_the_forest_plot_and_is_named() -> None:
    plot = forest([arm("a", 0.02, 0.01, Outcome.better), arm("b", 0.03, None), arm("c", -0.01, -0.03)], "dnn")
    assert plot is not None
    assert [trace["name"] for trace in plot.traces] == ["c", "a"]
    c, a = plot.traces
    assert [*a["error_x"]["array"], *a["error_x"]["arrayminus"]] == pytest.approx([0.01, 0.01])
    assert [*c["error_x"]["array"], *c["error_x"]["arrayminus"]] == pytest.approx([0.02, 0.02])
    assert [trace["marker"]["symbol"].endswith("-open") for trace in plot.traces] == [True, False]
    assert [one["text"] for one in plot.layout["annotations"]] == ["c -0.0100, undecided", "a +0.0200, better"]
    (band,) = plot.layout["shapes"]
    assert (band["x0"], band["x1"]) == (-0.001, 0.001)
    assert "not shown: b." in plot.summary
    assert forest([arm("b", 0.03, None)], "dnn") is None


BETTER, WORSE, UNDECIDED, UNKNOWN = Outcome.better, Outcome.worse, Outcome.undecided, Outcome.unknown


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([UNKNOWN], "No verdict: why."),
        ([UNDECIDED], "Undecided: a does not differ significantly from dnn."),
        ([UNDECIDED, UNKNOWN], "Undecided: none of the 2 arms differs significantly from dnn."),
        ([BETTER, UNDECIDED], "a (+0.0100) is better than dnn."),
        ([BETTER, BETTER], "b (+0.0200) and a (+0.0100) are better than dnn."),
        ([WORSE, BETTER, BETTER], "c (+0.0300) and b (+0.0200) are better than dnn; a (+0.0100) is worse than dnn."),
        ([BETTER] * 4 + [UNDECIDED], "4 of 5 arms are better than dnn, d by the most (+0.0400)."),
        ([Outcome.equal], "No arm differs from dnn by more than 0.001."),
    ],
)
def test_the_headline_is_the_answer(outcomes: Sequence[Outcome], said: str) -> None:
    arms = [arm(name, 0.01 * (k + 1), 0.0, own) for k, (name, own) in enumerate(zip("abcde", outcomes, strict=False))]
    assert headline(arms, "dnn", why_no_interval="why") == said


def test_a_metric_without_a_difference_leaves_out_its_plot_but_not_the_other_tables(tmp_path: Path) -> None:
    """Test domains of one class each have no GAUC, while AUC and log loss over all rows are there."""
    runs = {name: {seed: finished(tmp_path, name, seed) for seed in range(2)} for name in ("dnn", "other")}
    for folder in (folder for own in runs.values() for folder in own.values()):
        frame = pl.read_parquet(folder / "predictions.parquet")
        frame.with_columns(domain=pl.col("label").cast(pl.Int32)).write_parquet(folder / "predictions.parquet")
    found = verdict(opened(tmp_path, runs))
    assert found.figures == []
    assert any("no domain has test rows of both classes" in answer for answer in found.answers)
    assert {table.name for table in found.tables} >= {"difference-auc", "difference-log_loss"}
    write_report(opened(tmp_path, runs))


def test_runs_without_test_rows_have_a_page(tmp_path: Path) -> None:
    folder = finished(tmp_path, "dnn", 0)
    for name in ("predictions.parquet", "domains.csv"):
        (folder / name).unlink()

    def without_test(value: dict[str, Any]) -> None:
        value["data"]["splits"]["test"] = {"rows": 0, "positives": 0}
        del value["metrics"]["test"], value["sparsity"]["test"]

    rewritten(folder / "report.json", without_test)
    names = [finding.name for finding in findings_of(opened(tmp_path, {"dnn": {0: folder}}))]
    assert names == ["metrics", "curves", "settings", "reproduction"]
    assert "valid rows" in card_of(opened(tmp_path, {"dnn": {0: folder}})).headline


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("domains.csv", lambda path: path.write_text("domain;shop\n0;a\n"), "unable to find column"),
    ("domains.csv", lambda path: path.write_text(""), "is damaged"),
    ("domains.csv", lambda path: path.write_bytes(path.read_bytes()[:-40]), "instead of 6"),
    ("domains.csv", lambda path: path.write_text(path.read_text().replace("\n0,", "\nnought,")), "is damaged"),
    ("domains.csv", lambda path: path.write_text(path.read_text().replace("\n0,", "\n7,")), "are not 0, 1, 2"),
    ("domains.csv", lambda path: path.unlink(), "is missing"),
    ("metrics.jsonl", lambda path: path.write_text("{}\n" + path.read_text()), ":1 is damaged"),
    ("metrics.jsonl", lambda path: path.write_bytes(b'{"kind": "tr\xff\n' + path.read_bytes()), ":1 is damaged"),
    ("config.yaml", lambda path: path.write_text("- a\n- b\n"), "damaged"),
    ("config.yaml", lambda path: path.write_text("data: {name: x}\n"), "damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE)
def test_a_damaged_file_is_named_with_what_to_do(
    tmp_path: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    found = source(tmp_path)
    path = tmp_path / "other-s1" / name
    damage(path)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")) as caught:
        findings_of(found)
    assert said in caught.value.message
    assert "adasparse runs rm" in caught.value.hint


@pytest.mark.parametrize("torn", [b'{"kind": "train", "st', b'{"kind": "tr\xc3', b"\x00\x00\x00", b"\n"])
def test_a_last_line_torn_by_a_power_cut_is_no_line(tmp_path: Path, torn: bytes) -> None:
    found = source(tmp_path)
    path = tmp_path / "other-s1" / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    assert figure(part(found, "curves"), "loss").traces[1]["x"] == [1, 2]


def test_nothing_pruned_is_a_sentence_and_no_figure(tmp_path: Path) -> None:
    found = source(tmp_path)
    for path in tmp_path.glob("*/report.json"):
        rewritten(path, lambda value: value["sparsity"].update(test=[0.0]))
    finding = part(opened(tmp_path, {arm.name: arm.runs for arm in found.comparison.arms}), "sparsity")  # type: ignore[misc]
    assert finding.answers == ["No neuron is pruned in dnn and other."]
    assert finding.figures == []


def test_the_requested_interval_is_a_band_and_layers_outside_it_are_named(tmp_path: Path) -> None:
    found = source(tmp_path)
    rewritten(tmp_path / "other-s0" / "report.json", lambda value: value["sparsity"].update(test=[0.9]))
    finding = part(opened(tmp_path, {arm.name: arm.runs for arm in found.comparison.arms}), "sparsity")  # type: ignore[misc]
    assert finding.answers == ["At least one layer is outside the requested interval in other."]
    (band,) = figure(finding, "layers").layout["shapes"]
    assert (band["y0"], band["y1"]) == (0.1, 0.2)


def test_shares_by_domain_are_a_table_for_each_arm(tmp_path: Path) -> None:
    tables = [table for table in part(source(tmp_path, cut=0.25), "sparsity").tables if table.choice]
    assert [table.choice for table in tables] == ["dnn", "other"]
    assert tables[0].shares == ["input, %"]
    assert [row["input, %"] for row in tables[0].rows] == [25.0] * 6
    assert [row["domain"] for row in tables[0].rows] == list(NAMES)


def test_an_arm_has_one_colour_and_one_mark_in_all_figures_and_in_the_card(tmp_path: Path) -> None:
    found = source(tmp_path, names=("dnn", "b", "a", "c"))
    looks: dict[str, set[tuple[str, str]]] = {}
    for one in (one for finding in findings_of(found) for one in finding.figures):
        for trace in one.traces:
            if trace.get("showlegend") is not False:
                own = (trace["marker"]["color"], trace["marker"]["symbol"].removesuffix("-open"))
                looks.setdefault(trace["name"], set()).add(own)
    for row in card_of(found).arms:
        looks[row.arm].add((row.style.colour, row.style.mark))
    assert set(looks) == {"dnn", "a", "b", "c"}
    assert all(len(own) == 1 for own in looks.values()), looks
    assert len(set.union(*looks.values())) == 4


def test_single_runs_have_their_metrics_and_best_and_worst_domains(tmp_path: Path) -> None:
    folder = finished(tmp_path, "dnn", 0)
    table = pl.read_csv(folder / "domains.csv").with_columns(
        test_rows=100, test_positives=pl.Series([30, 40, 50, 19, 25, 60]), test_auc=pl.Series([0.5, 0.9, 0.7, 0.99, None, 0.6]),
        test_log_loss=0.1, test_calibration=1.0,
    )  # fmt: skip
    table.write_csv(folder / "domains.csv")
    found = opened(tmp_path, {"dnn": {0: folder}})
    tables = {one.name: one for one in part(found, "domains").tables}
    assert [row["AUC"] for row in tables["extremes"].rows] == [0.9, 0.7, 0.6, 0.5]
    assert tables["extremes"].rows[0]["domain"] == NAMES[1]
    metrics = {row["metric"]: row for row in part(found, "metrics").tables[0].rows}
    report = json.loads((folder / "report.json").read_text())["metrics"]
    assert float(metrics["AUC"]["test"].split()[0]) == pytest.approx(report["test"]["auc"], abs=0.005)
    shown = {one.name: one.value for one in card_of(found).measures}
    assert shown["AUC"] == metrics["AUC"]["test"]
    assert {"GAUC by domain", "AUC", "log loss"} <= set(shown)


def test_a_title_names_the_data_once(tmp_path: Path) -> None:
    found = source(tmp_path)
    title = write_report(found).read_text(encoding="utf-8").split("<h1>")[1].split("</h1>")[0]
    assert title == f"t on {found.comparison.data['name']}"
    again = dataclasses.replace(found, title=title)
    assert f"<h1>{title}</h1>" in write_report(again).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", "a" * LONGEST_LABEL, "b" * (LONGEST_LABEL + 1), "begin" + "-" * 300 + "end"])
def test_a_label_is_short_and_keeps_its_ends(text: str) -> None:
    found = label(text)
    assert len(found) == min(len(text), LONGEST_LABEL)
    assert (found == text) is (len(text) <= LONGEST_LABEL)
    assert found[:5] == text[:5]
    assert found[-3:] == text[-3:]
    assert hover(text).replace("<br>", "") == text
    assert places([text, text])["tickvals"] == [0, 1]


def test_a_folder_is_no_place_for_a_page_and_the_hint_names_one(tmp_path: Path) -> None:
    found = source(tmp_path, 1, names=("dnn",))
    with pytest.raises(UsageError, match="is a folder") as caught:
        write_report(found, tmp_path)
    assert f"-o {tmp_path}/report.html" in caught.value.hint
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is not a folder"):
        write_report(found, tmp_path / "file" / "page.html")
    with pytest.raises(UsageError, match="deeper is not a folder"):
        write_report(found, tmp_path / "file" / "deeper" / "page.html")
    assert write_report(found, tmp_path / "new" / "page.html").exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_where_nothing_may_be_written_the_hint_is_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whoever runs the tests as root may write everywhere, so the refusal is made up."""

    def refuse(path: Path, text: str) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(report, "write_text", refuse)
    with pytest.raises(ResourceError, match="is not writable") as caught:
        write_report(source(tmp_path, 1))
    assert "-o FILE" in caught.value.hint


def test_a_full_disk_is_no_matter_of_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(source(tmp_path, 1))


def test_a_folder_of_findings_that_is_empty_is_named(tmp_path: Path) -> None:
    (tmp_path / FINDINGS).mkdir()
    with pytest.raises(AdasparseError, match="contains no findings"):
        write_kept(tmp_path)


def test_raw_files_that_nobody_knows_any_more_are_asked_for(tmp_path: Path) -> None:
    found = source(tmp_path, 1, words=("raw=[]",))
    first, second, *_ = part(found, "reproduction").answers
    typed = shlex.split(first.split("`")[1])
    assert typed == [
        "adasparse",
        "prep",
        "data=tabular",
        "data.name=made",
        "data.domain=[shop]",
        "data.label=y",
        "raw=FILE",
    ]
    assert "Replace `FILE` by the raw files" in second


def test_a_short_stretch_of_the_loss_is_joined_to_the_one_before() -> None:
    assert evened([10, 20, 30, 31, 41, 51], [1.0, 2.0, 3.0, 14.0, 4.0, 5.0]) == (
        [10, 20, 31, 41, 51],
        [1.0, 2.0, 4.0, 4.0, 5.0],
    )
    assert evened([], []) == ([], [])


def test_a_path_is_written_as_one_types_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed_path(tmp_path / "studies" / "one" / ".." / ".." / "runs" / "x" / "config.yaml") == "runs/x/config.yaml"
    assert typed_path(Path("/elsewhere/config.yaml")) == "/elsewhere/config.yaml"


def test_fingerprints_and_versions_are_in_the_footer(tmp_path: Path) -> None:
    found = source(tmp_path)
    page = write_report(found).read_text(encoding="utf-8")
    head, foot = page.split("<main>")[0], page.split("<footer>")[1].split("</footer>")[0]
    fingerprint = found.comparison.data["fingerprint"][:12]
    assert fingerprint in foot
    assert "torch 2, python 3" in foot
    assert fingerprint not in head

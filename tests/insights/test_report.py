"""The report page from made-up runs: what cannot be known is said, what is damaged is named, what is long stays readable."""

from __future__ import annotations

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
from adasparse_cli.findings.figures import LONGEST_LABEL, hover, label, places
from adasparse_cli.findings.finding import Figure, Finding
from adasparse_cli.findings.kept import FINDINGS
from adasparse_cli.insights import report
from adasparse_cli.insights.behaviour import evened
from adasparse_cli.insights.differences import forest, said_of, verdict
from adasparse_cli.insights.report import findings_of, write_kept, write_report
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


def test_one_seed_gives_a_page_with_marks_without_bars_and_says_why(tmp_path: Path) -> None:
    found = source(tmp_path, 1)
    page = write_report(found).read_text(encoding="utf-8")
    assert "and nothing is claimed: one seed does not tell how far results vary by chance" in page
    forest = figure(verdict(found), "differences")
    assert "error_x" not in forest.traces[0]
    assert forest.traces[0]["x"][0] is not None
    assert "interval" not in forest.title
    assert "A mark without a bar has no interval" in forest.summary


def row(arm: str, difference: float | None, low: float | None, seeds: int = 2) -> dict[str, Any]:
    high = None if low is None or difference is None else 2 * difference - low
    found = {"difference": difference, "low": low, "high": high, "real": None if low is None else low > 0}
    return {"arm": arm, "seeds": seeds, **{f"gauc_domain_{name}": value for name, value in found.items()}}


def test_only_the_arm_without_an_interval_lacks_its_bar() -> None:
    plot = forest([row("a", 0.02, 0.01), row("b", 0.03, None)], "dnn")
    assert plot.traces[0]["x"] == [0.03, 0.02]
    assert plot.traces[0]["error_x"]["array"] == [None, pytest.approx(0.01)]
    assert plot.traces[0]["error_x"]["arrayminus"] == [None, pytest.approx(0.01)]
    assert plot.traces[0]["marker"]["symbol"] == ["circle-open", "circle"]
    assert plot.title.endswith("where they are known")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("a", 0.02, None)], "No interval for a, and nothing is claimed: why."),
        ([row("a", 0.02, None), row("b", 0.02, None)], "No interval for a, b, and nothing is claimed: why."),
        ([row("a", None, None)], "no domain has test rows of both classes"),
    ],
)
def test_why_there_is_no_interval_is_said(rows: list[dict[str, Any]], said: str) -> None:
    (line,) = said_of(rows, "dnn", why_no_interval="why")
    assert said in line


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
    assert names == ["verdict", "curves", "settings", "reproduction"]


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("domains.csv", lambda path: path.write_text("domain;shop\n0;a\n"), "unable to find column"),
    ("domains.csv", lambda path: path.write_text(""), "is damaged"),
    ("domains.csv", lambda path: path.write_bytes(path.read_bytes()[:-40]), "where there are 6"),
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


def test_equal_shares_are_shown_on_a_scale_from_0_to_1(tmp_path: Path) -> None:
    trace = figure(part(source(tmp_path), "sparsity"), "by-domain").traces[0]
    assert (trace["zmin"], trace["zmax"]) == (0.0, 1.0)
    assert trace["z"] == [[0.0]] * 6


def test_domains_with_long_or_strange_names_stay_apart_and_readable(tmp_path: Path) -> None:
    """Plotly decodes &lt;, &gt; and &amp; alone; two names that are shortened to the same text are two places."""
    heat = figure(part(source(tmp_path), "sparsity"), "by-domain")
    axis = heat.layout["yaxis"]
    assert heat.traces[0]["y"] == axis["tickvals"] == list(range(6))
    assert axis["ticktext"][1] == 'shop "A" &amp; &lt;b&gt;co&lt;/b&gt;'
    assert axis["ticktext"][2] == "it's"
    assert all(len(text) <= LONGEST_LABEL for text in axis["ticktext"][3:5])
    whole = [texts[0].replace("<br>", "") for texts in heat.traces[0]["hovertext"]]
    assert whole[3:5] == list(NAMES[3:5])


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
    with pytest.raises(UsageError, match="file is no folder"):
        write_report(found, tmp_path / "file" / "page.html")
    with pytest.raises(UsageError, match="deeper is no folder"):
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
    with pytest.raises(ResourceError, match="may not be written to") as caught:
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
    with pytest.raises(AdasparseError, match="holds no findings"):
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
    assert "`FILE` stands for the raw files" in second


def test_a_short_stretch_of_the_loss_is_joined_to_the_one_before() -> None:
    assert evened([10, 20, 30, 31, 41, 51], [1.0, 2.0, 3.0, 14.0, 4.0, 5.0]) == (
        [10, 20, 31, 41, 51],
        [1.0, 2.0, 4.0, 4.0, 5.0],
    )
    assert evened([], []) == ([], [])

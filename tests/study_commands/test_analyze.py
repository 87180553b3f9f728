"""Analyses and pages as a person asks for them, on a small twin trained once."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from adasparse_cli.runs.saved_run import DONE
from tests.commands.typing_in import adasparse

TINY = ("data.rows=12000", "network.hidden=[16,8]", "loop.batch_size=256", "network.embedding_width=4", "loop.epochs=2")


NEEDS_OPTUNA = pytest.mark.skipif(find_spec("optuna") is None, reason="the extra `hpo` is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of dnn and of fusion, trained in this process, so that studies find them done."""
    folder = tmp_path_factory.mktemp("analyses")
    for words in (("--model", "dnn"), ("--mode", "fusion")):
        adasparse(folder, "train", *words, "--seeds", "2", *TINY, "threads=1")
    return folder


def runs_of(home: Path, label: str) -> list[str]:
    return [str(path.parent.relative_to(home)) for path in sorted(home.glob(f"runs/twin/{label}/*/{DONE}"))]


def test_a_study_finds_what_train_has_done_and_becomes_a_page(home: Path) -> None:
    done = adasparse(home, "compare", "--models", "dnn,adasparse", "--seeds", "2", *TINY)
    assert "runs done" not in done.stderr
    assert len(runs_of(home, "dnn")) == len(runs_of(home, "adasparse-fusion")) == 2
    adasparse(home, "analyze", "exposure", "--bins", "2")
    shown = adasparse(home, "report").stdout
    page = (home / shown.split("report: ")[1].strip()).read_text(encoding="utf-8")
    for section in ("verdict", "curves", "exposure", "calibration", "sparsity", "domains", "settings", "reproduction"):
        assert f'<section id="{section}">' in page
    assert page.count('<section id="exposure">') == 1
    assert "model.pruner.rank" in page


def test_runs_that_are_named_are_compared_by_what_sets_them_apart(home: Path) -> None:
    done = adasparse(home, "report", *runs_of(home, "dnn"), *runs_of(home, "adasparse-fusion"), "-o", "page.html")
    assert "page.html" in done.stdout
    page = (home / "page.html").read_text(encoding="utf-8")
    assert "dnn against adasparse-fusion" in page
    one = adasparse(home, "report", runs_of(home, "dnn")[0], "-o", "one.html")
    assert "one.html" in one.stdout
    uneven = adasparse(home, "report", *runs_of(home, "dnn"), runs_of(home, "adasparse-fusion")[0], code=3)
    assert "no run with seed 1" in uneven.stderr


def test_a_run_is_made_again_from_its_own_settings(home: Path) -> None:
    """The command that the page gives; the new run's metrics are those of the first."""
    run = Path(runs_of(home, "dnn")[0])
    again = json.loads(adasparse(home, "train", "--config", str(run / "config.yaml"), "--json").stdout)
    assert again["metrics"] == json.loads((home / run / "report.json").read_text())["metrics"]


def test_overlap_of_the_newest_run_by_itself_and_of_named_domains(home: Path) -> None:
    found = json.loads(
        adasparse(home, "analyze", "overlap", "--min-rows", "15", "--permutations", "99", "--json").stdout
    )
    assert found["name"] == "overlap"
    kinds = {row["similarity"] for row in found["tables"][0]["rows"]}
    assert len(kinds) == 6
    names = [
        row["domain"] for row in next(table for table in found["tables"] if table["name"] == "most-and-least")["rows"]
    ]
    named = adasparse(home, "analyze", "overlap", "--min-rows", "15", "--domain", names[0], "--domain", names[-1])
    assert "Overlap of" in named.stdout
    (folder,) = home.glob("runs/twin/adasparse-fusion/*/findings/overlap")
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    domains = {row["domain"] for row in rows} | {row["other"] for row in rows}
    assert len(rows) == len(domains) * (len(domains) - 1) // 2
    assert "no weight factors" in adasparse(home, "analyze", "overlap", runs_of(home, "dnn")[0], code=2).stderr


def test_what_is_said_to_be_cut_was_cut(home: Path) -> None:
    """Scaling cuts nothing: no figure and no count may say otherwise."""
    adasparse(home, "train", "--mode", "scaling", *TINY, "loop.max_steps=5", "threads=1")
    for run, figures in (
        (runs_of(home, "adasparse-scaling")[0], ["heat"]),
        (runs_of(home, "adasparse-fusion")[0], ["named", "heat"]),
    ):
        words = ("analyze", "overlap", run, "--min-rows", "15", "--permutations", "99", "--json")
        found = json.loads(adasparse(home, *words).stdout)
        pair = found["tables"][1]["rows"][0]
        named = adasparse(home, *words, "--domain", pair["domain"], "--domain", pair["other"])
        found = json.loads(named.stdout)
        assert [figure["name"] for figure in found["figures"]] == figures
        assert ("never_pruned" in found["tables"][-1]["rows"][0]) == ("named" in figures)
    assert (
        "unknown domain '7/7/7'"
        in adasparse(home, "analyze", "overlap", "--domain", "7/7/7", "--domain", "x", code=2).stderr
    )
    assert "use a lower --min-rows" in adasparse(home, "analyze", "overlap", "--min-rows", "999999", code=3).stderr


def test_auctions_against_itself_change_nothing(home: Path) -> None:
    run = runs_of(home, "dnn")[0]
    found = adasparse(home, "analyze", "abtest", run, run, "--auctions", "5000", "--csv").stdout
    assert [float(row["change_percent"]) for row in csv.DictReader(io.StringIO(found))] == [0.0, 0.0, 0.0]


def test_auctions_on_a_log_with_propensities_are_an_off_policy_estimate(home: Path) -> None:
    """A row with a propensity that is none is set aside; the column is no feature."""
    draw = random.Random(3)
    lines = ["country,ad,shown_with,clicked"]
    for _ in range(3000):
        ad, country = draw.randrange(20), draw.choice(["de", "fr", "it"])
        lines.append(f"{country},ad{ad},{0.1 + 0.04 * ad:.2f},{int(draw.random() < 0.1 + 0.03 * (ad % 7))}")
    lines.insert(100, "de,ad1,0,1")
    (home / "log.csv").write_text("\n".join(lines) + "\n")
    words = ("data=tabular", "raw=log.csv", "data.label=clicked", "data.domain=[country]", "data.name=log")
    prepared = adasparse(home, "prep", *words, "data.propensity=shown_with", "--json")
    manifest = json.loads((home / "data/log/manifest.json").read_text())
    assert manifest["rejected"] == {"is no chance in (0, 1]": 1}
    assert [field["name"] for field in manifest["fields"]] == ["ad", "country"]
    assert prepared.stdout
    for arm in ("dnn", "adasparse"):
        adasparse(home, "train", "data=tabular", "data.name=log", f"model={arm}", "network.hidden=[8]", "threads=1")
    one, other = (str(next((home / "runs/log").glob(f"{arm}*/*/{DONE}")).parent) for arm in ("dnn", "adasparse"))
    found = json.loads(adasparse(home, "analyze", "abtest", one, other, "--auctions", "2000", "--json").stdout)
    assert any("off-policy" in note for note in found["notes"])
    assert [row["figure"] for row in found["tables"][0]["rows"]] == ["CTR", "CPC", "RPM"]
    assert 0 < found["tables"][0]["rows"][0]["a"] < 1
    # nobody knows the chances of rows that are still to be shown
    plain = [",".join((country, ad, clicked)) for country, ad, _, clicked in (line.split(",") for line in lines)]
    (home / "new.csv").write_text("\n".join(plain[:50]) + "\n")
    assert "49 rows scored" in adasparse(home, "predict", one, "new.csv").stdout


def test_domain_definitions_are_prepared_trained_and_recommended(home: Path) -> None:
    words = (
        "analyze",
        "domains",
        *TINY[:4],
        "loop.max_steps=10",
        "--fields",
        "user_gender_id,user_age_level",
        "--seeds",
        "1",
    )
    found = json.loads(adasparse(home, *words, "--json").stdout)
    rows = found["tables"][0]["rows"]
    assert [row["definition"] for row in rows] == ["one domain", "user_gender_id", "+ user_age_level"]
    assert rows[0]["domains"] == 1
    assert rows[1]["domains"] < rows[2]["domains"]
    assert any(answer.startswith("Recommended") for answer in found["answers"])
    # each definition has a name of its own, which holds the fingerprint of the data that it was made from
    fingerprint = json.loads((home / "data" / "twin" / "manifest.json").read_text())["fingerprint"][:8]
    assert (home / "data" / f"twin-by-user_gender_id-{fingerprint}" / "manifest.json").exists()
    before = sorted(home.glob("runs/*/*/*"))
    adasparse(home, *words)
    assert sorted(home.glob("runs/*/*/*")) == before
    page = adasparse(home, "report", "domains-twin").stdout
    assert "report.html" in page
    assert (
        "not a categorical field" in adasparse(home, "analyze", "domains", *TINY, "--fields", "item_idd", code=2).stderr
    )


def test_a_plan_is_shown_before_hours_are_spent(tmp_path: Path) -> None:
    assert "Sparsity intervals" in adasparse(tmp_path, "analyze", "sparsity", "--dry-run").stdout
    plan = adasparse(tmp_path, "reproduce", "--dry-run").stdout
    assert "reproduce-control" in plan
    assert "27" in plan
    assert not re.search(r"\d\.\d{2}", plan), "minutes are whole, or have one digit"
    assert "quick, full" in adasparse(tmp_path, "reproduce", "--profile", "instant", code=2).stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_claim_gets_a_verdict_and_the_same_words_train_nothing_more(tmp_path: Path) -> None:
    words = ("reproduce", *TINY[:4], "--seeds", "2", "--workers", "2", "--json")
    found = json.loads(adasparse(tmp_path, *words).stdout)
    claims = found["rows"]
    assert [claim["claim"] for claim in claims] == [
        "modes", "baselines", "domain", "control", "number-of-domains", "overlap", "exposure", "sparsity", "online",
    ]  # fmt: skip
    assert {claim["verdict"] for claim in claims} <= {"supported", "not supported", "undecided"}
    before = sorted(tmp_path.glob("runs/*/*/*"))
    assert json.loads(adasparse(tmp_path, *words).stdout) == found
    assert sorted(tmp_path.glob("runs/*/*/*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("analyze", "overlap", "FUSION", "--min-rows", "15", "--permutations", "99"),
        ("analyze", "exposure", "DNN", "FUSION"),
        ("analyze", "abtest", "DNN", "FUSION", "--auctions", "50"),
        ("analyze", "sparsity", *TINY),
        ("analyze", "domains", *TINY),
        ("compare", "--models", "dnn,adasparse", "--seeds", "2", *TINY),
        pytest.param(("hpo", "loop.learning_rate=0.001,0.002", "--trials", "1", *TINY), marks=NEEDS_OPTUNA),
        ("reproduce", "--seeds", "1", *TINY),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_verify_checks_files_that_the_command_does_not_read(home: Path, words: tuple[str, ...]) -> None:
    fusion, dnn = (
        next(run for run in runs_of(home, model) if run.endswith("s1")) for model in ("adasparse-fusion", "dnn")
    )
    # training starts only after the data are checked; of runs that are done, all files are checked
    trains = words[0] in ("hpo", "reproduce") or words[1] in ("sparsity", "domains")
    path = home / "data/twin/rejects.parquet" if trains else home / fusion / "train.log"
    whole = path.read_bytes()
    typed = [{"FUSION": fusion, "DNN": dnn}.get(word, word) for word in words]
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        if not trains:
            adasparse(home, *typed)
        assert path.name in adasparse(home, *typed, "--verify", code=4).stderr.replace("\n", "")
    finally:
        path.write_bytes(whole)


def test_metrics_of_few_positives_have_two_digits_wherever_seeds_are_shown(tmp_path: Path) -> None:
    """In `train --seeds`, the study's table and sentence, and the page; the caption says why."""
    tiny = ("data.rows=3000", *TINY[1:], "threads=1")
    shown = adasparse(tmp_path, "train", "--model", "dnn", "--seeds", "2", *tiny).stdout
    adasparse(tmp_path, "train", "--model", "biasnet", "--seeds", "2", *tiny)
    study = adasparse(tmp_path, "sweep", "--seeds", "2", "model=dnn,biasnet", *tiny).stdout
    adasparse(tmp_path, "report", "latest", "-o", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (" ".join(text.split()) for text in (shown, study, page)):
        assert re.search(r"test has only \d+ positives: the standard error of an AUC is about 0\.\d\d\b", text)
        assert re.search(r"\b0\.\d\d ± 0\.\d\d \*", text)
    for text in (shown, study, page[page.index('id="verdict"') : page.index("</table>")]):
        assert not re.search(r"\b0\.\d{3,} ±", text)
    assert re.search(r"on the valid split: \S+ with 0\.\d\d \*, 0\.\d\d \* on the test split", " ".join(study.split()))


def test_differences_without_interval_and_metrics_of_domains_have_two_digits_where_positives_are_few(
    tmp_path: Path,
) -> None:
    """On a terminal and on the page; files and programs get all digits."""
    tiny = ("data.rows=3000", *TINY[1:], "threads=1")
    words = ("compare", "--models", "dnn,biasnet", "--seeds", "1", *tiny)
    table = json.loads(adasparse(tmp_path, *words, "--json").stdout)["rows"]
    gap = next(row["auc_difference"] for row in table if row["arm"] == "biasnet")
    said = adasparse(tmp_path, *words).stdout
    assert f"{gap:+.2f} *" in said
    assert f"{gap:+.4f}" not in said
    assert "two digits" in said
    bins = adasparse(tmp_path, "analyze", "exposure").stdout
    assert re.search(r"0\.\d\d \*", bins)
    assert not re.search(r"0\.\d{4}", bins.split("By bin of training rows")[1])
    adasparse(tmp_path, "report", "-o", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    domains = page[page.index('id="table-domains-domains"') :]
    domains = domains[: domains.index("</table>")]
    cells = re.findall(r'data-value="(-?[\d.e-]+)"[^>]*>([^<]*)<', domains)
    marked = [(value, text) for value, text in cells if text.endswith(" *")]
    assert marked
    for value, text in marked:  # the page sorts by the exact value
        assert text.lstrip("+") == f"{float(value):.2f} *"


@NEEDS_OPTUNA
def test_a_search_on_few_positives_shows_two_digits(tmp_path: Path) -> None:
    tiny = ("data.rows=3000", *TINY[1:], "threads=1")
    words = ("hpo", "loop.learning_rate=0.001,0.002", "model=dnn", "--trials", "2", "--metric", "auc", *tiny)
    said = adasparse(tmp_path, *words, "--verify").stdout
    assert re.search(r"Best of 2 trials: loop.learning_rate=0.00[12] \(0\.\d\d \*\)", said)
    assert re.search(r"│\s+0\.\d\d \*", said)
    assert not re.search(r"0\.\d{4}", said)
    exact = json.loads(adasparse(tmp_path, *words, "--json").stdout)["tables"][0]["rows"]
    assert all(len(str(row["valid_auc"])) > 6 for row in exact)
    log = next(tmp_path.glob("runs/twin/dnn/*/train.log"))
    log.write_bytes(log.read_bytes() + b"x")
    adasparse(tmp_path, *words)
    assert "train.log" in adasparse(tmp_path, *words, "--verify", code=4).stderr.replace("\n", "")

"""Which run a command uses and where it may write: said, and refused where something is also the input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.runs.run_folder import latest_alike
from adasparse_cli.runs.saved_run import read_config
from tests.commands.typing_in import adasparse

TINY = ("data.rows=3000", "network.hidden=[8]", "loop.batch_size=512", "network.embedding_width=2", "loop.epochs=1")
RAW = "data/twin/raw/twin_train.txt"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of adasparse, then a placebo, an interrupted run and a failed one."""
    folder = tmp_path_factory.mktemp("home")
    adasparse(folder, "train", *TINY, "loop.learning_rate=0.003")
    adasparse(folder, "train", *TINY, "loop.placebo=true", "seed=1")
    for seed, state in ((2, "unfinished"), (3, "failed")):
        adasparse(folder, "train", *TINY, f"seed={seed}")
        (run,) = folder.glob(f"runs/*/*/*-s{seed}")
        (run / "DONE").unlink()
        if state == "failed":
            (run / "FAILED").write_text("no room left\n")
    return folder


def test_a_control_arm_carries_it_in_its_name_and_is_found_again_under_the_old_one(home: Path) -> None:
    (run,) = home.glob("runs/twin/adasparse-fusion-placebo/*-s1")
    config, fingerprint = read_config(run), json.loads((run / "environment.json").read_text())["data_fingerprint"]
    assert latest_alike(run.parent, config, fingerprint) == run
    old = run.rename(run.parent.parent / "adasparse-fusion" / run.name)
    assert latest_alike(run.parent, config, fingerprint) == old
    old.rename(run)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "latest", "--split", "test"),
        ("predict", "latest", RAW, "--overwrite"),
        ("analyze", "overlap", "--split", "train", "--min-rows", "20", "--permutations", "99"),
        ("runs", "show", "latest"),
    ],
)
def test_commands_use_the_newest_finished_run_that_is_no_control_arm_and_say_so(
    home: Path, words: tuple[str, ...]
) -> None:
    done = adasparse(home, *words)
    said = " ".join(done.stderr.split())
    assert re.search(r"run: runs/twin/adasparse-fusion/\S+-s0 \(.*loop.learning_rate=0.003\)", said)
    assert "skipped newer runs: 1 failed, 1 unfinished, 1 control arm" in said


def test_programs_get_the_run_and_its_settings_too(home: Path) -> None:
    found = json.loads(adasparse(home, "evaluate", "latest", "--json").stdout)
    assert found["run"].endswith("-s0")
    assert "loop.learning_rate=0.003" in found["settings"]
    words = ("analyze", "abtest", "placebo", "placebo", "--auctions", "20", "--json")
    both = json.loads(adasparse(home, *words).stdout)["runs"]
    assert [one["run"].split("/")[2] for one in both] == ["adasparse-fusion-placebo"] * 2
    assert "control arm" in both[0]["remarks"][0]


@pytest.mark.parametrize(("seed", "reason"), [(2, "is unfinished"), (3, "is failed: no room left")])
@pytest.mark.parametrize("words", [("evaluate",), ("predict",), ("analyze", "overlap")])
def test_a_run_without_a_result_is_refused_unless_it_is_asked_for(
    home: Path, seed: int, reason: str, words: tuple[str, ...]
) -> None:
    more = (RAW, "-o", f"of-{seed}.csv") if words == ("predict",) else ()
    done = adasparse(home, *words, f"Z-s{seed}", *more, code=2)
    assert reason in done.stderr
    assert "--unfinished" in done.stderr
    if words != ("analyze", "overlap"):
        assert "best checkpoint so far" in adasparse(home, *words, f"Z-s{seed}", *more, "--unfinished").stderr


def test_predict_never_replaces_what_it_reads(home: Path) -> None:
    source = home / "new.csv"
    source.write_bytes((home / RAW).read_bytes())
    before = source.read_bytes()
    for more in ((), ("--overwrite",)):
        done = adasparse(home, "predict", "latest", "new.csv", "-o", "new.csv", *more, code=2)
        assert "is also the input" in done.stderr
    (run,) = home.glob("runs/*/*/*-s0")
    held = (run / "predictions.parquet").read_bytes()
    into = str(run / "predictions.parquet")
    assert (
        "choose a path outside of it"
        in adasparse(home, "predict", "latest", RAW, "-o", into, "--overwrite", code=2).stderr
    )
    assert (source.read_bytes(), (run / "predictions.parquet").read_bytes()) == (before, held)


def test_predictions_of_files_of_like_names_stay_apart_and_are_replaced_only_when_asked(home: Path) -> None:
    lines = (home / RAW).read_text().splitlines(keepends=True)
    for day, number in (("01", 10), ("02", 20)):
        (home / f"clicks.2024-01-{day}.csv").write_text("".join(lines[:number]))
        adasparse(home, "predict", "latest", f"clicks.2024-01-{day}.csv")
    heights = [pl.read_csv(home / f"clicks.2024-01-{day}.predictions.csv").height for day in ("01", "02")]
    assert heights == [9, 19]
    done = adasparse(home, "predict", "latest", "clicks.2024-01-01.csv", code=2)
    assert "clicks.2024-01-01.predictions.csv exists" in done.stderr
    adasparse(home, "predict", "latest", "clicks.2024-01-01.csv", "--overwrite")


def test_a_page_replaces_a_file_only_when_asked(home: Path) -> None:
    (home / "thesis.html").write_text("years of work")
    assert "exists" in adasparse(home, "report", "Z-s0", "-o", "thesis.html", code=2).stderr
    assert (home / "thesis.html").read_text() == "years of work"
    adasparse(home, "report", "Z-s0", "-o", "thesis.html", "--overwrite")
    for _ in range(2):
        adasparse(home, "report", "Z-s0")


def test_a_folder_with_a_thesis_in_it_is_not_removed(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "my work"
    own.mkdir()
    (own / "config.yaml").write_text("a: 1\n")
    (own / "thesis.odt").write_text("years of work")
    assert "is not a run folder of" in adasparse(home, "runs", "rm", str(own), "--yes", code=2).stderr
    (run,) = home.glob("runs/*/*/*-s3")
    (run / "thesis.odt").write_text("years of work")
    assert "thesis.odt" in adasparse(home, "runs", "rm", run.name, "--yes", code=2).stderr
    (run / "thesis.odt").unlink()
    adasparse(home, "report", "Z-s0")
    adasparse(home, "runs", "rm", run.name, "--yes")
    assert not run.exists()
    assert (own / "thesis.odt").exists()


def test_two_domains_of_the_same_letters_stay_two(tmp_path: Path) -> None:
    """news/sport × live and news × sport/live; and a name that a spreadsheet would run is marked in CSV."""
    keys = [("news/sport", "live"), ("news", "sport/live"), ("=cmd|' /C calc'!A0", "x")]
    rows = [[k % 7 == 0, *keys[k % 3], f"c{k % 5}"] for k in range(600)]
    with (tmp_path / "a.csv").open("w") as file:
        csv.writer(file).writerows([["y", "page", "place", "colour"], *([int(y), *rest] for y, *rest in rows)])
    words = ("data=tabular", "data.name=pages")
    made = ("raw=a.csv", "data.label=y", "data.domain=[page,place]", "data.split=random", "data.domain_id=true")
    adasparse(tmp_path, "prep", *words, *made)
    manifest = json.loads((tmp_path / "data/pages/manifest.json").read_text())
    assert next(field["size"] for field in manifest["fields"] if field["name"] == "domain") == 4
    adasparse(tmp_path, "train", *words, *TINY[1:])
    adasparse(tmp_path, "predict", "latest", "a.csv")
    adasparse(tmp_path, "predict", "latest", "a.csv", "-o", "a.parquet")
    names = ["news\\/sport/live", "news/sport\\/live", "=cmd|' \\/C calc'!A0/x"]
    assert pl.read_parquet(tmp_path / "a.parquet")["domain"].to_list() == names * 200
    marked = pl.read_csv(tmp_path / "a.predictions.csv")["domain"].to_list()
    assert marked == [*names[:2], "'" + names[2]] * 200
    (run,) = tmp_path.glob("runs/pages/*/*")
    assert "'=cmd" in (run / "domains.csv").read_text()
    shown = adasparse(tmp_path, "report", str(run), "-o", "page.html")
    assert "page.html" in shown.stdout
    assert ">=cmd|&#39; \\/C calc&#39;!A0/x<" in (tmp_path / "page.html").read_text()
    overlap = ("analyze", "overlap", "--domain", names[0], "--domain", names[1], "--min-rows", "1", "--split", "train")
    assert names[1] in adasparse(tmp_path, *overlap, "--json").stdout.replace("\\\\", "\\")


def test_metrics_of_few_positives_are_shown_with_two_digits_and_their_standard_error(tmp_path: Path) -> None:
    rows = [f"{int(k % 60 == 0)},s{k % 3},c{k % 5}" for k in range(900)]
    (tmp_path / "a.csv").write_text("\n".join(["y,shop,colour", *rows]) + "\n")
    made = ("raw=a.csv", "data.label=y", "data.domain=[shop]", "data.split=random")
    done = adasparse(tmp_path, "train", "data=tabular", "data.name=rare", *made, *TINY[1:])
    again = adasparse(tmp_path, "evaluate", "latest", "--split", "test")
    for text in (done.stdout, again.stdout):
        line = next(line for line in text.splitlines() if " auc " in line)
        assert all(cell.strip().endswith(("*", "n/a")) for cell in line.split("│")[2:-1]), line
        assert "the standard error of an AUC is about 0." in " ".join(text.split())
    found = json.loads(adasparse(tmp_path, "evaluate", "latest", "--json").stdout)
    assert isinstance(found["metrics"]["test"]["auc"], float)
    assert "*" in adasparse(tmp_path, "runs", "ls").stdout

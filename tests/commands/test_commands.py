"""The commands as a person types them: what they leave, what they say, how they fail, and that they can be killed."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adasparse_cli.files import only_owner, write_json
from adasparse_cli.models import MODELS, TREE_MODELS
from tests.commands.typing_in import ENVIRONMENT, adasparse
from tests.earlier import run_of_before

SMALL = ("data.rows=6000", "network.hidden=[16,8]", "loop.batch_size=256", "network.embedding_width=4")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small twin prepared and one model trained on it."""
    folder = tmp_path_factory.mktemp("home")
    done = adasparse(folder, "train", "--mode", "fusion", *SMALL)
    for words in ("GAUC", "Sparsity", "run: runs/twin/adasparse-fusion/", "test"):
        assert words in done.stdout
    # what is to be compared is trained alike
    alike = "'network.hidden=[16,8]' loop.batch_size=256"
    assert f"next: adasparse train --model dnn data=twin network.embedding_width=4 {alike}" in done.stdout
    assert "no real data are used" in done.stderr
    return folder


def newest(home: Path) -> Path:
    return max((path.parent for path in home.glob("runs/*/*/*/report.json")), key=lambda path: path.name)


@pytest.mark.parametrize("name", sorted({*MODELS, "maml"} - {"adasparse", "dnn"}))
def test_every_model_trains_on_the_twin_and_reports_every_metric(home: Path, name: str) -> None:
    report = json.loads(adasparse(home, "train", "--model", name, *SMALL, "--json").stdout)
    assert report["run"].startswith(f"twin/{name}/")
    for split in ("valid", "test"):
        found = report["metrics"][split]
        assert all(
            found[metric] is not None for metric in ("auc", "gauc_domain", "gauc_user", "log_loss", "calibration")
        )


def test_maml_adapts_before_a_test_the_same_way_in_train_and_evaluate(home: Path) -> None:
    words = ("--model", "maml", *SMALL, "loop.adapt_before_test=true", "loop.tasks_per_step=4", "seed=7")
    report = json.loads(adasparse(home, "train", *words, "--json").stdout)
    again = json.loads(adasparse(home, "evaluate", report["run"].split("/")[-1], "--json").stdout)
    assert again["metrics"]["test"] == pytest.approx(report["metrics"]["test"])


def test_a_model_that_cannot_fit_is_refused_with_its_breakdown_before_anything_is_allocated(home: Path) -> None:
    words = ("--model", "star", *SMALL[:1], "network.hidden=[200000,200000]", *SMALL[2:])
    done = adasparse(home, "train", *words, code=5)
    assert "domain part" in done.stderr
    assert "are free" in done.stderr
    assert "hint: use a smaller network.hidden" in done.stderr


def test_a_run_leaves_what_it_promises(home: Path) -> None:
    run = next(home.glob("runs/twin/adasparse-fusion/*"))
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "report.json", "domains.csv", "predictions.parquet",
                 "train.log", "DONE", "checkpoints/last/checkpoint.json", "checkpoints/best/checkpoint.json"):  # fmt: skip
        assert (run / name).exists(), name
    report = json.loads((run / "report.json").read_text())
    table = pl.read_parquet(run / "predictions.parquet")
    assert table.height == report["metrics"]["test"]["rows"]
    assert ((table["probability"] > 0) & (table["probability"] < 1)).all()
    domains = pl.read_csv(run / "domains.csv", infer_schema_length=None)
    assert domains["test_rows"].sum() == table.height
    assert {"sparsity_input", "sparsity_hidden_1", "test_auc"} <= set(domains.columns)


def test_evaluate_gives_the_reports_metrics_again(home: Path) -> None:
    found = json.loads(adasparse(home, "evaluate", "adasparse-fusion", "--json").stdout)
    report = json.loads((next(home.glob("runs/twin/adasparse-fusion/*")) / "report.json").read_text())
    assert found["metrics"] == report["metrics"]
    assert found["best_possible"]["test"]["log_loss"] < report["metrics"]["test"]["log_loss"]
    assert "test, truth" in adasparse(home, "evaluate", "adasparse-fusion").stdout


def test_predict_scores_a_raw_file_as_the_run_scored_the_same_rows(home: Path) -> None:
    done = adasparse(home, "predict", "adasparse-fusion", "data/twin/raw/twin_train.txt", "-o", "scores.parquet")
    assert "6,000 rows scored" in done.stdout
    scores = pl.read_parquet(home / "scores.parquet")
    own = pl.read_parquet(next(home.glob("runs/twin/adasparse-fusion/*")) / "predictions.parquet")
    both = own.join(scores, on="line", suffix="_new")
    assert both.height == own.height
    assert (both["probability"] - both["probability_new"]).abs().max() < 1e-6  # type: ignore[operator]
    assert both["source_new"].unique().to_list() == ["twin_train.txt"]
    domains = pl.read_parquet(home / "data/twin/domains.parquet")
    named = domains.select("domain", name=pl.concat_str(pl.nth(1, 2, 3).fill_null("missing"), separator="/"))
    assert both.join(named, on="domain").select((pl.col("name") == pl.col("domain_new")).all()).item()
    for output in ("scores.txt", "nowhere/scores.csv", "."):
        assert adasparse(
            home, "predict", "adasparse-fusion", "data/twin/raw/twin_train.txt", "-o", output, code=2
        ).stderr


def test_predict_takes_files_without_labels_and_values_never_seen(home: Path) -> None:
    lines = (home / "data/twin/raw/twin_train.txt").read_text().splitlines()
    rows = [line.rsplit(" ", 1)[0] for line in lines[:30]]
    strange = rows[5].split(" ")
    strange[1], strange[3], strange[11] = "77", "1;2;3", "2"
    (home / "new.txt").write_text("\n".join([*rows, " ".join(strange), "broken line"]) + "\n")
    done = adasparse(home, "predict", "adasparse-fusion", "new.txt")
    assert "30 rows scored" in done.stdout
    assert "1 rows were rejected and not scored" in done.stdout
    with (home / "new.predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 30


def test_seeds_are_shown_with_their_spread(home: Path) -> None:
    done = adasparse(home, "train", "--model", "dnn", "--seeds", "2", *SMALL)
    assert "mean ± sd over seeds 0, 1" in done.stdout
    assert done.stdout.count("run: runs/twin/dnn/") == 2
    assert "--seeds 2    to compare" in done.stdout
    assert "±" in done.stdout
    assert "up to date" not in done.stdout
    assert len(list(home.glob("runs/twin/dnn/*/DONE"))) == 2
    again = adasparse(home, "train", "--model", "dnn", "--seeds", "2", "--resume", "--csv", *SMALL)
    assert [row["seed"] for row in csv.DictReader(io.StringIO(again.stdout))] == ["0", "1"]
    assert len(list(home.glob("runs/twin/dnn/*/DONE"))) == 2


def test_everything_can_be_looked_at(home: Path) -> None:
    runs = json.loads(adasparse(home, "runs", "ls", "--json").stdout)["rows"]
    assert runs[0]["state"] == "done"
    assert "loop.batch_size=256" in runs[0]["settings"]
    assert "loop.batch_size=256" in adasparse(home, "runs", "ls").stdout.split("Settings that differ")[1]
    assert json.loads(adasparse(home, "runs", "show", "adasparse-fusion", "--json").stdout)["mode"] == "fusion"
    models = {
        row["model"]: row
        for row in json.loads(adasparse(home, "models", "ls", "--on", "twin", "--json").stdout)["rows"]
    }
    assert {*MODELS, *TREE_MODELS, "maml"} == models.keys()
    assert models["star"]["domain_parameters"] > 50 * models["star"]["backbone_parameters"]
    assert "300 domains" in adasparse(home, "models", "ls").stdout
    assert "twin" in adasparse(home, "data", "ls").stdout
    assert "item_id" in adasparse(home, "data", "show", "twin").stdout
    assert "batch_size: 1024" in adasparse(home, "config", "show", "train").stdout
    assert "GFLOP/s" in adasparse(home, "doctor").stdout
    assert adasparse(home, "--version").stdout.startswith("adasparse ")
    inspected = adasparse(home, "prep", "--inspect", "data.rows=3000").stdout
    assert "Domains" in inspected
    assert "weekday" in inspected


def test_a_run_is_removed_only_when_nobody_holds_it(home: Path) -> None:
    adasparse(home, "train", *SMALL, "--mode", "scaling")
    run = next(home.glob("runs/twin/adasparse-scaling/*"))
    with only_owner(run):
        assert "another process" in adasparse(home, "runs", "rm", run.name, "--yes", code=6).stderr
    adasparse(home, "runs", "rm", "adasparse-scaling", "--yes")
    assert not run.exists()


def test_a_damaged_run_is_listed_as_such_beside_the_others(tmp_path: Path) -> None:
    done = adasparse(tmp_path, "train", *SMALL, "--model", "dnn", "--seeds", "2", "seed=3")
    assert "seed=3 --seeds 2    to compare" in done.stdout
    for line in ("seed 3  valid gauc_domain 0.", "seed 4  valid gauc_domain 0.", "2 of 2 runs"):
        assert line in done.stderr
    log = next(tmp_path.glob("runs/twin/dnn/*-s4/train.log")).read_text()
    told = json.loads(next(tmp_path.glob("runs/twin/dnn/*-s4/report.json")).read_text())
    assert "valid at step" in log
    assert f"best checkpoint: test at step {told['best_step']}: auc {told['metrics']['test']['auc']:.4f}" in log
    report = next(tmp_path.glob("runs/twin/dnn/*-s3/report.json"))
    report.write_text(report.read_text()[:-20])

    def listed() -> dict[str, dict[str, Any]]:
        return {row["run"][-2:]: row for row in json.loads(adasparse(tmp_path, "runs", "ls", "--json").stdout)["rows"]}

    assert {run: row["state"] for run, row in listed().items()} == {"s3": "damaged", "s4": "done"}
    config = next(tmp_path.glob("runs/twin/dnn/*-s4/config.yaml"))
    whole = config.read_text()
    for broken in (
        whole.replace("name: dnn", "name: gone"),
        whole.replace("name: dnn", "name: 3"),
        whole.replace("network:", "network: null\nother:"),
        "[]",
    ):
        assert broken != whole
        config.write_text(broken)
        row = listed()["s4"]
        assert (row["state"], "loop.batch_size=256" in row["settings"]) == ("done", True)  # its report says so
        assert row["auc"] is not None
    config = report.with_name("config.yaml")
    text = config.read_text()
    config.write_text(text + "\n")
    assert "was changed after the run finished" in adasparse(tmp_path, "evaluate", str(report.parent), code=4).stderr
    write_json(report, {})
    run_of_before(report.parent)
    config.write_text(text.replace("batch_size:", "batch_syze:"))
    assert "batch_syze" in adasparse(tmp_path, "evaluate", str(report.parent), code=4).stderr
    config.write_text("{torn")
    assert "config.yaml is missing or damaged" in adasparse(tmp_path, "evaluate", str(report.parent), code=4).stderr


def test_a_run_of_a_version_without_a_setting_is_still_that_run(home: Path) -> None:
    words = ("train", "--model", "dnn", *SMALL, "seed=11", "--json")
    report = json.loads(adasparse(home, *words).stdout)
    config, saved = (home / "runs" / report["run"] / name for name in ("config.yaml", "report.json"))
    config.write_text(config.read_text().replace("  matmul_precision: highest\n", ""))
    saved.write_text(re.sub(r'"matmul_precision": "highest",?', "", saved.read_text()))
    assert "matmul" not in config.read_text() + saved.read_text()
    run_of_before(saved.parent)
    name = report["run"].split("/")[-1]
    again = json.loads(adasparse(home, "evaluate", name, "--json").stdout)
    assert again["metrics"]["test"] == pytest.approx(report["metrics"]["test"])
    assert json.loads(adasparse(home, *words, "--resume").stdout)["run"] == report["run"]


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        (("train", "model=nope"), 2, "model=nope: unknown model", "adasparse"),
        (("train", "seed=-1"), 2, "seed=-1 must be a whole number, at least 0", "seed=1"),
        (("train", "threads=0"), 2, "threads=0 must be a whole number, at least 1", "threads=1"),
        (("train", "model=apg", "model.ranks=3"), 2, "unknown setting model.ranks", "did you mean model.rank?"),
        (("train", "data=tabular", "data.name=typo"), 2, "data/typo is not prepared", "prep"),
        (("prep", "data.name=.."), 2, "must be a name of letters", "config show"),
        (("prep", "data.name=../runs"), 2, "must be a name of letters", "config show"),
        (("prep", "data.name="), 2, "must be a name of letters", "config show"),
        (("train", "loop.batch_size=0"), 2, "loop.batch_size=0 must be at least 2", "config show"),
        (("train", "data.splitt=day"), 2, "unknown setting data.splitt", "did you mean data.split?"),
        (("train", "--mode", "scaling", "model.mode=fusion"), 2, "given twice", "keep one"),
        (("train", "device=abacus"), 2, "device=abacus", "auto"),
        (("train", "data=iaac"), 2, "no raw files are named", "raw="),
        (("prep", "data=iaac", "raw=nowhere.txt"), 3, "nowhere.txt does not exist", "raw=PATH"),
        (("prep", "raw=x"), 3, "x does not exist", "raw=PATH"),
        (("evaluate", "nothing"), 2, "no run", "adasparse"),
        (("data", "show", "nothing"), 2, "no data set", "adasparse"),
        (("config", "validate", "nothing.yaml"), 2, "the file does not exist", "YAML"),
    ],
)
def test_a_fault_is_one_error_line_one_hint_line_and_its_exit_code(
    tmp_path: Path, words: tuple[str, ...], code: int, error: str, hint: str
) -> None:
    done = adasparse(tmp_path, *words, code=code)
    lines = done.stderr.strip().splitlines()
    assert lines[-2].startswith("error: ")
    assert error in lines[-2]
    assert lines[-1].startswith("hint: ")
    assert hint in lines[-1]
    assert "Traceback" not in done.stderr


def test_a_log_that_is_small_for_pruners_is_named_before_training(tmp_path: Path) -> None:
    """17 steps an epoch; a batch of 32 rows gives 134, and the plain network has no schedule of its own."""
    few = adasparse(tmp_path, "train", "--mode", "fusion", *SMALL, "seed=31").stderr
    assert few.index("training steps are few for pruners") < few.index("training adasparse-fusion")
    more = ("loop.batch_size=32", "loop.epochs=1")
    assert (
        "small for pruners" not in adasparse(tmp_path, "train", "--mode", "fusion", *SMALL[:2], SMALL[3], *more).stderr
    )
    assert "small for pruners" not in adasparse(tmp_path, "train", "--model", "dnn", *SMALL, "seed=31").stderr


def test_an_unknown_command_exits_with_2(tmp_path: Path) -> None:
    assert "unknown command 'trian'" in adasparse(tmp_path, "trian", code=2).stderr


def test_a_damaged_checkpoint_exits_with_4(home: Path) -> None:
    adasparse(home, "train", "--mode", "binarization", *SMALL)
    run = next(home.glob("runs/twin/adasparse-binarization/*"))
    path = next((run / "checkpoints/best").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    assert "checksum" in adasparse(home, "evaluate", "adasparse-binarization", code=4).stderr


def bytes_of(run: Path) -> dict[str, bytes]:
    """Everything that a resumed run must end with, to the byte; checkpoints' JSON holds times and is left out."""
    found = {name: (run / name).read_bytes() for name in ("metrics.jsonl", "predictions.parquet", "domains.csv")}
    for which in ("last", "best"):
        (path,) = (run / "checkpoints" / which).glob("*.safetensors")
        found[f"{which} {path.name}"] = path.read_bytes()
    report = json.loads((run / "report.json").read_text())
    return {**found, "metrics": json.dumps([report["metrics"], report["sparsity"], report["best_step"]]).encode()}


def killed_again_and_again(home: Path, times: int, words: tuple[str, ...], seconds: float) -> int:
    """Start the command, kill −9 it within the `seconds` that it takes alone, and again; how often it was killed."""
    draw, killed = random.Random(7), 0
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-m", "adasparse_cli", "train", "--resume", *words],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        try:
            process.wait(draw.uniform(0.3, 0.95) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    return killed


@pytest.mark.slow  # tests/faults/test_kills_training.py kills by file event as well, and has a short form
@pytest.mark.parametrize("times", [20])
def test_a_run_killed_at_random_moments_ends_bit_equal_to_one_left_alone(home: Path, times: int) -> None:
    words = ("--mode", "fusion", *SMALL, f"seed={times}", "loop.epochs=12", "loop.checkpoint_seconds=0.05",
             "network.dropout=0.1", f"loop.log_steps={times}")  # fmt: skip
    started = time.monotonic()
    adasparse(home, "train", *words, apart=True)
    seconds = time.monotonic() - started
    alone = newest(home).rename(home / f"left-alone-{times}")
    killed = killed_again_and_again(home, times, words, seconds)
    adasparse(home, "train", "--resume", *words, apart=True)
    run = newest(home)
    sittings = json.loads((run / "environment.json").read_text())["sittings"]
    assert killed >= times // 2, f"killed {killed} times; alone it takes {seconds:.0f} s"
    assert len(sittings) >= 2
    assert bytes_of(run) == bytes_of(alone)


def test_a_loss_that_is_not_finite_exits_with_7_and_marks_the_run_as_failed(home: Path) -> None:
    done = adasparse(home, "train", *SMALL, "loop.learning_rate=1e20", "seed=333", code=7)
    assert "the loss is not finite at step" in done.stderr
    assert "loop.learning_rate" in done.stderr
    (run,) = home.glob("runs/twin/adasparse-fusion/*s333")
    assert "not finite" in (run / "FAILED").read_text()
    rows = json.loads(adasparse(home, "runs", "ls", "--json").stdout)["rows"]
    assert [row["state"] for row in rows if row["run"] == run.name] == ["failed"]


def test_an_interrupt_saves_first(home: Path) -> None:
    words = ("--mode", "fusion", *SMALL, "seed=77", "loop.epochs=400")
    process = subprocess.Popen(
        [sys.executable, "-m", "adasparse_cli", "train", *words],
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not list(home.glob("runs/twin/adasparse-fusion/*s77/checkpoints/last/checkpoint.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    busy = adasparse(home, "train", "--resume", *words, code=6)
    assert "another process" in busy.stderr
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "with --resume to continue" in stderr
    (run,) = home.glob("runs/twin/adasparse-fusion/*s77")
    assert not (run / "DONE").exists()
    assert not (run / "FAILED").exists()

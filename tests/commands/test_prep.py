"""Preparing data as a person types it: what may be replaced, what is refused, and what comes of odd tables."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.commands.typing_in import adasparse

SMALL = ("network.hidden=[16,8]", "loop.batch_size=256", "network.embedding_width=4")


def test_prepared_data_replace_nothing_that_is_not_theirs(tmp_path: Path) -> None:
    """Neither a folder of other things, nor the raw file itself."""
    table = "country,ad,clicked\n" + "".join(f"c{k % 3},a{k % 7},{int(k % 5 == 0)}\n" for k in range(200))
    mine = tmp_path / "data" / "clicks" / "clicks.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text(table)
    words = ("prep", "data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    assert "is in data/clicks" in adasparse(tmp_path, *words, "raw=data/clicks/clicks.csv", code=2).stderr
    (tmp_path / "clicks.csv").write_text(table)
    assert "contains no prepared data" in adasparse(tmp_path, *words, "raw=clicks.csv", code=2).stderr
    assert mine.read_text() == table
    mine.unlink()
    adasparse(tmp_path, *words, "raw=clicks.csv")


def test_data_of_one_class_are_prepared_but_lead_to_no_training(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("country,ad,clicked\n" + "".join(f"c{k % 3},a{k % 7},0\n" for k in range(90)))
    words = ("data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=one")
    done = adasparse(tmp_path, "prep", *words, "raw=one.csv")
    assert "nothing to train on" in done.stdout
    assert "next:" not in done.stdout
    refused = adasparse(tmp_path, "compare", "--models", "dnn,apg", "data=tabular", "data.name=one", code=3)
    assert "has 0 positives" in refused.stderr
    assert not list(tmp_path.glob("runs/one/*/*"))


def test_columns_may_be_named_as_no_file_can_be(tmp_path: Path) -> None:
    names = ["<b>col</b>", "a/../b", "x" * 300]
    rows = [f"c{k % 3},{k % 2},{k % 5},{k % 7},{int(k % 4 == 0)}" for k in range(400)]
    (tmp_path / "odd.csv").write_text("\n".join([",".join(["country", *names, "clicked"]), *rows]) + "\n")
    words = ("data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=odd")
    adasparse(tmp_path, "prep", *words, "raw=odd.csv")
    manifest = json.loads((tmp_path / "data/odd/manifest.json").read_text())
    assert {field["name"] for field in manifest["fields"]} == {*names, "country"}
    adasparse(tmp_path, "train", "data=tabular", "data.name=odd", "network.hidden=[4]", "model=dnn")
    adasparse(tmp_path, "predict", "latest", "odd.csv")


def test_rejects_of_a_failed_try_go_once_the_data_are_prepared(tmp_path: Path) -> None:
    good = "country,clicked\n" + "".join(f"c{k % 3},{k % 2}\n" for k in range(90))
    (tmp_path / "good.csv").write_text(good)
    (tmp_path / "bad.csv").write_text(good.replace("c1", "c1,more"))
    words = ("prep", "data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=shop")
    rejects = tmp_path / "data" / "shop.rejects.parquet"
    for _ in range(2):
        adasparse(tmp_path, *words, "raw=bad.csv", code=3)
        assert rejects.exists()
        # first prepared, then found to be up to date
        adasparse(tmp_path, *words, "raw=good.csv")
        assert not rejects.exists()


def test_a_small_table_without_time_goes_all_the_way(tmp_path: Path) -> None:
    draw = random.Random(1)
    lines = ["clicked,country,item"]
    lines += [f"{int(draw.random() < 0.3)},c{draw.randrange(3)},i{draw.randrange(9)}" for _ in range(400)]
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    words = ("data=tabular", "raw=clicks.csv", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    adasparse(tmp_path, "prep", *words)
    for model in ("dnn", "adasparse"):
        done = adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", "--model", model, *SMALL)
        assert " data=clicks " in done.stdout
        assert "data.name" not in done.stdout
    (tmp_path / "new.csv").write_text("item,country\ni1,c1\ni99,c9\n")
    done = adasparse(tmp_path, "predict", "clicks/adasparse", "new.csv")
    assert "2 rows scored, 1 of them in domains that are not in the training split" in done.stdout


def test_a_field_made_from_the_label_is_warned_of_wherever_it_shows(tmp_path: Path) -> None:
    """By prep and data show with what to type, by train, and by --inspect, whose error is no success."""
    draw = random.Random(2)
    lines = ["clicked,country,paid"]
    for _ in range(3000):
        y = int(draw.random() < 0.3)
        lines.append(f"{y},c{draw.randrange(3)},{'ab'[y]}")
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    words = ("data=tabular", "raw=clicks.csv", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    told = "paid alone ranks held-out rows with AUC 1.000: it may be made from the label"
    inspected = adasparse(tmp_path, "prep", "--inspect", *words, code=3)
    assert f"error: {told}" in inspected.stdout
    done = adasparse(tmp_path, "prep", *words)
    for shown in (done, adasparse(tmp_path, "data", "show", "clicks")):
        assert f"warning: {told}" in shown.stdout
        assert "'data.roles={paid: ignored}'" in shown.stdout
    done = adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", "--model", "dnn", *SMALL, "loop.epochs=20")
    assert "a field may leak the label" in done.stderr
    done = adasparse(tmp_path, "prep", *words, "data.roles={paid: ignored}", "data.name=honest")
    assert "made from the label" not in done.stdout
    adasparse(tmp_path, "prep", "--inspect", *words, "data.roles={paid: ignored}")


def test_times_that_nobody_named_are_proposed_and_the_split_is_always_said(tmp_path: Path) -> None:
    lines = [f"{int(k % 4 == 0)},c{k % 3},{1704067200 + 600 * k}" for k in range(1200)]
    (tmp_path / "clicks.csv").write_text("\n".join(["clicked,country,created_at", *lines]) + "\n")
    words = ("data=tabular", "raw=clicks.csv", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    for more in ((), ("--inspect",)):
        done = adasparse(tmp_path, "prep", *more, *words)
        assert "split: random by row hash, 10% valid, 20% test" in done.stdout
        assert "warning: created_at: looks like times" in done.stdout
        assert "→ data.timestamp=created_at data.split=day" in done.stdout
    for more in ((), ("--inspect",)):
        done = adasparse(
            tmp_path, "prep", *more, *words, "data.timestamp=created_at", "data.split=day", "data.name=timed"
        )
        assert "split: by day, valid = 2024-01-08, test = 2024-01-09" in done.stdout
        assert "looks like times" not in done.stdout
    assert "split: by day" in adasparse(tmp_path, "data", "show", "timed").stdout


def test_domains_keep_their_names_as_they_are_written(tmp_path: Path) -> None:
    """Countries 007 and 7 are two, in tables that are read again from a run's files as well."""
    draw = random.Random(3)
    lines = [f"{int(draw.random() < 0.5)},{draw.choice(['007', '7', '0060', '60'])}" for _ in range(2000)]
    (tmp_path / "clicks.csv").write_text("\n".join(["clicked,country", *lines]) + "\n")
    words = ("data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    adasparse(tmp_path, "prep", *words, "raw=clicks.csv")
    done = adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", "--model", "dnn", *SMALL)
    for name in ("007", "7", "0060", "60"):
        assert done.stdout.count(f"│ {name} ") == 1


def test_rows_without_a_user_are_counted_apart(tmp_path: Path) -> None:
    draw = random.Random(4)
    lines = [
        f"{int(draw.random() < 0.5)},c{draw.randrange(3)},{draw.choice(['', '', 'u1', 'u2'])}" for _ in range(1000)
    ]
    (tmp_path / "clicks.csv").write_text("\n".join(["clicked,country,user", *lines]) + "\n")
    words = ("data=tabular", "data.label=clicked", "data.domain=[country]", "data.name=clicks", "data.user=user")
    adasparse(tmp_path, "prep", *words, "raw=clicks.csv")
    done = adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", "--model", "dnn", *SMALL)
    assert "GAUC by user excludes rows without a user" in done.stdout
    (report,) = tmp_path.glob("runs/clicks/*/*/report.json")
    test = json.loads(report.read_text())["metrics"]["test"]
    assert 0.4 < test["rows_without_user"] / test["rows"] < 0.6


def test_a_file_with_blank_labels_is_scored(tmp_path: Path) -> None:
    lines = [f"{int(k % 4 == 0)},c{k % 3}" for k in range(400)]
    (tmp_path / "clicks.csv").write_text("\n".join(["clicked,country", *lines]) + "\n")
    adasparse(
        tmp_path,
        "prep",
        "data=tabular",
        "data.label=clicked",
        "data.domain=[country]",
        "data.name=clicks",
        "raw=clicks.csv",
    )
    adasparse(tmp_path, "train", "data=tabular", "data.name=clicks", "--model", "dnn", *SMALL)
    (tmp_path / "new.csv").write_text("clicked,country,note\n" + ",c1,1.5\n" * 50 + "1,c2,text\n")
    done = adasparse(tmp_path, "predict", "latest", "new.csv")
    assert "51 rows scored" in done.stdout

"""Data of one domain, of two, and of domains of one class each: every analysis ends at once, and says what it cannot say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.typing_in import Done, adasparse

TINY = ("network.hidden=[8]", "loop.batch_size=512", "network.embedding_width=2", "loop.epochs=1")
KINDS = {"one": 1, "two": 2, "of-one-class": 3}


@pytest.fixture(scope="module", params=KINDS)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A folder with data of a kind and runs of two models, two seeds each."""
    kind, folder = request.param, tmp_path_factory.mktemp("home")
    number = KINDS[kind]
    rows = []
    for k in range(1500):
        shop, colour = (k * 7) % number, (k // 3) % 5
        label = shop % 2 if kind == "of-one-class" else int((k * 37) % 11 < 2 + colour)
        rows.append(f"{label},s{shop},c{colour},z{k % 4}")
    (folder / "a.csv").write_text("\n".join(["y,shop,colour,size", *rows]) + "\n")
    words = ("data=tabular", "data.name=shops")
    adasparse(folder, "prep", *words, "raw=a.csv", "data.label=y", "data.domain=[shop]", "data.split=random")
    for model in ("dnn", "adasparse"):
        select = () if kind != "of-one-class" else ("loop.select=log_loss",)
        adasparse(folder, "train", "--model", model, "--seeds", "2", *words, *TINY, *select)
    return kind, folder


def runs(folder: Path) -> list[str]:
    return [str(run.relative_to(folder)) for run in sorted(folder.glob("runs/*/*/*"))]


def explained(done: Done) -> bool:
    """Nothing is claimed of what nobody can know: no `nan` in what a person reads."""
    return "nan" not in f"{done.stdout} {done.stderr}".lower().split() and "Traceback" not in done.stderr


def test_domains_cannot_be_compared_unless_two_of_them_have_both_classes(home: tuple[str, Path]) -> None:
    kind, folder = home
    if kind != "two":
        done = adasparse(folder, "analyze", "domains", "data=tabular", "data.name=shops", code=3)
        assert "have both classes, but domain definitions are compared" in done.stderr
        assert "hint: prepare the data with another domain and another name" in done.stderr


def test_overlap_asks_for_three_domains(home: tuple[str, Path]) -> None:
    kind, folder = home
    words = ("analyze", "overlap", "--split", "train", "--min-rows", "5", "--permutations", "99")
    done = adasparse(folder, *words, code=0 if kind == "of-one-class" else 3)
    assert explained(done)
    if kind != "of-one-class":
        assert "three are needed" in done.stderr


@pytest.mark.parametrize("more", [(), ("--log",), ("--bins", "2")])
def test_exposure_says_what_it_takes(home: tuple[str, Path], more: tuple[str, ...]) -> None:
    kind, folder = home
    done = adasparse(folder, "analyze", "exposure", *runs(folder), *more)
    assert explained(done)
    if kind == "one":
        assert "a comparison needs two bins" in done.stdout
    if kind == "of-one-class":
        assert "no test domain has both classes" in done.stdout


def test_auctions_are_refused_where_no_true_rates_are_known(home: tuple[str, Path]) -> None:
    _, folder = home
    first, second = (next(run for run in runs(folder) if f"/{model}" in run) for model in ("dnn", "adasparse"))
    assert explained(adasparse(folder, "analyze", "abtest", first, second, code=3))


def test_a_page_says_what_cannot_be_compared(home: tuple[str, Path]) -> None:
    _, folder = home
    assert explained(adasparse(folder, "report", *runs(folder), "-o", "page.html", "--overwrite"))
    text = (folder / "page.html").read_text().split("<script")[0]
    assert "nan" not in text.lower().split()
    assert explained(adasparse(folder, "evaluate", runs(folder)[0]))

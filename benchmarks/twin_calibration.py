"""How near the synthetic twin is to IAAC: a Markdown table of quantity, IAAC, twin, tolerance.

    python benchmarks/twin_calibration.py data/twin-round1/raw/twin_train.txt

Reads the raw text with the CSV reader alone, not with the project's own. IAAC's figures are counts over the
contest's published round-1 file. Tolerances are relative, and were stated before the twin was measured at this size.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Quantity:
    """One figure: of IAAC, of the twin, and how far apart they may be, relative to IAAC's."""

    name: str
    iaac: float
    twin: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return abs(self.twin - self.iaac) <= self.tolerance * abs(self.iaac)


def raw_text(path: Path) -> pl.DataFrame:
    """All columns of a raw file."""
    return pl.read_csv(path, separator=" ", quote_char=None, infer_schema_length=10_000)


def quantities(raw: pl.DataFrame) -> Iterator[Quantity]:
    """Every figure that IAAC's description gives, scaled to the twin's rows where it is a count."""
    rows = raw.height
    scale = rows / 478_138

    def rate(condition: pl.Expr) -> float:
        return float(raw.filter(condition)["is_trade"].mean() or 0.0)  # type: ignore[arg-type]

    def part(condition: pl.Expr) -> float:
        return raw.filter(condition).height / rows

    yield Quantity("positives, share", 0.01887, rate(pl.lit(True)), 0.05)
    for column, missing in (
        ("item_brand_id", 473),
        ("item_city_id", 277),
        ("item_sales_level", 913),
        ("user_gender_id", 12_902),
        ("user_age_level", 964),
        ("shop_score_service", 59),
    ):
        yield Quantity(f"{column} missing, share", missing / 478_138, part(pl.col(column) == -1), 0.6)
    for level, count, positive in ((0, 360_817, 1.85), (1, 94_070, 2.12), (2, 10_349, 1.88)):
        yield from _level(raw, "user_gender_id", level, count, positive)
    for level, count in zip(
        range(1000, 1008), (12_958, 6_446, 70_175, 169_449, 126_131, 56_608, 30_190, 5_217), strict=True
    ):
        yield from _level(raw, "user_age_level", level, count, {1000: 1.37, 1007: 2.37}.get(level))
    for level, count in zip(range(2002, 2006), (146_917, 6_418, 23_803, 300_036), strict=True):
        yield from _level(raw, "user_occupation_id", level, count, None)
    for level, count in zip(
        range(3000, 3010),
        (31_336, 19_325, 62_921, 74_578, 61_769, 67_440, 82_009, 53_315, 20_178, 4_124),
        strict=True,
    ):
        yield from _level(raw, "user_star_level", level, count, 1.19 if level == 3000 else None)
    for level, count, positive in (
        (3, 3_587, 4.8), (4, 14_607, 5.0), (5, 41_057, 3.1), (6, 89_057, 2.3), (7, 209_285, 1.5), (8, 115_587, 1.3),
        (9, 4_035, 0.8),
    ):  # fmt: skip
        # a price belongs to an item, and one item may have a hundredth of all rows
        yield from _level(raw, "item_price_level", level, count, positive, tolerance=0.25)
    c1 = raw.with_columns(pl.col("item_category_list").str.split(";").list.get(1).alias("c1"))
    by_category = c1.group_by("c1").agg(pl.len(), pl.col("is_trade").mean()).sort("len", descending=True)
    for k, (count, positive) in enumerate(
        ((150_779, 1.29), (102_496, 1.69), (75_420, 1.68), (72_019, 1.77), (53_055, 4.03))
    ):
        yield Quantity(f"category {k + 1}, rows", count * scale, by_category["len"][k], 0.05)
        yield Quantity(f"category {k + 1}, rate in %", positive, 100 * by_category["is_trade"][k], 0.15)
    yield Quantity("page 1, share", 0.555, part(pl.col("context_page_id") == 4001), 0.02)
    yield Quantity("sales level 6, rate in %", 1.0, 100 * rate(pl.col("item_sales_level") == 6), 0.35)
    yield Quantity("sales level 16, rate in %", 3.2, 100 * rate(pl.col("item_sales_level") == 16), 0.35)

    for name, column, wanted in (
        ("item", "item_id", {0.25: 2, 0.5: 7, 0.75: 29}),
        ("shop", "shop_id", {0.25: 4, 0.5: 16, 0.75: 79.5}),
        ("user", "user_id", {0.25: 1, 0.5: 2, 0.75: 3}),
    ):
        counts = raw[column].value_counts()["count"]
        for place, value in wanted.items():
            found = counts.quantile(place, "linear")
            yield Quantity(f"rows per {name}, quantile {place}", value, float(found or 0), 0.5)
    users = raw["user_id"].value_counts()["count"]
    yield Quantity("users with one row, share", 0.472, float((users == 1).mean() or 0), 0.1)  # type: ignore[arg-type]
    for name, column, first, second in (
        ("items", "item_id", 10_075, 84_677),
        ("shops", "shop_id", 3_959, 24_942),
        ("users", "user_id", 197_694, 2_958_505),
    ):
        # between the rounds, the power law through both
        expected = first * scale ** (pl.Series([second / first]).log()[0] / pl.Series([10_432_036 / 478_138]).log()[0])
        yield Quantity(f"distinct {name}", float(expected), raw[column].n_unique(), 0.05)
    for name, column, sizes in (
        ("brand", "item_brand_id", (69_746, 13_823, 13_045)),
        ("city", "item_city_id", (154_991, 58_326, 54_472)),
    ):
        largest = raw.filter(pl.col(column) != -1)[column].value_counts(sort=True)["count"]
        for k, size in enumerate(sizes):
            yield Quantity(f"{name} {k + 1}, rows", size * scale, largest[k], 0.2)

    lengths = raw["item_property_list"].str.split(";").list.len()
    yield Quantity("properties per row, mean", 34.4, float(lengths.mean() or 0), 0.1)  # type: ignore[arg-type]
    predicted = raw.select(
        pl.col("item_category_list").str.split(";").list.get(1).alias("c1"),
        pl.col("predict_category_property").str.split(";").alias("parts"),
    ).with_columns(pl.col("parts").list.eval(pl.element().str.split(":").list.get(0)).alias("categories"))
    yield Quantity(
        "item's category among the predicted, share",
        0.914,
        float(predicted.select(pl.col("categories").list.contains(pl.col("c1")).mean()).item()),
        0.02,
    )
    yield Quantity(
        "item's category first, share",
        0.636,
        float(predicted.select((pl.col("categories").list.get(0) == pl.col("c1")).mean()).item()),
        0.02,
    )
    entries = raw["predict_category_property"].str.split(";").explode()
    yield Quantity(
        "predicted entries without property, share", 0.53, float(entries.str.ends_with(":-1").mean() or 0), 0.1
    )
    shops = raw.unique("shop_id")
    for column, mean in (("shop_review_positive_rate", 0.9895), ("shop_score_service", 0.9726)):
        values = shops.filter(pl.col(column) != -1)[column]
        yield Quantity(f"{column}, mean over shops", mean, float(values.mean() or 0), 0.01)  # type: ignore[arg-type]
    hours = ((raw["context_timestamp"] + 8 * 3600) // 3600) % 24
    for hour, count in ((4, 5_085), (12, 59_831), (21, 103_995)):
        yield Quantity(f"rows at {hour} h, share", count / 1_157_641, float((hours == hour).mean() or 0), 0.1)  # type: ignore[arg-type]


def _level(
    raw: pl.DataFrame, column: str, level: int, count: int, rate: float | None, *, tolerance: float = 0.1
) -> Iterator[Quantity]:
    own = raw.filter(pl.col(column) == level)
    yield Quantity(f"{column} {level}, share", count / 478_138, own.height / raw.height, tolerance)
    if rate is not None:
        # a rate from few positives is uncertain: three standard errors are allowed beside a tenth
        positives = max(rate / 100 * own.height, 1.0)
        yield Quantity(
            f"{column} {level}, rate in %", rate, 100 * float(own["is_trade"].mean() or 0), 0.1 + 3 * positives**-0.5
        )  # type: ignore[arg-type]


def main() -> None:
    """Print the table."""
    print("| quantity | IAAC | twin | tolerance | within |")
    print("| --- | --: | --: | --: | --- |")
    for found in quantities(raw_text(Path(sys.argv[1]))):
        within = "yes" if found.holds else "**no**"
        print(f"| {found.name} | {found.iaac:.5g} | {found.twin:.5g} | ±{found.tolerance:.0%} | {within} |")


if __name__ == "__main__":
    main()

"""The twin's shops, items, users, queries, days and hours.

Follows the counts of `marginals`: long tails, levels, missing values. Purchases are not drawn here.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from adasparse_cli.columns.hashing import mixed
from adasparse_cli.data_prep.twin_world import marginals

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Standard deviations of the effects of single items, shops and users on the logit.
ITEM_EFFECT, SHOP_EFFECT, USER_EFFECT = 0.20, 0.10, 0.10
QUERIES_PER_CATEGORY = 400


def quantile_counts(
    draw: np.random.Generator, number: int, total: int, quartiles: tuple[float, ...], mean: float
) -> Integers:
    """`number` counts of at least 1 that sum to `total`, shaped by quartiles, maximum and mean.

    Between the quartiles counts are spread evenly on a logarithmic scale; in the upper quarter with a bend that
    gives the mean. If the total implies another mean than the known one, quartiles are scaled with it.
    """
    places = (np.arange(number) + 0.5) / number
    quarter, within = np.minimum((places * 4).astype(int), 3), places * 4 % 1
    q = np.log(np.maximum(np.array(quartiles) * (total / number / mean), 1.0))

    def counts(bend: float) -> Integers:
        share = np.where(quarter == 3, within**bend, within)
        # a quartile is a count that is reached, so it must not be rounded down below its integer
        reached: Integers = np.floor(np.exp(q[quarter] + share * (q[quarter + 1] - q[quarter])) + 0.08).astype(np.int64)
        return reached

    low, high = 0.05, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if counts(middle).sum() > total else (low, middle)
    result = counts(high)
    # a bend changes many counts at once; the few missing rows are added to the largest
    missing = total - int(result.sum())
    top = np.arange(number - max(number // 4, 1), number)
    result[top] += missing // len(top)
    result[top[: missing % len(top)]] += 1
    return draw.permutation(result)


def _scaled(first: int, second: int, rows: int) -> int:
    """A number of ids for any number of rows, by the power law through both rounds."""
    power = np.log(second / first) / np.log(marginals.ROUND2.rows / marginals.ROUND1.rows)
    return max(int(first * (rows / marginals.ROUND1.rows) ** power), 3)


def ids(numbers: Integers, seed: int, kind: int) -> Integers:
    """Positive 64-bit ids of up to 19 digits."""
    scrambled = mixed(numbers.astype(np.uint64) + np.uint64(1), salt=1000 * (seed % 2**20) + kind)
    return ((scrambled >> np.uint64(1)) | np.uint64(1)).astype(np.int64)


def drawn_from(draw: np.random.Generator, weights: Floats, number: int) -> Integers:
    """Indices drawn with the given weights."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, draw.random(number), side="right"), len(weights) - 1)


def _filled(draw: np.random.Generator, sizes: Integers, shares: Floats, rank: Floats | None = None) -> Integers:
    """Assign entities of the given sizes to levels so that each level gets its share of the total size.

    In a random order, or by `rank` (smallest to the first level); level borders are between entities.
    """
    order = draw.permutation(len(sizes)) if rank is None else np.argsort(rank, kind="stable")
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    levels = np.empty(len(sizes), dtype=np.int64)
    levels[order] = np.minimum(np.searchsorted(np.cumsum(shares) / np.sum(shares), middle), len(shares) - 1)
    return levels


def _tail(largest: tuple[int, ...], number: int, total: int) -> Floats:
    """Sizes with known largest values; the others follow a power law from the last of them."""
    rest = np.arange(len(largest) + 1, number + 1, dtype=np.float64)
    left = total - sum(largest)
    low, high = 0.01, 5.0
    for _ in range(60):
        power = (low + high) / 2
        tail = largest[-1] * (rest / len(largest)) ** -power
        low, high = (power, high) if tail.sum() > left else (low, power)
    return np.concatenate([largest, tail])


def _with_missing(draw: np.random.Generator, values: Integers, share: float) -> Integers:
    return np.where(draw.random(len(values)) < share, marginals.MISSING, values)


def shops_and_items(draw: np.random.Generator, rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Shops with their sizes and constant attributes, and the items they sell."""
    profile = marginals.ROUND1 if rows < 5_000_000 else marginals.ROUND2
    number = _scaled(marginals.ROUND1.shops, marginals.ROUND2.shops, rows)
    quartiles, mean = marginals.SHOP_ROWS
    sizes = quantile_counts(draw, number, rows, quartiles, mean)
    items = _scaled(marginals.ROUND1.items, marginals.ROUND2.items, rows)
    # Larger shops sell more items; no shop sells more items than it has rows.
    wish, most = sizes**0.5 * draw.lognormal(0.0, 0.6, number), np.minimum(sizes, marginals.MOST_ITEMS)
    low, high = 0.0, float(items)
    for _ in range(60):
        middle = (low + high) / 2
        per_shop = np.clip((wish * middle).astype(np.int64), 1, most)
        low, high = (middle, high) if per_shop.sum() < items else (low, middle)
    shop_of_item = np.repeat(np.arange(number), per_shop)
    item_sizes = _split(draw, sizes, per_shop)

    def score(mean_and_sd: tuple[float, float], missing: float) -> tuple[Floats, list[str]]:
        mean, sd = mean_and_sd
        # one minus a gamma variable has the mean, the spread and the skew of such scores, and ends at one
        values = np.maximum(1 - draw.gamma((1 - mean) ** 2 / sd**2, sd**2 / (1 - mean), number), 0.0)
        shown = [_full_precision(value) for value in values]
        return values, shown

    _, rate_text = score(marginals.POSITIVE_RATE, marginals.RATE_MISSING)
    service, service_text = score(marginals.SERVICE, marginals.SCORES_MISSING)
    _, delivery_text = score(marginals.SERVICE, marginals.SCORES_MISSING)
    _, description_text = score(marginals.SERVICE, marginals.SCORES_MISSING)
    unscored, unrated, unbranded, nowhere = (
        _covering(draw, sizes, share)
        for share in (
            marginals.SCORES_MISSING,
            marginals.RATE_MISSING,
            profile.missing["brand"],
            profile.missing["city"],
        )
    )
    texts = [
        [("-1" if bad else text) for text, bad in zip(column, missing.tolist(), strict=True)]
        for column, missing in (
            (rate_text, unrated),
            (service_text, unscored),
            (delivery_text, unscored),
            (description_text, unscored),
        )
    ]
    popularity = np.log(sizes) + draw.normal(0, 0.8, number)
    brand = _filled(draw, sizes, _tail(marginals.BRAND_ROWS, min(marginals.BRANDS, number), marginals.ROUND1_ROWS))
    city = _filled(draw, sizes, _tail(marginals.CITY_ROWS, min(marginals.CITIES, number), marginals.ROUND1_ROWS))
    reviews = np.array([*range(24), 25])
    stars = np.arange(4999, 5021)
    shops = pl.DataFrame(
        {
            "id": ids(np.arange(number), 0, 3),
            "brand_level": brand,
            "city_level": city,
            "brand": np.where(unbranded, marginals.MISSING, ids(brand, 0, 4)),
            "city": np.where(nowhere, marginals.MISSING, ids(city, 0, 5)),
            "reviews": reviews[_filled(draw, sizes, _bell(25, 15, 5), popularity)],
            "stars": stars[_filled(draw, sizes, _bell(22, 13, 4), popularity + draw.normal(0, 1, number))],
            "positive_rate": texts[0],
            "service": texts[1],
            "delivery": texts[2],
            "description": texts[3],
            "score": np.where(unscored, 0.0, -(service - marginals.SERVICE[0]) / marginals.SERVICE[1]),
            "effect": draw.normal(0, SHOP_EFFECT, number),
        }
    )
    total = len(shop_of_item)
    price, sales = list(marginals.PRICE), list(marginals.SALES)
    demand = np.log(item_sizes) + draw.normal(0, 1.0, total)
    category = _filled(draw, item_sizes, np.array([size for size, _ in marginals.CATEGORY], dtype=np.float64))
    sales_level = np.array(sales)[
        _filled(draw, item_sizes, np.array([n for n, _ in marginals.SALES.values()], float), demand)
    ]
    return shops, pl.DataFrame(
        {
            "id": ids(np.arange(total), 0, 6),
            "shop": shop_of_item,
            "rows": item_sizes,
            "category": category,
            "category_list": _category_lists(draw, category),
            "property_list": _property_lists(draw, category),
            "price": np.array(price)[
                _filled(draw, item_sizes, np.array([n for n, _ in marginals.PRICE.values()], float))
            ],
            "sales": _with_missing(draw, sales_level, profile.missing["sales"]),
            "collected": _filled(draw, item_sizes, _bell(18, 11, 3), demand + draw.normal(0, 0.5, total)),
            "pv": _filled(draw, item_sizes, _bell(22, 17, 3), demand + draw.normal(0, 0.5, total)),
            "effect": draw.normal(0, ITEM_EFFECT, total),
        }
    )


def _covering(draw: np.random.Generator, sizes: Integers, share: float) -> NDArray[np.bool_]:
    """Small entities, in a random order, that together have the given share of the rows."""
    most = share * sizes.sum()
    order = draw.permutation(np.flatnonzero(sizes <= most / 3))
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[np.cumsum(sizes[order]) <= most]] = True
    return chosen


def _full_precision(value: float) -> str:
    return "1" if value >= 1.0 else repr(float(value))


def _bell(levels: int, centre: float, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * ((np.arange(levels) - centre) / width) ** 2))


def _split(draw: np.random.Generator, sizes: Integers, parts: Integers) -> Integers:
    """Split each size into its number of parts of at least 1, a few large and many small."""
    owner = np.repeat(np.arange(len(sizes)), parts)
    weight = draw.lognormal(0.0, 2.0, len(owner))
    share = weight / np.bincount(owner, weights=weight)[owner]
    result = 1 + np.floor(share * (sizes - parts)[owner]).astype(np.int64)
    left = sizes - np.bincount(owner, weights=result).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(parts)[:-1]])
    result[first] += left
    return result


def _category_lists(draw: np.random.Generator, category: Integers) -> list[str]:
    root, second, third = ids(np.arange(1), 0, 7)[0], ids(np.arange(13), 0, 8), ids(np.arange(2), 0, 9)
    # one of the smaller categories is divided further
    deeper = (category == 6) & (draw.random(len(category)) < 0.8)
    which = draw.integers(0, 2, len(category))
    return [
        f"{root};{second[c]}" + (f";{third[w]}" if d else "")
        for c, d, w in zip(category.tolist(), deeper.tolist(), which.tolist(), strict=True)
    ]


def _property_pool(category: int) -> Integers:
    """Property ids of a category: 600 of the category and 200 shared by all."""
    return np.concatenate([ids(np.arange(600), 10 + category, 10), ids(np.arange(200), 0, 11)])


def _property_lists(draw: np.random.Generator, category: Integers) -> list[str]:
    low, mean, high = marginals.PROPERTIES
    counts = np.clip(np.round(draw.gamma(6.0, (mean - low) / 6.0, len(category)) + low), low, high).astype(int)
    pools = [_property_pool(c).astype(str) for c in range(13)]
    lists = []
    for c, count in zip(category.tolist(), counts.tolist(), strict=True):
        # a few properties are common, most are rare
        chosen = np.unique((draw.random(3 * count) ** 2 * 800).astype(int))
        lists.append(";".join(pools[c][draw.permutation(chosen)[:count]]))
    return lists


def users(draw: np.random.Generator, rows: int, profile: marginals.Profile) -> pl.DataFrame:
    number = min(_scaled(marginals.ROUND1.users, marginals.ROUND2.users, rows), rows)
    quartiles, mean = marginals.USER_ROWS
    counts = quantile_counts(draw, number, rows, quartiles, mean)

    def level(table: dict[int, int], missing: NDArray[np.bool_]) -> Integers:
        # filled by rows, so that rows per level equal the counts
        values = np.array(list(table))[_filled(draw, counts, np.array(list(table.values()), float))]
        return np.where(missing, marginals.MISSING, values)

    person = draw.random(number) < profile.missing["person"]
    gender = draw.random(number) < profile.missing["gender"]
    return pl.DataFrame(
        {
            "id": ids(np.arange(number), 0, 12),
            "rows": counts,
            "gender": level({name: size for name, (size, _) in marginals.GENDER.items()}, gender),
            "age": level({name: size for name, (size, _) in marginals.AGE.items()}, person),
            "occupation": level(marginals.OCCUPATION, person),
            "star": level({name: size for name, (size, _) in marginals.STAR.items()}, person),
            "effect": draw.normal(0, USER_EFFECT, number),
        }
    )


def days(draw: np.random.Generator, rows: int, profile: marginals.Profile) -> Integers:
    share = np.array(profile.day_rows, dtype=np.float64)
    edges = np.round(np.cumsum(share) / share.sum() * rows).astype(int)
    return draw.permutation(np.searchsorted(edges, np.arange(rows), side="right"))


def hours(draw: np.random.Generator, day: Integers, profile: marginals.Profile) -> Integers:
    weights = np.array(marginals.HOUR_ROWS, dtype=np.float64)
    hours = drawn_from(draw, weights, len(day))
    last = day == len(profile.day_rows) - 1
    if profile.last_day_hours < 24:
        hours[last] = drawn_from(draw, weights[: profile.last_day_hours], int(last.sum()))
    return hours


def queries(draw: np.random.Generator, items: pl.DataFrame) -> pl.DataFrame:
    """Predictions of a query, by the category they are made for and its rank among the predicted ones."""
    second = ids(np.arange(13), 0, 8).tolist()
    others = [*second, *ids(np.arange(40), 0, 13).tolist()]
    pools = [_property_pool(c).tolist() for c in range(13)]
    texts, categories, ranks = [], [], []
    for category in range(13):
        for variant, share in (("first", 0.5), ("later", 0.3), ("absent", 0.2)):
            for _ in range(int(QUERIES_PER_CATEGORY * share)):
                number = 1 + int(drawn_from(draw, np.array(marginals.PREDICTED_NUMBER), 1)[0])
                number = max(number, 2) if variant == "later" else number
                named = [c for c in draw.permutation(len(others)).tolist() if c != category][:number]
                rank = 0
                if variant != "absent":
                    rank = 1 if variant == "first" else int(draw.integers(2, number + 1))
                    named[rank - 1] = category
                parts = []
                for other in named:
                    if draw.random() < marginals.PREDICTED_EMPTY:
                        parts.append(f"{others[other]}:-1")
                    else:
                        pool = pools[other] if other < 13 else pools[0]
                        chosen = {int(draw.random() ** 2 * 800) for _ in range(int(draw.integers(1, 6)))}
                        parts.append(f"{others[other]}:" + ",".join(str(pool[k]) for k in sorted(chosen)))
                texts.append(";".join(parts))
                categories.append(category)
                ranks.append(rank)
    return pl.DataFrame(
        {"text": [*texts, "-1"], "category": [*categories, -1], "rank": [*ranks, 0]},
        schema={"text": pl.String, "category": pl.Int64, "rank": pl.Int64},
    )


def query_of_rows(draw: np.random.Generator, category: Integers, queries: pl.DataFrame) -> tuple[Integers, Integers]:
    """A query for each row, and the rank of the item's category in its prediction (0: not there)."""
    rank = queries["rank"].to_numpy()
    place = draw.random(len(category))
    variant = np.where(place < marginals.PREDICTED_FIRST, 0, np.where(place < marginals.PREDICTED_AMONG, 1, 2))
    sizes = [int(QUERIES_PER_CATEGORY * share) for share in (0.5, 0.3, 0.2)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    # some queries are far more common than others
    within = (draw.random(len(category)) ** 2 * np.array(sizes)[variant]).astype(np.int64)
    chosen = category * QUERIES_PER_CATEGORY + starts[variant] + within
    chosen[draw.random(len(category)) < marginals.PREDICTED_NONE] = queries.height - 1
    return chosen, rank[chosen]

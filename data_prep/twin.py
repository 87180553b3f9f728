"""A synthetic twin of IAAC: raw contest text from a seed, read by the same reader as the real files.

    logit = base + level effects + item, shop and user effects + match effect + heterogeneity · taste(group of domain)

Level effects (price, category, sales, gender, age, star, hour, shop score) are solved for, so that the rate of
each level is IAAC's at any heterogeneity. A domain (gender × age × star) belongs to one of 12 latent groups and a
little to a second one; groups differ in their taste for price, category, brand, city and hour. At heterogeneity 0
domains differ in their base rate alone. Nothing here knows of any model's form. docs/twin.md tells more.

The probability of each row and the groups are written beside the text, in `truth/`, which no model reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from adasparse_cli.data_prep import iaac
from adasparse_cli.data_prep import twin_marginals as known
from numpy.typing import NDArray

from adasparse_cli.choices import Between, TwinProfile
from adasparse_cli.errors import UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.prep.hashing import mixed
from adasparse_cli.prep.recipe import DataSettings, Progress, RawData

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK_ROWS = 200_000
GROUPS = 12
# Standard deviations of the logit's parts, chosen so that the true probabilities reach an AUC of about 0.71 at
# heterogeneity 0, where little more can be learnt from IAAC, and a GAUC by domain of about 0.78 at 1.
ITEM_EFFECT, SHOP_EFFECT, USER_EFFECT, MATCH_EFFECT = 0.20, 0.10, 0.10, 0.25
TASTE = {"category": 0.70, "price": 0.70, "brand": 0.50, "city": 0.50, "hour": 0.50}
# Large brands and cities have a taste of their own; small ones share one by chance.
TASTE_BRANDS, TASTE_CITIES, HOUR_BANDS = 40, 30, 6
SECOND_GROUP = 0.2  # weight of a domain's second group
STRAYING = 0.25  # share of domains whose group does not follow from their gender, age and star
SOLVER_ROWS, SOLVER_ROUNDS = 400_000, 12
QUERIES_PER_CATEGORY = 400


@dataclass(frozen=True, kw_only=True)
class Settings(iaac.Settings):
    """IAAC's settings, and the generator's.

    Args:
        rows: number of rows to write.
        seed: the same seed and rows give the same bytes.
        heterogeneity: how much domains differ beyond their base rate; 0 is the negative control.
        profile: days, rates by day and missing shares of round 1 or round 2.
        keep_raw: leave the raw text beside the prepared data.
    """

    rows: Annotated[int, Between(1_000)]
    seed: Annotated[int, Between(0)]
    heterogeneity: Annotated[float, Between(0, 10)]
    profile: TwinProfile
    keep_raw: bool


def sources(settings: Settings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """Write the raw text and the truth below `folder`.

    Raises:
        UsageError: raw files are named, which the twin does not read.
    """
    if raw:
        raise UsageError("the twin writes its own raw files", hint="data=iaac reads the contest's: data=iaac raw=FILE")
    progress.note(
        f"writing {settings.rows:,} rows of synthetic IAAC text (seed {settings.seed}); no real data are used"
    )
    progress.start("generating", settings.rows, "rows")
    path = folder / "raw" / "twin_train.txt"
    truth = folder / "truth"
    path.parent.mkdir(parents=True)
    truth.mkdir()
    world = World.drawn(settings)
    write_atomically(path, lambda temporary: world.write(temporary, truth / "rows.parquet", progress))
    world.domains().write_parquet(truth / "domains.parquet")
    return [path]


def read(settings: DataSettings, sources: list[Path]) -> RawData:
    """The same reader as for the real files."""
    return iaac.read(settings, sources)


@dataclass
class World:
    """Everything drawn before a line is written: who clicks what and when, and how likely a purchase is.

    Arrays of rows are in the file's order: by day, within a day by shop, within a shop by chance.
    """

    settings: Settings
    profile: known.Profile
    items: pl.DataFrame
    shops: pl.DataFrame
    users: pl.DataFrame
    queries: pl.DataFrame
    item: Integers
    user: Integers
    seconds: Integers
    query: Integers
    page: Integers
    label: Integers
    probability: Floats
    without_taste: Floats
    groups: tuple[Integers, Integers]

    @classmethod
    def drawn(cls, settings: Settings) -> World:
        """Draw a world from the settings' seed."""
        draw = np.random.default_rng([settings.seed, settings.rows])
        profile = known.ROUND1 if settings.profile is TwinProfile.round1 else known.ROUND2
        shops, items = _shops_and_items(draw, settings.rows)
        item = np.repeat(np.arange(items.height), items["rows"].to_numpy())
        users = _users(draw, settings.rows, profile)
        user = draw.permutation(np.repeat(np.arange(users.height), users["rows"].to_numpy()))
        day = _days(draw, settings.rows, profile)
        hour = _hours(draw, day, profile)
        shop_place = draw.permutation(shops.height)
        order = np.lexsort((draw.random(settings.rows), shop_place[items["shop"].to_numpy()[item]], day))
        item, day, hour = item[order], day[order], hour[order]
        queries = _queries(draw, items)
        query, rank = _query_of_rows(draw, items["category"].to_numpy()[item], queries)
        levels = _levels(items, shops, users, item, user, hour, day, rank)
        groups = _domain_groups(draw)
        logit, without = _logits(draw, settings, profile, levels, items, shops, users, item, user, groups)
        probability, plain = (1 / (1 + np.exp(-value)) for value in (logit, without))
        seconds = (profile.first_day + day) * 86400 + hour * 3600 + draw.integers(0, 3600, settings.rows)
        pages = np.append(known.FIRST_PAGE_SHARE, 0.8 ** np.arange(known.PAGES - 1))
        pages[1:] *= (1 - known.FIRST_PAGE_SHARE) / pages[1:].sum()
        return cls(
            settings=settings,
            profile=profile,
            items=items,
            shops=shops,
            users=users,
            queries=queries,
            item=item,
            user=user,
            seconds=seconds - iaac.UTC_OFFSET_SECONDS,
            query=query,
            page=4001 + _chosen(draw, pages, settings.rows),
            label=(draw.random(settings.rows) < probability).astype(np.int64),
            probability=probability,
            without_taste=plain,
            groups=groups,
        )

    def write(self, path: Path, truth: Path, progress: Progress) -> None:
        """Write the text chunk by chunk, and the true probability of each line."""
        shop = self.items["shop"].to_numpy()[self.item]
        day = (self.seconds + iaac.UTC_OFFSET_SECONDS) // 86400
        rows = len(self.item)
        copies = np.random.default_rng([self.settings.seed, 7]).random(rows) < known.DUPLICATES
        copies[1:] &= (shop[1:] == shop[:-1]) & (day[1:] == day[:-1])
        copies[0] = False
        source = np.arange(rows) - copies
        salt = int(self.settings.seed)
        with path.open("wb") as file:
            file.write((" ".join(iaac.SCHEMA) + "\n").encode())
            for start in range(0, rows, CHUNK_ROWS):
                chosen = source[start : start + CHUNK_ROWS]
                self._chunk(chosen, salt).write_csv(file, include_header=False, separator=" ", quote_style="never")
                progress.advance(len(chosen))
        table = pl.DataFrame(
            {
                "line": np.arange(2, rows + 2),
                "probability": self.probability[source],
                "probability_without_taste": self.without_taste[source],
            }
        )
        write_atomically(truth, lambda temporary: table.write_parquet(temporary))

    def domains(self) -> pl.DataFrame:
        """The planted groups: gender, age, star (−1 is missing), first and second group, weight of the second."""
        first, second = self.groups
        genders, ages, stars = np.meshgrid(*_DOMAIN_LEVELS, indexing="ij")
        return pl.DataFrame(
            {
                "user_gender_id": genders.ravel(),
                "user_age_level": ages.ravel(),
                "user_star_level": stars.ravel(),
                "group": first,
                "second_group": second,
                "second_weight": np.full(len(first), SECOND_GROUP),
            }
        )

    def _chunk(self, chosen: Integers, salt: int) -> pl.DataFrame:
        item, user, query = self.item[chosen], self.user[chosen], self.query[chosen]
        of_item = self.items[item]
        of_shop = self.shops[of_item["shop"].to_numpy()]
        of_user = self.users[user]
        columns = {
            "instance_id": _ids(chosen, salt, 1),
            "item_id": of_item["id"],
            "item_category_list": of_item["category_list"],
            "item_property_list": of_item["property_list"],
            "item_brand_id": of_shop["brand"],
            "item_city_id": of_shop["city"],
            "item_price_level": of_item["price"],
            "item_sales_level": of_item["sales"],
            "item_collected_level": of_item["collected"],
            "item_pv_level": of_item["pv"],
            "user_id": of_user["id"],
            "user_gender_id": of_user["gender"],
            "user_age_level": of_user["age"],
            "user_occupation_id": of_user["occupation"],
            "user_star_level": of_user["star"],
            "context_id": _ids(chosen, salt, 2),
            "context_timestamp": self.seconds[chosen],
            "context_page_id": self.page[chosen],
            "predict_category_property": self.queries["text"][query],
            "shop_id": of_shop["id"],
            "shop_review_num_level": of_shop["reviews"],
            "shop_review_positive_rate": of_shop["positive_rate"],
            "shop_star_level": of_shop["stars"],
            "shop_score_service": of_shop["service"],
            "shop_score_delivery": of_shop["delivery"],
            "shop_score_description": of_shop["description"],
            "is_trade": self.label[chosen],
        }
        return pl.DataFrame(columns)


_DOMAIN_LEVELS = (
    np.array([known.MISSING, *known.GENDER]),
    np.array([known.MISSING, *known.AGE]),
    np.array([known.MISSING, *known.STAR]),
)


def quantile_counts(
    draw: np.random.Generator, number: int, total: int, quartiles: tuple[float, ...], mean: float
) -> Integers:
    """`number` counts of at least 1 that sum to `total`, shaped by quartiles, maximum and mean.

    Between the quartiles counts are spread evenly on a logarithmic scale; in the upper quarter with a bend that
    gives the mean. Where the total asks for another mean than the known one, quartiles grow with it.
    """
    places = (np.arange(number) + 0.5) / number
    quarter, within = np.minimum((places * 4).astype(int), 3), places * 4 % 1
    q = np.log(np.maximum(np.array(quartiles) * (total / number / mean), 1.0))

    def counts(bend: float) -> Integers:
        share = np.where(quarter == 3, within**bend, within)
        # a quartile is a count that is reached, so it may not be cut off just below its whole number
        return np.floor(np.exp(q[quarter] + share * (q[quarter + 1] - q[quarter])) + 0.08).astype(np.int64)

    low, high = 0.05, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if counts(middle).sum() > total else (low, middle)
    result = counts(high)
    # a bend moves many counts at once; the few rows still missing go to the largest
    missing = total - int(result.sum())
    top = np.arange(number - max(number // 4, 1), number)
    result[top] += missing // len(top)
    result[top[: missing % len(top)]] += 1
    return draw.permutation(result)


def _scaled(first: int, second: int, rows: int) -> int:
    """A number of ids between and beyond the two rounds, by the power law through both."""
    power = np.log(second / first) / np.log(known.ROUND2.rows / known.ROUND1.rows)
    return max(int(first * (rows / known.ROUND1.rows) ** power), 3)


def _ids(numbers: Integers, seed: int, kind: int) -> Integers:
    """Positive 64-bit ids of up to 19 digits."""
    scrambled = mixed(numbers.astype(np.uint64) + np.uint64(1), salt=1000 * (seed % 2**20) + kind)
    return ((scrambled >> np.uint64(1)) | np.uint64(1)).astype(np.int64)


def _chosen(draw: np.random.Generator, weights: Floats, number: int) -> Integers:
    """Indices drawn with the given weights."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, draw.random(number), side="right"), len(weights) - 1)


def _filled(draw: np.random.Generator, sizes: Integers, shares: Floats, rank: Floats | None = None) -> Integers:
    """Give things of the given sizes to levels so that each level gets its share of the total size.

    In a random order, or by `rank` (smallest to the first level); level borders fall between things.
    """
    order = draw.permutation(len(sizes)) if rank is None else np.argsort(rank, kind="stable")
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    levels = np.empty(len(sizes), dtype=np.int64)
    levels[order] = np.minimum(np.searchsorted(np.cumsum(shares) / np.sum(shares), middle), len(shares) - 1)
    return levels


def _tail(largest: tuple[int, ...], number: int, total: int) -> Floats:
    """Sizes of which the largest are known; the rest falls as a power law from the last of them."""
    rest = np.arange(len(largest) + 1, number + 1, dtype=np.float64)
    left = total - sum(largest)
    low, high = 0.01, 5.0
    for _ in range(60):
        power = (low + high) / 2
        tail = largest[-1] * (rest / len(largest)) ** -power
        low, high = (power, high) if tail.sum() > left else (low, power)
    return np.concatenate([largest, tail])


def _with_missing(draw: np.random.Generator, values: Integers, share: float) -> Integers:
    return np.where(draw.random(len(values)) < share, known.MISSING, values)


def _shops_and_items(draw: np.random.Generator, rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Shops with their sizes and what is constant about them, and the items they sell."""
    profile = known.ROUND1 if rows < 5_000_000 else known.ROUND2
    number = _scaled(known.ROUND1.shops, known.ROUND2.shops, rows)
    quartiles, mean = known.SHOP_ROWS
    sizes = quantile_counts(draw, number, rows, quartiles, mean)
    items = _scaled(known.ROUND1.items, known.ROUND2.items, rows)
    # Larger shops sell more items; no shop sells more items than it has rows.
    wish, most = sizes**0.5 * draw.lognormal(0.0, 0.6, number), np.minimum(sizes, known.MOST_ITEMS)
    low, high = 0.0, float(items)
    for _ in range(60):
        middle = (low + high) / 2
        per_shop = np.clip((wish * middle).astype(np.int64), 1, most)
        low, high = (middle, high) if per_shop.sum() < items else (low, middle)
    shop_of_item = np.repeat(np.arange(number), per_shop)
    item_sizes = _split(draw, sizes, per_shop)

    def score(mean_and_sd: tuple[float, float], missing: float) -> tuple[Floats, list[str]]:
        mean, sd = mean_and_sd
        # one minus a gamma has the mean, the spread and the skew of such scores, and ends at one
        values = np.maximum(1 - draw.gamma((1 - mean) ** 2 / sd**2, sd**2 / (1 - mean), number), 0.0)
        shown = [_full_precision(value) for value in values]
        return values, shown

    _, rate_text = score(known.POSITIVE_RATE, known.RATE_MISSING)
    service, service_text = score(known.SERVICE, known.SCORES_MISSING)
    _, delivery_text = score(known.SERVICE, known.SCORES_MISSING)
    _, description_text = score(known.SERVICE, known.SCORES_MISSING)
    unscored, unrated, unbranded, nowhere = (
        _covering(draw, sizes, share)
        for share in (known.SCORES_MISSING, known.RATE_MISSING, profile.missing["brand"], profile.missing["city"])
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
    brand = _filled(draw, sizes, _tail(known.BRAND_ROWS, min(known.BRANDS, number), known.ROUND1_ROWS))
    city = _filled(draw, sizes, _tail(known.CITY_ROWS, min(known.CITIES, number), known.ROUND1_ROWS))
    reviews = np.array([*range(24), 25])
    stars = np.arange(4999, 5021)
    shops = pl.DataFrame(
        {
            "id": _ids(np.arange(number), 0, 3),
            "brand_level": brand,
            "city_level": city,
            "brand": np.where(unbranded, known.MISSING, _ids(brand, 0, 4)),
            "city": np.where(nowhere, known.MISSING, _ids(city, 0, 5)),
            "reviews": reviews[_filled(draw, sizes, _bell(25, 15, 5), popularity)],
            "stars": stars[_filled(draw, sizes, _bell(22, 13, 4), popularity + draw.normal(0, 1, number))],
            "positive_rate": texts[0],
            "service": texts[1],
            "delivery": texts[2],
            "description": texts[3],
            "score": np.where(unscored, 0.0, -(service - known.SERVICE[0]) / known.SERVICE[1]),
            "effect": draw.normal(0, SHOP_EFFECT, number),
        }
    )
    total = len(shop_of_item)
    price, sales = list(known.PRICE), list(known.SALES)
    demand = np.log(item_sizes) + draw.normal(0, 1.0, total)
    category = _filled(draw, item_sizes, np.array([size for size, _ in known.CATEGORY], dtype=np.float64))
    sales_level = np.array(sales)[
        _filled(draw, item_sizes, np.array([n for n, _ in known.SALES.values()], float), demand)
    ]
    return shops, pl.DataFrame(
        {
            "id": _ids(np.arange(total), 0, 6),
            "shop": shop_of_item,
            "rows": item_sizes,
            "category": category,
            "category_list": _category_lists(draw, category),
            "property_list": _property_lists(draw, category),
            "price": np.array(price)[_filled(draw, item_sizes, np.array([n for n, _ in known.PRICE.values()], float))],
            "sales": _with_missing(draw, sales_level, profile.missing["sales"]),
            "collected": _filled(draw, item_sizes, _bell(18, 11, 3), demand + draw.normal(0, 0.5, total)),
            "pv": _filled(draw, item_sizes, _bell(22, 17, 3), demand + draw.normal(0, 0.5, total)),
            "effect": draw.normal(0, ITEM_EFFECT, total),
        }
    )


def _covering(draw: np.random.Generator, sizes: Integers, share: float) -> NDArray[np.bool_]:
    """Small things, in a random order, that together have the given share of the rows."""
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
    root, second, third = _ids(np.arange(1), 0, 7)[0], _ids(np.arange(13), 0, 8), _ids(np.arange(2), 0, 9)
    # one of the smaller categories is divided further
    deeper = (category == 6) & (draw.random(len(category)) < 0.8)
    which = draw.integers(0, 2, len(category))
    return [
        f"{root};{second[c]}" + (f";{third[w]}" if d else "")
        for c, d, w in zip(category.tolist(), deeper.tolist(), which.tolist(), strict=True)
    ]


def _property_pool(category: int) -> Integers:
    """Property ids of a category: 600 of its own and 200 that all share."""
    return np.concatenate([_ids(np.arange(600), 10 + category, 10), _ids(np.arange(200), 0, 11)])


def _property_lists(draw: np.random.Generator, category: Integers) -> list[str]:
    low, mean, high = known.PROPERTIES
    counts = np.clip(np.round(draw.gamma(6.0, (mean - low) / 6.0, len(category)) + low), low, high).astype(int)
    pools = [_property_pool(c).astype(str) for c in range(13)]
    lists = []
    for c, count in zip(category.tolist(), counts.tolist(), strict=True):
        # a few properties are common, most are rare
        chosen = np.unique((draw.random(3 * count) ** 2 * 800).astype(int))
        lists.append(";".join(pools[c][draw.permutation(chosen)[:count]]))
    return lists


def _users(draw: np.random.Generator, rows: int, profile: known.Profile) -> pl.DataFrame:
    number = min(_scaled(known.ROUND1.users, known.ROUND2.users, rows), rows)
    quartiles, mean = known.USER_ROWS
    counts = quantile_counts(draw, number, rows, quartiles, mean)

    def level(table: dict[int, int], missing: NDArray[np.bool_]) -> Integers:
        # filled by rows, so that rows per level come out as counted
        values = np.array(list(table))[_filled(draw, counts, np.array(list(table.values()), float))]
        return np.where(missing, known.MISSING, values)

    person = draw.random(number) < profile.missing["person"]
    gender = draw.random(number) < profile.missing["gender"]
    return pl.DataFrame(
        {
            "id": _ids(np.arange(number), 0, 12),
            "rows": counts,
            "gender": level({name: size for name, (size, _) in known.GENDER.items()}, gender),
            "age": level({name: size for name, (size, _) in known.AGE.items()}, person),
            "occupation": level(known.OCCUPATION, person),
            "star": level({name: size for name, (size, _) in known.STAR.items()}, person),
            "effect": draw.normal(0, USER_EFFECT, number),
        }
    )


def _days(draw: np.random.Generator, rows: int, profile: known.Profile) -> Integers:
    share = np.array(profile.day_rows, dtype=np.float64)
    edges = np.round(np.cumsum(share) / share.sum() * rows).astype(int)
    return draw.permutation(np.searchsorted(edges, np.arange(rows), side="right"))


def _hours(draw: np.random.Generator, day: Integers, profile: known.Profile) -> Integers:
    weights = np.array(known.HOUR_ROWS, dtype=np.float64)
    hours = _chosen(draw, weights, len(day))
    last = day == len(profile.day_rows) - 1
    if profile.last_day_hours < 24:
        hours[last] = _chosen(draw, weights[: profile.last_day_hours], int(last.sum()))
    return hours


def _queries(draw: np.random.Generator, items: pl.DataFrame) -> pl.DataFrame:
    """Predictions of a query, by the category they are made for and its place among the predicted ones."""
    second = _ids(np.arange(13), 0, 8).tolist()
    others = [*second, *_ids(np.arange(40), 0, 13).tolist()]
    pools = [_property_pool(c).tolist() for c in range(13)]
    texts, categories, ranks = [], [], []
    for category in range(13):
        for variant, share in (("first", 0.5), ("later", 0.3), ("absent", 0.2)):
            for _ in range(int(QUERIES_PER_CATEGORY * share)):
                number = 1 + int(_chosen(draw, np.array(known.PREDICTED_NUMBER), 1)[0])
                number = max(number, 2) if variant == "later" else number
                named = [c for c in draw.permutation(len(others)).tolist() if c != category][:number]
                rank = 0
                if variant != "absent":
                    rank = 1 if variant == "first" else int(draw.integers(2, number + 1))
                    named[rank - 1] = category
                parts = []
                for other in named:
                    if draw.random() < known.PREDICTED_EMPTY:
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


def _query_of_rows(draw: np.random.Generator, category: Integers, queries: pl.DataFrame) -> tuple[Integers, Integers]:
    """A query for each row, and the place of the item's category in its prediction (0: not there)."""
    rank = queries["rank"].to_numpy()
    place = draw.random(len(category))
    variant = np.where(place < known.PREDICTED_FIRST, 0, np.where(place < known.PREDICTED_AMONG, 1, 2))
    sizes = [int(QUERIES_PER_CATEGORY * share) for share in (0.5, 0.3, 0.2)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    # some queries are far more common than others
    within = (draw.random(len(category)) ** 2 * np.array(sizes)[variant]).astype(np.int64)
    chosen = category * QUERIES_PER_CATEGORY + starts[variant] + within
    chosen[draw.random(len(category)) < known.PREDICTED_NONE] = queries.height - 1
    return chosen, rank[chosen]


@dataclass(frozen=True)
class _Factor:
    """A column whose levels have an effect each, and the relative rates that its levels shall have (NaN: any)."""

    level: Integers
    rates: Floats


def _levels(
    items: pl.DataFrame,
    shops: pl.DataFrame,
    users: pl.DataFrame,
    item: Integers,
    user: Integers,
    hour: Integers,
    day: Integers,
    rank: Integers,
) -> dict[str, _Factor]:
    """The levels of each row that the rate depends on, as indices."""

    def factor(values: Integers, table: dict[int, tuple[int, float]]) -> _Factor:
        names = np.array(list(table))
        # a missing value is the last level, of any rate
        level = np.where(values == known.MISSING, len(names), np.searchsorted(names, values))
        return _Factor(level, np.array([*(rate for _, rate in table.values()), np.nan]))

    shop = items["shop"].to_numpy()[item]
    return {
        "category": _Factor(items["category"].to_numpy()[item], np.array([rate for _, rate in known.CATEGORY])),
        "price": factor(items["price"].to_numpy()[item], known.PRICE),
        "sales": factor(items["sales"].to_numpy()[item], known.SALES),
        "gender": factor(users["gender"].to_numpy()[user], known.GENDER),
        "age": factor(users["age"].to_numpy()[user], known.AGE),
        "star": factor(users["star"].to_numpy()[user], known.STAR),
        "hour": _Factor(hour, np.array(known.HOUR_FACTORS)),
        "day": _Factor(day, np.array([])),
        "brand": _Factor(shops["brand_level"].to_numpy()[shop], np.array([])),
        "city": _Factor(shops["city_level"].to_numpy()[shop], np.array([])),
        "rank": _Factor(np.minimum(rank, 3), np.array([])),
    }


def _domain_groups(draw: np.random.Generator) -> tuple[Integers, Integers]:
    """First and second group of each domain: like genders, ages and stars mostly share one."""
    genders, ages, stars = np.meshgrid(*(np.arange(len(levels)) for levels in _DOMAIN_LEVELS), indexing="ij")
    cell = (genders == 2) * 6 + np.minimum(ages // 3, 2) * 2 + (stars > 5)
    names = draw.permutation(GROUPS)
    first = names[cell.ravel()]
    stray = draw.random(len(first)) < STRAYING
    first = np.where(stray, draw.integers(0, GROUPS, len(first)), first)
    return first, draw.integers(0, GROUPS, len(first))


def _domain_of_users(users: pl.DataFrame) -> Integers:
    places = [
        np.searchsorted(levels, users[name].to_numpy())
        for name, levels in zip(("gender", "age", "star"), _DOMAIN_LEVELS, strict=True)
    ]
    return np.ravel_multi_index(tuple(places), tuple(len(levels) for levels in _DOMAIN_LEVELS)).astype(np.int64)


def _logits(
    draw: np.random.Generator,
    settings: Settings,
    profile: known.Profile,
    factors: dict[str, _Factor],
    items: pl.DataFrame,
    shops: pl.DataFrame,
    users: pl.DataFrame,
    item: Integers,
    user: Integers,
    groups: tuple[Integers, Integers],
) -> tuple[Floats, Floats]:
    """The logit of each row, with and without its domain's taste; both reach the known rates of all levels."""
    shop = items["shop"].to_numpy()[item]
    fixed = items["effect"].to_numpy()[item] + shops["effect"].to_numpy()[shop] + users["effect"].to_numpy()[user]
    fixed += 0.08 * shops["score"].to_numpy()[shop]
    fixed += np.array([-1.2, 0.4, 0.0, -0.4])[factors["rank"].level] * MATCH_EFFECT
    # Tastes are drawn even where they do not count, so that one seed gives one world at every heterogeneity.
    taste = _taste(draw, factors, _domain_of_users(users)[user], groups)
    offsets = _solved(draw, profile, factors, fixed + settings.heterogeneity * taste)
    return fixed + settings.heterogeneity * taste + offsets, fixed + offsets


def _taste(
    draw: np.random.Generator, factors: dict[str, _Factor], domain: Integers, groups: tuple[Integers, Integers]
) -> Floats:
    first, second = groups
    levels = {
        "category": factors["category"].level,
        "price": factors["price"].level,
        "brand": _few(factors["brand"].level, TASTE_BRANDS),
        "city": _few(factors["city"].level, TASTE_CITIES),
        "hour": factors["hour"].level * HOUR_BANDS // 24,
    }
    total = np.zeros(len(domain))
    for name, level in levels.items():
        table = draw.normal(0, TASTE[name], (GROUPS, int(level.max()) + 1))
        total += (1 - SECOND_GROUP) * table[first[domain], level] + SECOND_GROUP * table[second[domain], level]
    return total


def _few(level: Integers, number: int) -> Integers:
    """The largest levels apart, the others folded onto as many again."""
    return np.where(level < number, level, number + level % number)


def _solved(draw: np.random.Generator, profile: known.Profile, factors: dict[str, _Factor], rest: Floats) -> Floats:
    """Effects of levels such that each level's rate is the known one, by turns (a sample of rows is enough)."""
    sample = np.arange(len(rest))
    if len(rest) > SOLVER_ROWS:
        sample = np.sort(draw.choice(len(rest), SOLVER_ROWS, replace=False))
    targets: dict[str, Floats] = {}
    for name, factor in factors.items():
        if name == "day":
            if profile.day_rates is not None:
                targets[name] = np.array(profile.day_rates)
        elif len(factor.rates):
            weights = np.bincount(factor.level[sample], minlength=len(factor.rates)).astype(np.float64)
            given = np.isfinite(factor.rates)
            overall = np.average(factor.rates[given], weights=np.maximum(weights[given], 1e-9))
            targets[name] = factor.rates * profile.rate / overall
    effects = {name: np.zeros(len(target)) for name, target in targets.items()}
    level = {name: factors[name].level[sample] for name in targets}
    logit = rest[sample] + np.log(profile.rate / (1 - profile.rate))
    base = logit.copy()
    for _ in range(SOLVER_ROUNDS):
        for name, target in targets.items():
            rate = 1 / (1 + np.exp(-logit))
            count = np.bincount(level[name], minlength=len(target))
            found = np.bincount(level[name], weights=rate, minlength=len(target)) / np.maximum(count, 1)
            known_level = np.isfinite(target) & (count > 0)
            step = np.zeros(len(target))
            wanted, had = target[known_level], found[known_level]
            step[known_level] = np.log(wanted / (1 - wanted)) - np.log(had / (1 - had))
            effects[name] += step
            logit += step[level[name]]
    shift = np.log(profile.rate / (1 - profile.rate))
    assert np.isfinite(logit - base).all()
    return shift + sum((effects[name][factors[name].level] for name in targets), start=np.zeros(len(rest)))

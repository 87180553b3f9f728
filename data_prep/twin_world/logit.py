"""The probability that a row of the twin ends in a purchase: level effects, tastes of domains, and their solution.

logit = base + level effects + item, shop and user effects + match effect + heterogeneity · taste(groups of the domain)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from adasparse_cli.choices import TwinTastes
from adasparse_cli.data_prep.twin_world import marginals
from adasparse_cli.data_prep.twin_world.population import Floats, Integers

CELLS = (2, 3, 2)  # parts of gender, age and star whose domains share a group
GROUPS = 12
# Standard deviations of tastes, chosen so that the true probabilities reach an AUC of about 0.71 at heterogeneity 0,
# about as much as can be learned from IAAC, and a GAUC by domain of about 0.79 at 1.
TASTE = {"category": 0.70, "price": 0.70, "brand": 0.50, "city": 0.50, "hour": 0.50}
MATCH_EFFECT = 0.25
# Large brands and cities have separate tastes; small ones share one at random.
TASTE_BRANDS, TASTE_CITIES, HOUR_BANDS = 40, 30, 6
SOLVER_ROWS, SOLVER_ROUNDS = 400_000, 12

DOMAIN_LEVELS = (
    np.array([marginals.MISSING, *marginals.GENDER]),
    np.array([marginals.MISSING, *marginals.AGE]),
    np.array([marginals.MISSING, *marginals.STAR]),
)


@dataclass(frozen=True)
class Factor:
    """A column with one effect per level, and the target rates of its levels (NaN: no target)."""

    level: Integers
    rates: Floats


def levels(
    items: pl.DataFrame,
    shops: pl.DataFrame,
    users: pl.DataFrame,
    item: Integers,
    user: Integers,
    hour: Integers,
    day: Integers,
    rank: Integers,
) -> dict[str, Factor]:
    """The levels of each row that the rate depends on, as indices."""

    def factor(values: Integers, table: dict[int, tuple[int, float]]) -> Factor:
        names = np.array(list(table))
        # a missing value is the last level, without a target rate
        level = np.where(values == marginals.MISSING, len(names), np.searchsorted(names, values))
        return Factor(level, np.array([*(rate for _, rate in table.values()), np.nan]))

    shop = items["shop"].to_numpy()[item]
    return {
        "category": Factor(items["category"].to_numpy()[item], np.array([rate for _, rate in marginals.CATEGORY])),
        "price": factor(items["price"].to_numpy()[item], marginals.PRICE),
        "sales": factor(items["sales"].to_numpy()[item], marginals.SALES),
        "gender": factor(users["gender"].to_numpy()[user], marginals.GENDER),
        "age": factor(users["age"].to_numpy()[user], marginals.AGE),
        "star": factor(users["star"].to_numpy()[user], marginals.STAR),
        "hour": Factor(hour, np.array(marginals.HOUR_FACTORS)),
        "day": Factor(day, np.array([])),
        "brand": Factor(shops["brand_level"].to_numpy()[shop], np.array([])),
        "city": Factor(shops["city_level"].to_numpy()[shop], np.array([])),
        "rank": Factor(np.minimum(rank, 3), np.array([])),
    }


@dataclass(frozen=True)
class Groups:
    """The latent groups of all domains.

    Args:
        first, second: group of each domain. cells: for each group, its part of gender (0–1), age (0–2) and star (0–1).
    """

    first: Integers
    second: Integers
    cells: Integers


def domain_groups(draw: np.random.Generator, straying: float) -> Groups:
    """First and second group of each domain; a share `straying` has a random first group.

    The first group of the other domains follows from their gender, age and star.
    """
    genders, ages, stars = np.meshgrid(*(np.arange(len(levels)) for levels in DOMAIN_LEVELS), indexing="ij")
    cell = np.ravel_multi_index((genders == 2, np.minimum(ages // 3, 2), stars > 5), CELLS).ravel()
    names = draw.permutation(GROUPS)
    stray = draw.random(len(cell)) < straying
    first = np.where(stray, draw.integers(0, GROUPS, len(cell)), names[cell])
    cells = np.stack(np.unravel_index(np.argsort(names), CELLS), axis=1).astype(np.int64)
    return Groups(first=first, second=draw.integers(0, GROUPS, len(cell)), cells=cells)


def domain_of_users(users: pl.DataFrame) -> Integers:
    """The domain of each user, as an index over gender × age × star."""
    places = [
        np.searchsorted(levels, users[name].to_numpy())
        for name, levels in zip(("gender", "age", "star"), DOMAIN_LEVELS, strict=True)
    ]
    return np.ravel_multi_index(tuple(places), tuple(len(levels) for levels in DOMAIN_LEVELS)).astype(np.int64)


def logits(
    draw: np.random.Generator,
    heterogeneity: float,
    profile: marginals.Profile,
    factors: dict[str, Factor],
    items: pl.DataFrame,
    shops: pl.DataFrame,
    users: pl.DataFrame,
    item: Integers,
    user: Integers,
    groups: Groups,
    tastes: TwinTastes,
    second_group: float,
) -> tuple[Floats, Floats, dict[str, Floats]]:
    """The logit of each row with and without its domain's taste, and the table domain × level of each column's tastes.

    The effects of levels are solved with tastes included, so that the first logit reaches the target rates of all levels.
    """
    shop = items["shop"].to_numpy()[item]
    fixed = items["effect"].to_numpy()[item] + shops["effect"].to_numpy()[shop] + users["effect"].to_numpy()[user]
    fixed += 0.08 * shops["score"].to_numpy()[shop]
    fixed += np.array([-1.2, 0.4, 0.0, -0.4])[factors["rank"].level] * MATCH_EFFECT
    # Tastes are drawn even if they are not used, so that one seed gives one world at every heterogeneity.
    levels = taste_levels(factors)
    tables = _tastes(draw, levels, groups, tastes, second_group)
    taste = taste_of_rows(tables, levels, domain_of_users(users)[user])
    offsets = _solved(draw, profile, factors, fixed + heterogeneity * taste)
    return fixed + heterogeneity * taste + offsets, fixed + offsets, tables


def taste_levels(factors: dict[str, Factor]) -> dict[str, Integers]:
    """The levels of each row for which domains have tastes."""
    return {
        "category": factors["category"].level,
        "price": factors["price"].level,
        "brand": _rare_merged(factors["brand"].level, TASTE_BRANDS),
        "city": _rare_merged(factors["city"].level, TASTE_CITIES),
        "hour": factors["hour"].level * HOUR_BANDS // 24,
    }


def taste_of_rows(tables: dict[str, Floats], levels: dict[str, Integers], domain: Integers) -> Floats:
    """The taste of each row: the sum over columns of its domain's taste for the row's level."""
    total = np.zeros(len(domain))
    for name, table in tables.items():
        total += table[domain, levels[name]]
    return total


def _tastes(
    draw: np.random.Generator,
    levels: dict[str, Integers],
    groups: Groups,
    tastes: TwinTastes,
    second_group: float,
) -> dict[str, Floats]:
    """Each column's tastes, domain × level."""
    tables = {}
    for name, level in levels.items():
        own = draw.normal(0, TASTE[name], (GROUPS, int(level.max()) + 1))
        if tastes is TwinTastes.additive:
            # the first rows are the parts of gender, age and star; tastes keep their standard deviation
            start = np.cumsum([0, *CELLS[:-1]])
            own = own[groups.cells + start].sum(axis=1) / len(CELLS) ** 0.5
        tables[name] = (1 - second_group) * own[groups.first] + second_group * own[groups.second]
    return tables


def _rare_merged(level: Integers, number: int) -> Integers:
    """Levels from `number` on, the rarer ones, merged into `number` shared levels; levels are sorted by frequency."""
    return np.where(level < number, level, number + level % number)


def _solved(draw: np.random.Generator, profile: marginals.Profile, factors: dict[str, Factor], rest: Floats) -> Floats:
    """Effects of levels that give each level its target rate, solved level by level (a sample of rows is enough)."""
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
            asked, reached = target[known_level], found[known_level]
            step[known_level] = np.log(asked / (1 - asked)) - np.log(reached / (1 - reached))
            effects[name] += step
            logit += step[level[name]]
    shift = np.log(profile.rate / (1 - profile.rate))
    assert np.isfinite(logit - base).all()
    logits: Floats = shift + sum((effects[name][factors[name].level] for name in targets), start=np.zeros(len(rest)))
    return logits

"""Ceilings of the twin: what additive and pairwise knowledge of tastes can reach, against a regression over rows."""

from __future__ import annotations

import numpy as np
import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import twin
from adasparse_cli.data_prep.twin_world import logit as twin_logit
from adasparse_cli.typed import typed

NAMES = ("shared", "additive", "pairs", "full")


def settings_of(*words: str) -> twin.Settings:
    return typed(compose("prep", ["data=twin", "data.rows=20000", *words])["data"], twin.Settings, "data")


def regressed(world: twin.World, fields: list[tuple[str, ...]]) -> np.ndarray:
    """Each domain's tastes, regressed on dummies with a copy of the domain for each of its rows, by normal equations."""
    keys = {"gender": 0, "age": 1, "star": 2}
    shape = tuple(len(levels) for levels in twin_logit.DOMAIN_LEVELS)
    domain = twin_logit.domain_of_users(world.users)[world.user]
    places = np.unravel_index(domain, shape)
    every = np.unravel_index(np.arange(np.prod(shape)), shape)

    def dummies(of: tuple[np.ndarray, ...]) -> np.ndarray:
        columns = []
        for combination in fields:
            own = [of[keys[name]] for name in combination]
            for values in np.ndindex(*(shape[keys[name]] for name in combination)):
                equal = [a == b for a, b in zip(own, values, strict=True)]
                columns.append(np.all([np.ones(len(of[0]), dtype=bool), *equal], axis=0))
        return np.stack(columns, axis=1).astype(np.float64)

    x = dummies(places)
    gram = np.linalg.pinv(x.T @ x, hermitian=True)
    total = np.zeros(len(domain))
    for name, level in world.taste_levels().items():
        beta = gram @ (x.T @ world.tastes[name][domain])
        total += (dummies(every) @ beta)[domain, level]
    return total


def test_ceilings_are_those_of_a_regression_over_rows() -> None:
    settings = settings_of("data.heterogeneity=1.5")
    world, found = twin.World.drawn(settings), twin.ceilings(settings)
    source = world.written_rows()
    logit = np.log(world.probability / (1 - world.probability))
    without = np.log(world.without_taste / (1 - world.without_taste))
    pairs = [("gender", "age"), ("gender", "star"), ("age", "star")]
    assert tuple(found.columns) == ("line", *NAMES)
    assert found["line"].to_list() == list(range(2, 20_002))
    for name, expected in (
        ("shared", without + 1.5 * regressed(world, [()])),
        ("additive", without + 1.5 * regressed(world, [("gender",), ("age",), ("star",)])),
        ("pairs", without + 1.5 * regressed(world, pairs)),
        ("full", logit),
    ):
        np.testing.assert_allclose(found[name].to_numpy(), expected[source], atol=1e-6, err_msg=name)


def test_additive_tastes_are_known_in_full_from_the_fields_alone() -> None:
    found = twin.ceilings(settings_of("data.tastes=additive", "data.straying=0", "data.second_group=0"))
    for name in ("additive", "pairs"):
        np.testing.assert_allclose(found[name].to_numpy(), found["full"].to_numpy(), atol=1e-9)
    assert np.abs(found["shared"].to_numpy() - found["full"].to_numpy()).max() > 1


@pytest.mark.parametrize("word", ["data.straying=0.25", "data.second_group=0.2", "data.tastes=joint"])
def test_strays_second_groups_and_joint_tastes_are_not_additive(word: str) -> None:
    words = {"data.tastes": "additive", "data.straying": "0", "data.second_group": "0", **dict([word.split("=")])}
    found = twin.ceilings(settings_of(*(f"{key}={value}" for key, value in words.items())))
    gap = [float(np.std(found[name].to_numpy() - found["full"].to_numpy())) for name in NAMES]
    assert gap[0] > gap[1] > gap[2] > gap[3] == 0


def test_additive_tastes_have_the_spread_of_joint_ones() -> None:
    spread = {
        tastes: np.mean(
            [
                np.std(
                    np.concatenate(
                        [*twin.World.drawn(settings_of(f"data.tastes={tastes}", f"data.seed={seed}")).tastes.values()],
                        axis=1,
                    )
                )
                for seed in range(5)
            ]
        )
        for tastes in ("joint", "additive")
    }
    assert spread["additive"] == pytest.approx(spread["joint"], rel=0.15)

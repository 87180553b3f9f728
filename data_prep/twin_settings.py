"""The settings of `recipe: twin`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, TwinProfile, TwinTastes
from adasparse_cli.data_prep import iaac_settings


@dataclass(frozen=True, kw_only=True)
class Settings(iaac_settings.Settings):
    """The settings of IAAC, and of the generator.

    Args:
        rows: number of rows to write.
        seed: seed of the generator; the same seed and rows give the same bytes.
        heterogeneity: how much domains differ beyond their base rate; 0 is the negative control.
        straying: share (0–1) of domains with a random first group; in all other domains, the fields determine the group.
        second_group: weight (0–1) of the second group in a domain's taste. The second group is drawn at random.
        tastes: whether each group has independent tastes, or sums of gender, age and star terms.
        profile: days, rates by day and missing shares of round 1 or round 2.
        keep_raw: whether the raw text is kept with the prepared data.
    """

    rows: Annotated[int, Between(1_000)]
    seed: Annotated[int, Between(0)]
    heterogeneity: Annotated[float, Between(0, 10)]
    straying: Annotated[float, Between(0, 1)]
    second_group: Annotated[float, Between(0, 1)]
    tastes: TwinTastes
    profile: TwinProfile
    keep_raw: bool

"""A synthetic twin of IAAC: raw contest text generated from a seed and read by the same reader as the real files.

    logit = base + level effects + item, shop and user effects + match effect + heterogeneity · taste(group of domain)

Level effects (price, category, sales, gender, age, star, hour, shop score) are solved numerically, so that the rate of
each level equals IAAC's at any heterogeneity. A domain (gender × age × star) belongs to one of 12 latent groups and with
a small weight to a second one. Groups differ in their taste for price, category, brand, city and hour. At heterogeneity 0
domains differ only in their base rate. The generator does not depend on the form of any model. See docs/twin.md.

The probability of each row and the groups are written to `truth/`, which no model reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.choices import TwinProfile
from adasparse_cli.data_prep import iaac
from adasparse_cli.data_prep.twin_settings import Settings as Settings
from adasparse_cli.data_prep.twin_world import ceilings as twin_ceilings
from adasparse_cli.data_prep.twin_world import logit as twin_logit
from adasparse_cli.data_prep.twin_world import marginals, population
from adasparse_cli.data_prep.twin_world.population import Floats, Integers
from adasparse_cli.errors import UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.prep.recipe import DataSettings, Progress, RawData

CHUNK_ROWS = 200_000


def sources(settings: Settings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """Write the raw text and the truth to `folder`.

    Raises:
        UsageError: raw files are named, which the twin does not read.
    """
    if raw:
        raise UsageError(
            "the twin writes its own raw files",
            hint="omit raw=, or prepare the contest's file: adasparse prep data=iaac raw=FILE",
        )
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


def as_raw(frame: pl.DataFrame, folder: Path) -> Path:
    """The same as for the real files."""
    return iaac.as_raw(frame, folder)


def ceilings(settings: Settings) -> pl.DataFrame:
    """The logits of models that know increasingly many of the tastes, for each line of the raw text.

    Returns:
        `line`, and a column for each name of `twin_world.ceilings`. The world is drawn again from its settings.
    """
    world = World.drawn(settings)
    source = world.written_rows()
    logits = twin_ceilings.logits(
        without=np.log(world.without_taste / (1 - world.without_taste)),
        heterogeneity=settings.heterogeneity,
        tastes=world.tastes,
        levels=world.taste_levels(),
        domain=twin_logit.domain_of_users(world.users)[world.user],
    )
    columns = {name: values[source] for name, values in logits.items()}
    return pl.DataFrame({"line": np.arange(2, len(source) + 2), **columns})


@dataclass
class World:
    """All random draws before a line is written: users, items, times, and the probability of a purchase.

    Arrays of rows are in the file's order: by day, within a day by shop, within a shop at random.
    """

    settings: Settings
    profile: marginals.Profile
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
    groups: twin_logit.Groups
    tastes: dict[str, Floats]

    @classmethod
    def drawn(cls, settings: Settings) -> World:
        """Draw a world with the settings' seed."""
        draw = np.random.default_rng([settings.seed, settings.rows])
        profile = marginals.ROUND1 if settings.profile is TwinProfile.round1 else marginals.ROUND2
        shops, items = population.shops_and_items(draw, settings.rows)
        item = np.repeat(np.arange(items.height), items["rows"].to_numpy())
        users = population.users(draw, settings.rows, profile)
        user = draw.permutation(np.repeat(np.arange(users.height), users["rows"].to_numpy()))
        day = population.days(draw, settings.rows, profile)
        hour = population.hours(draw, day, profile)
        shop_place = draw.permutation(shops.height)
        order = np.lexsort((draw.random(settings.rows), shop_place[items["shop"].to_numpy()[item]], day))
        item, day, hour = item[order], day[order], hour[order]
        queries = population.queries(draw, items)
        query, rank = population.query_of_rows(draw, items["category"].to_numpy()[item], queries)
        levels = twin_logit.levels(items, shops, users, item, user, hour, day, rank)
        groups = twin_logit.domain_groups(draw, settings.straying)
        logit, without, tastes = twin_logit.logits(
            draw,
            settings.heterogeneity,
            profile,
            levels,
            items,
            shops,
            users,
            item,
            user,
            groups,
            settings.tastes,
            settings.second_group,
        )
        probability, plain = (1 / (1 + np.exp(-value)) for value in (logit, without))
        seconds = (profile.first_day + day) * 86400 + hour * 3600 + draw.integers(0, 3600, settings.rows)
        pages = np.append(marginals.FIRST_PAGE_SHARE, 0.8 ** np.arange(marginals.PAGES - 1))
        pages[1:] *= (1 - marginals.FIRST_PAGE_SHARE) / pages[1:].sum()
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
            page=4001 + population.drawn_from(draw, pages, settings.rows),
            label=(draw.random(settings.rows) < probability).astype(np.int64),
            probability=probability,
            without_taste=plain,
            groups=groups,
            tastes=tastes,
        )

    def write(self, path: Path, truth: Path, progress: Progress) -> None:
        """Write the text chunk by chunk, and the true probability of each line."""
        rows, source = len(self.item), self.written_rows()
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

    def written_rows(self) -> Integers:
        """The row that each line repeats: the line's row, or the previous row for an exact duplicate."""
        shop = self.items["shop"].to_numpy()[self.item]
        day = (self.seconds + iaac.UTC_OFFSET_SECONDS) // 86400
        copies = np.random.default_rng([self.settings.seed, 7]).random(len(shop)) < marginals.DUPLICATES
        copies[1:] &= (shop[1:] == shop[:-1]) & (day[1:] == day[:-1])
        copies[0] = False
        return np.arange(len(shop)) - copies

    def taste_levels(self) -> dict[str, Integers]:
        """The levels of each row for which domains have tastes."""
        seconds = self.seconds + iaac.UTC_OFFSET_SECONDS
        factors = twin_logit.levels(
            self.items,
            self.shops,
            self.users,
            self.item,
            self.user,
            seconds % 86400 // 3600,
            seconds // 86400 - self.profile.first_day,
            self.queries["rank"].to_numpy()[self.query],
        )
        return twin_logit.taste_levels(factors)

    def domains(self) -> pl.DataFrame:
        """The planted groups: gender, age, star (−1 is missing), first and second group, weight of the second."""
        genders, ages, stars = np.meshgrid(*twin_logit.DOMAIN_LEVELS, indexing="ij")
        return pl.DataFrame(
            {
                "user_gender_id": genders.ravel(),
                "user_age_level": ages.ravel(),
                "user_star_level": stars.ravel(),
                "group": self.groups.first,
                "second_group": self.groups.second,
                "second_weight": np.full(len(self.groups.first), self.settings.second_group),
            }
        )

    def _chunk(self, chosen: Integers, salt: int) -> pl.DataFrame:
        item, user, query = self.item[chosen], self.user[chosen], self.query[chosen]
        of_item = self.items[item]
        of_shop = self.shops[of_item["shop"].to_numpy()]
        of_user = self.users[user]
        columns = {
            "instance_id": population.ids(chosen, salt, 1),
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
            "context_id": population.ids(chosen, salt, 2),
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

"""The known distributions of IAAC, which the twin follows. Levels, rows and rates are from round 1.

Source: counts over the contest's published files (Tianchi 231647). For distributions that were not counted
(collected, page-view and review levels, shop stars) these are assumptions, and no test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

MISSING = -1
ROUND1_ROWS = 478_138


@dataclass(frozen=True)
class Profile:
    """One round of the contest.

    Args:
        rows: of its labelled file. items, shops, users: distinct ids in it.
        first_day: days since 1970 in UTC+8.
        day_rows, day_rates: weight and rate of positives of each day; None if a day has the overall rate.
        last_day_hours: number of hours in the last day.
        user_rows: rows per user at the quartiles (see `quantile_counts`).
        missing: shares of rows with a missing value.
    """

    rows: int
    items: int
    shops: int
    users: int
    rate: float
    first_day: int
    day_rows: tuple[int, ...]
    day_rates: tuple[float, ...] | None
    last_day_hours: int
    missing: dict[str, float]


ROUND1 = Profile(
    rows=ROUND1_ROWS,
    items=10_075,
    shops=3_959,
    users=197_694,
    rate=0.01887,
    first_day=17792,  # 18 September 2018
    day_rows=(1, 1, 1, 1, 1, 1, 1),
    day_rates=None,
    last_day_hours=24,
    missing={"gender": 0.02698, "person": 0.00202, "brand": 0.00099, "city": 0.00058, "sales": 0.00191},
)
ROUND2 = Profile(
    rows=10_432_036,
    items=84_677,
    shops=24_942,
    users=2_958_505,
    rate=0.01449,
    first_day=17774,  # 31 August 2018
    day_rows=(1_195_557, 1_340_697, 1_289_476, 1_236_828, 1_157_641, 1_200_219, 1_934_443, 1_077_175),
    day_rates=(0.0128, 0.0136, 0.0133, 0.0124, 0.0114, 0.0098, 0.0055, 0.0461),
    last_day_hours=12,
    missing={"gender": 0.0255, "person": 0.0023, "brand": 0.039, "city": 0.00058, "sales": 0.0043},
)

# Rows per id at the quartiles 0, ¼, ½, ¾ and the maximum, and the mean, in round 1.
SHOP_ROWS = ((1, 4, 16, 79.5, 11_278), 120.8)
USER_ROWS = ((1, 1, 2, 3, 65), 2.42)
MOST_ITEMS = 67  # of one shop; the mean is 2.54

# level -> (rows, rate in %); a rate of None follows from the others
GENDER = {0: (360_817, 1.85), 1: (94_070, 2.12), 2: (10_349, 1.88)}
AGE = {
    1000: (12_958, 1.37),
    1001: (6_446, 1.45),
    1002: (70_175, 1.60),
    1003: (169_449, 1.80),
    1004: (126_131, 1.95),
    1005: (56_608, 2.10),
    1006: (30_190, 2.25),
    1007: (5_217, 2.37),
}
OCCUPATION = {2002: 146_917, 2003: 6_418, 2004: 23_803, 2005: 300_036}
STAR = {
    3000: (31_336, 1.19),
    3001: (19_325, 1.95),
    3002: (62_921, 1.95),
    3003: (74_578, 1.95),
    3004: (61_769, 1.95),
    3005: (67_440, 1.95),
    3006: (82_009, 1.95),
    3007: (53_315, 1.95),
    3008: (20_178, 1.95),
    3009: (4_124, 1.95),
    3010: (179, 1.95),
}
CATEGORY = (
    (150_779, 1.29),
    (102_496, 1.69),
    (75_420, 1.68),
    (72_019, 1.77),
    (53_055, 4.03),
    (9_563, 1.57),
    (7_084, 3.19),
    (2_246, 3.5),
    (2_029, 6.1),
    (1_966, 2.5),
    (1_207, 2.5),
    (186, 2.5),
    (88, 2.5),
)
# Levels 3 to 9 were counted; the remaining 923 rows are spread over the others.
PRICE = {
    0: (60, 4.8), 1: (120, 4.8), 2: (400, 4.8), 3: (3_587, 4.8), 4: (14_607, 5.0), 5: (41_057, 3.1),
    6: (89_057, 2.3), 7: (209_285, 1.5), 8: (115_587, 1.3), 9: (4_035, 0.8), 10: (200, 0.8), 11: (90, 0.8),
    16: (30, 0.8), 17: (23, 0.8),
}  # fmt: skip
# The rate rises from 1.0 % at level 6 to 3.2 % at 16; most rows are at 9 to 14.
SALES = {
    1: (300, 1.0), 2: (600, 1.0), 3: (1_500, 1.0), 4: (4_000, 1.0), 5: (8_000, 1.0), 6: (14_000, 1.0),
    7: (20_000, 1.22), 8: (28_000, 1.44), 9: (50_000, 1.66), 10: (62_000, 1.88), 11: (85_000, 1.9),
    12: (88_000, 1.9), 13: (60_000, 2.1), 14: (38_000, 2.5), 15: (12_000, 2.9), 16: (4_500, 3.2), 17: (1_325, 3.2),
}  # fmt: skip
BRANDS, BRAND_ROWS = 2_055, (69_746, 13_823, 13_045, 10_116, 6_542)
CITIES, CITY_ROWS = 128, (154_991, 58_326, 54_472, 34_952, 30_276)
HOUR_ROWS = (
    26_812, 11_836, 6_985, 5_349, 5_085, 7_203, 18_040, 31_768, 41_622, 53_518, 62_396, 58_717,
    59_831, 67_330, 66_021, 65_538, 58_113, 50_180, 50_563, 70_011, 91_919, 103_995, 90_633, 54_176,
)  # fmt: skip
# 4 September: 1.66 % at 8 h, 0.59 % at 23 h, of 1.14 % on that day; a smooth curve between.
HOUR_FACTORS = (
    0.62, 0.68, 0.74, 0.80, 0.90, 1.05, 1.25, 1.40, 1.46, 1.42, 1.36, 1.28,
    1.20, 1.14, 1.10, 1.08, 1.05, 1.02, 0.98, 0.94, 0.88, 0.78, 0.66, 0.52,
)  # fmt: skip
FIRST_PAGE_SHARE, PAGES = 0.555, 20
# level: mean and standard deviation over shops
POSITIVE_RATE, SERVICE = (0.9895, 0.0134), (0.9726, 0.0151)
SCORES_MISSING, RATE_MISSING = 59 / ROUND1_ROWS, 7 / ROUND1_ROWS
DUPLICATES = 27 / ROUND1_ROWS
PROPERTIES = (7, 34.4, 100)
# The item's category is among the predicted ones in 91.4 % of rows, first in 63.6 %.
PREDICTED_FIRST, PREDICTED_AMONG = 0.636, 0.914
PREDICTED_EMPTY, PREDICTED_NONE = 0.53, 4 / ROUND1_ROWS
# Number of predicted categories, 1 to 12.
PREDICTED_NUMBER = (0.05, 0.08, 0.12, 0.16, 0.19, 0.15, 0.10, 0.06, 0.04, 0.025, 0.015, 0.01)

"""Small synthetic files in the raw formats of public data sets, and the values that were written into them.

Each maker draws values, writes them as the publisher does, and returns the rows as they must come out: by column, with LABELS
by name, TIME in seconds, and the file and line where each stands. Nothing of a real file is in here.
"""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
# Keys of a row that are no fields.
FILE, NUMBER, TIME, LABELS = "file", "line", "time", "labels"
ROWS = 120


def movielens_1m(folder: Path, draw: random.Random) -> list[Row]:
    users = {
        k: {"gender": draw.choice("FM"), "age": draw.choice(["1", "18", "25"]), "occupation": str(draw.randrange(3)), "zip": f"0{k}"}
        for k in range(1, 13)
    }  # fmt: skip
    films = {k: draw.sample(["Action", "Children's", "Film-Noir", "War"], draw.randint(1, 3)) for k in range(1, 9)}
    _lines(
        folder / "users.dat",
        [f"{k}::{u['gender']}::{u['age']}::{u['occupation']}::{u['zip']}" for k, u in users.items()],
    )
    titles = [f'{k}::Émile: the "film" {k} (1995)::{"|".join(genres)}' for k, genres in films.items()]
    _lines(folder / "movies.dat", titles, encoding="latin-1")
    rows, lines = [], []
    for number in range(1, ROWS + 1):
        user, film = draw.randint(1, 12), draw.randint(1, 9)  # film 9 has no row
        stars, time = draw.randint(1, 5), 978300760 + draw.randrange(10**6)
        lines.append(f"{user}::{film}::{stars}::{time}")
        rows.append(
            {
                FILE: "ratings.dat", NUMBER: number, TIME: time, LABELS: {"label": int(stars >= 4)},
                "user_id": str(user), "movie_id": str(film), **users[user], "genres": films.get(film, []), **_clock(time, 0),
            }
        )  # fmt: skip
    _lines(folder / "ratings.dat", lines)
    return rows


KUAIRAND_LABELS = ["is_click", "long_view", "is_like", "is_follow", "is_comment", "is_forward", "is_hate"]


def kuairand(kind: str, logs: Sequence[str]) -> Callable[[Path, random.Random], list[Row]]:
    """A maker for one of the three versions; `logs` are the names of its standard logs."""

    def make(folder: Path, draw: random.Random) -> list[Row]:
        folder = folder / "data"
        folder.mkdir()
        named = ["follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range"]
        plain = ["user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author"]
        onehot = [f"onehot_feat{k}" for k in range(18)]
        users = {}
        for k in range(8):
            users[k] = {name: f"{draw.choice(['full', 'high'])}_{k % 2}" for name in plain}
            users[k] |= {name: draw.choice(["(0,10]", "0", "[1k,5k)"]) for name in named}
            users[k] |= {name: draw.choice(["0", "1", ""]) for name in onehot}
        # the publisher's order has the number beside each range
        counts = ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"]
        order = [*plain, *(one for pair in zip(counts, named, strict=True) for one in pair), *onehot]
        cells = [
            [str(k), *(f'"{u[n]}"' if "," in u.get(n, "") else u.get(n, "17") for n in order)] for k, u in users.items()
        ]
        _lines(folder / f"user_features_{kind}.csv", [",".join(["user_id", *order]), *map(",".join, cells)])
        videos = {
            k: {
                "author_id": str(draw.randrange(5)), "video_type": draw.choice(["NORMAL", "AD"]), "upload_type": "ShortImport",
                "music_id": str(draw.randrange(4)), "music_type": draw.choice(["4", "9", ""]),
                "tag": [str(one) for one in draw.sample(range(60), draw.randrange(3))],
            }
            for k in range(100, 110)
        }  # fmt: skip
        head = "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height"
        basic = [f"{head},music_id,music_type,tag"]
        for k, v in videos.items():
            tag = f'"{",".join(v["tag"])}"' if len(v["tag"]) > 1 else "".join(v["tag"])
            # the column has gaps, so its numbers have decimals
            music = f"{v['music_type']}.0" if v["music_type"] else ""
            basic.append(
                f"{k},{v['author_id']},{v['video_type']},2022-04-01,{v['upload_type']},1,17200.0,720,1280,{v['music_id']},{music},{tag}"
            )
        _lines(folder / f"video_features_basic_{kind}.csv", basic)
        _lines(folder / f"video_features_statistic_{kind}.csv", ["video_id,counts", "100,3"])
        rest = "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
        _lines(folder / f"log_random_4_22_to_5_08_{kind}.csv", ["user_id,video_id", "0,100"])
        rows = []
        for place, log in enumerate(logs):
            lines = [
                f"user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,{rest}"
            ]
            for number in range(2, ROWS // 2 + 2):
                user, video, tab = draw.randrange(8), draw.randrange(100, 110), draw.randrange(3)
                time = 1649400000 + 86400 * 3 * place + draw.randrange(86400 * 3)
                labels = {name: int(draw.random() < 0.4) for name in KUAIRAND_LABELS}
                length = draw.randrange(5000, 9000)
                middle = ",".join(str(labels[n]) for n in [*KUAIRAND_LABELS[:1], *KUAIRAND_LABELS[2:], "long_view"])
                lines.append(
                    f"{user},{video},20220408,400,{time}{draw.randrange(1000):03},{middle},77,{length},0,0,0,0,{tab}"
                )
                features = {name: _or_none(value) for name, value in {**users[user], **videos[video]}.items()}
                rows.append(
                    {
                        FILE: f"{log}.csv", NUMBER: number, TIME: time, LABELS: labels, "user_id": str(user), "tab": str(tab),
                        "video_id": str(video), "duration_ms": float(length), **features, **_clock(time, 8),
                    }
                )  # fmt: skip
            _lines(folder / f"{log}.csv", lines)
        return rows

    return make


def nycflights13(folder: Path, draw: random.Random) -> list[Row]:
    head = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest"
    lines = [f"{head},air_time,distance,hour,minute,time_hour"]
    planes = {
        f"N{k}AA": {"plane_year": draw.choice([1999.0, None]), "plane_maker": "BOEING", "plane_model": f"7{k}7",
                    "plane_seats": float(draw.randrange(100, 200)), "plane_engine": "Turbo-fan"}
        for k in range(6)
    }  # fmt: skip
    cells = [
        f"{k},{'NA' if p['plane_year'] is None else 1999},Fixed wing multi engine,{p['plane_maker']},{p['plane_model']},2,"
        f"{p['plane_seats']:.0f},NA,{p['plane_engine']}"
        for k, p in planes.items()
    ]
    _lines(folder / "planes.csv", ["tailnum,year,type,manufacturer,model,engines,seats,speed,engine", *cells])
    weather, observed = (
        {},
        ["origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour"],
    )
    for origin in ("EWR", "JFK"):
        for hour in range(10, 22):
            own = {"temp": draw.randrange(30, 90) + 0.02, "humid": 59.37, "wind_dir": draw.choice(["270", None]),
                   "wind_speed": 10.35702, "precip": 0.0, "pressure": draw.choice([1012.0, None]), "visib": 10.0}  # fmt: skip
            weather[origin, hour] = own
            pressure = "NA" if own["pressure"] is None else "1012"
            observed.append(
                f"{origin},2013,1,1,{hour - 5},{own['temp']},26.06,59.37,{own['wind_dir'] or 'NA'},10.35702,NA,0,{pressure},10,"
                f"2013-01-01T{hour:02}:00:00Z"
            )
    _lines(folder / "weather.csv", observed)
    rows = []
    empty = dict.fromkeys(next(iter(planes.values())))
    for number in range(2, ROWS + 2):
        carrier, dest, origin = draw.choice(["UA", "9E"]), draw.choice(["IAH", "MIA"]), draw.choice(["EWR", "JFK"])
        tail = draw.choice([*planes, "N9NOPLANE", None])
        hour, late, flight = draw.randrange(10, 22), draw.choice([None, *range(-30, 60)]), draw.randrange(1, 20)
        delay = "NA" if late is None else late
        lines.append(
            f"2013,1,1,517,{hour - 5}15,2,830,819,{delay},{carrier},{flight},{tail or 'NA'},{origin},{dest},227,1400,{hour - 5},15,"
            f"2013-01-01T{hour:02}:00:00Z"
        )
        if late is None:
            continue
        time = int(datetime(2013, 1, 1, hour, tzinfo=UTC).timestamp())
        rows.append(
            {
                FILE: "flights.csv", NUMBER: number, TIME: time, LABELS: {"label": int(late >= 15)}, "month": "1",
                "hour": str(hour - 5), "minute": "15", "carrier": carrier, "flight": str(flight), "tailnum": tail, "origin": origin,
                "dest": dest, "distance": 1400.0, **planes.get(tail or "", empty), **weather[origin, hour], "weekday": 1,
            }
        )  # fmt: skip
    _lines(folder / "flights.csv", lines)
    return rows


ALI_ITEM = {"scenario": 301, "item_id": 205, "item_category": 206, "item_shop": 207, "item_brand": 216, "category_cross": 508,
            "shop_cross": 509, "brand_cross": 702, "intention_cross": 853}  # fmt: skip
ALI_USER = {"user_id": 101, "user_profile": 121, "user_group": 122, "gender": 124, "age": 125, "consumption_1": 126,
            "consumption_2": 127, "occupation": 128, "geography": 129}  # fmt: skip


def ali_ccp(folder: Path, draw: random.Random) -> list[Row]:
    rows = []
    for part in ("train", "test"):
        (folder / f"sample_{part}").mkdir()
        users, common = {}, []
        for k in range(5):
            # md5 of a common row; the same in both parts, where it means another row
            key = f"{k:032x}"
            users[key] = {
                name: f"{field}{draw.randrange(9)}" for name, field in ALI_USER.items() if draw.random() < 0.9
            }
            pairs = [(str(ALI_USER[name]), value) for name, value in users[key].items()]
            # field 1270 begins as field 127 does
            pairs += [("127_14", "777"), ("1270", "888"), ("150_14", "999"), ("150_14", "998")]
            draw.shuffle(pairs)
            common.append(f"{key},{len(pairs)},{_packed(pairs, draw)}")
        _lines(folder / f"sample_{part}" / f"common_features_{part}.csv", common)
        lines = []
        for number in range(1, ROWS // 2 + 1):
            key = draw.choice(list(users))
            click, bought = int(draw.random() < 0.5), int(draw.random() < 0.3)
            item = {
                name: f"{field}{draw.randrange(9)}"
                for name, field in ALI_ITEM.items()
                if name == "scenario" or draw.random() < 0.9
            }
            several = [f"210{k}" for k in range(draw.randrange(4))]
            pairs = [(str(ALI_ITEM[name]), value) for name, value in item.items()] + [("210", one) for one in several]
            lines.append(f"{number},{click},{bought},{key},{len(pairs)},{_packed(pairs, draw)}")
            rows.append(
                {
                    FILE: f"sample_skeleton_{part}.csv", NUMBER: number, LABELS: {"click": click, "conversion": bought},
                    **dict.fromkeys([*ALI_ITEM, *ALI_USER]), **item, **users[key], "item_intentions": several,
                }
            )  # fmt: skip
        _lines(folder / f"sample_{part}" / f"sample_skeleton_{part}.csv", lines)
    return rows


def aliexpress(folder: Path, draw: random.Random) -> list[Row]:
    categories = {"item": (19, 34, 35, 36, 40, 41, 42), "user": (2, 3, 4, 5, 6, 7, 8, 32, 33)}

    def drawn(kind: str, last: int) -> Row:
        return {
            f"{kind}_{k}": str(draw.randrange(5)) if k in categories[kind] else draw.randrange(1000) / 8
            for k in range(2, last + 1)
        }

    rows: list[Row] = []
    for country in ("nl", "us"):
        for part in ("train", "test"):
            # the numbers of search pages are used again in each country and part
            pages = {page: drawn("user", 33) for page in range(1, 5)}
            users = [",".join(map(str, [page, *own.values()])) for page, own in pages.items()]
            _zipped(folder / f"{country}_user_{part}.zip", f"{country}_user_{part}.csv", users)
            lines = []
            for number in range(1, ROWS // 4 + 1):
                page, item, said = draw.randint(1, 4), drawn("item", 48), draw.choice([0, 0, 1, 2])
                lines.append(",".join(map(str, [page, *item.values(), said])))
                labels = {"click": int(said > 0), "conversion": int(said == 2)}
                own = {FILE: f"{country}_item_{part}.zip", NUMBER: number, LABELS: labels, "country": country}
                rows.append({**own, **item, **pages[page]})
            _zipped(folder / f"{country}_item_{part}.zip", f"{country}_item_{part}.csv", lines)
    return rows


def avazu(folder: Path, draw: random.Random) -> list[Row]:
    hashed = [
        "site_id",
        "site_domain",
        "site_category",
        "app_id",
        "app_domain",
        "app_category",
        "device_id",
        "device_ip",
        "device_model",
    ]
    numbers = ["device_type", "device_conn_type", *(f"C{k}" for k in range(14, 22))]
    lines, rows = [",".join(["id", "click", "hour", "C1", "banner_pos", *hashed, *numbers])], []
    for number in range(2, ROWS + 2):
        day, hour, click = draw.randint(21, 30), draw.randrange(24), draw.randrange(2)
        own = {"C1": "1005", "banner_pos": str(draw.randrange(2))}
        own |= {name: f"{draw.randrange(3):08x}" for name in hashed} | {
            name: str(draw.randint(-1, 3)) for name in numbers
        }
        lines.append(",".join([f"1{number:019}", str(click), f"1410{day}{hour:02}", *own.values()]))
        time = int(datetime(2014, 10, day, hour, tzinfo=UTC).timestamp())
        rows.append({FILE: "train.gz", NUMBER: number, TIME: time, LABELS: {"click": click}, **own, **_clock(time, 0)})
    (folder / "train.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    (folder / "sampleSubmission.csv").write_text("id,click\n")
    return rows


def criteo(folder: Path, draw: random.Random) -> list[Row]:
    lines, rows = [], []
    for number in range(1, ROWS + 1):
        counts = {f"I{k}": draw.choice([None, -1.0, float(draw.randrange(999))]) for k in range(1, 14)}
        hashed = {f"C{k}": draw.choice([None, f"{draw.randrange(4):08x}"]) for k in range(1, 27)}
        label = draw.randrange(2)
        texts = ["" if value is None else f"{value:.0f}" for value in counts.values()]
        lines.append("\t".join([str(label), *texts, *(value or "" for value in hashed.values())]))
        rows.append({FILE: "train.txt", NUMBER: number, LABELS: {"label": label}, **counts, **hashed})
    _lines(folder / "train.txt", lines)
    _lines(folder / "test.txt", [line.partition("\t")[2] for line in lines])
    return rows


def amazon(year: int) -> Callable[[Path, random.Random], list[Row]]:
    """A maker for one of the three collections."""
    keys = (
        ("overall", "reviewerID", "asin", "unixReviewTime")
        if year < 2023
        else ("rating", "user_id", "parent_asin", "timestamp")
    )
    pattern = {2014: "reviews_{}_5.json.gz", 2018: "{}_5.json.gz", 2023: "{}.jsonl.gz"}[year]

    def make(folder: Path, draw: random.Random) -> list[Row]:
        rows = []
        for category in ("All_Beauty", "Video_Games"):
            lines = []
            for number in range(1, ROWS // 2 + 1):
                time = 1400000000 + 86400 * draw.randrange(100) + (draw.randrange(86400) if year == 2023 else 0)
                stars, user, item = float(draw.randint(1, 5)), f"A{draw.randrange(9)}", f"B00{draw.randrange(9)}"
                values = (stars, user, item, time * 1000 + 7 if year == 2023 else time)
                more = {"style": {"Size:": " 1"}, "helpful": [0, 1]} if number % 2 else {"images": [], "vote": "12"}
                lines.append(json.dumps({**dict(zip(keys, values, strict=True)), "reviewText": 'a "b"\n', **more}))
                clock = _clock(time, 0) if year == 2023 else {"weekday": _clock(time, 0)["weekday"]}
                rows.append(
                    {
                        FILE: pattern.format(category), NUMBER: number, TIME: time, LABELS: {"label": int(stars >= 4)},
                        "user_id": user, "item_id": item, "category": category, **clock,
                    }
                )  # fmt: skip
            (folder / pattern.format(category)).write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
        if year == 2023:
            (folder / "meta_All_Beauty.jsonl.gz").write_bytes(gzip.compress(b'{"parent_asin": "B001"}\n'))
        return rows

    return make


def tenrec(folder: Path, draw: random.Random) -> list[Row]:
    rows = []
    for app in ("QB", "QK"):
        lines = ["user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"]
        for number in range(2, ROWS // 2 + 2):
            labels = {name: draw.randrange(2) for name in ("click", "follow", "like", "share")}
            user = {"user_id": str(draw.randrange(9)), "item_id": str(draw.randrange(9))}
            kind = {"video_category": str(draw.randrange(3))}
            person = {"gender": str(draw.randrange(3)), "age": str(draw.randrange(8))}
            cells = [*user.values(), *labels.values(), *kind.values(), 3, *person.values()]
            lines.append(",".join(map(str, cells)))
            rows.append(
                {FILE: f"{app}-video.csv", NUMBER: number, LABELS: labels, "app": app, **user, **kind, **person}
            )
        _lines(folder / f"{app}-video.csv", lines)
    _lines(folder / "QK-article.csv", ["user_id,item_id,click,gender,age"])
    return rows


MAKERS: dict[str, Callable[[Path, random.Random], list[Row]]] = {
    "movielens-1m": movielens_1m,
    "kuairand-pure": kuairand("pure", ["log_standard_4_08_to_4_21_pure", "log_standard_4_22_to_5_08_pure"]),
    "kuairand-1k": kuairand("1k", ["log_standard_4_08_to_4_21_1k", "log_standard_4_22_to_5_08_1k"]),
    "kuairand-27k": kuairand(
        "27k", [f"log_standard_{days}_27k_part{k}" for days in ("4_08_to_4_21", "4_22_to_5_08") for k in (1, 2)]
    ),
    "nycflights13": nycflights13,
    "ali-ccp": ali_ccp,
    "aliexpress": aliexpress,
    "avazu": avazu,
    "criteo": criteo,
    "amazon-2014": amazon(2014),
    "amazon-2018": amazon(2018),
    "amazon-2023": amazon(2023),
    "tenrec": tenrec,
}


def _lines(path: Path, lines: Sequence[str], encoding: str = "utf-8") -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def _zipped(path: Path, inside: str, lines: Sequence[str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inside, "".join(f"{line}\n" for line in lines))


def _packed(pairs: Sequence[tuple[str, str]], draw: random.Random) -> str:
    return "\x01".join(f"{field}\x02{value}\x03{draw.choice(['1.0', '0.69315'])}" for field, value in pairs)


def _clock(time: int, hours: int) -> Row:
    local = datetime.fromtimestamp(time + hours * 3600, UTC)
    return {"hour": local.hour, "weekday": local.weekday()}


def _or_none(value: Any) -> Any:
    return None if value == "" else value

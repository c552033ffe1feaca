"""Random tables of events with everything that goes wrong in life, and what to ask about them."""

import math
from dataclasses import dataclass

import pandas as pd
from hypothesis import strategies as st

from mlsys.features.view import Aggregate, Column, FeatureView

DAY = 24 * 3600 * 1_000_000
START = 1_700_000_000_000_000  # microseconds


@dataclass
class World:
    "A view, the rows of its source, and moments that are asked about."

    view: FeatureView
    rows: list[dict]
    spine: list[dict]

    def tables(self, zone=None):
        "Return source and spine as tables."
        kinds = {"who": "Int64", "number": "float64", "whole": "Int64", "word": "str", "flag": "boolean", "fact": "Int64"}
        source = pd.DataFrame(self.rows, columns=["who", "at", "number", "whole", "word", "flag", "seen", "fact"]).astype(kinds)
        spine = pd.DataFrame(self.spine, columns=["who", "moment"]).astype({"who": "Int64"})
        for table, names in ((source, ("at", "seen")), (spine, ("moment",))):
            for name in names:
                times = pd.to_datetime(table[name].astype("Int64"), unit="us", utc=True).dt.as_unit("us")
                table[name] = times.dt.tz_convert(zone) if zone else times.dt.tz_localize(None)
        return source, spine


def moments():
    "Times that meet often: on a grid of hours and days, with a microsecond more or less now and then."
    steps = st.one_of(st.integers(0, 40).map(lambda count: count * DAY // 4), st.integers(0, 12).map(lambda count: count * DAY))
    return st.builds(lambda step, more: START + step + more, steps, st.sampled_from([0, 0, 0, 0, 1, -1]))


NUMBERS = st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0]), st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))


@st.composite
def worlds(draw, row_keys=True):
    "Draw a view, its rows and a spine."
    known = draw(st.sampled_from(["", "", "1 day", "7 days", "seen"]))
    row_key = draw(st.sampled_from(["", "", "fact"])) if row_keys else ""
    windows = draw(st.lists(st.sampled_from(["1d", "7d", "unbounded", "6h"]), min_size=1, max_size=3, unique=True))
    offset = draw(st.sampled_from([None, None, "1d"]))
    if known in ("1 day", "7 days") and offset:
        windows = [window for window in windows if window in ("unbounded",)] or ["30d"]
    aggregates = [("count", ""), ("count", "number"), ("sum", "number"), ("mean", "number"), ("min", "whole"), ("max", "number"), ("std", "number"), ("last", "word"),
                  ("count_distinct", "word"), ("count_distinct", "number"), ("rate", "flag"), ("last", "number"), ("sum", "whole")]
    chosen = draw(st.lists(st.sampled_from(aggregates), max_size=4, unique=True))
    columns = draw(st.lists(st.sampled_from(["number", "word", "whole", "flag"]), min_size=0 if chosen else 1, max_size=3, unique=True))
    default = draw(st.sampled_from([None, None, 0]))
    features = [*(Column(name) for name in columns),
                *(Aggregate(function, column, tuple(windows), offset=offset, default=default if column in ("number", "whole", "") and function != "last" else None) for function, column in chosen)]
    view = FeatureView("world", "who", "at", tuple(features), known=known, ttl=draw(st.sampled_from(["", "", "2d"])), closed=draw(st.sampled_from(["right", "left"])), row_key=row_key)
    row = st.fixed_dictionaries({
        "who": st.sampled_from([1, 1, 2, 3, None]), "at": moments(), "number": NUMBERS, "whole": st.sampled_from([None, 0, 1, -7, 2**40]),
        "word": st.sampled_from([None, "", "a", "b", "ü"]), "flag": st.sampled_from([None, True, False]), "seen": st.one_of(st.none(), moments()), "fact": st.integers(0, 5)})
    rows = draw(st.lists(row, max_size=14))
    rows += draw(st.lists(st.sampled_from(rows), max_size=2)) if rows else []
    spine = draw(st.lists(st.fixed_dictionaries({"who": st.sampled_from([1, 2, 4, None]), "moment": moments()}), min_size=1, max_size=8))
    return World(view, rows, spine)

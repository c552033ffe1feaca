"""A state tells at any later moment what the seven rules say, however its rows came and however often it was pruned and packed."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import empty, reference_features, same

from mlsys.core import ConfigError
from mlsys.features.fold import prune
from mlsys.features.packing import StoreError, VectorCodec, pack_both, pack_state, unpack_state
from mlsys.features.reading import read
from mlsys.features.state import ELSEWHERE, EntityState, StatePlan, fact_key, plain_row, update
from mlsys.features.view import Aggregate, Column, FeatureView

DAY = 24 * 3600 * 1_000_000
START = 1_700_000_000_000_000
KINDS = {"number": "float", "whole": "int", "word": "text", "flag": "bool", "when": "time"}

MOMENTS = st.builds(
    lambda step, more: START + step * DAY // 4 + more, st.integers(0, 44), st.sampled_from([0, 0, 0, 0, 1, -1])
)
ROW = st.fixed_dictionaries(
    {
        "who": st.sampled_from([1, 1, 1, 2]),
        "at": MOMENTS,
        "number": st.sampled_from([None, math.nan, 0.0, -0.0, 1.0, 2.5, -3.0, 0.1, 1e9]),
        "whole": st.sampled_from([None, 0, 1, -7, 2**40]),
        "word": st.sampled_from([None, "", "a", "b", "ü"]),
        "flag": st.sampled_from([None, True, False]),
        "when": st.one_of(st.none(), MOMENTS),
        "seen": st.one_of(st.none(), MOMENTS),
        "fact": st.integers(0, 3),
    }
)
FIGURES = [
    *[("count", name) for name in ("", "number", "word")],
    *[(function, name) for function in ("sum", "mean", "std") for name in ("number", "whole", "flag")],
    *[(function, name) for function in ("min", "max", "last", "count_distinct") for name in KINDS],
    *[("rate", "flag")],
]
DEFAULTS = {"number": 0.5, "whole": -1, "word": "none", "flag": False, "": 0, "when": START}


@st.composite
def views(draw, row_keys=((), (), "fact")):
    """Draw a view: every rule of meaning, alone and with others."""
    windows = draw(st.lists(st.sampled_from(["6h", "1d", "7d", "unbounded"]), min_size=1, max_size=3, unique=True))
    chosen = draw(st.lists(st.sampled_from(FIGURES), max_size=4, unique=True))
    columns = draw(st.lists(st.sampled_from(list(KINDS)), min_size=0 if chosen else 1, max_size=3, unique=True))
    has_default = draw(st.booleans())
    offset = draw(st.sampled_from([None, None, "1d", "30h"]))
    same = ("last", "min", "max")
    items = [
        *(Column(name, name=f"new_{name}", default=DEFAULTS[name] if has_default else None) for name in columns),
        *(
            Aggregate(
                function, column, tuple(windows), offset=offset,
                default=(DEFAULTS[column] if function in same else 3) if has_default else None,
            )
            for function, column in chosen
        ),
    ]
    return FeatureView(
        "world", "who", "at", tuple(items), known=draw(st.sampled_from(["", "1 day", "7 days", "seen"])),
        ttl=draw(st.sampled_from(["", "", "2d"])), closed=draw(st.sampled_from(["right", "left"])), row_key=draw(st.sampled_from(row_keys)),
    )  # fmt: skip


@dataclass
class Step:
    """Rows that come, then whether to prune, then moments to ask about (beyond the last watermark)."""

    rows: list
    prunes: bool
    moments: list


STEPS = st.lists(
    st.builds(Step, st.lists(ROW, max_size=6), st.booleans(), st.lists(MOMENTS, min_size=1, max_size=3).map(sorted)),
    min_size=1,
    max_size=4,
)


def same_in_type(found, wanted):
    """Whether two values are the same feature, and of the same type."""
    return same(found, wanted) and (empty(wanted) or isinstance(wanted, float) or isinstance(found, float) or type(found) is type(wanted))


def check(reading, rows, view, entity, moment):
    """Compare a reading with the reference."""
    values, status = reference_features(rows, view, entity, moment)
    assert reading.status == status
    for name, value, wanted in zip(view.names, reading.values, values.values(), strict=True):
        assert same_in_type(value, wanted), (name, value, wanted)


def add(state, rows, everyone, entity):
    """Add rows to the state of an entity, and what replaces its facts elsewhere."""
    view = state.plan.view
    update(state, [row for row in rows if row["who"] == entity])
    if view.row_key:
        for row in rows:
            event, known, _, values = plain_row(state.plan, row)
            if row["who"] != entity and known is not None:
                state.add(event, known, ELSEWHERE + fact_key(view, row), values)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(view=views(), steps=STEPS, data=st.data())
def test_at_any_moment_it_tells_what_the_rules_say(view, steps, data):
    plan = StatePlan(view, KINDS)
    codec, state, rows, watermark, owner = VectorCodec(plan), EntityState(plan), [], START - DAY, {}
    for step in steps:
        # Two entities that claim one fact at one moment with one content: no rule says whose it is.
        same_fact = [(row["fact"], plain_row(plan, row)) for row in step.rows]
        step.rows[:] = [row for row, fact in zip(step.rows, same_fact, strict=True) if owner.setdefault(fact, row["who"]) == row["who"]]
        rows += step.rows
        add(state, step.rows, rows, 1)
        if step.prunes:
            prune(state, watermark)
        for moment in step.moments:
            moment = max(moment, watermark)
            state = unpack_state(plan, pack_state(state))
            reading = read(state, moment)
            check(reading, rows, view, (1,), moment)
            assert codec.unpack(pack_both(codec, state, moment)[0]) == (reading, moment, codec.unpack(pack_both(codec, state)[0])[2])
            assert reading.valid_until > moment
            between = data.draw(st.integers(moment, min(reading.valid_until - 1, moment + 20 * DAY)), label="between")
            for later in (between, min(reading.valid_until - 1, moment + 30 * DAY)):
                check(reading, rows, view, (1,), later)
        watermark = max(watermark, step.moments[-1])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(view=views(("fact",)), rows=st.lists(ROW, max_size=8, unique_by=lambda row: row["fact"]), moment=MOMENTS)
def test_settled_facts_are_folded_without_a_difference(view, rows, moment):
    plan = StatePlan(view, KINDS)
    state = EntityState(plan)
    update(state, [row for row in rows if row["who"] == 1])
    prune(state, moment, settled=DAY)
    for later in (moment, moment + DAY, moment + 20 * DAY):
        check(read(state, later), [row for row in rows if row["who"] == 1], view, (1,), later)


def test_old_rows_of_a_busy_entity_are_forgotten():
    view = FeatureView("v", "who", "at", [Column("word"), Aggregate("mean", "number", ("1d", "unbounded")), Aggregate("last", "word")])
    state = EntityState(StatePlan(view, KINDS))
    update(state, [{"at": START + hour * DAY // 24, "number": hour, "word": str(hour)} for hour in range(1000)])
    before, now = read(state, START + 1000 * DAY // 24), START + 1000 * DAY // 24
    assert prune(state, now) == 1000 - len(state) and 20 < len(state) < 25
    assert read(state, now) == before
    assert len(pack_state(state)) < 1500


def test_sums_do_not_depend_on_when_rows_were_folded():
    view = FeatureView("v", "who", "at", [Aggregate("sum", "number"), Aggregate("mean", "number"), Aggregate("count_distinct", "number")])
    rows = [{"at": START + number, "number": 0.1 * (number % 7) * 10.0 ** (number % 30)} for number in range(300)]
    found = set()
    for step in (1, 7, 300):
        state = EntityState(StatePlan(view, KINDS))
        for start in range(0, 300, step):
            update(state, rows[start : start + step])
            prune(state, rows[min(start + step, 300) - 1]["at"])
        found.add(read(state, START + DAY).values)
    assert len(found) == 1


@settings(max_examples=60, deadline=None)
@given(view=views(), rows=st.lists(ROW, min_size=1, max_size=6), place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_a_single_changed_byte_is_noticed(view, rows, place, change):
    plan = StatePlan(view, KINDS)
    state = EntityState(plan)
    update(state, rows)
    prune(state, START + 3 * DAY)
    codec = VectorCodec(plan)
    vector, blob = pack_both(codec, state, START + 3 * DAY)
    for good, unpack in ((blob, lambda bytes_: unpack_state(plan, bytes_)), (vector, codec.unpack)):
        bad = bytearray(good)
        bad[place % len(bad)] ^= change
        for wrong in (bytes(bad), good[: place % len(good)]):
            with pytest.raises(StoreError, match="materialize"):
                unpack(wrong)


def test_a_missing_event_time_and_a_wrong_type_are_named():
    view = FeatureView("v", "who", "at", [Column("whole")], known="seen")
    state = EntityState(StatePlan(view, {"whole": "int"}))
    with pytest.raises(ConfigError, match="view v, at: received .*'who': 7.*a time in every row"):
        update(state, [{"who": 7, "at": None, "seen": START, "whole": 1}])
    with pytest.raises(ConfigError, match="column whole: received 1.5; allowed: whole numbers"):
        update(state, [{"who": 7, "at": START, "seen": START, "whole": 1.5}])
    with pytest.raises(ConfigError, match="a row with seen"):
        update(state, [{"who": 7, "at": START, "whole": 1}])
    counts = update(state, [{"who": 7, "at": START, "seen": None, "whole": 1}, {"who": 7, "at": START, "seen": START + DAY, "whole": 1}], now=START)
    assert counts == {"rows": 1, "held": 1, "never": 1}

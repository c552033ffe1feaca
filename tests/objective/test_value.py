"""The yearly value: known answers, three verdicts, intervals that cover, and units that belong together."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, jsonable
from mlsys.objective.resample import draw_sums, drawn_interval, time_blocks, unit_codes
from mlsys.objective.value import (
    Business,
    amount,
    heaviest_share,
    plot_worth,
    value_reason,
    worth_markdown,
    yearly_value,
)


def ways(rows=400, saved=2.0, noise=1.0, seed=0):
    """Costs per row: the constant costs 10, the rule 8, the model `saved` less than the rule on average."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 5, rows)
    rule = 8 + shared
    return {"constant": 10 + shared, "rule": rule, "model": rule - saved + rng.normal(0, noise, rows)}


def test_the_gain_is_the_saving_times_the_decisions_less_what_the_model_costs_more():
    costs = {"constant": [4.0, 4, 4, 4], "rule": [3.0, 3, 3, 3], "model": [1.0, 1, 1, 1]}
    business = Business(decisions_per_year=1000, model_cost_per_year=100, model_build_cost=600, horizon_years=3, rule_cost_per_year=50)
    value = yearly_value(costs, "model", business)
    assert value.gain == {"value": 1750.0, "low": 1750.0, "high": 1750.0}
    assert (value.verdict, value.use, value.rival, value.share_of_draws) == ("use the model", "model", "rule", 1.0)
    assert [(item.name, item.cost_per_1000, item.running_cost, item.worth["value"]) for item in value.options] == [
        ("constant", 4000.0, 0.0, 0.0), ("rule", 3000.0, 50, 950.0), ("model", 1000.0, 300.0, 2700.0),
    ]  # fmt: skip
    assert value.break_even_cost["value"] == 2050.0  # at which the gain is 0
    assert value.break_even_decisions["value"] == 125.0
    for changed in ({"model_cost_per_year": 2050.0 - 200}, {"decisions_per_year": 125.0}):
        assert yearly_value(costs, "model", Business(**{**business.__dict__, **changed})).gain["value"] == pytest.approx(0)


@settings(deadline=None, max_examples=60)
@given(st.floats(-3, 3), st.floats(0, 2000), st.floats(1, 1e5), st.integers(0, 5))
def test_the_verdict_follows_from_the_interval(saved, cost, decisions, seed):
    business = Business(decisions_per_year=decisions, model_cost_per_year=cost)
    value = yearly_value(ways(60, saved, seed=seed), "model", business, n_bootstrap=50, seed=seed)
    low, high = value.gain["low"], value.gain["high"]
    assert low <= value.gain["value"] <= high
    if low > 0:
        assert (value.verdict, value.use) == ("use the model", "model")
    else:
        assert value.use == value.rival != "model"
        assert (value.verdict == "not enough evidence") == (high > 0)
    assert (value.rows_to_settle is not None) <= (value.verdict == "not enough evidence")
    # The break-even points are where the gain turns.
    at_cost = value.break_even_cost["value"]
    assert (value.gain["value"] > 0) == (at_cost > business.model_cost) or value.gain["value"] == pytest.approx(0, abs=1e-6)
    json.dumps(jsonable(value.to_dict()), allow_nan=False)
    assert worth_markdown(value).startswith("**") and "\n" not in value.line


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=20), st.floats(0, 500))
def test_no_other_simple_way_is_worth_more_than_the_rival(rows, rule_cost):
    names = ("constant", "today", "rule", "model")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    value = yearly_value(columns, "model", Business(decisions_per_year=10, rule_cost_per_year=rule_cost), n_bootstrap=20)
    worth = {item.name: item.worth["value"] for item in value.options}
    assert worth[value.rival] == max(worth[name] for name in names[:3])
    assert value.gain["value"] == pytest.approx(worth["model"] - worth[value.rival], abs=1e-6)


def test_a_model_as_good_as_the_rule_loses_the_tie():
    costs = ways() | {"model": ways()["rule"]}
    value = yearly_value(costs, "model", Business(decisions_per_year=1000))
    assert (value.verdict, value.use, value.gain) == ("use the rule", "rule", {"value": 0, "low": 0, "high": 0})
    assert "the simpler one wins a tie" in value_reason(value) and "decides as the best if-then rule does" in value.notes[0]
    dearer = yearly_value(costs, "model", Business(decisions_per_year=1000, model_cost_per_year=7))
    assert (dearer.verdict, dearer.gain["value"]) == ("use the rule", -7)


def test_the_rule_and_the_constant_tie_for_the_constant():
    costs = {"constant": [1.0, 2, 3], "rule": [3.0, 2, 1], "model": [3.0, 3, 3]}
    value = yearly_value(costs, "model", Business(decisions_per_year=10))
    assert (value.rival, value.use) == ("constant", "constant")


def test_when_neither_is_worth_it():
    value = yearly_value(ways(saved=2), "model", Business(decisions_per_year=1000, model_cost_per_year=1e6, rule_cost_per_year=1e5))
    assert value.verdict == "use neither: decide the same for everybody" and value.use == "constant"


def test_todays_rule_is_a_rival():
    costs = ways() | {"today": ways()["rule"] - 5}
    value = yearly_value(costs, "model", Business(decisions_per_year=1000))
    assert (value.verdict, value.use) == ("keep today's rule", "today")


def test_not_enough_evidence_says_how_many_rows_would_do():
    business = Business(decisions_per_year=1000)
    value = yearly_value(ways(100, saved=0.3, noise=4), "model", business)
    assert value.verdict == "not enough evidence" and value.use == "rule"
    many = yearly_value(ways(100 + 8 * value.rows_to_settle, saved=0.3, noise=4), "model", business)
    assert many.verdict == "use the model"
    assert "more rows would settle it" in value_reason(value)


def test_a_chosen_rule_needs_no_model():
    value = yearly_value(ways(), "rule", Business(decisions_per_year=1000))
    assert (value.verdict, value.use, value.line) == ("use the rule", "rule", "use the rule: no model was chosen")
    assert "No model was chosen" in worth_markdown(value)


def test_one_row_is_no_evidence():
    value = yearly_value({"constant": [5.0], "rule": [4.0], "model": [0.0]}, "model", Business(decisions_per_year=10))
    assert (value.verdict, value.use, value.rows_to_settle) == ("not enough evidence", "rule", None)
    assert value.notes == ["One row is no evidence: there is no interval."]
    assert "unknown" in value_reason(value)
    _, axes = plt.subplots()
    plot_worth(value, axes)
    plt.close("all")


def test_rows_of_one_person_are_not_independent():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(50), 8)
    saved = (rng.normal(0.4, 1, 50)[people]) + rng.normal(0, 0.1, 400)
    costs = {"constant": np.full(400, 9.0), "rule": np.full(400, 5.0), "model": 5.0 - saved}
    business = Business(decisions_per_year=1000)
    alone, together = (yearly_value(costs, "model", business, units=units) for units in (None, {"people": people}))
    assert together.units == "people" and alone.units == "rows"
    width = [value.gain["high"] - value.gain["low"] for value in (alone, together)]
    assert width[1] > 2 * width[0]
    assert "drawn by people" in worth_markdown(together)


def test_one_unit_is_no_evidence_either():
    value = yearly_value(ways(), "model", Business(decisions_per_year=10), units={"people": np.zeros(400)})
    assert value.verdict == "not enough evidence" and "one unit of people" in value.notes[0]


def test_heavy_tails_are_warned_of():
    costs = ways()
    costs["model"] = costs["rule"].copy()
    costs["model"][7] -= 10_000
    value = yearly_value(costs, "model", Business(decisions_per_year=10))
    assert value.verdict == "not enough evidence" and "carries 100% of the spread" in value.notes[0]
    assert not yearly_value(ways(), "model", Business(decisions_per_year=10)).notes
    assert heaviest_share(np.zeros(3)) == 0


def test_the_intervals_cover_the_true_gain_about_as_often_as_they_say():
    """Of 300 samples, close to 95 % of the intervals hold the true gain, with skewed costs and a price per row."""
    business, hits = Business(decisions_per_year=1000, model_cost_per_year=40, rule_cost_per_year=10), 0
    for sample in range(300):
        rng = np.random.default_rng(sample)
        price = rng.exponential(1.0, 300)
        rule_errs, model_errs = rng.random(300) < 0.3, rng.random(300) < 0.2
        costs = {"constant": price, "rule": price * rule_errs, "model": price * model_errs}
        gain = yearly_value(costs, "model", business, n_bootstrap=200, seed=sample).gain
        hits += gain["low"] <= 1000 * (0.3 - 0.2) - 30 <= gain["high"]
    # 300 draws of a 95 % event: fewer than 270 has a probability below one in a thousand.
    assert 270 <= hits < 300, hits


def test_the_intervals_cover_with_thirty_units_too():
    """Thirty people with ten rows each: drawing rows would cover far less."""
    business, hits, naive = Business(decisions_per_year=1), 0, 0
    people = np.repeat(np.arange(30), 10)
    for sample in range(300):
        rng = np.random.default_rng(sample)
        saved = 0.5 + rng.normal(0, 1, 30)[people] + rng.normal(0, 1, 300)
        costs = {"constant": np.zeros(300), "model": -saved}
        for units in (None, {"people": people}):
            gain = yearly_value(costs, "model", business, units=units, n_bootstrap=200, seed=sample).gain
            covered = gain["low"] <= 0.5 <= gain["high"]
            hits, naive = (hits, naive + covered) if units is None else (hits + covered, naive)
    assert hits >= 270 and naive < 240, (hits, naive)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"decisions_per_year": 0}, "decisions_per_year: received 0; allowed: a finite number, above 0"),
        ({"decisions_per_year": float("nan")}, "decisions_per_year: received nan"),
        ({"decisions_per_year": True}, "decisions_per_year: received True"),
        ({"model_cost_per_year": -1}, "model_cost_per_year: received -1; allowed: a finite number, 0 or more"),
        ({"rule_cost_per_year": float("inf")}, "rule_cost_per_year: received inf"),
        ({"horizon_years": 0}, "horizon_years: received 0"),
        ({"model_build_cost": "much"}, "model_build_cost: received 'much'"),
    ],
)
def test_a_business_case_without_numbers_is_refused(changed, words):
    with pytest.raises(ConfigError) as caught:
        Business(**{"decisions_per_year": 10, **changed})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"rule": [1.0], "model": [1.0]}, "row_costs: received 'constant'"),
        ({"constant": [1.0], "rule": [1.0]}, "row_costs: received 'model'"),
        ({"constant": [1.0], "model": [1.0, 2.0]}, "the same rows for all"),
        ({"constant": [], "model": []}, "at least one"),
        ({"constant": [1.0], "model": [float("nan")]}, "missing or infinite in 1 rows"),
    ],
)
def test_costs_that_cannot_be_compared_are_refused(costs, words):
    with pytest.raises(ConfigError) as caught:
        yearly_value(costs, "model", Business(decisions_per_year=10))
    assert words in str(caught.value)


def test_amounts_are_short():
    assert [amount(value) for value in (0, -0.0, 1234567, -99.96, 0.012345, math.inf)] == ["0", "0", "1,230,000", "-100", "0.0123", "unknown"]
    assert amount(250, "+") == "+250" and amount(-250, "+") == "-250"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=200), st.integers(0, 3))
def test_draws_have_the_right_size_and_mean(rows, seed):
    columns = np.array(rows, dtype=float)
    sums, drawn = draw_sums(columns, 300, seed)
    assert (drawn == len(columns)).all() and sums.shape == (300, 2)
    spread = columns.std(axis=0) * np.sqrt(len(columns) / 300)
    assert (abs(sums.mean(axis=0) - columns.sum(axis=0)) <= 6 * spread + 1e-9).all()


def test_patterns_and_rows_give_the_same_spread():
    rng = np.random.default_rng(0)
    few = rng.integers(0, 2, 5000).astype(float)
    by_pattern = draw_sums(few[:, None], 2000)[0]
    by_row = draw_sums(few[:, None] + rng.normal(0, 1e-9, (5000, 1)), 2000)[0]
    assert by_pattern.std() == pytest.approx(by_row.std(), rel=0.1)
    assert by_pattern.std() == pytest.approx(few.std() * math.sqrt(5000), rel=0.1)


def test_units_are_drawn_whole():
    units = np.array(["a", "a", "a", "b"])
    sums, rows = draw_sums(np.ones((4, 1)), 200, units=units)
    assert set(rows) == {2, 4, 6} and (sums[:, 0] == rows).all()
    assert unit_codes(["a", float("nan"), None, "a"], 4).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(("n_rows", "n_blocks"), [(1, 30), (29, 30), (30, 30), (100, 7), (0, 30)])
def test_blocks_are_in_order_and_nearly_alike(n_rows, n_blocks):
    blocks = time_blocks(n_rows, n_blocks)
    assert len(blocks) == n_rows and (np.diff(blocks) >= 0).all()
    if n_rows:
        sizes = np.bincount(blocks)
        assert len(sizes) == min(n_rows, n_blocks) and sizes.max() - sizes.min() <= 1


def test_few_units_have_wide_intervals():
    draws = np.linspace(-1, 1, 1001)
    width = {count: drawn_interval(0, draws, count)["high"] for count in (2, 30, 10_000)}
    assert width[10_000] == pytest.approx(0.95, abs=0.01) and 1.05 < width[30] / width[10_000] < 1.08 and width[2] > 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([1.0, 2.0],), "columns"), ((np.empty((0, 1)),), "at least one row"), ((np.ones((2, 1)), 0), "n_bootstrap"), ((np.ones((2, 1)), 9, 0, [1]), "units")],
)
def test_draws_of_nothing_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        draw_sums(*arguments)

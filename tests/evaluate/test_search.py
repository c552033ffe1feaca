"""Slices: what is planted is found, what chance made is not confirmed."""

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.data.compare import holm
from mlsys.evaluate.search import SliceSearch, conditions_of, worst_excess
from mlsys.evaluate.slice import (
    check_slices,
    excess_with_error,
    foreseen_losses,
    slice_rows,
)
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts


def make_table(seed, rows=3000):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"number {place}": rng.normal(size=rows) * 10.0 ** rng.integers(-5, 6) for place in range(6)})
    table["whole"] = rng.integers(0, 100, rows)
    table["housing"] = rng.choice(["rent", "own", "it's free"], rows)
    table["flag"] = rng.random(rows) < 0.3
    table.loc[rng.random(rows) < 0.2, "number 0"] = np.nan
    table.loc[rng.random(rows) < 0.1, "housing"] = None
    return table


def test_the_planted_slice_comes_first_whatever_the_seed():
    hits = 0
    for seed in range(20):
        rng, table = np.random.default_rng(seed), make_table(seed)
        planted = ((table["whole"] <= 40) & (table["housing"] == "own")).to_numpy()
        losses = np.where(rng.random(len(table)) < np.where(planted, 0.35, 0.1), 5.0, -0.5)
        found = SliceSearch(table, list(table.columns), seed=seed).find(losses)
        inside = slice_rows(found["slice"][0], table)
        hits += found["verdict"][0] == "fails" and (inside & planted).sum() > 0.8 * (inside | planted).sum()
    assert hits >= 19


def test_a_single_planted_condition_and_a_missing_value_are_found():
    table, rng = make_table(1), np.random.default_rng(1)
    for planted, words in ((table["flag"].to_numpy(), "flag = TRUE"), (table["number 0"].isna().to_numpy(), '"number 0" IS NULL')):
        losses = rng.exponential(1, len(table)) + 1.0 * planted
        found = SliceSearch(table, list(table.columns)).find(losses)
        assert found["slice"].tolist() == [words] and found["verdict"][0] == "fails"


@pytest.mark.parametrize("kind", ["rare", "heavy", "people"])
def test_chance_is_confirmed_in_at_most_one_seed_of_twenty(kind):
    confirmed = 0
    for seed in range(100):
        rng, table, units = np.random.default_rng(1000 + seed), make_table(seed, 1500), None
        losses = np.where(rng.random(1500) < 0.1, 4300.0, -550.0) if kind == "rare" else rng.lognormal(0, 1.5, 1500)
        if kind == "people":
            person = np.arange(1500) // 5
            table = table.iloc[person * 5].reset_index(drop=True)  # everything about a person is the same in all rows
            losses, units = rng.exponential(1, 1500) + rng.exponential(3, 300)[person], {"people": person}
        confirmed += (SliceSearch(table, list(table.columns), units=units, seed=seed).find(losses)["verdict"] == "fails").any()
    assert confirmed <= 5


def test_a_found_slice_can_be_copied_into_a_file():
    table = make_table(3)
    seen = 0
    for name in table.columns:
        for condition, rows in conditions_of(table[name]):
            assert (slice_rows(condition.text, table) == rows).all(), condition.text
            assert condition.text.startswith(("number", "whole", "housing", "flag", '"number'))
            seen += 1
    assert seen > 40


def test_the_halves_share_no_unit_and_overlaps_are_pruned():
    table, person = make_table(5), np.arange(3000) // 3
    search = SliceSearch(table, list(table.columns), units={"people": person})
    assert not set(person[search.searched]) & set(person[search.judged]) and len(search.searched) + len(search.judged) == 3000
    losses = 2.0 * (table["whole"] <= 50) + np.random.default_rng(0).exponential(1, 3000)
    found = search.find(losses, most=10, max_overlap=0.3)
    inside = [slice_rows(text, table) for text in found["slice"]]
    assert all((a & b).sum() <= 0.34 * (a | b).sum() for place, a in enumerate(inside) for b in inside[:place])


def test_the_excess_and_its_error_are_those_of_a_bootstrap():
    rng = np.random.default_rng(0)
    losses, inside = rng.exponential(2, 2000), rng.random(2000) < 0.2
    losses[inside] *= 1.5  # above the least that is taken, the spread of the whole table
    drawn = [(lambda rows: losses[rows][inside[rows]].mean() - losses[rows].mean())(rng.integers(0, 2000, 2000)) for _ in range(1500)]
    value, error, count = excess_with_error(inside, losses, {})
    assert value == pytest.approx(losses[inside].mean() - losses.mean()) and count == inside.sum()
    assert error == pytest.approx(np.std(drawn), rel=0.1)
    doubled = excess_with_error(np.tile(inside, 2), np.tile(losses, 2), {"people": np.tile(np.arange(2000), 2)})
    assert doubled[1] == pytest.approx(error, rel=0.02)


def test_holm_is_holm():
    assert holm(np.array([])).tolist() == []
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # the example of Holm's procedure in textbooks


def test_verdicts_of_given_slices():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"age": rng.integers(18, 80, 3000)})
    losses = rng.exponential(1, 3000) + (table["age"] < 30)
    names = ["age < 30", "age >= 30", "age > 500", "age > 0"]
    slices = {name: slice_rows(name, table) for name in names}
    assert check_slices(slices, losses)["verdict"].tolist() == ["fails", "holds", "not enough evidence", "not enough evidence"]
    assert check_slices(slices, losses, limit=5000)["verdict"].tolist()[:2] == ["holds", "holds"]
    assert check_slices({}, losses).empty


def test_what_a_model_foresees_tells_risky_rows_from_misjudged_ones():
    rng = np.random.default_rng(0)
    risky, misjudged = rng.random(6000) < 0.3, rng.random(6000) < 0.3
    truth = 0.1 + 0.25 * risky
    y, costs = (rng.random(6000) < truth + 0.25 * misjudged).astype(int), Costs(0, 1, 1, 0)
    foreseen = foreseen_losses(costs, truth, costs.decide(truth))
    table = check_slices({"risky": risky, "misjudged": misjudged}, costs.of(y, costs.decide(truth)), foreseen=foreseen)
    assert table["verdict"].tolist() == ["fails", "fails"]
    assert table["foreseen"][0] == pytest.approx(table["excess_per_1000"][0], rel=0.15) and abs(table["foreseen"][1]) < 20 < table["excess_per_1000"][1]
    classes, probabilities = ClassCosts(["a", "b", "c"], priced={(0, 1): np.full(2, 7.0)}), np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    assert foreseen_losses(classes, probabilities, [1, 0]) == pytest.approx([0.2 * 7 + 0.3, 0.1])
    assert foreseen_losses(ErrorCosts(1, 1), [1.0], [1.0]) is None


def test_the_figure_for_a_gate():
    rng = np.random.default_rng(1)
    losses, inside = rng.exponential(1, 2000), rng.random(2000) < 0.3
    bad = check_slices({"a": inside}, losses + 2 * inside)
    fine = check_slices({"a": inside}, losses)
    assert worst_excess(bad, fine) == {"value": bad["excess_per_1000"][0], "low": bad["low"][0], "high": bad["high"][0]}
    assert worst_excess(fine)["value"] == 0 and worst_excess(fine)["high"] == max(fine["high"][0], 0)
    assert worst_excess() == {"value": 0.0, "low": 0.0, "high": None}


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("hosing = 'rent'", "Did you mean housing"), ("whole + 1", "a condition, true or false in each row"), ("whole <", "a condition over columns"),
        ("__import__('os').system('true')", "a condition over columns"), ("whole IN (SELECT 1)", "a condition over columns"), ("", "a condition over columns"),
    ],
)  # fmt: skip
def test_a_condition_that_is_none_is_refused(condition, words):
    with pytest.raises(ConfigError, match=words):
        slice_rows(condition, make_table(0, 50))


def test_tables_with_nothing_to_find():
    empty = SliceSearch(pd.DataFrame({"only": ["a"] * 500}), ["only"]).find(np.random.default_rng(0).exponential(1, 500))
    assert empty.empty and empty.attrs["searched"] == 0
    table = make_table(0, 600)
    assert SliceSearch(table, list(table.columns)).find(np.zeros(600)).empty  # a perfect model
    with pytest.raises(ConfigError, match="0 rows"):
        SliceSearch(table.head(0), list(table.columns))
    with pytest.raises(ConfigError, match="losses"):
        SliceSearch(table, ["whole"]).find(np.full(600, np.nan))
    with pytest.raises(ConfigError, match="losses"):
        check_slices({}, [])

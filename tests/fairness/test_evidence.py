"""Intervals of largest differences cover, verdicts need enough rows, and the number that is said to be enough is enough."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, tukey_hsd

from mlsys.data.compare import holm
from mlsys.fairness.evidence import (
    GapEvidence,
    critical_value,
    deciding_groups,
    gap_evidence,
    judge_gaps,
    mean_limits,
    score_limits,
    standard_errors,
    verdict_text,
)


def of_shares(positive, rows, seed=0):
    positive, rows = np.asarray(positive), np.asarray(rows)
    drawn = np.random.default_rng(seed).binomial(rows, positive / rows, size=(400, len(rows)))[:, None, :] / rows
    return gap_evidence([f"g{place}" for place in range(len(rows))], rows, (positive / rows)[None], drawn, rows[None])


@pytest.mark.parametrize(("rows", "shares"), [((30, 30), (0.1, 0.3)), ((500, 40), (0.5, 0.5)), ((200, 200, 200, 12), (0.2, 0.25, 0.3, 0.2)), ((60,) * 8, (0.1,) * 8)])
def test_the_interval_of_the_largest_difference_covers_it(rows, shares):
    "The truth is the largest difference of the true shares; also with small groups and many, in 95 of 100 samples or more."
    rng, covered, truth = np.random.default_rng(0), 0, max(shares) - min(shares)
    for seed in range(200):
        entry = of_shares(rng.binomial(rows, shares), rows, seed).interval()
        covered += entry["low"] <= truth <= entry["high"]
    assert covered >= 183  # of a binomial of 200 with 0.95, fewer come once in 400


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_groups=st.integers(2, 12), n_figures=st.integers(1, 2))
def test_pairing_the_deciding_groups_alone_gives_the_same_limits(data, n_groups, n_figures):
    whole = st.integers(0, 4).map(float)
    values, below, above = (np.array(data.draw(st.lists(st.lists(whole, min_size=n_groups, max_size=n_groups), min_size=n_figures, max_size=n_figures))) for _ in range(3))
    values[:, data.draw(st.lists(st.integers(0, n_groups - 1), max_size=2))] = np.nan
    apart = ~np.eye(n_groups, dtype=bool)
    def limits(groups):
        some = np.ix_(range(n_figures), groups)
        size = values[some][:, :, None] - values[some][:, None, :]
        usable = apart[np.ix_(groups, groups)] & ~np.isnan(size)
        low, high = size - np.hypot(below[some][:, :, None], above[some][:, None, :]), size + np.hypot(above[some][:, :, None], below[some][:, None, :])
        return [part[usable].max(initial=-np.inf) for part in (size, low, high)]
    assert np.allclose(limits(deciding_groups(values, below, above, few=0)), limits(np.arange(n_groups)))


def test_five_thousand_groups_are_compared():
    rng = np.random.default_rng(0)
    rows, shares = rng.integers(1, 400, 5000), np.full(5000, 0.3)
    entry = of_shares(rng.binomial(rows, shares), rows).interval()
    assert entry["low"] == 0.0 and entry["value"] == 1.0 and np.isfinite(entry["high"])
    assert 4 < critical_value(5000) < 6


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 2000), part=st.floats(0, 1), critical=st.floats(0.5, 5))
def test_the_score_interval_holds_the_share_and_never_has_the_width_zero(rows, part, critical):
    share = round(part * rows) / rows
    low, high = score_limits(np.array([share]), np.array([rows]), critical)
    assert -1e-12 <= low[0] <= share + 1e-12 and share - 1e-12 <= high[0] <= 1 + 1e-12 and high[0] - low[0] > 0


def test_the_score_interval_is_the_test_turned_round():
    "At its ends the score test has just the critical value."
    low, high = score_limits(np.array([0.3]), np.array([50]), 1.96)
    for end in (low[0], high[0]):
        assert abs(0.3 - end) / math.sqrt(end * (1 - end) / 50) == pytest.approx(1.96)


def test_the_critical_value_is_tukeys():
    "Three groups of many normal numbers: scipy's own test has the same half-width in standard errors."
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=4000) for _ in range(3)]
    interval = tukey_hsd(*samples).confidence_interval()
    error = math.sqrt(2 * np.mean([np.var(sample, ddof=1) for sample in samples]) / 4000)
    assert critical_value(3) == pytest.approx((interval.high[0, 1] - interval.low[0, 1]) / 2 / error, rel=1e-3)
    assert critical_value(2, 2) == pytest.approx(2.2365, abs=1e-3)  # Šidák: the quantile of sqrt(0.95)


def test_one_row_says_hardly_anything_of_a_mean_and_equal_rows_vary_as_the_others_do():
    "The limits stay finite: a file that writes infinity as nothing would read as certainty."
    values, errors, rows = np.array([[5.0, 5.0, 5.0]]), np.array([[0.0, 0.1, 0.0]]), np.array([1, 100, 4])
    low, high = mean_limits(values, errors, rows, 1.96)
    assert 10 < high[0, 0] - 5 < math.inf and low[0, 0] == pytest.approx(10 - high[0, 0])  # 12.7 standard deviations of 1, and more
    assert high[0, 2] - 5 > 1.96 * 0.5 > high[0, 1] - 5 > 0.19


def test_draws_in_which_a_figure_is_undefined_are_left_out():
    draws = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    assert standard_errors(draws).tolist() == [1.0, 0.0]


@settings(max_examples=80, deadline=None)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=20), level=st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    "Holm 1979: go up from the smallest p-value while it is at most level / (how many are left)."
    rejected = set()
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(int(place))
    assert {int(place) for place in np.flatnonzero(holm([*p_values, math.nan])[:-1] <= level)} == rejected


def test_nothing_to_correct_is_nothing():
    assert np.isnan(holm([math.nan])).all() and len(holm([])) == 0


def test_three_people_do_not_show_that_their_group_is_treated_alike():
    known = of_shares([2000, 2000, 1], [4000, 4000, 3])
    gaps = {"rate:town": known.interval()}
    verdict, = judge_gaps(["rate:town <= 0.30"], gaps, {"rate:town": known})
    assert verdict.verdict == "not enough evidence" and verdict.short_of == ["g2 (3)"]
    large, = judge_gaps(["rate:town <= 0.30"], {"rate:town": of_shares([2000, 2000], [4000, 4000]).interval()}, {})
    assert large.verdict == "holds"


@pytest.mark.parametrize(("share", "limit"), [(0.30, 0.05), (0.30, 0.15), (0.22, 0.05)])
def test_the_size_that_is_said_to_be_enough_is_enough(share, limit):
    "With as many rows in every group, and the same figures, there is a verdict; with half as many there is none."
    rows = np.array([60, 60])
    known = of_shares(np.round(np.array([0.20, share]) * rows), rows)
    verdict, = judge_gaps([f"rate:town <= {limit}"], {"rate:town": known.interval()}, {"rate:town": known})
    assert verdict.verdict == "not enough evidence" and f"{verdict.rows_needed:,} rows in every group" in verdict_text(verdict)
    after = {}
    for size in (verdict.rows_needed // 2, int(1.1 * verdict.rows_needed)):
        seen = np.round(known.values[0] * size).astype(int)
        entry = {"rate:town": of_shares(seen, np.array([size, size])).interval()}
        after[size] = judge_gaps([f"rate:town <= {limit}"], entry, {})[0].verdict
    few, enough = after.values()
    assert few == "not enough evidence" and enough == ("fails" if abs(np.diff(known.values[0])[0]) > limit else "holds")


def test_no_size_tells_a_gap_from_a_limit_that_it_equals():
    known = of_shares([10, 20], [100, 100])
    verdict, = judge_gaps(["rate:town <= 0.1"], {"rate:town": known.interval()}, {"rate:town": known})
    assert verdict.rows_needed is None and "no number of rows" in verdict_text(verdict)


def test_what_is_undefined_is_said_and_gates_on_other_things_are_left_out():
    known = GapEvidence(["a", "b", "c"], np.array([10, 10, 10]), np.array([[0.2, 0.2, np.nan]]), np.array([[0.1, 0.1, np.nan]]), np.array([[0.4, 0.4, np.nan]]))
    verdicts = judge_gaps(["auc_roc >= 0.7", "rate:town <= 0.9"], {"rate:town": known.interval()}, {"rate:town": known})
    assert [item.undefined for item in verdicts] == [["c"]] and "without c" in verdict_text(verdicts[0])
    nobody = GapEvidence(["a"], np.array([1]), np.array([[np.nan]]), np.array([[np.nan]]), np.array([[np.nan]]))
    verdict, = judge_gaps(["rate:town <= 0.9"], {"rate:town": nobody.interval()}, {"rate:town": nobody})
    assert verdict.verdict == "not enough evidence" and "no group has this figure" in verdict_text(verdict)


def test_the_family_wise_error_over_many_cells_is_kept():
    "One hundred shares that are alike, tested each against the others: one in twenty tables at most shows any."
    rng, any_found = np.random.default_rng(0), 0
    for _ in range(200):
        seen = rng.binomial(100, 0.3, 100)
        p_values = 2 * np.minimum(binom.cdf(seen, 100, 0.3), binom.sf(seen - 1, 100, 0.3))
        any_found += (holm(np.minimum(p_values, 1)) < 0.05).any()
    assert any_found <= 18

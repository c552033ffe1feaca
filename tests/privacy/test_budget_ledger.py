"""The ledger: what counts, what a search costs, what may be said."""
import math

import numpy as np
import pytest
from opacus.accountants.analysis.rdp import compute_rdp

from mlsys.core import BudgetError, ConfigError
from mlsys.privacy.budget import (
    DISTRIBUTIONS,
    ORDERS,
    Entry,
    Ledger,
    choice_entry,
    draw_trials,
    epsilon_of_renyi,
    gamma_of_mean,
    ledger_markdown,
    of_several_rows,
    renyi_curve,
    search_curve,
    search_epsilon,
    search_privately,
    statement,
    truncated_mean,
)
from mlsys.privacy.composition import NoisySteps, Spend, composed_delta, composed_epsilon
from mlsys.privacy.report import check_accountant, choice_ledger, ledger_of, payer_change, variants_table

TRIAL = NoisySteps(5.0, 0.1, 200)


def test_theorem_two_written_out():
    eta, mean, place = 0.0, 20.0, int(np.flatnonzero(ORDERS == 9.0)[0])
    gamma = gamma_of_mean(eta, mean)
    one = np.asarray(compute_rdp(q=0.1, noise_multiplier=5.0, steps=200, orders=list(ORDERS)))
    with np.errstate(invalid="ignore"):
        others = np.nanmin(np.where(one >= 0, (1 + eta) * (1 - 1 / ORDERS) * one + (1 + eta) * math.log(1 / gamma) / ORDERS, np.inf))
    expected = one[place] + others + math.log(mean) / 8.0
    assert search_curve(TRIAL, mean_trials=mean, distribution="logarithmic")[place] == pytest.approx(expected, rel=1e-9)


def test_theorem_six_written_out():
    place = int(np.flatnonzero(ORDERS == 5.0)[0])
    one = compute_rdp(q=0.1, noise_multiplier=5.0, steps=200, orders=[5.0])[0]
    expected = one + 7.0 * composed_delta([TRIAL], epsilon=math.log(1.25)) + math.log(7.0) / 4.0
    assert search_curve(TRIAL, mean_trials=7.0, distribution="poisson")[place] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("distribution, times", [("geometric", 3.0), ("logarithmic", 2.0)])
def test_of_a_pure_trial_the_price_does_not_grow_with_the_number_of_trials(distribution, times):
    assert search_epsilon(Spend(0.5), delta=1e-12, mean_trials=1e4, distribution=distribution) <= 0.5 * times + 1e-12


def test_the_best_of_many_pure_trials_keeps_the_price_in_fact():
    # A trial tells by randomised response whether the row is there; the attacker sees the best of K answers (1 is best).
    epsilon, mean, gamma = 1.0, 5.0, 1 / 5.0
    likely = math.exp(epsilon) / (1 + math.exp(epsilon))
    counts = np.arange(1, 400)
    weights = gamma * (1 - gamma) ** (counts - 1)
    zero = [float((weights * share**counts).sum()) for share in (1 - likely, likely)]  # chance that all answers are 0, with and without the row
    loss = max(abs(math.log(zero[0] / zero[1])), abs(math.log((1 - zero[0]) / (1 - zero[1]))))
    assert epsilon < loss <= search_epsilon(Spend(epsilon), delta=1e-12, mean_trials=mean, distribution="geometric")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_trials_are_as_many_as_they_shall_be(distribution):
    rng = np.random.default_rng(0)
    drawn = np.array([draw_trials(rng, mean_trials=6.0, distribution=distribution) for _ in range(6000)])
    assert drawn.mean() == pytest.approx(6.0, abs=0.5)
    if distribution != "poisson":
        eta = {"geometric": 1.0, "logarithmic": 0.0}[distribution]
        gamma = gamma_of_mean(eta, 6.0)
        one = gamma if eta else (1 - gamma) / math.log(1 / gamma)
        assert drawn.min() == 1 and (drawn == 1).mean() == pytest.approx(one, abs=0.03) and truncated_mean(eta, gamma) == pytest.approx(6.0)


@pytest.mark.parametrize("mean", [1, 0.5, -3, math.inf, math.nan])
def test_a_search_without_a_random_number_is_refused(mean):
    with pytest.raises(ConfigError, match="mean_trials"):
        search_epsilon(TRIAL, delta=1e-5, mean_trials=mean)


def test_an_unknown_distribution_is_named():
    with pytest.raises(ConfigError, match="distribution"):
        search_epsilon(TRIAL, delta=1e-5, mean_trials=3, distribution="normal")


def test_a_search_publishes_the_best_alone_and_is_counted():
    trained = []
    best, chosen, entry = search_privately(lambda rate: trained.append(rate) or rate, lambda model: -model, [3, 1, 2], TRIAL, mean_trials=12, delta=1e-5, seed=3)
    assert best == chosen == min(trained) and set(trained) <= {1, 2, 3}
    assert Ledger((entry,), 1e-5).epsilon == pytest.approx(search_epsilon(TRIAL, delta=5e-6, mean_trials=12), rel=0.01)


def test_renyi_figures_never_go_below_the_composition():
    for steps in (NoisySteps(1.0, 0.01, 1000), NoisySteps(13.0, 0.29, 139), NoisySteps(30.0, 1.0, 10)):
        curve = renyi_curve(steps)
        assert (curve >= 0).all() and epsilon_of_renyi(curve, 1e-5) >= composed_epsilon([steps], delta=1e-5)


def test_everything_spent_counts_and_nothing_else():
    parts = (Entry("training", "spent", "a theorem", (TRIAL,)), Entry("range", "spent", "a theorem", (Spend(0.2),)), Entry("encoding", "public", "declared"), Entry("tuning", "not covered", "by hand"))
    ledger = Ledger(parts, 1e-5)
    assert ledger.epsilon == composed_epsilon([TRIAL, Spend(0.2)], delta=1e-5) and Ledger(parts[2:], 1e-5).epsilon == 0.0
    assert [entry["epsilon"] is None for entry in ledger.to_list()] == [False, False, False, True]
    assert "tuning" in ledger_markdown(ledger.to_list(), ledger.epsilon)


@pytest.mark.parametrize("wrong", [dict(kind="spent", mechanisms=()), dict(kind="public", mechanisms=(TRIAL,)), dict(kind="paid"), dict(why="")])
def test_a_line_that_says_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        Entry(**{"what": "training", "kind": "public", "why": "declared"} | wrong)


PROMISE = {"unit": "row", "units": 1000, "sampling": "Poisson, each row by itself", "neighbouring_relation": "add or remove one row", "accountant": "prv"}


def test_the_statement_names_unit_delta_neighbour_sampling_and_gaps():
    ledger = Ledger((Entry("training", "spent", "a theorem", (TRIAL,)), Entry("tuning", "not covered", "it was done by hand")), 1e-5)
    said = statement(ledger, PROMISE | {"rows_of_one_person_at_most": 3}, 1.5)
    for part in (f"({ledger.epsilon:.3g}, 1e-05)", "each row", "adding or removing one row", "Poisson", "PRV", "1.5", "up to 3 rows", "tuning"):
        assert part in said
    person = statement(ledger, PROMISE | {"unit": "person", "max_rows_per_person": 8, "neighbouring_relation": "add or remove one person"})
    assert "at most 8 rows" in person and "training people" in person


def test_several_rows_cost_more_than_their_number():
    epsilon, delta = of_several_rows(epsilon=1.0, delta=1e-5, rows=3)
    assert epsilon == 3.0 and delta == pytest.approx(1e-5 * (1 + math.e + math.e**2))
    assert of_several_rows(epsilon=50.0, delta=1e-5, rows=40)[1] == 1.0


class Learner:
    noise_multiplier_, sample_rate_, n_steps_, epsilon_, target_delta = 5.0, 0.1, 200, 1.0, 1e-5
    classes_ = (0, 1)


def test_a_claim_below_what_was_spent_stops_the_stage():
    own = composed_epsilon([TRIAL], delta=1e-5)
    Learner.epsilon_ = own
    assert check_accountant(Learner()) == own
    Learner.epsilon_ = own / 2
    with pytest.raises(BudgetError, match="do not use this model"):
        check_accountant(Learner())


def test_earlier_runs_are_counted_in_full():
    one, three = (ledger_of(Learner(), tuning_trials=trials).epsilon for trials in (0, 2))
    assert three == pytest.approx(composed_epsilon([NoisySteps(5.0, 0.1, 600)], delta=1e-5), rel=0.01) and three > 1.5 * one


def variant(name, epsilon, noise):
    card = {"mae": {"value": 3.0, "low": 2.9, "high": 3.1}}
    payers = [{"feature": "sex", "group": "f", "error change": 0.3, "low": 0.1, "high": 0.5}, {"feature": "sex", "group": "m", "error change": -0.1, "low": -0.2, "high": 0.0}]
    privacy = {"epsilon": epsilon, "delta": 1e-5, "noise_multiplier": noise, "sample_rate": 0.1, "steps": 200, "range_epsilon": 0.1}
    return {"name": name, "privacy": privacy, "card": card, "measured": {}, "payers": payers}


def test_whoever_chooses_among_variants_has_seen_all():
    variants = [variant("private, epsilon 1", 1.0, 5.0), variant("private, epsilon 3", 3.0, 2.0)]
    together = choice_ledger(variants, "private, epsilon 1").epsilon
    assert together == pytest.approx(composed_epsilon([NoisySteps(5.0, 0.1, 200), Spend(0.1), NoisySteps(2.0, 0.1, 200), Spend(0.1)], delta=1e-5), rel=0.01)
    assert choice_ledger(variants[:1]).epsilon < together and choice_entry({}).kind == "public"


def test_of_a_number_the_group_with_the_larger_error_pays():
    table = variants_table([variant("private, epsilon 1", 1.0, 5.0)])
    assert "sex: f, +0.3" in table["loses most"].iloc[0] and "not measured" in table["epsilon, measured: at least"].iloc[0]
    assert payer_change({"accuracy change": -0.1}) == -0.1 and payer_change({}) is None

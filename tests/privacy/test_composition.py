"""The numerical composition against Opacus and against exact answers."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import BudgetError, ConfigError
from mlsys.privacy.accounting import gaussian_delta
from mlsys.privacy.composition import NoisySteps, Spend, composed_delta, composed_epsilon, grid_width


def epsilon_of_prv(noise, rate, steps, delta):
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps)]
    with np.errstate(all="ignore"):
        return accountant.get_epsilon(delta, eps_error=0.002)  # what the accountant adds to be careful


@pytest.mark.filterwarnings("ignore::UserWarning")  # Opacus warns at the ends of its Rényi orders, by which it chooses a grid
@pytest.mark.parametrize("delta", [1e-5, 1e-7])
@pytest.mark.parametrize("noise, rate, steps", [
    (0.7, 0.01, 100), (0.7, 0.2, 10), (1.0, 0.001, 5000), (1.0, 0.01, 1000), (1.0, 0.3, 1), (2.0, 0.05, 400), (2.0, 0.5, 50),
    (4.0, 0.25, 120), (5.0, 0.01, 10_000), (13.0, 0.29, 139), (13.0, 1.0, 40), (20.0, 0.5, 1000),
])
def test_agrees_with_opacus_to_two_per_cent(noise, rate, steps, delta):
    own, theirs = composed_epsilon([NoisySteps(noise, rate, steps)], delta=delta), epsilon_of_prv(noise, rate, steps, delta)
    assert own <= theirs * 1.02
    assert own >= theirs * 0.98 - 0.004  # theirs is an upper end, by 0.002 twice


@given(noise=st.floats(0.5, 50), steps=st.integers(1, 2000), delta=st.floats(1e-8, 1e-2))
@settings(max_examples=20, deadline=None)
def test_without_sampling_it_is_exact_and_never_below(noise, steps, delta):
    if math.sqrt(steps) / noise > 15:
        return
    found = composed_epsilon([NoisySteps(noise, 1.0, steps)], delta=delta)
    assert gaussian_delta(epsilon=found, noise_multiplier=noise, steps=steps) <= delta * (1 + 1e-6) + 1e-13
    assert found == 0 or gaussian_delta(epsilon=found * 0.99 - 1e-6 if found > 1e-5 else 0.0, noise_multiplier=noise, steps=steps) >= delta * 0.999


@given(noise=st.floats(0.6, 10), rate=st.floats(0.005, 0.9), steps=st.integers(1, 300), epsilon=st.floats(0.05, 5))
@settings(max_examples=12, deadline=None)
def test_delta_and_epsilon_are_the_same_curve(noise, rate, steps, epsilon):
    mechanisms = [NoisySteps(noise, rate, steps)]
    delta = composed_delta(mechanisms, epsilon=epsilon)
    if 1e-9 < delta < 0.5:
        assert composed_epsilon(mechanisms, delta=delta * (1 + 2e-6) + 2e-14) == pytest.approx(epsilon, rel=2e-3, abs=2e-3)


def test_a_coarser_grid_never_gives_a_smaller_epsilon():
    mechanisms = [NoisySteps(2.0, 0.1, 200)]
    fine = grid_width(mechanisms)
    found = [composed_epsilon(mechanisms, delta=1e-5, width=fine * factor) for factor in (0.5, 1, 4, 16)]
    assert found == sorted(found)


def test_of_one_sampled_step_delta_is_the_integral():
    noise, rate, epsilon = 1.3, 0.2, 0.4
    x = np.linspace(-20, 22, 2_000_001)
    without = np.exp(-0.5 * (x / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
    with_row = (1 - rate) * without + rate * np.exp(-0.5 * ((x - 1) / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
    step = x[1] - x[0]
    removed = np.maximum(with_row - math.exp(epsilon) * without, 0).sum() * step
    added = np.maximum(without - math.exp(epsilon) * with_row, 0).sum() * step
    assert composed_delta([NoisySteps(noise, rate, 1)], epsilon=epsilon) == pytest.approx(max(removed, added), rel=2e-3)


def test_pure_spends_compose_as_randomised_response_does():
    # k answers of randomised response: delta is a binomial sum (Kairouz, Oh and Viswanath 2015, theorem 3.3)
    epsilon, count, total = 0.3, 20, 3.0
    likely = math.exp(epsilon) / (1 + math.exp(epsilon))
    delta = sum(math.comb(count, k) * max(0.0, likely**k * (1 - likely) ** (count - k) - math.exp(total) * likely ** (count - k) * (1 - likely) ** k) for k in range(count + 1))
    assert composed_delta([Spend(epsilon, steps=count)], epsilon=total) == pytest.approx(delta, rel=1e-6)
    assert composed_epsilon([Spend(0.25)], delta=1e-9) == pytest.approx(0.25, abs=1e-6)


def test_deltas_add_up():
    with pytest.raises(BudgetError, match="the parts have already"):
        composed_epsilon([Spend(1.0, 6e-6), Spend(1.0, 6e-6)], delta=1e-5)
    assert composed_epsilon([Spend(1.0, 4e-6), Spend(1.0, 4e-6)], delta=1e-5) < 2.0


@pytest.mark.parametrize("wrong", [dict(noise_multiplier=0.0), dict(noise_multiplier=math.inf), dict(sample_rate=0.0), dict(sample_rate=1.1), dict(steps=0), dict(steps=1.5)])
def test_steps_outside_their_domain_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NoisySteps(**{"noise_multiplier": 1.0, "sample_rate": 0.1, "steps": 1} | wrong)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(ConfigError, match="epsilon"):
        Spend(epsilon)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 1e-12, math.nan])
def test_a_delta_that_is_none_is_refused(delta):
    with pytest.raises(ConfigError, match="delta"):
        composed_epsilon([Spend(1.0)], delta=delta)

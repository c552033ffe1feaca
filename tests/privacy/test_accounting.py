"""The epsilon that is reported, held against computations that share no code with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from mlsys.core import BudgetError, ConfigError
from mlsys.privacy.accounting import (
    attack_ceiling,
    calibrate_noise,
    epsilon_curve,
    epsilon_spent,
    gaussian_delta,
)


def composed_delta(epsilon, *, noise_multiplier, sample_rate, steps, adding):
    "Return a delta from above: privacy losses rounded up on a grid, composed by FFT, mass cut off counted as delta."
    grid = np.linspace(-30 * noise_multiplier, 30 * noise_multiplier, 400_001)
    centres = (grid[1:] + grid[:-1]) / 2
    base = np.diff(norm.cdf(grid, 0, noise_multiplier))
    mixed = (1 - sample_rate) * base + sample_rate * np.diff(norm.cdf(grid, 1, noise_multiplier))
    ratio = np.log1p(sample_rate * np.expm1((2 * centres - 1) / (2 * noise_multiplier**2)))
    loss, mass = (-ratio, base) if adding else (ratio, mixed)
    width, half = 2e-5, 2**20  # rounding up adds at most steps * width = 0.006 to epsilon
    cells = np.ceil(loss / width).astype(int)
    cut = mass[cells >= half].sum()
    pmf = np.bincount(np.clip(cells, -half, half - 1) + half, weights=mass, minlength=2 * half)
    total = np.fft.irfft(np.fft.rfft(np.fft.ifftshift(pmf)) ** steps, 2 * half)
    total = np.maximum(np.fft.fftshift(total), 0)
    losses = (np.arange(2 * half) - half) * width
    over = losses > epsilon
    return float((total[over] * -np.expm1(epsilon - losses[over])).sum() + steps * cut)


@pytest.mark.parametrize("adding", [True, False])
@pytest.mark.parametrize("noise, rate, steps", [(9.06, 4096 / 29305, 286), (1.63, 4096 / 29305, 286), (2.0, 0.05, 100)])
def test_epsilon_covers_both_neighbours(noise, rate, steps, adding):
    spent = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=1e-5)
    known = dict(noise_multiplier=noise, sample_rate=rate, steps=steps, adding=adding)
    assert composed_delta(spent, **known) <= 1e-5


def test_epsilon_is_not_much_too_large():
    spent = epsilon_spent(noise_multiplier=2.0, sample_rate=0.05, steps=100, delta=1e-5)
    known = dict(noise_multiplier=2.0, sample_rate=0.05, steps=100)
    assert max(composed_delta(spent - 0.06, adding=adding, **known) for adding in (True, False)) > 1e-5


@settings(max_examples=10, deadline=None)
@given(noise=st.floats(2, 60), steps=st.integers(1, 100))
def test_epsilon_without_sampling_is_the_exact_one(noise, steps):
    spent = epsilon_spent(noise_multiplier=noise, sample_rate=1.0, steps=steps, delta=1e-5)
    assert gaussian_delta(epsilon=spent, noise_multiplier=noise, steps=steps) <= 1e-5
    if spent > 0.1:
        assert gaussian_delta(epsilon=spent - 0.04, noise_multiplier=noise, steps=steps) > 1e-5


@settings(max_examples=5, deadline=None)
@given(target=st.floats(0.3, 8), rate=st.floats(0.05, 1), steps=st.integers(1, 150))
def test_calibrated_noise_never_exceeds_the_budget(target, rate, steps):
    noise = calibrate_noise(target_epsilon=target, target_delta=1e-5, sample_rate=rate, steps=steps)
    spent = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=1e-5)
    assert 0.9 * target - 0.02 < spent <= target
    assert spent <= epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=1e-5, accountant="rdp") + 0.02


@pytest.mark.parametrize("wrong", [
    {"noise_multiplier": 0.0}, {"sample_rate": 0.0}, {"sample_rate": 1.5}, {"steps": 0}, {"steps": 2.5}, {"delta": 0.0}, {"delta": 1.0},
    {"noise_multiplier": float("nan")}, {"steps": True}, {"delta": "1e-5"},
])
def test_an_argument_outside_its_domain_is_named(wrong):
    known = {"noise_multiplier": 1.0, "sample_rate": 0.1, "steps": 10, "delta": 1e-5}
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}: received"):
        epsilon_spent(**{**known, **wrong})


def test_unknown_accountant():
    with pytest.raises(ConfigError, match="'prv' or 'rdp'"):
        epsilon_spent(noise_multiplier=1.0, sample_rate=0.1, steps=10, delta=1e-5, accountant="gdp")


def test_a_budget_that_no_noise_meets():
    with pytest.raises(BudgetError, match="target_epsilon: received 0.0001; allowed: 0.02 or more"):
        calibrate_noise(target_epsilon=1e-4, target_delta=1e-5, sample_rate=0.5, steps=100)


def test_arguments_with_a_meaning_for_privacy_are_keyword_only():
    with pytest.raises(TypeError):
        epsilon_spent(1.0, 0.1, 10, 1e-5)


def test_the_curve_ends_where_the_run_ends():
    known = dict(noise_multiplier=4.0, sample_rate=0.2, delta=1e-5)
    curve = epsilon_curve(steps=40, points=5, **known)
    assert curve["steps"].iloc[-1] == 40
    assert curve["epsilon"].iloc[-1] == epsilon_spent(steps=40, **known)
    assert curve["epsilon"].is_monotonic_increasing


@given(epsilon=st.floats(0, 20), delta=st.floats(0, 0.01))
def test_no_attack_beats_its_ceiling_and_guessing_is_a_half(epsilon, delta):
    # Randomised response is the mechanism that reaches the ceiling at delta 0.
    answer = np.exp(epsilon) / (1 + np.exp(epsilon))
    assert answer <= attack_ceiling(epsilon=epsilon, delta=delta) + 1e-12
    assert attack_ceiling(epsilon=epsilon, delta=0.0) == pytest.approx(answer)

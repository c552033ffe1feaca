"""Who takes part: the law of the draws, the check on them, and the bound on one person's rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare, kstest

from mlsys.core import BudgetError, ConfigError
from mlsys.privacy import dpsgd
from mlsys.privacy.randomness import SecureSource, SeededSource
from mlsys.privacy.sampling import DrawCheck, PoissonSampler, person_table


def draws(n_units, rate, steps, source=None):
    return list(PoissonSampler(n_units=n_units, sample_rate=rate, steps=steps, source=source or SeededSource(0)))


@pytest.mark.parametrize("source", [SeededSource(1), SecureSource()], ids=["seed", "cipher"])
def test_sizes_are_binomial_and_rows_are_independent(source):
    batches = draws(60, 0.2, 6000, source)
    counts = np.bincount([len(batch) for batch in batches], minlength=61)
    expected = 6000 * binom.pmf(np.arange(61), 60, 0.2)
    usual = expected > 20
    assert chisquare([*counts[usual], counts[~usual].sum()], [*expected[usual], expected[~usual].sum()]).pvalue > 1e-5
    taken = np.zeros((6000, 60))
    for step, batch in enumerate(batches):
        taken[step, batch] = 1
    apart = np.corrcoef(taken.T)[np.triu_indices(60, 1)] * np.sqrt(6000)
    assert kstest(apart, "norm").pvalue > 1e-5
    across = np.array([np.corrcoef(taken[:-1, unit], taken[1:, unit])[0, 1] for unit in range(60)]) * np.sqrt(6000)
    assert kstest(across, "norm").pvalue > 1e-5


@settings(max_examples=60, deadline=None)
@given(n_units=st.integers(1, 400), rate=st.floats(1e-6, 1.0), steps=st.integers(1, 300), seed=st.integers(0, 1000))
def test_there_are_as_many_steps_as_asked_for_each_of_units_in_order(n_units, rate, steps, seed):
    batches = draws(n_units, rate, steps, SeededSource(seed))
    assert len(batches) == steps
    assert all((np.diff(batch) > 0).all() and (not len(batch) or (batch[0] >= 0 and batch[-1] < n_units)) for batch in batches)
    if rate == 1.0:
        assert all(len(batch) == n_units for batch in batches)


def test_steps_across_the_parts_in_which_they_are_drawn(monkeypatch):
    sizes = [len(batch) for batch in draws(100_000, 0.1, 60)]
    assert len(sizes) == 60 and abs(np.mean(sizes) - 10_000) < 6 * 95 / np.sqrt(60)


@settings(max_examples=150, deadline=None)
@given(n_units=st.integers(2, 2000), rate=st.floats(1e-3, 1.0), steps=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_a_true_sampler_is_never_refused(n_units, rate, steps, seed):
    check = DrawCheck(n_units=n_units, sample_rate=rate)
    for batch in draws(n_units, rate, steps, SeededSource(seed)):
        check.note(batch)
    check.finish()


class Planted:
    "A sampler that is none of Poisson's."

    def __init__(self, *, n_units, sample_rate, steps, source):
        self.n_units, self.size, self.steps, self.rng = n_units, round(n_units * sample_rate), steps, np.random.default_rng(0)


class Shuffled(Planted):
    def __iter__(self):
        for step in range(self.steps):
            per = self.n_units // self.size
            if step % per == 0:
                order = self.rng.permutation(self.n_units)
            yield order[step % per * self.size : (step % per + 1) * self.size]


class Fixed(Planted):
    def __iter__(self):
        return (self.rng.choice(self.n_units, self.size, replace=False) for _ in range(self.steps))


class Weighted(Planted):
    def __iter__(self):
        weights = np.linspace(0.1, 1.9, self.n_units) * self.size / self.n_units
        return (np.flatnonzero(self.rng.random(self.n_units) < weights) for _ in range(self.steps))


class TooOften(Planted):
    def __iter__(self):
        return (np.flatnonzero(self.rng.random(self.n_units) < 1.2 * self.size / self.n_units) for _ in range(self.steps))


class WithReplacement(Planted):
    def __iter__(self):
        return (self.rng.integers(0, self.n_units, self.size) for _ in range(self.steps))


@pytest.mark.parametrize("planted", [Shuffled, Fixed, Weighted, TooOften, WithReplacement])
def test_planted_samplers_end_without_a_model(monkeypatch, planted):
    monkeypatch.setattr(dpsgd, "PoissonSampler", planted)
    rng = np.random.default_rng(0)
    known = dict(noise_multiplier=1.0, sample_rate=0.1, steps=100, max_grad_norm=1.0, learning_rate=0.1, averaged_share=0.5, seeds=(1, 2))
    with pytest.raises(BudgetError, match="sampling: .* The accountant counts each row as drawn by a coin of its own"):
        dpsgd.train_linear(rng.normal(size=(1000, 3)), rng.integers(0, 2, 1000), **known)


def test_the_divisor_and_the_rate_come_from_one_place():
    with pytest.raises(ConfigError, match="sample_rate: received 1.5"):
        draws(10, 1.5, 1)


@settings(max_examples=80, deadline=None)
@given(people=st.lists(st.one_of(st.integers(0, 9), st.none()), min_size=1, max_size=60), most=st.integers(1, 5), seed=st.integers(0, 99))
def test_nobody_brings_more_rows_than_the_bound(people, most, seed):
    table = person_table(people, n_rows=len(people), most_rows=most, source=SeededSource(seed))
    used = table[table >= 0]
    assert len(used) == len(set(used.tolist())) and table.shape[1] <= most
    for rows in table:
        assert len({(people[row], row if people[row] is None else None) for row in rows[rows >= 0]}) == 1
    named = [name for name in people if name is not None]
    assert len(table) == len(set(named)) + people.count(None)
    assert len(used) == sum(min(most, named.count(name)) for name in set(named)) + people.count(None)


def test_which_rows_are_used_is_drawn_evenly():
    counts = np.zeros(10)
    for seed in range(600):
        counts[person_table([0] * 10, n_rows=10, most_rows=3, source=SeededSource(seed))] += 1
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("most", [0, 1.5, True])
def test_the_bound_is_a_whole_number(most):
    with pytest.raises(ConfigError, match="most_rows: received"):
        person_table([1, 2], n_rows=2, most_rows=most, source=SeededSource(0))

"""What the accountant takes for granted: bounded rows, the right noise, the right rate, every step counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys.privacy import dpsgd

finite = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=25, deadline=None)
@given(X=arrays(np.float32, (6, 3), elements=finite), y=arrays(np.int8, 6, elements=st.integers(0, 1)), norm=st.floats(0.05, 5),
       weights=arrays(np.float64, 3, elements=st.floats(-10, 10)))
def test_no_row_moves_a_step_further_than_max_grad_norm(X, y, norm, weights):
    moved = dpsgd.bound_rows(X, y, max_grad_norm=norm, weights=weights)
    assert moved.max() <= norm * (1 + 1e-4) + 1e-4


def test_clipping_is_not_idle():
    moved = dpsgd.bound_rows(np.full((5, 3), 100.0), np.zeros(5), max_grad_norm=0.5)
    assert np.allclose(moved, 0.5, atol=1e-4)


def test_the_noise_has_the_size_that_was_asked_for():
    model = torch.nn.Linear(50_000, 1)
    private, optimizer = dpsgd.make_private_optimizer(
        model, noise_multiplier=3.0, max_grad_norm=0.5, expected_batch_size=10.0, learning_rate=0.1, generator=torch.Generator().manual_seed(0)
    )
    with dpsgd.one_quiet_thread():
        dpsgd.private_step(private, optimizer, torch.zeros(0, 50_000), torch.zeros(0))
    assert float(model.weight.grad.std()) == pytest.approx(3.0 * 0.5 / 10.0, rel=0.03)


def spy_on_batches(monkeypatch):
    "Record the size of every batch that is trained on."
    sizes, step = [], dpsgd.private_step

    def counted(private, optimizer, rows, outcomes):
        sizes.append(len(rows))
        return step(private, optimizer, rows, outcomes)

    monkeypatch.setattr(dpsgd, "private_step", counted)
    return sizes


def fit_noise(n_rows=1000, **changed):
    rng = np.random.default_rng(0)
    known = dict(noise_multiplier=1.0, sample_rate=0.1, steps=200, max_grad_norm=1.0, learning_rate=0.1, averaged_share=0.5, seeds=(1, 2))
    return dpsgd.train_linear(rng.normal(size=(n_rows, 2)), rng.integers(0, 2, n_rows), **{**known, **changed})


def test_rows_are_drawn_by_the_rate_that_is_accounted(monkeypatch):
    sizes = spy_on_batches(monkeypatch)
    trained = fit_noise()
    assert trained.accountant.history == [(1.0, 0.1, 200)]
    assert len(sizes) == 200
    # A Poisson sample of 1000 rows at 0.1 has mean 100 and standard deviation 9.5; a fixed batch has none.
    assert np.mean(sizes) == pytest.approx(100, abs=2.5)
    assert np.std(sizes) == pytest.approx(9.5, rel=0.25)


def test_an_empty_sample_is_a_step_like_any_other(monkeypatch):
    sizes = spy_on_batches(monkeypatch)
    trained = fit_noise(n_rows=20, sample_rate=0.01, steps=50)
    assert sizes.count(0) > 20
    assert trained.accountant.history == [(1.0, 0.01, 50)]
    assert np.isfinite(trained.coefficients).all()


def test_all_rows_enter_where_the_rate_is_one(monkeypatch):
    sizes = spy_on_batches(monkeypatch)
    fit_noise(sample_rate=1.0, steps=5)
    assert sizes == [1000] * 5


def test_seeds_decide_and_threads_are_given_back():
    before = torch.get_num_threads()
    first, again, other = (fit_noise(seeds=seeds).coefficients for seeds in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.get_num_threads() == before


def test_the_global_generator_has_no_say():
    torch.manual_seed(1)
    first = fit_noise().coefficients
    torch.manual_seed(2)
    assert np.array_equal(first, fit_noise().coefficients)

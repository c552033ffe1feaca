"""What the accountant takes for granted: bounded rows, the right noise, the right rate, every step counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys.privacy import dpsgd

finite = st.floats(-1e6, 1e6, width=32)


def outcomes_for(loss, draw):
    "Outcomes that the loss takes, the worst ones among them."
    return draw(arrays(np.float32, 6, elements=finite)) if loss not in ("logistic", "softmax") else draw(arrays(np.int8, 6, elements=st.integers(0, 2 if loss == "softmax" else 1)))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), X=arrays(np.float32, (6, 3), elements=finite), norm=st.floats(0.05, 5))
@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1), (dpsgd.quantile_loss(0.9), 1)])
def test_no_row_moves_a_step_further_than_max_grad_norm(loss, n_outputs, data, X, norm):
    weights = data.draw(arrays(np.float64, (n_outputs, 3), elements=st.floats(-10, 10)))
    moved = dpsgd.bound_rows(X, outcomes_for(loss, data.draw), loss=loss, n_outputs=n_outputs, max_grad_norm=norm, weights=weights)
    assert moved.max() <= norm * (1 + 1e-4) + 1e-4


@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1)])
def test_the_sum_is_that_of_rows_clipped_one_by_one(loss, n_outputs):
    "Against gradients written out by hand: outer products of residual and row, each cut to the length."
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(40, 4)), rng.normal(size=(n_outputs, 4))
    y = rng.normal(size=40) if loss == "squared" else rng.integers(0, max(2, n_outputs), 40)
    outputs = X @ weights.T
    if loss == "softmax":
        odds = np.exp(outputs)
        residual = odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[y]
    else:
        residual = (outputs if loss == "squared" else 1 / (1 + np.exp(-outputs))) - y[:, None]
    rows = np.column_stack([X, np.ones(40)])
    own = residual[:, :, None] * rows[:, None, :]
    lengths = np.sqrt((own**2).sum(axis=(1, 2)))
    expected = (own * np.minimum(1.0, 0.7 / lengths)[:, None, None]).sum(axis=0)

    model = torch.nn.Linear(4, n_outputs)
    model.weight.data, model.bias.data = torch.from_numpy(weights).float(), torch.zeros(n_outputs)
    private, optimizer = dpsgd.make_private_optimizer(model, noise_multiplier=0.0, max_grad_norm=0.7, expected_batch_size=1.0, learning_rate=0.1, generator=None)
    with dpsgd.one_quiet_thread():
        dpsgd.private_step(private, optimizer, *dpsgd.as_tensors(X, y, loss), loss)
    weight, bias = (parameter.summed_grad.numpy() for parameter in optimizer.params)
    assert (lengths > 0.7).any() and (lengths < 0.7).any()
    assert np.allclose(np.column_stack([weight, bias]), expected, atol=1e-4)


@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1)])
def test_every_loss_has_one_number_a_row(loss, n_outputs):
    "In ghost mode a loss of the shape (rows, 1) would clip nothing, and nothing would say so."
    rows, outcomes = dpsgd.as_tensors(np.zeros((5, n_outputs)), np.zeros(5), loss)
    assert dpsgd.LOSSES[loss](rows, outcomes).shape == (5,)


def test_a_batch_in_parts_is_one_step(monkeypatch):
    "The parts' clipped sums add up, noise is added once, and the accountant counts one step."
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    runs = []
    for most_numbers in (25_000_000, 15 * 7):
        monkeypatch.setattr(dpsgd.private_step, "__defaults__", ("logistic", most_numbers))
        known = dict(loss="softmax", n_outputs=3, noise_multiplier=1.0, sample_rate=0.5, steps=20, max_grad_norm=0.5, learning_rate=0.1, averaged_share=1.0, seeds=(1, 2))
        runs.append(dpsgd.train_linear(X, y, **known))
    whole, parts = runs
    assert whole.accountant.history == parts.accountant.history == [(1.0, 0.5, 20)]
    assert np.allclose(whole.coefficients, parts.coefficients, atol=1e-4)


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

    def counted(private, optimizer, rows, outcomes, loss):
        sizes.append(len(rows))
        return step(private, optimizer, rows, outcomes, loss)

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

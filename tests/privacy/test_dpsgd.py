"""What the accountant takes for granted: bounded rows, the right noise, the right rate, every step counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys.core import ConfigError
from mlsys.privacy import dpsgd
from mlsys.privacy.randomness import SecureSource, SeededSource
from mlsys.privacy.sampling import person_table

finite = st.floats(-1e6, 1e6, width=32)


def outcomes_for(loss, draw):
    "Outcomes that the loss takes, the worst ones among them."
    return draw(arrays(np.float32, 6, elements=finite)) if loss not in ("logistic", "softmax") else draw(arrays(np.int8, 6, elements=st.integers(0, 2 if loss == "softmax" else 1)))


@settings(max_examples=10, deadline=None)
@given(data=st.data(), X=arrays(np.float32, (6, 3), elements=finite), norm=st.floats(0.05, 5))
@pytest.mark.parametrize("mode", ["fused", "ghost", "hooks"])
@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1), (dpsgd.quantile_loss(0.9), 1)])
def test_no_row_moves_a_step_further_than_max_grad_norm(mode, loss, n_outputs, data, X, norm):
    weights = data.draw(arrays(np.float64, (n_outputs, 3), elements=st.floats(-10, 10)))
    moved = dpsgd.bound_rows(X, outcomes_for(loss, data.draw), loss=loss, n_outputs=n_outputs, max_grad_norm=norm, weights=weights, mode=mode)
    assert moved.max() <= norm * (1 + 1e-4) + 1e-4


@pytest.mark.parametrize("mode", ["fused", "ghost", "hooks"])
@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1)])
def test_the_sum_is_that_of_rows_clipped_one_by_one(loss, n_outputs, mode):
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
    clipper, optimizer = dpsgd.make_private_optimizer(model, noise_multiplier=0.0, max_grad_norm=0.7, expected_batch_size=1.0, learning_rate=0.1, source=SeededSource(0), mode=mode)
    with dpsgd.one_quiet_thread():
        dpsgd.private_step(clipper, optimizer, np.arange(40), dpsgd.as_table(X, y, loss), loss)
    weight, bias = (parameter.summed_grad.numpy() for parameter in optimizer.params)
    assert (lengths > 0.7).any() and (lengths < 0.7).any()
    assert np.allclose(np.column_stack([weight, bias]), expected, atol=1e-4)


@pytest.mark.parametrize("loss, n_outputs", [("logistic", 1), ("softmax", 3), ("squared", 1)])
def test_every_loss_has_one_number_a_row(loss, n_outputs):
    rows, outcomes, _ = dpsgd.as_table(np.zeros((5, n_outputs)), np.zeros(5), loss).fetch(np.arange(5))
    assert dpsgd.LOSSES[loss](rows, outcomes).shape == (5,)


@pytest.mark.parametrize("mode", ["fused", "ghost", "hooks"])
def test_a_batch_in_parts_is_one_step(monkeypatch, mode):
    "The parts' clipped sums add up, noise is added once, and the accountant counts one step."
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    runs = []
    for most_numbers in (25_000_000, 15 * 7):
        monkeypatch.setattr(dpsgd.private_step, "__defaults__", ("logistic", most_numbers))
        known = dict(loss="softmax", n_outputs=3, noise_multiplier=1.0, sample_rate=0.5, steps=20, max_grad_norm=0.5, learning_rate=0.1, averaged_share=1.0, seeds=(1, 2), mode=mode)
        runs.append(dpsgd.train_linear(X, y, **known))
    whole, parts = runs
    assert whole.accountant.history == parts.accountant.history == [(1.0, 0.5, 20)]
    assert np.allclose(whole.coefficients, parts.coefficients, atol=1e-4)


@pytest.mark.parametrize("mode", ["fused", "ghost", "hooks"])
def test_the_parts_of_a_network_s_step_are_clipped_and_added(mode):
    "Against the step in one part, with gradients far above the bound."
    rng = np.random.default_rng(0)
    table, sums = dpsgd.as_table(30 * rng.normal(size=(50, 4)), rng.integers(0, 2, 50), "logistic"), []
    for most_numbers in (25_000_000, 700):
        model = dpsgd.make_model(4, hidden_units=(6,), seed=1)
        torch.nn.init.constant_(model[2].weight, 3.0)
        clipper, optimizer = dpsgd.make_private_optimizer(model, noise_multiplier=0.0, max_grad_norm=0.3, expected_batch_size=1.0, learning_rate=0.1, source=SeededSource(0), mode=mode)
        with dpsgd.one_quiet_thread():
            for _ in range(2):  # what a step leaves behind must not get into the next
                dpsgd.private_step(clipper, optimizer, np.arange(50), table, most_numbers=most_numbers)
        sums.append(torch.cat([parameter.summed_grad.ravel() for parameter in optimizer.params]))
    assert len(table.parts(np.arange(50), 700 // clipper.numbers)) > 1
    assert torch.allclose(*sums, atol=1e-4) and 0.1 < sums[1].norm() <= 50 * 0.3 * (1 + 1e-5)


def test_clipping_is_not_idle():
    moved = dpsgd.bound_rows(np.full((5, 3), 100.0), np.zeros(5), max_grad_norm=0.5)
    assert np.allclose(moved, 0.5, atol=1e-4)


@pytest.mark.parametrize("mode", ["fused", "ghost", "hooks"])
@pytest.mark.parametrize("secure", [False, True])
def test_the_noise_has_the_size_that_was_asked_for(secure, mode):
    model = torch.nn.Linear(50_000, 1)
    clipper, optimizer = dpsgd.make_private_optimizer(
        model, noise_multiplier=3.0, max_grad_norm=0.5, expected_batch_size=10.0, learning_rate=0.1, source=SecureSource() if secure else SeededSource(0), mode=mode)
    with dpsgd.one_quiet_thread():
        dpsgd.private_step(clipper, optimizer, np.arange(0), dpsgd.as_table(np.zeros((1, 50_000)), np.zeros(1), "logistic"))
    assert float(model.weight.grad.std()) == pytest.approx(3.0 * 0.5 / 10.0, rel=0.03)


def spy_on_batches(monkeypatch):
    "Record the size of every batch that is trained on."
    sizes, step = [], dpsgd.private_step

    def counted(clipper, optimizer, units, table, loss):
        sizes.append(len(units))
        return step(clipper, optimizer, units, table, loss)

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


def test_no_seed_draws_from_a_cipher():
    first, second = (fit_noise(seeds=None) for _ in range(2))
    assert not np.array_equal(first.coefficients, second.coefficients)
    assert first.accountant.history == [(1.0, 0.1, 200)]


def network_run(**changed):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), rng.integers(0, 2, 300)
    known = dict(noise_multiplier=0.5, sample_rate=0.2, steps=30, max_grad_norm=0.5, learning_rate=0.05, averaged_share=0.5, seeds=(1, 2))
    table = dpsgd.as_table(X, y, "logistic", changed.pop("rows_of", None))
    return dpsgd.train_private(dpsgd.make_model(4, hidden_units=(6, 5)), table, **{**known, **changed})


def test_a_network_is_the_same_in_every_mode():
    fits = {mode: network_run(mode=mode) for mode in ("fused", "ghost", "hooks", "auto")}
    assert [fit.mode for fit in fits.values()] == ["fused", "ghost", "hooks", "fused"]
    for fit in fits.values():
        assert all(np.allclose(mine, other, atol=2e-3) for mine, other in zip(fit.weights, fits["hooks"].weights, strict=True))
        assert fit.largest_gradient <= 0.5 * (1 + 1e-5) and fit.accountant.history == [(0.5, 0.2, 30)]


def test_a_table_in_a_file_gives_the_same_weights(tmp_path):
    rng = np.random.default_rng(0)
    X = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(300, 4))
    X[:] = rng.normal(size=(300, 4))
    y = rng.integers(0, 2, 300)
    known = dict(noise_multiplier=1.0, sample_rate=0.3, steps=20, max_grad_norm=1.0, learning_rate=0.1, averaged_share=0.5, seeds=(1, 2))
    assert isinstance(dpsgd.as_table(X, y, "logistic").X, np.memmap)
    assert np.array_equal(dpsgd.train_linear(X, y, **known).coefficients, dpsgd.train_linear(np.array(X), y, **known).coefficients)


def test_people_with_one_row_each_are_rows():
    alone = person_table(np.arange(300), n_rows=300, most_rows=5, source=SeededSource(0))
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(network_run().weights, network_run(rows_of=alone).weights, strict=True))


def test_no_person_moves_a_step_further_than_max_grad_norm(monkeypatch):
    "However many rows, and however they pull: the whole person is one clipped gradient."
    rng = np.random.default_rng(0)
    X, y = 100 * rng.normal(size=(40, 3)), np.ones(40)
    rows_of = person_table(np.arange(40) // 8, n_rows=40, most_rows=8, source=SeededSource(0))
    table, sums = dpsgd.as_table(X, y, "logistic", rows_of), []
    for kept in (np.arange(5), np.arange(4)):
        clipper, optimizer = dpsgd.make_private_optimizer(dpsgd.make_model(3), noise_multiplier=0.0, max_grad_norm=0.5, expected_batch_size=1.0, learning_rate=0.1, source=SeededSource(0))
        with dpsgd.one_quiet_thread():
            dpsgd.private_step(clipper, optimizer, kept, table)
        sums.append(torch.cat([parameter.summed_grad.ravel() for parameter in optimizer.params]))
    assert float((sums[0] - sums[1]).norm()) == pytest.approx(0.5, rel=1e-3)


def test_faults_can_be_planted(monkeypatch):
    "An audit has to be able to take clipping off and to make the noise too small."
    monkeypatch.setattr(dpsgd, "clip_factors", lambda lengths, max_grad_norm: torch.ones_like(lengths))
    assert dpsgd.bound_rows(np.full((5, 3), 100.0), np.zeros(5), max_grad_norm=0.5).min() > 10
    monkeypatch.undo()
    quiet, loud = [], fit_noise(noise_multiplier=3.0).coefficients
    monkeypatch.setattr(dpsgd, "noise_deviation", lambda noise_multiplier, max_grad_norm: 0.0)
    quiet = fit_noise(noise_multiplier=3.0).coefficients
    assert np.array_equal(quiet, fit_noise(noise_multiplier=0.0).coefficients) and not np.array_equal(quiet, loud)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ConfigError, match="table: received '0 rows'"):
        dpsgd.train_linear(np.zeros((0, 2)), np.zeros(0), noise_multiplier=1.0, sample_rate=0.5, steps=1, max_grad_norm=1.0, learning_rate=0.1, averaged_share=1.0, seeds=(1, 2))

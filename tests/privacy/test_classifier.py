"""The estimator: the budget, and what must be warned of."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlsys.core import BudgetError, ConfigError
from mlsys.privacy.accounting import PrivacyWarning, epsilon_spent
from mlsys.privacy.classifier import (
    PrivateLogisticRegression,
    PrivateNetworkClassifier,
    largest_batch,
    plan_run,
)

quiet = pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")


def rows(count=600, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 4)) / 2
    return X, (rng.random(count) < 1 / (1 + np.exp(-6 * X[:, 0]))).astype(int)


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
@pytest.mark.parametrize("target", [0.5, 1.0, 3.0])
def test_the_budget_is_kept_and_the_figures_agree(target):
    X, y = rows()
    model = PrivateLogisticRegression(target_epsilon=target, batch_size=100, epochs=5, random_state=0).fit(X, y)
    known = dict(noise_multiplier=model.noise_multiplier_, sample_rate=model.sample_rate_, steps=model.n_steps_, delta=1e-5)
    assert model.epsilon_ <= target
    assert model.epsilon_ == epsilon_spent(**known)
    assert model.epsilon_ <= epsilon_spent(accountant="rdp", **known)
    assert model.sample_rate_ * len(X) == pytest.approx(100, abs=1e-9)
    assert model.n_steps_ == 30


@pytest.mark.parametrize("count, batch", [(7, 3), (1000, 300), (32_561, 4096), (26_000, 256), (64, 64)])
def test_nothing_is_rounded_down_on_the_way(count, batch):
    rate, steps = plan_run(n_rows=count, batch_size=batch, epochs=10)
    assert rate * count == pytest.approx(batch, rel=1e-12)
    assert abs(steps * rate - 10) <= rate / 2 + 1e-12


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
def test_noise_costs_accuracy_and_a_large_budget_costs_little():
    X, y = rows(3000)
    tight, loose = (PrivateLogisticRegression(target_epsilon=target, random_state=0).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) for target in (0.02, 8.0))
    assert loose > 0.78
    assert tight < loose


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
def test_a_seed_repeats_and_none_does_not():
    X, y = rows()
    fits = [PrivateLogisticRegression(epochs=3, random_state=seed).fit(X, y).coef_ for seed in (5, 5, None, None)]
    assert np.array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[2], fits[3])


@pytest.mark.parametrize("settings, words", [
    ({"random_state": 3}, "whoever knows the seed can take the noise off"),
    ({"random_state": None}, "not cryptographic ones"),
    ({"random_state": 3, "target_delta": 0.01}, "not below 1 / 600 rows"),
])
def test_what_weakens_the_promise_is_said(settings, words):
    with pytest.warns(PrivacyWarning) as caught:
        PrivateLogisticRegression(epochs=2, **settings).fit(*rows())
    assert any(words in str(warning.message) for warning in caught)


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
@pytest.mark.parametrize("wrong, error, words", [
    ({"target_epsilon": 0.01}, BudgetError, "target_epsilon: received 0.01; allowed: 0.02 or more"),
    ({"target_epsilon": 0.0}, ConfigError, "target_epsilon: received 0.0"),
    ({"target_delta": 1.0}, ConfigError, "target_delta: received 1.0"),
    ({"max_grad_norm": 0}, ConfigError, "max_grad_norm: received 0"),
    ({"learning_rate": -1}, ConfigError, "learning_rate: received -1"),
    ({"averaged_share": 1.5}, ConfigError, "averaged_share: received 1.5"),
    ({"epochs": 0}, ConfigError, "epochs: received 0"),
    ({"target_epsilon": float("inf")}, ConfigError, "target_epsilon: received inf"),
    ({"target_epsilon": -1.0}, ConfigError, "target_epsilon: received -1.0"),
    ({"batch_size": 51}, ConfigError, "batch_size: received 51; allowed: at most 50, the rows there are.*no noise hides that.*batch_size=None takes 32"),
    ({"secure": True}, ConfigError, "random_state: received 0; allowed: None, because secure=True"),
    ({"secure": 1}, ConfigError, "secure: received 1; allowed: True or False"),
    ({"random_state": -1}, ConfigError, "random_state: received -1"),
])
@pytest.mark.parametrize("kind", [PrivateLogisticRegression, PrivateNetworkClassifier])
def test_bad_settings_are_refused_by_name(wrong, error, words, kind):
    with pytest.raises(error, match=words):
        kind(**{"random_state": 0, **wrong}).fit(*rows(50))


def test_a_model_that_overspent_does_not_exist(monkeypatch):
    monkeypatch.setattr("mlsys.privacy.classifier.calibrate_noise", lambda **budget: 0.8)
    with pytest.warns(PrivacyWarning), pytest.raises(BudgetError, match="epsilon spent: received .* at most target_epsilon = 1.0"):
        model = PrivateLogisticRegression(random_state=0)
        model.fit(*rows(50))
    assert not hasattr(model, "coef_")


def three_kinds(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 4)) / 2
    return X, np.array(["a", "b", "c"])[np.argmax(6 * X[:, :3] + rng.gumbel(size=(count, 3)), axis=1)]


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
@pytest.mark.parametrize("target", [0.5, 3.0])
def test_many_classes_keep_the_budget_and_are_learnt(target):
    X, y = three_kinds()
    model = PrivateLogisticRegression(target_epsilon=target, random_state=0).fit(X[:2000], y[:2000])
    known = dict(noise_multiplier=model.noise_multiplier_, sample_rate=model.sample_rate_, steps=model.n_steps_, delta=1e-5)
    assert model.epsilon_ == epsilon_spent(**known) <= target
    assert model.coef_.shape == (3, 4) and model.intercept_.shape == (3,)
    plain = LogisticRegression().fit(X[:2000], y[:2000]).score(X[2000:], y[2000:])
    assert plain - model.score(X[2000:], y[2000:]) < 0.03
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert np.array_equal(model.classes_[model.predict_proba(X).argmax(axis=1)], model.predict(X))


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
def test_a_declared_class_without_a_row_has_a_place():
    X, y = three_kinds()
    model = PrivateLogisticRegression(target_epsilon=3.0, classes=["d", "c", "b", "a"], random_state=0).fit(X, y)
    assert model.classes_.tolist() == ["a", "b", "c", "d"]
    assert model.predict_proba(X)[:, 3].max() < 0.3
    two = PrivateLogisticRegression(target_epsilon=3.0, classes=[0, 1], epochs=2, random_state=0).fit(X, np.zeros(len(X), dtype=int))
    assert two.predict_proba(X).shape == (3000, 2) and two.score(X, np.zeros(len(X), dtype=int)) == 1.0


@pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")
def test_declaring_what_occurs_changes_nothing():
    X, y = rows()
    fits = [PrivateLogisticRegression(classes=classes, epochs=3, random_state=0).fit(X, y).coef_ for classes in (None, [0, 1])]
    assert np.array_equal(*fits)


@pytest.mark.parametrize("classes, words", [(["a", "b"], "y: received .'c'.; allowed: only the 2 declared classes"), (["a"], "classes: received '1 class'; allowed: two classes or more")])
def test_classes_that_do_not_fit_are_refused(classes, words):
    with pytest.raises(ConfigError, match=words):
        PrivateLogisticRegression(classes=classes, random_state=0).fit(*three_kinds(60))


def test_a_secure_run_has_nothing_to_warn_of_and_repeats_nothing():
    X, y = rows()
    fits = [PrivateLogisticRegression(epochs=3, secure=True).fit(X, y) for _ in range(2)]  # warnings are errors here
    assert not np.array_equal(fits[0].coef_, fits[1].coef_)
    assert fits[0].epsilon_ == fits[1].epsilon_ <= 1.0


@quiet
@pytest.mark.parametrize("wrong", [(), (0,), (8, 2.5), (True,), 0])
def test_a_network_has_layers(wrong):
    with pytest.raises(ConfigError, match="hidden_units: received"):
        PrivateNetworkClassifier(hidden_units=wrong, random_state=0).fit(*rows(50))


@quiet
def test_a_network_learns_what_a_line_cannot_and_keeps_the_budget():
    X = np.random.default_rng(0).normal(size=(6000, 3)) / 2
    y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    network = PrivateNetworkClassifier(target_epsilon=3.0, batch_size=512, epochs=60, random_state=0).fit(X[:4000], y[:4000])
    line = PrivateLogisticRegression(target_epsilon=3.0, random_state=0).fit(X[:4000], y[:4000])
    assert network.epsilon_ <= 3.0 and network.epsilon_ <= network.epsilon_rdp_ + 0.02
    assert network.score(X[4000:], y[4000:]) > 0.85 > 0.6 > line.score(X[4000:], y[4000:])
    assert [weight.shape for weight in network.coefs_] == [(3, 32), (32, 1)] and network.clipping_ == "fused"


@quiet
def test_a_network_tells_several_classes_apart():
    X, y = three_kinds()
    network = PrivateNetworkClassifier(hidden_units=(16, 8), target_epsilon=8.0, classes=["a", "b", "c", "d"], random_state=0).fit(X[:2000], y[:2000])
    assert network.predict_proba(X).shape == (3000, 4) and np.allclose(network.predict_proba(X).sum(axis=1), 1.0)
    assert network.score(X[2000:], y[2000:]) > 0.7


@quiet
def test_one_row_does_not_change_what_sums_are_divided_by():
    assert [largest_batch(count) for count in (1, 2, 3, 700, 701, 4095, 4096, 10**6)] == [1, 2, 2, 512, 512, 2048, 4096, 4096]
    assert largest_batch(5000, most=100) == 100


@quiet
@pytest.mark.parametrize("kind", [PrivateLogisticRegression, PrivateNetworkClassifier])
def test_people_are_counted_and_not_their_rows(kind):
    X, y = rows(1200)
    people = np.arange(1200) // 4
    model = kind(target_epsilon=2.0, epochs=5, random_state=0).fit(X, y, groups=people)
    assert (model.unit_, model.n_units_, model.batch_size_) == ("person", 300, 256)
    assert model.sample_rate_ == 256 / 300 and model.epsilon_ <= 2.0
    assert model.epsilon_ == epsilon_spent(noise_multiplier=model.noise_multiplier_, sample_rate=256 / 300, steps=model.n_steps_, delta=1e-5)


def test_delta_is_held_against_people():
    X, y = rows(1200)
    with pytest.warns(PrivacyWarning) as caught:
        PrivateLogisticRegression(target_delta=1e-3, epochs=2, random_state=0).fit(X, y, groups=np.arange(1200) // 4)
    assert not any("not below" in str(warning.message) for warning in caught)
    with pytest.warns(PrivacyWarning) as caught:
        PrivateLogisticRegression(target_delta=1 / 300, epochs=2, random_state=0).fit(X, y, groups=np.arange(1200) // 4)
    assert any("not below 1 / 300 people" in str(warning.message) for warning in caught)


@quiet
def test_one_row_a_person_is_the_promise_to_rows():
    X, y = rows()
    by_row, by_person = (PrivateLogisticRegression(epochs=3, random_state=0).fit(X, y, groups=groups) for groups in (None, np.arange(600)))
    assert np.allclose(by_row.coef_, by_person.coef_, atol=1e-6)


@quiet
@pytest.mark.parametrize("spoil, words", [(lambda X, y: (np.where(X == X[0, 0], np.nan, X), y), "NaN"), (lambda X, y: (X, np.zeros(len(y), dtype=int)), "1 class'; allowed: two classes or more")])
def test_bad_rows_are_refused(spoil, words):
    with pytest.raises(ValueError, match=words):
        PrivateNetworkClassifier(random_state=0).fit(*spoil(*rows(60)))

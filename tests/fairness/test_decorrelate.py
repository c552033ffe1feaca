"""Inputs are those of Fairlearn's CorrelationRemover, for every kind of outcome; groups never seen are nobody's fault."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.preprocessing import CorrelationRemover
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import StandardScaler

from mlsys.core import ConfigError
from mlsys.fairness.decorrelate import DecorrelatedClassifier, DecorrelatedRegressor
from mlsys.models.persistence import load_model, save_model

KNOWN = {"sensitive": ["town", "age"], "features": ["income", "debt"]}


def prepare():
    return make_column_transformer((StandardScaler(), ["income", "debt"]))


def people(seed=0, rows=1500):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"town": rng.choice(["east", "west", None], rows, p=[0.6, 0.35, 0.05]), "age": rng.integers(18, 80, rows), "income": rng.normal(size=rows), "debt": rng.normal(size=rows)})
    table["income"] += 0.8 * (table["town"] == "west") + 0.02 * table["age"]
    return table, (rng.random(rows) < 1 / (1 + np.exp(0.5 - table["income"]))).astype(int)


@pytest.mark.parametrize("alpha", [1.0, 0.4, 0.0])
def test_the_inputs_are_those_of_correlation_remover(alpha):
    table, y = people()
    model = DecorrelatedClassifier(prepare(), alpha=alpha, **KNOWN).fit(table, y)
    told = model._indicators(table)
    inputs = np.column_stack([told, prepare().fit_transform(table)])
    remover = CorrelationRemover(sensitive_feature_ids=list(range(told.shape[1])), alpha=alpha).fit(inputs)
    assert np.allclose(model.residuals(table), remover.transform(inputs), atol=1e-10)
    assert told.shape[1] == 3 + 4 and (told.sum(axis=1) == 2).all()  # missing is a group; ages are cut in quarters
    if alpha == 1.0:
        assert np.abs(np.corrcoef(np.column_stack([told, model.residuals(table)]).T)[:7, 7:]).max() < 1e-8


def test_the_scores_of_groups_have_the_same_mean():
    table, y = people()
    model = DecorrelatedClassifier(prepare(), **KNOWN).fit(table, y)
    score = model.residuals(table) @ model.model_.coef_[0]
    assert np.ptp(pd.Series(score).groupby(table["town"].fillna("none").to_numpy()).mean()) < 1e-8


@pytest.mark.parametrize("kind", ["two", "three", "number"])
def test_every_kind_of_outcome_is_learnt_kept_and_answered_alone(tmp_path, kind):
    table, y = people()
    outcome = {"two": y, "three": y + (table["debt"] > 0.5).astype(int).to_numpy(), "number": 3 * table["debt"].to_numpy() + y}[kind]
    way = DecorrelatedRegressor if kind == "number" else DecorrelatedClassifier
    model = way(prepare(), **KNOWN).fit(table, outcome)
    copy = load_model(tmp_path / "model.skops", save_model(model, tmp_path / "model.skops"))
    assert np.array_equal(copy.predict(table), model.predict(table))
    assert np.allclose([model.predict(table.iloc[[place]])[0] for place in range(20)], model.predict(table)[:20])
    assert np.corrcoef(model.predict(table), outcome)[0, 1] > 0.25
    if kind != "number":
        assert np.allclose(model.predict_proba(table).sum(axis=1), 1)
    else:
        assert np.mean(outcome <= model.predict_quantile(table, 0.8)) == pytest.approx(0.8, abs=0.01)


def test_a_group_that_was_never_seen_counts_as_the_mean_of_all():
    table, y = people()
    model = DecorrelatedClassifier(prepare(), sensitive=["town"], features=["income", "debt"]).fit(table, y)
    assert np.allclose(model.residuals(table.assign(town="islands")), prepare().fit_transform(table))


def test_one_group_alone_leaves_the_inputs_as_they_are():
    table, y = people()
    model = DecorrelatedClassifier(prepare(), sensitive=["town"], features=["income", "debt"]).fit(table.assign(town="east"), y)
    assert np.allclose(model.residuals(table.assign(town="east")), prepare().fit_transform(table))


def test_wrong_settings_are_named():
    table, y = people()
    for settings, words in (({"alpha": 2.0}, "alpha: received 2.0"), ({"features": ["income", "age"]}, r"features: received \['age'\]"), ({"sensitive": ["city"]}, "sensitive: received 'city'")):
        with pytest.raises(ConfigError, match=words):
            DecorrelatedClassifier(prepare(), **(KNOWN | settings)).fit(table, y)

"""Preparing columns: no surprises at prediction time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError
from mlsys.data.roles import Roles
from mlsys.models.boosted import make_boosted
from mlsys.models.linear import make_logistic, weight_table
from mlsys.models.preprocess import EmptyColumnFiller, QuantileRamps, make_preprocessor


def roles(numeric=(), categorical=()):
    return Roles(target="y", positive_label="1", negative_label="0", numeric=list(numeric), categorical=list(categorical))


@parametrize_with_checks([QuantileRamps(), QuantileRamps(n_knots=2), EmptyColumnFiller()])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


VALUES = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-3, 3).map(float)), min_size=1, max_size=40)


@settings(deadline=None)
@given(VALUES, st.integers(2, 8), st.floats(-1e12, 1e12))
def test_ramps_are_bounded_rise_with_the_value_and_never_break(values, n_knots, unseen):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=float)})
    ramps = QuantileRamps(n_knots).fit(frame)
    out = ramps.transform(frame)
    assert out.shape[1] == len(ramps.get_feature_names_out())
    assert ((out >= 0) & (out <= 1)).all()
    known = frame["x"].notna().to_numpy()
    height = out[:, : len(ramps.knots_[0]) - 1].sum(axis=1)[known]
    order = np.argsort(frame["x"].to_numpy()[known], kind="stable")
    assert (np.diff(height[order]) >= -1e-9).all()
    assert np.isfinite(ramps.transform(pd.DataFrame({"x": [unseen, np.nan]}))).all()


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40, unique=True))
def test_two_values_that_a_knot_divides_are_told_apart(values):
    frame = pd.DataFrame({"x": values})
    out = QuantileRamps(5).fit_transform(frame)
    assert not np.array_equal(out[frame["x"].argmin()], out[frame["x"].argmax()])


def test_a_weighted_sum_of_ramps_is_the_line_between_the_knots():
    frame = pd.DataFrame({"x": np.arange(0.0, 101)})
    ramps = QuantileRamps(5).fit(frame)
    steps = np.diff(ramps.knots_[0])
    line = ramps.knots_[0][0] + ramps.transform(frame) @ steps
    assert np.allclose(line, frame["x"])


def test_nothing_is_extrapolated():
    frame = pd.DataFrame({"x": [0.0] * 90 + [10.0, 20.0, 1e6]})
    ramps = QuantileRamps().fit(frame)
    assert np.array_equal(ramps.transform(pd.DataFrame({"x": [1e6]})), ramps.transform(pd.DataFrame({"x": [1e300]})))
    assert len(ramps.knots_[0]) > 3  # nine tenths are zero, and the others still have bends


def test_a_missing_value_is_the_median_and_says_so():
    frame = pd.DataFrame({"x": [1.0, 2.0, np.nan, 9.0, 11.0], "z": [1.0, 2.0, 3.0, 4.0, 5.0]})
    ramps = QuantileRamps().fit(frame)
    out = ramps.transform(pd.DataFrame({"x": [np.nan, 5.5], "z": [np.nan, 3.0]}))
    assert np.array_equal(out[0, :-1], out[1, :-1])  # 5.5 is the median of x, 3 that of z
    assert out[:, -1].tolist() == [1.0, 0.0]
    assert list(ramps.get_feature_names_out())[-1] == "x missing"  # z was never missing, so has no indicator


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "age": rng.integers(18, 80, 400).astype(float),
        "gain": np.where(rng.random(400) < 0.9, 0, rng.gamma(1, 9000, 400)),
        "nothing": np.full(400, np.nan),
        "same": np.full(400, 7.0),
        "job": pd.Series(rng.choice(["clerk", "nurse", "smith"], 400), dtype="str"),
        "blank": pd.Series([None] * 400, dtype="str"),
        "rare": pd.Series(["usual"] * 397 + ["a", "b", "c"], dtype="str"),
    })  # fmt: skip
    frame.loc[:40, "age"] = np.nan
    frame.loc[20:60, "job"] = None
    return frame, (rng.random(400) < np.where(frame["job"] == "smith", 0.7, 0.2)).astype(int)


NUMERIC, CATEGORICAL = ["age", "gain", "nothing", "same"], ["job", "blank", "rare"]


@pytest.mark.parametrize("make", [make_logistic, make_boosted])
@pytest.mark.parametrize(
    ("numeric", "categorical"),
    [(NUMERIC, CATEGORICAL), (["age"], []), ([], ["job"]), (["same"], []), (["nothing"], []), ([], ["blank"]), (["same"], ["blank"])],
)
def test_every_kind_of_table_can_be_learnt_and_predicted(make, numeric, categorical, table):
    frame, y = table
    options = {"max_iter": 20} if make is make_boosted else {}
    model = make(roles(numeric, categorical), **options).fit(frame, y)
    tomorrow = pd.DataFrame({
        "age": [np.nan, 300.0, -5.0], "gain": [np.nan, 1e12, -1.0], "nothing": [1.0, np.nan, 2.0], "same": [8.0, np.nan, 7.0],
        "job": pd.Series(["astronaut", None, "nurse"], dtype="str"), "blank": pd.Series(["ink", None, "x"], dtype="str"),
        "rare": pd.Series(["d", None, "a"], dtype="str"),
    })  # fmt: skip
    scores = model.predict_proba(tomorrow)[:, 1]
    assert np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()
    assert np.array_equal(scores, model.predict_proba(tomorrow[tomorrow.columns[::-1]])[:, 1])  # the order of columns is no matter


@pytest.mark.parametrize("make", [make_logistic, make_boosted])
def test_training_twice_gives_the_same_scores(make, table):
    frame, y = table
    first, second = (make(roles(NUMERIC, CATEGORICAL)).fit(frame, y).predict_proba(frame) for _ in range(2))
    assert np.array_equal(first, second)


def test_an_unseen_category_is_treated_like_the_rare_ones(table):
    frame, _ = table
    prepare = make_preprocessor(roles([], ["rare"]), min_frequency=10).fit(frame)
    unseen, rare, usual = prepare.transform(pd.DataFrame({"rare": ["never seen", "a", "usual"]}))
    assert unseen.tolist() == rare.tolist() != usual.tolist()


def test_a_missing_category_is_a_category(table):
    frame, _ = table
    prepare = make_preprocessor(roles([], ["job"])).fit(frame)
    assert [name for name in prepare.get_feature_names_out() if name.endswith("nan")] == ["job_nan"]


def test_trees_see_categories_as_categories(table):
    frame, y = table
    model = make_boosted(roles(NUMERIC, CATEGORICAL), max_iter=5).fit(frame, y)
    assert model["model"].is_categorical_.tolist() == [False] * 4 + [True] * 3


def test_weights_are_named_and_sorted(table):
    frame, y = table
    weights = weight_table(make_logistic(roles(NUMERIC, CATEGORICAL)).fit(frame, y))
    assert weights["input"].iloc[0] == "job_smith" and weights["weight"].iloc[0] > 0
    assert weights["weight"].abs().is_monotonic_decreasing


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_preprocessor(roles()), "features: received"),
        (lambda: make_preprocessor(roles(["x"]), "forest"), "kind: received 'forest'; allowed: linear, trees"),
        (lambda: make_logistic(roles(["x"]), inverse_regularisation=0), "inverse_regularisation: received 0"),
        (lambda: QuantileRamps(1).fit([[1.0], [2.0]]), "n_knots: received 1"),
    ],
)
def test_bad_settings_are_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

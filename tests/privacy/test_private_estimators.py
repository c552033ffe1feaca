"""What both private estimators promise: scikit-learn's contract, and a saved model that needs no Opacus."""

import functools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from mlsys.models.persistence import load_model, save_model
from mlsys.privacy import classifier
from mlsys.privacy.accounting import epsilon_spent
from mlsys.privacy.classifier import PrivateLogisticRegression, PrivateNetworkClassifier
from mlsys.privacy.pipeline import private_pipeline
from mlsys.privacy.regressor import PrivateLinearRegression, PrivateNetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")


@pytest.mark.parametrize(("estimator", "fewest"), [
    (PrivateLogisticRegression(target_epsilon=20.0, epochs=20, random_state=0), 40), (PrivateLinearRegression(target_epsilon=20.0, epochs=40, random_state=0), 35),
    (PrivateNetworkClassifier(target_epsilon=20.0, epochs=60, random_state=0), 40), (PrivateNetworkRegressor(target_epsilon=20.0, epochs=60, random_state=0), 35)])
def test_they_keep_scikit_learns_contract(monkeypatch, estimator, fewest):
    # A hundred fits with the same two budgets: search the noise once for each.
    monkeypatch.setattr(classifier, "calibrate_noise", functools.cache(classifier.calibrate_noise))
    monkeypatch.setattr(classifier, "ledger_epsilon", lambda ledger, *, delta: spent(*ledger.history, delta))
    spent = functools.cache(lambda run, delta: epsilon_spent(noise_multiplier=run[0], sample_rate=run[1], steps=run[2], delta=delta))
    monkeypatch.setattr(classifier, "epsilon_spent", lambda **run: np.inf)  # the older accountant takes half a second a fit
    result = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {item["check_name"]: repr(item["exception"]) for item in result if item["status"] == "failed"}
    assert len(result) > fewest
    assert failed == {}


@pytest.mark.parametrize(("answer", "options"), [
    ("predict_proba", {"domain": {"income": {"min": 0, "max": 10**6}}}), ("predict", {"domain": {}, "problem": "regression", "target_range": (0, 10)})])
@pytest.mark.parametrize("kind", ["linear", "network"])
def test_a_saved_model_predicts_the_same_without_opacus(tmp_path, answer, options, kind):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"income": rng.lognormal(10, 1, 300), "region": rng.choice(["north", "south"], 300)})
    y = rng.uniform(0, 10, 300) if answer == "predict" else rng.integers(0, 2, 300)
    options = {**options, "model": kind}
    model = private_pipeline(["income"], ["region"], options.pop("domain"), target_epsilon=3.0, random_state=0, **options).fit(table, y)
    expected = getattr(model, answer)(table)
    digest = save_model(model, tmp_path / "model.skops")
    assert np.array_equal(getattr(load_model(tmp_path / "model.skops", digest), answer)(table), expected)
    table.to_parquet(tmp_path / "table.parquet")
    program = (
        "import sys, pandas, mlsys.privacy.classifier, mlsys.privacy.domain, mlsys.privacy.regressor; from mlsys.models.persistence import load_model; "
        f"p = load_model(r'{tmp_path / 'model.skops'}', '{digest}').{answer}(pandas.read_parquet(r'{tmp_path / 'table.parquet'}')); "
        "print('opacus' in sys.modules or 'torch' in sys.modules, p.shape)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"False {expected.shape}"


@pytest.mark.parametrize("model", [
    PrivateLogisticRegression(target_epsilon=2.5, batch_size=7, classes=["a", "b"], random_state=1),
    PrivateLinearRegression(target_epsilon=2.5, averaged_share=0.25, target_range=(0, 5), random_state=1),
    PrivateNetworkClassifier(target_epsilon=2.5, hidden_units=(3, 2), learning_rate=0.2, secure=True), PrivateNetworkRegressor(target_epsilon=2.5, max_rows_per_person=3, learning_rate=0.2)])
def test_they_can_be_cloned_with_what_they_share_and_what_they_do_not(model):
    parameters = clone(model).get_params()
    assert parameters == model.get_params() and parameters["target_epsilon"] == 2.5
    assert parameters.keys() >= classifier.PrivateModel().get_params().keys()
    assert {name for name, value in classifier.PrivateModel().get_params().items() if type(model)().get_params()[name] != value} <= {"learning_rate"}

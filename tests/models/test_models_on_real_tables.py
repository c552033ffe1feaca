"""The models on Adult's own train and test file: the figures that they have to reach."""

import pytest
import yaml
from sklearn.metrics import accuracy_score, roc_auc_score

from mlsys.data.query import derive_columns
from mlsys.data.source import read_tables
from mlsys.data.split import split_table
from mlsys.data.table import prepare_table
from mlsys.models.baseline import IfThenRuleClassifier
from mlsys.models.boosted import make_boosted
from mlsys.models.ladder import choose_simplest
from mlsys.models.linear import make_logistic
from mlsys.models.persistence import load_model, save_model
from mlsys.objective.cost import Costs

READING = ("query", "delimiter", "has_header", "columns", "missing_values")
PREPARING = ("target", "positive_label", "time", "group", "sensitive", "exclude", "sensitive_as_features", "rows_in_time_order")


@pytest.fixture(scope="module")
def adult(real_data, repo):
    """Adult as conf/data/adult.yaml prepares it: roles, and the three parts; a tenth of the training rows is held out."""
    conf = yaml.safe_load((repo / "conf" / "data" / "adult.yaml").read_text())
    files = (real_data / "adult" / "adult.data", real_data / "adult" / "adult.test")
    table, _ = read_tables(*files, **{key: conf[key] for key in READING})
    prepared = prepare_table(derive_columns(table, conf["derive"]), **{key: conf[key] for key in PREPARING})
    return prepared.roles, split_table(prepared.table, prepared.roles, validation_share=0.1, seed=0)


def model_conf(repo):
    return yaml.safe_load((repo / "conf" / "model" / "ladder.yaml").read_text())


@pytest.fixture(scope="module")
def models(adult, repo):
    """The three models that learn something, with the settings of conf/model/ladder.yaml."""
    roles, parts = adult
    conf = model_conf(repo)
    trees = {key: conf[key] for key in ("learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "l2")}
    models = {
        "rule": IfThenRuleClassifier(),
        "logistic": make_logistic(roles, conf["inverse_regularisation"], conf["logistic_max_iter"]),
        "boosted": make_boosted(roles, **trees),
    }
    return {name: model.fit(parts.train[roles.features], parts.train[roles.target]) for name, model in models.items()}


def scores_of(model, part, roles):
    return model.predict_proba(part[roles.features])[:, 1]


def test_the_rows_are_those_of_the_files(adult):
    _, parts = adult
    assert (len(parts.train) + len(parts.validation), len(parts.test)) == (32_561, 16_281)


def test_logistic_regression_reaches_its_accuracy(adult, models):
    roles, parts = adult
    assert accuracy_score(parts.test[roles.target], scores_of(models["logistic"], parts.test, roles) >= 0.5) >= 0.850


def test_boosted_trees_reach_their_auc(adult, models):
    roles, parts = adult
    assert roc_auc_score(parts.test[roles.target], scores_of(models["boosted"], parts.test, roles)) >= 0.925


def test_the_rule_with_one_condition_is_the_one_about_capital_gains(adult):
    roles, parts = adult
    rule = IfThenRuleClassifier(max_conditions=1).fit(parts.train[roles.features], parts.train[roles.target])
    assert rule.rule_[:2] == ("capital-gain", "at least")
    assert "capital-gain is at least" in rule.sentence_


def test_a_second_condition_is_worth_it_on_the_test_rows(adult, models):
    roles, parts = adult
    one = IfThenRuleClassifier(max_conditions=1).fit(parts.train[roles.features], parts.train[roles.target])
    right = {len(rule.rule_): (rule.predict(parts.test[roles.features]) == parts.test[roles.target]).mean() for rule in (one, models["rule"])}
    assert right[7] > right[3] + 0.005 and right[7] >= 0.81


def test_the_ladder_finds_the_trees_worth_it(adult, models):
    roles, parts = adult
    scores = {name: scores_of(model, parts.validation, roles) for name, model in models.items()}
    assert choose_simplest(parts.validation[roles.target], scores, Costs(0, 1, 1, 0), tolerance=2).chosen == "boosted"


def test_the_models_come_back_from_their_files(adult, models, tmp_path):
    roles, parts = adult
    for name, model in models.items():
        again = load_model(tmp_path / name, save_model(model, tmp_path / name))
        assert (scores_of(again, parts.test, roles) == scores_of(model, parts.test, roles)).all()

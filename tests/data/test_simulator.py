"""The simulator is held against its own truth, and the bundled files against the simulator."""

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.data.contract import find_violations, load_contract
from mlsys.data.simulator import simulate_lending, write_bundled_data
from mlsys.data.split import auc_with_interval


@pytest.fixture(scope="module")
def lending():
    return simulate_lending()


def auc(outcome, scores):
    return auc_with_interval(np.asarray(outcome).astype(int), np.asarray(scores, dtype=float))[0]


def test_size_and_span(lending):
    applications, repayments = lending.applications, lending.repayments
    assert len(applications) == 40_000 and 270_000 < len(repayments) < 330_000
    assert applications["applied_at"].is_monotonic_increasing and applications["application_id"].is_unique
    assert applications["applied_at"].min() >= pd.Timestamp("2023-01-01") and applications["applied_at"].max() < pd.Timestamp("2025-01-01")
    assert (applications["label_known_at"] - applications["applied_at"] == pd.Timedelta(days=90)).all()
    assert applications["applicant"].nunique() < 35_000, "some apply several times"
    assert {"income", "employment_length", "utilisation", "existing_debt"} <= set(applications.columns[applications.isna().any()])


def test_equal_seeds_give_equal_tables_and_others_do_not():
    one, two, other = simulate_lending(500, seed=3), simulate_lending(500, seed=3), simulate_lending(500, seed=4)
    pd.testing.assert_frame_equal(one.applications, two.applications)
    pd.testing.assert_frame_equal(one.repayments, two.repayments)
    pd.testing.assert_series_equal(one.truth.p_default, two.truth.p_default)
    assert not one.applications["income"].equals(other.applications["income"])


def test_the_oracle_is_calibrated_and_beats_any_column(lending):
    truth, applications = lending.truth, lending.applications
    assert 0.83 < auc(applications["default"], truth.p_default) < 0.89
    assert auc(truth.would_default, truth.p_default) > auc(applications["default"], truth.p_default), "biased labels cost AUC"
    deciles = pd.qcut(truth.p_recorded.to_numpy(), 10)
    gap = applications["default"].astype(float).groupby(deciles, observed=True).mean() - truth.p_recorded.groupby(deciles, observed=True).mean()
    assert gap.abs().max() < 0.03
    for name in ("utilisation", "inquiries_6m", "delinquencies_2y", "existing_debt"):
        assert auc(applications["default"], applications[name].fillna(applications[name].median())) < 0.75
    assert 0.08 < applications["default"].mean() < 0.15


def test_the_leak_gives_everything_away(lending):
    (leak,) = lending.truth.leaking_columns
    assert auc(lending.applications["default"], lending.applications[leak]) > 0.999


def test_the_drift_is_on_its_day_and_only_in_who_applies(lending):
    applications, truth = lending.applications, lending.truth
    late = applications["applied_at"] >= truth.drift_at
    assert truth.drift_at == pd.Timestamp("2024-07-01")
    share = (applications["channel"] == "comparison").groupby(late).mean()
    assert share[False] < 0.03 and share[True] > 0.28
    monthly = (applications["channel"] == "comparison").groupby(applications["applied_at"].dt.to_period("M")).mean()
    assert (monthly[:18] < 0.05).all() and (monthly[18:] > 0.25).all(), "the day is sharp"
    for name in ("age", "income", "history_years"):
        assert applications.loc[late, name].mean() < applications.loc[~late, name].mean()
    residual = (truth.would_default - truth.p_default).to_numpy()
    assert abs(residual[late].mean()) < 0.01, "risk given the person does not change"


def test_concept_shift_changes_risk_after_the_drift_only():
    plain, shifted = simulate_lending(8_000, seed=5), simulate_lending(8_000, seed=5, concept_shift=1.0)
    late = (plain.applications["applied_at"] >= plain.truth.drift_at).to_numpy()
    difference = (shifted.truth.p_default - plain.truth.p_default).to_numpy()
    assert np.allclose(difference[~late], 0) and (difference[late] > 0).all()


def test_the_biased_group_is_lent_less_at_equal_risk(lending):
    applications, truth = lending.applications, lending.truth
    column, group = truth.biased_group
    risk = pd.qcut(truth.p_default.to_numpy(), 10, labels=False)
    inside = applications[column] == group
    limit = (applications["credit_limit"] / applications["income"]).groupby([risk, inside]).mean().unstack()
    assert ((limit[True] / limit[False]) < 0.85).all()
    assert abs(truth.p_default[inside.to_numpy()].mean() - truth.p_default[~inside.to_numpy()].mean()) < 0.01, "true risk is equal"
    recorded = applications["default"].groupby(inside).mean()
    assert recorded[True] - recorded[False] > 0.01, "recorded default is not"


def test_without_bias_both_groups_are_treated_alike():
    fair = simulate_lending(20_000, seed=6, lending_factor=1.0, label_bias=0.0)
    assert (fair.applications["default"].to_numpy() == fair.truth.would_default.to_numpy()).all()
    ratio = (fair.applications["credit_limit"] / fair.applications["income"]).groupby(fair.applications["sex"]).mean()
    assert abs(ratio["female"] / ratio["male"] - 1) < 0.03


def test_repayments_belong_to_their_loans(lending):
    repayments = lending.repayments.merge(lending.applications[["application_id", "applied_at", "applicant", "term", "default"]], on="application_id")
    assert len(repayments) == len(lending.repayments) and (repayments["applicant_x"] == repayments["applicant_y"]).all()
    assert (repayments["due_at"] > repayments["applied_at"]).all() and (repayments["instalment"] <= repayments["term"]).all()
    assert (repayments["due_at"] <= pd.Timestamp("2025-04-01")).all() and not (repayments["paid_at"] > pd.Timestamp("2025-04-01")).any()
    paid = repayments.dropna(subset="paid_at")
    assert ((paid["paid_at"] - paid["due_at"]).dt.days == paid["days_late"]).all() and (paid["days_late"] >= 0).all()
    assert (repayments.loc[repayments["default"], "instalment"] <= 3).all(), "a defaulted loan stops within 90 days"
    assert (repayments.loc[repayments["paid_at"].isna(), "amount_paid"] == 0).all()


def test_past_lateness_says_something_about_the_next_loan(lending):
    late = lending.repayments.groupby("application_id")["days_late"].mean()
    applications = lending.applications.assign(late=lending.applications["application_id"].map(late))
    applications["late_before"] = applications.groupby("applicant")["late"].shift()
    returning = applications.dropna(subset="late_before")
    assert auc(returning["default"], returning["late_before"]) > 0.55


@pytest.mark.parametrize("setting", [{"n_applications": 5}, {"months": 12}, {"default_rate": 1.5}, {"lending_factor": 0}, {"label_bias": -0.1}])
def test_settings_outside_their_range(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        simulate_lending(**setting)


def test_bundled_files_are_what_the_simulator_writes(repo, tmp_path, lending):
    written = write_bundled_data(tmp_path)
    again = write_bundled_data(tmp_path / "again")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again], "equal bytes"
    assert sum(path.stat().st_size for path in written) < 6_000_000
    for path, fresh in zip(written, (lending.applications, lending.repayments), strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(path), fresh, check_dtype=False)
        bundled = repo / "data" / path.name
        if not bundled.exists():
            pytest.skip("the bundled data is not here: run `dvc pull`")
        stored = pd.read_parquet(bundled)
        pd.testing.assert_frame_equal(stored, pd.read_parquet(path))


def test_the_contract_of_the_bundled_data_holds_for_other_seeds(repo):
    contract = load_contract(repo / "conf" / "contract" / "lending.yaml")
    for seed in (1, 2):
        assert find_violations(simulate_lending(20_000, seed=seed).applications, contract).empty

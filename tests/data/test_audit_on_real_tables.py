"""The audit on tables that others have published, with no option but the target."""

import pytest

from mlsys.data.audit_table import audit_table
from mlsys.data.source import read_source


def audited(path, target, has_header=True, **options):
    table, _ = read_source(path, has_header=has_header)
    return audit_table(table, target, **options)


def scores(audit):
    return {(row["test on"], row["inputs"]): row["score"] for row in audit.fall.to_dict("records")}


def test_bank_marketing_flags_the_length_of_the_call_and_notes_the_macro_series(real_data):
    audit = audited(real_data / "bank_marketing" / "bank-additional-full.csv.gz", "y")
    assert [finding.name for finding in audit.standing] == ["predicts-alone:duration"]
    period = next(finding for finding in audit.findings if finding.rule == "names-the-period")
    assert {"euribor3m", "nr.employed", "emp.var.rate", "cons.price.idx", "cons.conf.idx"} <= set(period.columns) and not period.stands
    found = scores(audit)
    assert found["random rows", "all columns"] == pytest.approx(0.95, abs=0.01) and found["random rows", "without duration"] == pytest.approx(0.80, abs=0.01)
    assert found["latest rows", "all columns"] == pytest.approx(0.82, abs=0.015) and found["latest rows", "without duration"] == pytest.approx(0.71, abs=0.015)


def test_bike_sharing_flags_the_parts_of_the_sum(real_data):
    audit = audited(real_data / "bike_sharing" / "hour.csv", "cnt")
    assert [set(finding.columns) for finding in audit.standing] == [{"casual", "registered"}]


@pytest.mark.parametrize("options", [{}, {"time": "applied_at", "group": "applicant"}])
def test_the_bundled_table_flags_its_one_leak(repo, options):
    audit = audited(repo / "data" / "applications.parquet", "default", **options)
    assert [finding.columns for finding in audit.standing] == [("collection_calls",)]
    notes = {finding.name for finding in audit.findings if not finding.stands}
    assert {"clock-again:label_known_at", "identifier:application_id", "returning-group:applicant"} <= notes


def test_adult_and_german_credit_get_no_finding(real_data):
    adult = audited(real_data / "adult" / "adult.data", "column_15", has_header=False)
    german = audited(real_data / "german_credit" / "german.data", "column_21", has_header=False)
    assert not adult.standing and not german.standing and not adult.facts["has_clock"] and not german.facts["has_clock"]
    assert adult.facts["exact_duplicates"] == 24 and any("24 exact" in finding.what for finding in adult.findings)


def test_elec2_and_cookie_cats_get_no_finding(real_data):
    elec2 = audited(real_data / "elec2" / "elec.csv", "class")
    assert not elec2.standing and elec2.facts["has_clock"]
    assert not audited(real_data / "cookie_cats" / "cookie_cats.csv", "retention_7").standing


@pytest.mark.parametrize("month, target", [("2019-01", "fare_amount"), ("2019-02", "tip_amount"), ("2019-02", "total_amount")])
def test_taxi_totals_are_sums(real_data, month, target):
    audit = audited(real_data / "nyc_yellow_taxi" / f"yellow_tripdata_sample_{month}.csv.gz", target)
    found = [finding for finding in audit.standing if finding.rule == "together-the-target"]
    assert found and ({"total_amount", "fare_amount"} - {target}) & set(found[0].columns)


def test_fraud_features_flag_the_scenario(real_data):
    audit = audited(real_data / "fraud_handbook" / "transactions_features_2018-07-25_2018-08-07.parquet", "TX_FRAUD")
    assert [finding.columns for finding in audit.standing] == [("TX_FRAUD_SCENARIO",)]

"""Gates: text in, verdict out, and nothing in between is executed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.objective.gate import KINDS, OPERATORS, VERDICTS, Gate, gate_kind, judge_gates, parse_gate

METRIC = st.from_regex(r"[a-z][a-z_0-9]{0,20}(:[a-z][a-z_ ]{0,8}[a-z])?", fullmatch=True)


@given(METRIC, st.sampled_from(sorted(OPERATORS)), st.floats(-1e9, 1e9).map(lambda value: float(f"{value:.9g}")), st.booleans())
def test_a_gate_survives_being_written_and_read(metric, op, limit, where_measured):
    gate = Gate(metric, op, limit, where_measured)
    assert parse_gate(str(gate)) == gate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auc_roc >= 0.70", Gate("auc_roc", ">=", 0.7)),
        ("cost_per_1000<=-1000", Gate("cost_per_1000", "<=", -1000.0)),
        ("  epsilon  <  3 ", Gate("epsilon", "<", 3.0)),
        ("demographic_parity_difference:sex <= 0.25", Gate("demographic_parity_difference:sex", "<=", 0.25)),
        ("equalized_odds_difference:age group > 1e-3", Gate("equalized_odds_difference:age group", ">", 0.001)),
        ("latency_p99_us <= 200_000", Gate("latency_p99_us", "<=", 200_000.0)),
        ("brier <= .25", Gate("brier", "<=", 0.25)),
        ("epsilon <= 3 where  measured", Gate("epsilon", "<=", 3.0, True)),
        ("demographic_parity_difference:sex & age <= 1e-1 where measured ", Gate("demographic_parity_difference:sex & age", "<=", 0.1, True)),
    ],
)
def test_gates_that_people_write(text, expected):
    assert parse_gate(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "auc_roc", "auc_roc >=", ">= 0.7", "auc_roc => 0.7", "auc_roc == 0.7", "auc_roc >= 0.7 or 1", "auc roc >= 0.7", "0.7 <= auc_roc",
     "__import__('os') >= 0", "auc_roc >= 0.7; brier <= 1", "auc_roc >= nan", "auc_roc >= seven", "m: >= 1", 7, None,
     "epsilon <= 3 if measured", "epsilon <= 3 where", "epsilon <= 3where measured", "where measured"],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="METRIC OP NUMBER"):
        parse_gate(text)


@given(
    st.sampled_from(sorted(OPERATORS)), st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 3), st.floats(0, 3)
)  # fmt: skip
def test_the_verdict_follows_from_the_interval(op, limit, value, below, above):
    gate, measured = Gate("metric", op, limit), {"value": value, "low": value - below, "high": value + above}
    kept = [OPERATORS[op](end, limit) for end in (value - below, value + above)]
    assert gate.judge(measured) == {2: "holds", 1: "not enough evidence", 0: "fails"}[sum(kept)]
    assert gate.passes(measured) == OPERATORS[op](value, limit)
    if gate.judge(measured) != "not enough evidence":
        assert gate.passes(measured) == (gate.judge(measured) == "holds")


@pytest.mark.parametrize("measured", [{"value": None}, {"value": float("nan")}, {}, {"value": None, "low": None, "high": None}])
def test_what_could_not_be_measured_does_not_pass(measured):
    gate = parse_gate("auc_roc >= 0")
    assert not gate.passes(measured)
    assert gate.judge(measured) == "not enough evidence"


def test_an_exact_value_needs_no_interval():
    assert parse_gate("epsilon <= 3").judge({"value": 3.0}) == "holds"
    assert parse_gate("epsilon <= 3").judge({"value": 3.1, "low": None, "high": None}) == "fails"


def test_an_infinite_value_does_not_pass():
    assert not parse_gate("saving >= 0").passes({"value": float("inf")})


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean auc_roc"):
        judge_gates(["auc_roq >= 0.7"], {"auc_roc": {"value": 0.8}, "brier": {"value": 0.1}})


def test_judgements_keep_the_order_and_the_figures():
    measured = {"auc_roc": {"value": 0.8, "low": 0.7, "high": 0.9}, "epsilon": {"value": 2.9}}
    first, second = judge_gates([parse_gate("epsilon <= 3"), "auc_roc >= 0.75"], measured)
    assert (first.gate, first.passes, first.verdict, first.low) == ("epsilon <= 3", True, "holds", None)
    assert (second.value, second.low, second.high, second.verdict) == (0.8, 0.7, 0.9, "not enough evidence")


def test_what_is_missing_fails_is_left_out_or_does_not_apply():
    """Three different things: not measured, asked only where measured, and nothing to ask about."""
    measured = {"auc_roc": {"value": 0.8, "low": 0.7, "high": 0.9}, "epsilon": {"value": None}}
    told = judge_gates(["epsilon <= 3", "epsilon <= 3 where measured", "membership_auc <= 0.6 where measured", "cost_over_champion <= 0", "auc_roc >= 0.75 where measured"], measured, {"cost_over_champion": "there is no champion yet"})
    assert [(item.passes, item.applies, item.verdict) for item in told] == [
        (False, True, "not enough evidence"), (True, False, "holds"), (True, False, "holds"), (True, False, "holds"), (True, True, "not enough evidence")]  # fmt: skip
    assert told[0].note == "not measured" and "there is no champion yet" in told[3].note and all(item.verdict in VERDICTS for item in told)


def test_where_measured_hides_no_slip_of_the_pen():
    with pytest.raises(ConfigError, match="Did you mean auc_roc"):
        judge_gates(["auc_rok >= 0.7 where measured"], {"auc_roc": {"value": 0.8}})
    with pytest.raises(ConfigError, match="cost_over_champion"):
        judge_gates(["cost_over_champion <= 0"], {"auc_roc": {"value": 0.8}})


def test_a_reason_why_nothing_was_measured_reaches_the_judgement():
    told = judge_gates(["cost_over_champion <= 0"], {"cost_over_champion": {"value": None, "note": "its columns are gone"}})[0]
    assert (told.passes, told.note, told.kind) == (False, "its columns are gone", "quality over champion")


def test_every_kind_of_the_objective_has_a_gate_that_can_ask_for_it():
    assert set(KINDS) == {"leakage", "quality over champion", "cost", "slices", "behaviour", "fairness", "privacy", "latency", "size"}
    assert all(gate_kind(metric) == kind for kind, metrics in KINDS.items() for metric in metrics)
    assert gate_kind("upheld_complaints_difference:sex") == "fairness" and gate_kind("macro_auc") == "quality"

"""Budgets: gates like any other, and an error of their own when nothing else is in the way."""

import pytest

from mlsys.core import BudgetError, ConfigError
from mlsys.objective.budget import MEASURES, Budget, budget_gates, budget_text, check_budget, over_budget
from mlsys.objective.gate import judge_gates, parse_gate

MEASURED = {"auc_roc": {"value": 0.8, "low": 0.7, "high": 0.9}, "latency_p99_us": {"value": 900.0}, "bytes": {"value": 4000}, "compute_us_per_answer": {"value": 50.0}}


def test_a_limit_becomes_a_gate_and_none_is_none():
    assert budget_gates(Budget()) == []
    gates = budget_gates(Budget(max_latency_us=1000, max_bytes=1e6, max_compute_us=0.5), ["auc_roc >= 0.7"])
    assert gates == ["auc_roc >= 0.7", "latency_p99_us <= 1000", "bytes <= 1000000", "compute_us_per_answer <= 0.5"]
    assert [parse_gate(gate).metric for gate in gates[1:]] == list(MEASURES.values())


def test_a_gate_that_says_the_same_is_not_doubled_and_another_limit_is_kept():
    budget = Budget(max_latency_us=200_000)
    assert budget_gates(budget, ["latency_p99_us<=200_000"]) == ["latency_p99_us<=200_000"]
    assert len(budget_gates(budget, ["latency_p99_us <= 100"])) == 2


def test_only_a_candidate_that_fails_nothing_else_is_over_budget():
    tight = budget_gates(Budget(max_bytes=1000), ["auc_roc >= 0.7"])
    assert [item.gate for item in over_budget(judge_gates(tight, MEASURED))] == ["bytes <= 1000"]
    assert over_budget(judge_gates([*tight, "auc_roc >= 0.99"], MEASURED)) == []
    assert over_budget(judge_gates(["bytes >= 9000"], MEASURED)) == []  # a gate about the size that is no budget
    assert over_budget(judge_gates(budget_gates(Budget(max_bytes=4000)), MEASURED)) == []


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(max_latency_us=100), "max_latency_us: received 900.0; allowed: at most 100; 9 times the limit"),
        (Budget(max_bytes=1000), "max_bytes: received 4000; allowed: at most 1,000; 4 times the limit"),
        (Budget(max_compute_us=10), "max_compute_us: received 50.0; allowed: at most 10"),
    ],
)
def test_the_error_names_the_limit_and_the_cure(budget, words):
    with pytest.raises(BudgetError) as caught:
        check_budget("boosted", MEASURED, budget)
    assert words in str(caught.value) and "or raise objective." in str(caught.value) and str(caught.value).startswith("boosted is over the budget")


def test_what_was_not_measured_keeps_no_budget():
    with pytest.raises(BudgetError, match="max_bytes: received None"):
        check_budget("boosted", {}, Budget(max_bytes=10))
    check_budget("boosted", {}, Budget())
    check_budget("boosted", MEASURED, Budget(max_latency_us=1000, max_bytes=1e6, max_compute_us=1e6))


def test_several_limits_are_named_together():
    broken = over_budget(judge_gates(budget_gates(Budget(max_latency_us=1, max_bytes=1)), MEASURED))
    assert "max_latency_us" in budget_text(broken) and "; max_bytes" in budget_text(broken)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1 MB", True, None])
def test_a_limit_is_a_number(value):
    with pytest.raises(ConfigError, match="max_bytes.*0 stands for no limit"):
        Budget(max_bytes=value)

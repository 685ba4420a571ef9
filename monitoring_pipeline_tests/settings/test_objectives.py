from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.lifecycle import AGE
from monitoring_pipeline.judge.conditions import All, Not, SignalCondition
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.objectives import MODEL, SERVICE, JudgedHour, Objective
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.objectives import Objectives, oldest
from monitoring_pipeline_tests.pages import ROOT, blocks
from monitoring_pipeline_tests.verdicts import verdict

EVERYTHING = LogColumns(status="status", served_by="by", latency_ms={"model": "m", "total": "t"})
OLD = SignalCondition(AGE, "1h", above=30)


def promised(document: dict[str, Any] | None = None, **known: Any) -> dict[str, Objective]:
    asked: dict[str, Any] = {
        "columns": EVERYTHING,
        "primary": ("champion",),
        "sources": ("users",),
        "window": "24h",
        "watched": ("accuracy", "roc_auc"),
        "attributes": ("sex",),
        "triggers": (OLD,),
    }
    policy = Objectives.model_validate(document or {}).policy(**asked | known)
    return {objective.name: objective for objective in policy.objectives}


def test_everything_that_is_known_has_a_promise_with_a_usual_target() -> None:
    found = promised()
    assert tuple(found) == (*SERVICE, *MODEL)
    assert {name: each.target for name, each in found.items() if each.target != 0.99} == {
        "availability": 0.999,
        "freshness": 0.995,
    }


def test_what_the_log_cannot_tell_is_not_promised() -> None:
    found = promised(columns=LogColumns(), sources=(), attributes=(), triggers=())
    assert tuple(found) == ("drift", "performance")


def test_a_promise_is_changed_and_another_is_dropped() -> None:
    found = promised({"availability": {"target": 0.95}, "drift": None, "model_age": {"below_days": 3.0}})
    assert found["availability"].target == 0.95
    assert "drift" not in found
    assert found["model_age"].count.keywords == {"days": 3.0}  # type: ignore[attr-defined]


def test_the_latency_is_that_of_the_whole_answer_in_seconds() -> None:
    of_total = {"stage": "total", "limit_s": 0.05}
    assert promised()["latency_p99"].count.keywords == of_total  # type: ignore[attr-defined]
    other = promised({"latency_p99": {"below_ms": 8.0, "stage": "model"}})
    assert other["latency_p99"].count.keywords == {"stage": "model", "limit_s": 0.008}  # type: ignore[attr-defined]


def test_fairness_is_broken_by_a_warning_and_performance_by_a_critical_decline() -> None:
    found = promised()
    unfair = JudgedHour([verdict(Level.WARNING, "fairness.selection_rate_ratio", column="sex")])
    worse = JudgedHour([verdict(Level.WARNING, "performance.accuracy")])
    assert found["fairness"].count(unfair) == (0, 1)
    assert found["performance"].count(worse) == (1, 1)
    assert promised({"performance": {"metric": "roc_auc"}})["performance"].count(worse) == (0, 0)


def test_requests_are_counted_as_they_are_logged() -> None:
    hour = JudgedHour(operations=(OperationsProfile(rows=5, errors=1, answered=4, served_by={"champion": 3}),))
    found = promised()
    assert found["availability"].count(hour) == (4, 5)
    assert found["fallback"].count(hour) == (3, 4)


def test_the_longest_age_is_the_one_that_first_asks_for_a_retraining() -> None:
    younger = SignalCondition(AGE, "1h", above=14)
    drift = SignalCondition("drift.psi", "24h", above=0.2)
    assert oldest([drift, OLD]) == 30
    assert oldest([OLD, All((drift, AnyOf((drift, younger))))]) == 14
    assert oldest([drift, Not(OLD)]) is None


@pytest.mark.parametrize("wrong", [{"availability": {"target": 1.0}}, {"latency_p99": {"below_ms": 0}}, {"uptime": {}}])
def test_a_promise_nobody_can_keep_or_nobody_knows_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Objectives.model_validate(wrong)


def test_the_objectives_shown_on_their_page_are_the_default_ones() -> None:
    shown = next(block.code for block in blocks(ROOT / "docs" / "objectives.md") if block.language == "yaml")
    said = YAML(typ="safe").load(shown)["objectives"]
    assert set(said) == set(Objectives.model_fields)
    assert Objectives.model_validate(said) == Objectives()

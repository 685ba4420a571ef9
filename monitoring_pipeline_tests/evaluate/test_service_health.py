from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from monitoring_pipeline.evaluate.service_health import (
    SLOT,
    VERSIONS_KEPT,
    Canary,
    CanaryAnswer,
    CanaryCheck,
    CanaryRecord,
    Probe,
    at_pointer,
    check_canary,
    health_signals,
)
from monitoring_pipeline.evaluate.signals import Absence

AT = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
CANARY = Canary("usual", "/predict", {"tenure": 3}, "/score", expected=0.75, tolerance=0.01)


def answers(*given: tuple[str, Any]) -> list[CanaryCheck]:
    """Return the check of each (version, output) in turn, every one knowing what those before it learnt."""
    record: CanaryRecord | None = None
    checks = []
    for step, (version, output) in enumerate(given):
        check = check_canary(CANARY, CanaryAnswer("usual", output, version), record, at=AT + step * SLOT)
        record = check.record
        checks.append(check)
    return checks


def test_the_known_output_is_no_error_and_its_version_is_remembered() -> None:
    (check,) = answers(("1", 0.752))
    assert check.error == pytest.approx(0.002)
    assert [(known.version, known.output, known.learnt_at) for known in check.record.known] == [("1", 0.752, AT)]
    assert not check.learnt


def test_a_changed_output_of_the_same_version_is_an_error_every_time() -> None:
    _, changed, again = answers(("1", 0.75), ("1", 0.4), ("1", 0.4))
    assert changed.error == again.error == pytest.approx(0.35)
    assert "version 1 gives 0.4 where 0.75 gave before" in changed.reason


def test_a_new_version_may_answer_differently_and_that_is_on_record() -> None:
    *_, learnt, kept, changed = answers(("1", 0.75), ("2", 0.4), ("2", 0.405), ("2", 0.75))
    assert learnt.learnt
    assert learnt.error == 0.0
    assert "version 2 gives 0.4, version 1 gave 0.75; learnt" in learnt.reason
    assert [known.version for known in kept.record.known] == ["1", "2"]
    assert not kept.learnt
    assert changed.error == pytest.approx(0.35)


def test_a_version_that_comes_back_must_give_what_it_gave() -> None:
    *_, back, wrong = answers(("1", 0.75), ("2", 0.4), ("1", 0.75), ("1", 0.4))
    assert back.error == 0.0
    assert not back.learnt
    assert wrong.error == pytest.approx(0.35)


def test_the_first_version_is_held_against_what_is_configured() -> None:
    first, second = answers(("1", 0.4), ("2", 0.4))
    assert first.error == second.error == pytest.approx(0.35)
    assert "where 0.75 is configured for it" in second.reason


def test_without_versions_only_the_configured_output_is_right() -> None:
    *_, changed = answers(("", 0.75), ("", 0.4))
    assert changed.error == pytest.approx(0.35)
    assert "the service, which names no version, gives 0.4" in changed.reason


def test_another_configured_output_starts_anew() -> None:
    *_, last = answers(("1", 0.75), ("2", 0.4))
    corrected = replace(CANARY, expected=0.6)
    check = check_canary(corrected, CanaryAnswer("usual", 0.6, "2"), last.record, at=AT)
    assert check.error == 0.0
    assert [known.output for known in check.record.known] == [0.6]


@pytest.mark.parametrize("output", ["0.75", True, float("nan"), float("inf"), None])
def test_an_output_of_another_kind_is_never_learnt(output: Any) -> None:
    *_, check = answers(("1", 0.75), ("2", output))
    assert check.error is None
    assert [known.version for known in check.record.known] == ["1"]
    assert "where 0.75 (float) is known" in check.reason


@pytest.mark.parametrize(("expected", "same", "other"), [("stay", "stay", "leave"), (True, True, False), (1.0, 1, 2)])
def test_labels_and_flags_are_outputs_too(expected: Any, same: Any, other: Any) -> None:
    canary = replace(CANARY, expected=expected)
    assert check_canary(canary, CanaryAnswer("usual", same, "1"), None, at=AT).error == 0.0
    assert check_canary(canary, CanaryAnswer("usual", other, "1"), None, at=AT).error == 1.0


def test_what_is_remembered_of_versions_is_bounded() -> None:
    *_, last = answers(("0", 0.75), *((str(number), float(number)) for number in range(1, 2 * VERSIONS_KEPT)))
    assert len(last.record.known) == VERSIONS_KEPT


def test_a_well_service_is_reachable_with_its_latency_and_version() -> None:
    probe = Probe("api", 12.4, "7", behind={"churn": 1.0, "returns": None})
    signals = health_signals(probe, dict(zip(["usual"], answers(("7", 0.75)), strict=True)), slot=AT)
    found = {(signal.metric, signal.segment): (signal.value, signal.unit) for signal in signals}
    assert found == {
        ("health.reachable", ""): (1.0, "1"),
        ("health.latency_ms", ""): (12.4, "ms"),
        ("health.canary_error", "usual"): (0.0, "1"),
        ("health.hours_behind", "churn"): (1.0, "h"),
    }
    assert {(signal.column, signal.version, signal.window) for signal in signals} == {("api", "7", "5m")}
    assert {signal.window_end - signal.window_start for signal in signals} == {SLOT}


def test_a_service_that_is_down_has_no_latency_and_says_why() -> None:
    problem = "api at http://api/health: no answer within 5 s"
    reachable, latency = health_signals(Probe("api", problem=problem), {}, slot=AT)
    assert (reachable.value, reachable.reason) == (0.0, problem)
    assert (latency.value, latency.absence) == (None, Absence.FAILED)


def test_a_json_pointer_leads_into_mappings_and_lists() -> None:
    document = {"a/b": [{"m~n": 1}], "": 2, "01": 3}
    assert at_pointer(document, "/a~1b/0/m~0n") == 1
    assert at_pointer(document, "/") == 2
    assert at_pointer(document, "/01") == 3
    for nowhere in ("/a~1b/1", "/a~1b/-1", "/a~1b/x", "/b", "/01/2"):
        with pytest.raises(LookupError):
            at_pointer(document, nowhere)

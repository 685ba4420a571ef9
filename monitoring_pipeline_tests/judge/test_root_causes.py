"""Which cause is named first, and on what grounds: small records whose answer is plain."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.candidate_causes import CANDIDATES
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType
from monitoring_pipeline.judge.recorded_facts import Change, ChangeKind
from monitoring_pipeline.judge.root_causes import Cause, rank_causes
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.change_points import DriftPattern
from monitoring_pipeline_tests.verdicts import MORNING, verdict

OUTPUTS = {"score", "prediction"}
CRITICAL, WARNING, OK, UNKNOWN = Level.CRITICAL, Level.WARNING, Level.OK, Level.UNKNOWN


def bad(metric: str, level: Level = CRITICAL, *, column: str = "", back: int = 0, **more: Any) -> Verdict:
    """Return a verdict on the hour `back` hours ago."""
    return verdict(level, metric, column=column, hour=MORNING - back * HOUR, **{"window": "1h", **more})


def diagnosis(kind: DriftType, confidence: float = 1.0, **more: Any) -> DriftDiagnosis:
    return DriftDiagnosis(kind, DriftPattern.NONE, confidence, ("it moved", f"confidence {confidence}"), **more)


def causes(*verdicts: Verdict, diagnoses: Sequence[DriftDiagnosis] = (), **more: Any) -> list[Cause]:
    """Rank the causes at MORNING, of a record that begins a day before."""
    hours = {MORNING - back * HOUR: list[Verdict]() for back in range(24)}
    for each in verdicts:
        hours.setdefault(each.signal.window_end - HOUR, []).append(each)
    changes = more.pop("changes", ())
    return rank_causes(hours, {MORNING: diagnoses}, changes, hour=MORNING, outputs=OUTPUTS, **more)


def named(found: Sequence[Cause]) -> list[str]:
    return [cause.name for cause in found]


def said(cause: Cause) -> str:
    return "\n".join(cause.evidence)


@pytest.mark.parametrize(
    ("metric", "column", "value", "name", "kind"),
    [
        ("skew.changed_meaning", "usage", 1.0, "meaning changed, usage", "data"),
        ("skew.missing", "usage", 1.0, "column missing, usage", "data"),
        ("quality.null_rate", "usage", 0.5, "column missing, usage", "data"),
        ("freshness.critical_share", "users", 1.0, "source stale: users", "integration"),
        ("quality.quarantined_rate", "", 0.5, "bad rows", "data"),
        ("quality.volume_ratio", "", 4.0, "traffic surge", "system"),
        ("quality.volume_ratio", "", 0.05, "traffic loss", "system"),
        ("operations.error_rate", "", 0.5, "serving errors", "system"),
        ("operations.latency_p99", "total", 9.0, "latency: total", "system"),
        ("attribution.leakage", "usage", 0.4, "leak, usage", "data"),
        ("quality.unseen_share", "plan", 0.5, "new categories, plan", "data"),
        ("labels.feedback_ratio", "", 0.1, "labels late", "integration"),
        ("labels.corrected_share", "", 0.4, "labels corrected", "integration"),
    ],
)
def test_what_was_measured_is_the_cause_with_its_value_and_threshold(
    metric: str, column: str, value: float, name: str, kind: str
) -> None:
    (cause,) = causes(bad(metric, column=column, value=value, threshold=0.3, reason="as it says"))
    assert (cause.name, cause.kind, cause.confidence, cause.since) == (name, kind, 0.9, MORNING)
    assert f"is {value:.4g}, threshold 0.3: as it says" in cause.evidence[0]
    assert column in cause.evidence[0]
    assert cause.actions


def test_nothing_is_named_when_nothing_is_wrong() -> None:
    assert causes(bad("quality.null_rate", OK, column="usage"), bad("drift.psi", UNKNOWN, column="usage")) == []


def test_a_warning_that_repeats_itself_is_believed_more() -> None:
    once, thrice = (
        causes(*(bad("operations.latency_p95", WARNING, column="total", back=back) for back in range(count)))[0]
        for count in (1, 3)
    )
    assert [once.confidence, thrice.confidence] == pytest.approx([0.6, 1 - 0.4 * 0.8**2])
    assert thrice.since == MORNING - 2 * HOUR
    assert "in a row: 3" in said(thrice)


def test_what_is_known_to_be_over_counts_for_less_and_what_is_long_ago_for_nothing() -> None:
    missing = bad("skew.missing", column="usage", back=3)
    (over,) = causes(missing, bad("skew.missing", OK, column="usage"))
    (unknown,) = causes(missing, bad("skew.missing", UNKNOWN, column="usage"))
    assert [over.confidence, unknown.confidence] == pytest.approx([0.4 * 0.9, 0.9])
    assert "it is over since 2013-04-22 06:00Z" in said(over)
    assert causes(bad("skew.missing", column="usage", back=24), bad("skew.missing", UNKNOWN, column="usage")) == []


def test_a_missing_column_explains_its_own_drift_and_the_errors_and_not_the_drift_of_another() -> None:
    drifts = [diagnosis(DriftType.COVARIATE), diagnosis(DriftType.CONCEPT)]
    missing, drift = bad("skew.missing", column="usage"), bad("drift.psi", column="usage")
    own = causes(missing, drift, bad("performance.accuracy"), diagnoses=drifts)
    assert named(own)[0] == "column missing, usage"
    assert [cause.confidence for cause in own[1:]] == [0.4, 0.4]
    assert all("column missing explains it" in said(cause) for cause in own[1:])
    other = causes(missing, drift, bad("drift.psi", column="tenure"), diagnoses=drifts[:1])
    assert named(other) == ["covariate drift, tenure", "column missing, usage"]
    assert other[0].confidence == 1.0


def test_a_mere_warning_about_one_column_does_not_explain_why_the_whole_model_errs() -> None:
    few = [bad("quality.null_rate", WARNING, column="wind", back=back) for back in range(6)]
    found = causes(*few, bad("performance.accuracy"), diagnoses=[diagnosis(DriftType.CONCEPT, 0.9)])
    assert found[0].name.startswith("concept drift")
    assert found[0].confidence == 0.9


def test_what_began_a_day_after_its_effect_does_not_explain_it() -> None:
    early = diagnosis(DriftType.CONCEPT, started_at=MORNING - 30 * HOUR)
    late = diagnosis(DriftType.CONCEPT, started_at=MORNING - 20 * HOUR)
    for concept, confidence in ((early, 1.0), (late, 0.4)):
        found = causes(bad("skew.missing", column="usage"), diagnoses=[concept])
        assert {c.name.partition(":")[0]: c.confidence for c in found}["concept drift"] == confidence


def test_errors_with_inputs_known_not_to_have_moved_are_an_outcome_that_changed() -> None:
    calm, errs = bad("drift.psi", OK, column="usage"), bad("performance.accuracy")
    concept, prior = diagnosis(DriftType.CONCEPT, 0.7), diagnosis(DriftType.PRIOR, 0.8)
    first, second = causes(calm, errs, diagnoses=[concept, prior])
    assert first.name == "concept drift: outcome changed, inputs did not"
    assert first.confidence == pytest.approx(1 - 0.3 * 0.2)
    assert "within their thresholds: usage" in said(first)
    assert second.name == "prior shift"
    assert second.confidence == pytest.approx(0.4 * 0.8)
    (unknown,) = causes(calm, bad("drift.psi", UNKNOWN, column="tenure"), errs, diagnoses=[concept])
    assert unknown.name == "concept drift: errors rose, 1 of 2 inputs known"
    moved = causes(bad("drift.psi", column="usage"), errs, diagnoses=[diagnosis(DriftType.COVARIATE), concept])
    assert named(moved) == ["covariate drift, usage", "concept drift: errors rose, inputs moved as well"]


def test_drift_that_harms_nothing_is_said_to_harm_nothing() -> None:
    (cause,) = causes(bad("drift.psi", column="usage"), diagnoses=[diagnosis(DriftType.VIRTUAL)])
    assert cause.name == "covariate drift, usage"
    assert "it does no harm so far" in said(cause)


def test_predictions_that_move_while_inputs_do_not_point_to_the_scoring() -> None:
    moved = [bad("drift.psi", column="score"), bad("drift.psi", OK, column="usage")]
    (cause,) = causes(*moved, diagnoses=[diagnosis(DriftType.PREDICTION)])
    assert cause.name == "scoring changed: predictions moved, inputs did not"
    assert causes(*moved[:1], diagnoses=[diagnosis(DriftType.PREDICTION)]) == [], "nothing is known of the inputs"


@pytest.mark.parametrize(("positives", "there"), [(0.4, True), (0.1, False)])
def test_predictions_and_outcomes_that_move_the_same_way_may_feed_each_other(positives: float, there: bool) -> None:
    scores = bad("performance.mean_score", OK, value=0.5, baseline_value=0.3)
    rate = bad("performance.positive_rate", OK, value=positives, baseline_value=0.3)
    found = causes(scores, rate, diagnoses=[diagnosis(DriftType.PREDICTION), diagnosis(DriftType.PRIOR)])
    assert ("feedback loop" in named(found)) is there


def test_scores_that_rank_as_before_are_badly_calibrated() -> None:
    wrong = bad("performance.expected_calibration_error")
    (cause,) = causes(wrong, bad("performance.roc_auc", OK))
    assert cause.name == "calibration drift"
    assert causes(wrong, bad("performance.roc_auc")) == []
    assert causes(wrong) == []


def test_an_old_model_that_errs_may_be_stale() -> None:
    errs = bad("performance.accuracy")
    (cause,) = causes(errs, bad("model.age_days", OK, value=40.0, version="7"))
    assert (cause.name, cause.confidence) == ("stale model: version 7", 0.4)
    assert "40 days ago" in said(cause)
    assert causes(errs, bad("model.age_days", OK, value=29.0)) == []
    assert causes(bad("model.age_days", OK, value=40.0)) == []


PROMOTED = Change(MORNING - 4 * HOUR, ChangeKind.MODEL_VERSION, "version 2", "began to serve instead of version 1")


def evaluations(first: Level, then: Level, metric: str = "performance.accuracy", column: str = "") -> list[Verdict]:
    """Return a day with version 1 and five hours with version 2."""
    ones = [bad(metric, first, back=back, version="1", value=0.8, column=column) for back in range(5, 24)]
    return ones + [bad(metric, then, back=back, version="2", value=0.3, column=column) for back in range(5)]


def test_performance_that_falls_when_another_version_begins_to_serve_is_the_versions_fault() -> None:
    with_it = Change(PROMOTED.at, ChangeKind.REQUIREMENTS, "requirements of version 2", "scikit-learn 1.6 → 1.7")
    concept = [diagnosis(DriftType.CONCEPT)]
    first, second = causes(*evaluations(OK, CRITICAL), changes=[with_it, PROMOTED], diagnoses=concept)
    assert (first.name, first.confidence, first.since) == ("bad model version: 2", 0.9, PROMOTED.at)
    assert first.actions[0] == "Roll back: point the alias champion to version 1."
    assert "(critical) in 5 of 5 known hours since then, in 0 of 19 in the day before" in said(first)
    assert "performance.accuracy over 1h: 0.8 with version 1, 0.3 with version 2" in said(first)
    assert "scikit-learn 1.6 → 1.7" in said(first)
    assert (second.name.partition(":")[0], second.confidence) == ("concept drift", 0.4)


def test_a_version_that_is_as_bad_as_the_one_before_is_not_at_fault() -> None:
    for first, then in ((CRITICAL, CRITICAL), (OK, OK)):
        assert causes(*evaluations(first, then), changes=[PROMOTED]) == []
    worse = causes(*evaluations(WARNING, CRITICAL), changes=[PROMOTED])
    assert named(worse) == ["bad model version: 2"]


def test_without_labels_a_bad_version_is_suspected_by_what_it_predicts() -> None:
    found = causes(*evaluations(OK, WARNING, "drift.psi", "score"), changes=[PROMOTED])
    assert [(cause.name, cause.confidence) for cause in found] == [("bad model version: 2", 0.6)]


def test_a_version_with_nothing_before_it_is_compared_with_nothing() -> None:
    (cause,) = causes(*evaluations(OK, CRITICAL)[19:], changes=[PROMOTED])
    assert cause.confidence == pytest.approx(0.45)


def test_a_change_just_before_is_evidence_unless_it_happens_all_the_time() -> None:
    missing = bad("skew.missing", column="usage")
    once = Change(MORNING - HOUR, ChangeKind.UPSTREAM_ASSET, "warehouse/users", "materialised")
    hourly = [Change(MORNING - back * HOUR, ChangeKind.UPSTREAM_ASSET, "warehouse/users", "") for back in range(1, 21)]
    (plain,), (told,), (routine,) = (causes(missing, changes=changes) for changes in ([], [once], hourly))
    assert told.confidence == pytest.approx(1 - 0.1 * 0.7)
    assert plain.confidence < routine.confidence < 0.91
    assert "recorded just before: 2013-04-22 07:00Z, warehouse/users: materialised" in said(told)
    late = Change(MORNING + HOUR, ChangeKind.UPSTREAM_ASSET, "warehouse/users", "materialised")
    early = Change(MORNING - 30 * HOUR, ChangeKind.UPSTREAM_ASSET, "warehouse/users", "materialised")
    assert causes(missing, changes=[late, early]) == [plain]


def test_a_cause_that_does_not_show_in_what_alarmed_comes_after_one_that_does() -> None:
    both = [bad("skew.missing", column="usage"), bad("operations.latency_p95", WARNING, column="total")]
    assert named(causes(*both)) == ["column missing, usage", "latency: total"]
    assert named(causes(*both, alarmed=["operations.latency_p95"])) == ["latency: total", "column missing, usage"]
    assert named(causes(*both, alarmed=["performance.accuracy"])) == ["column missing, usage", "latency: total"]


def test_a_surge_explains_the_latency_that_came_with_it() -> None:
    slow = bad("operations.latency_p99", column="total")
    first, second = causes(bad("quality.volume_ratio", WARNING, value=3.0), slow)
    assert (first.name, second.name) == ("traffic surge", "latency: total")
    assert second.confidence == pytest.approx(0.36)


def test_the_newest_diagnosis_that_says_anything_is_taken_for_a_day() -> None:
    hours = {MORNING: [], MORNING - 2 * HOUR: [bad("drift.psi", column="usage", back=2)]}
    moved, unknown = [diagnosis(DriftType.COVARIATE)], [diagnosis(DriftType.UNKNOWN, 0.0)]
    for earlier, expected in ((2, ["covariate drift, usage"]), (24, [])):
        found = rank_causes(
            hours, {MORNING - earlier * HOUR: moved, MORNING: unknown}, [], hour=MORNING, outputs=OUTPUTS
        )
        assert named(found) == expected


def test_a_cause_survives_being_kept_as_json() -> None:
    cause = Cause("latency: total", "system", 0.74, MORNING, ("slow",), ("Look.",))
    for each in (cause, Cause("feedback loop", "model", 0.4, None, (), ())):
        assert Cause.from_record(json.loads(json.dumps(each.as_record()))) == each


def test_the_rows_of_the_tree_name_each_other() -> None:
    names = [candidate.name for candidate in CANDIDATES]
    assert len(set(names)) == len(names)
    assert {name for candidate in CANDIDATES for name in candidate.explains} <= set(names)
    assert all(each.name not in each.explains for each in CANDIDATES)


def test_hours_after_the_one_that_is_asked_about_are_not_looked_at() -> None:
    later = {MORNING + HOUR: [bad("skew.missing", column="usage", back=-1)], MORNING: []}
    assert rank_causes(later, {}, [], hour=MORNING, outputs=OUTPUTS) == []

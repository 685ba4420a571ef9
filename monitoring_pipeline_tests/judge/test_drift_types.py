from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.drift_types import (
    DriftDiagnosis,
    DriftType,
    History,
    diagnose_drift,
)
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.change_points import DriftPattern
from monitoring_pipeline_tests.verdicts import MORNING, verdict

OUTPUTS = ("score", "prediction")
OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN


def positives(level: Level) -> Verdict:
    """Return the verdict on the share of positives, which has a baseline and no threshold."""
    rate = {OK: 0.22, WARNING: 0.35, UNKNOWN: None}[level]
    interval = {} if rate is None else {"low": rate - 0.02, "high": rate + 0.02}
    judged = UNKNOWN if rate is None else OK
    more = {"value": rate, "baseline_value": 0.2, **interval}
    return verdict(judged, "performance.positive_rate", threshold=None, **more)


def hour_of(
    *,
    tenure: Level = OK,
    plan: Level = OK,
    score: Level = OK,
    labels: Level = OK,
    brier: Level = OK,
    cusum: Level = OK,
) -> list[Verdict]:
    values = {OK: 0.6, WARNING: 1.5, CRITICAL: 3.0, UNKNOWN: None}
    return [
        verdict(tenure, column="tenure"),
        verdict(plan, column="plan"),
        verdict(score, column="score"),
        positives(labels),
        verdict(brier, "performance.brier"),
        verdict(cusum, "concept.cusum", threshold=1.0, value=values[cusum], window="1h"),
        verdict(OK, "drift.wasserstein", threshold=None, column="tenure"),
    ]


def diagnosed(verdicts: Sequence[Verdict], history: History | None = None) -> dict[DriftType, DriftDiagnosis]:
    found = diagnose_drift(verdicts, history or {}, outputs=OUTPUTS)
    assert all(0 <= each.confidence <= 1 and each.evidence for each in found)
    return {each.type: each for each in found}


@pytest.mark.parametrize(
    ("levels", "types"),
    [
        ({}, {"none"}),
        ({"tenure": WARNING}, {"virtual"}),
        ({"tenure": CRITICAL, "plan": WARNING}, {"virtual"}),
        ({"tenure": WARNING, "score": WARNING}, {"covariate", "prediction"}),
        ({"tenure": WARNING, "labels": WARNING}, {"covariate", "prior"}),
        ({"tenure": WARNING, "brier": WARNING}, {"covariate", "concept"}),
        ({"tenure": WARNING, "cusum": WARNING}, {"covariate", "concept"}),
        ({"score": CRITICAL}, {"prediction"}),
        ({"labels": WARNING}, {"prior"}),
        ({"brier": CRITICAL}, {"concept"}),
        ({"cusum": CRITICAL}, {"concept"}),
        ({"labels": WARNING, "brier": WARNING}, {"prior", "concept"}),
        ({"tenure": WARNING, "score": WARNING, "labels": WARNING, "cusum": WARNING},
         {"covariate", "prediction", "prior", "concept"}),
        ({"labels": UNKNOWN}, {"unknown"}),
        ({"plan": UNKNOWN}, {"unknown"}),
        ({"cusum": UNKNOWN}, {"unknown"}),
        ({"tenure": WARNING, "labels": UNKNOWN}, {"covariate"}),
        ({"tenure": WARNING, "brier": UNKNOWN}, {"covariate"}),
        ({"tenure": WARNING, "score": UNKNOWN}, {"covariate"}),
        ({"tenure": WARNING, "plan": UNKNOWN}, {"virtual"}),
        ({"tenure": UNKNOWN, "plan": UNKNOWN, "score": UNKNOWN, "labels": UNKNOWN, "brier": UNKNOWN, "cusum": UNKNOWN},
         {"unknown"}),
        ({"score": WARNING, "tenure": UNKNOWN}, {"prediction"}),
    ],
)  # fmt: skip
def test_what_moved_and_what_is_known_not_to_have_moved_make_the_type(
    levels: dict[str, Level], types: set[str]
) -> None:
    assert set(diagnosed(hour_of(**levels))) == types


def test_only_virtual_drift_is_benign() -> None:
    assert diagnosed(hour_of(tenure=CRITICAL))[DriftType.VIRTUAL].benign
    others = [hour_of(), hour_of(tenure=CRITICAL, labels=UNKNOWN), hour_of(brier=WARNING), hour_of(score=UNKNOWN)]
    assert not any(each.benign for verdicts in others for each in diagnosed(verdicts).values())


@pytest.mark.parametrize("missing", ["performance.positive_rate", "performance.brier", "score"])
def test_what_was_not_measured_at_all_is_unknown_too(missing: str) -> None:
    def left(verdicts: list[Verdict]) -> list[Verdict]:
        if missing == "performance.brier":
            return [each for each in verdicts if not each.signal.metric.startswith(("performance.brier", "concept"))]
        return [each for each in verdicts if missing not in (each.signal.metric, each.signal.column)]

    assert set(diagnosed(left(hour_of(tenure=WARNING)))) == {DriftType.COVARIATE}
    assert set(diagnosed(left(hour_of()))) == {DriftType.UNKNOWN}


def test_without_any_verdict_nothing_is_known() -> None:
    assert diagnosed([])[DriftType.UNKNOWN].confidence == 0


def test_a_column_known_in_one_window_is_known_and_one_moved_in_one_window_has_moved() -> None:
    young = [verdict(UNKNOWN, column="tenure", window="7d"), verdict(UNKNOWN, column="score", window="7d")]
    assert set(diagnosed([*hour_of(), *young])) == {DriftType.NONE}
    long = verdict(WARNING, column="tenure", window="7d")
    assert set(diagnosed([*hour_of(), long])) == {DriftType.VIRTUAL}


def test_a_metric_without_a_threshold_is_no_evidence_that_a_column_stayed() -> None:
    informational = verdict(OK, "drift.wasserstein", threshold=None, column="age")
    assert set(diagnosed([*hour_of(), informational, verdict(UNKNOWN, column="age")])) == {DriftType.UNKNOWN}


def test_verdicts_on_segments_do_not_speak_for_the_whole() -> None:
    assert set(diagnosed([*hour_of(), verdict(CRITICAL, column="tenure", segment="plan=pro")])) == {DriftType.NONE}


def test_rows_that_differ_as_wholes_are_inputs_that_moved_and_the_share_of_drifted_columns_says_nothing_new() -> None:
    assert set(diagnosed([*hour_of(), verdict(WARNING, "multivariate.mmd")])) == {DriftType.VIRTUAL}
    assert set(diagnosed([*hour_of(), verdict(CRITICAL, "drift.drifted_share")])) == {DriftType.NONE}


def test_the_share_of_positives_moves_when_its_whole_interval_is_far_from_the_baseline() -> None:
    def with_interval(value: float, low: float, high: float, baseline: float | None = 0.2) -> set[DriftType]:
        more = {"value": value, "low": low, "high": high, "baseline_value": baseline}
        rate = verdict(OK, "performance.positive_rate", threshold=None, **more)
        return set(diagnosed([*hour_of()[:3], rate, *hour_of()[4:]]))

    assert with_interval(0.30, 0.25, 0.35) == {DriftType.PRIOR}
    assert with_interval(0.10, 0.05, 0.15) == {DriftType.PRIOR}
    assert with_interval(0.30, 0.22, 0.38) == {DriftType.NONE}  # 0.24 is the limit
    assert with_interval(0.21, 0.205, 0.215) == {DriftType.NONE}
    assert with_interval(0.30, 0.25, 0.35, None) == {DriftType.UNKNOWN}


def test_confidence_grows_with_the_distance_from_the_threshold_and_with_what_is_known() -> None:
    def confidence(verdicts: list[Verdict]) -> float:
        return diagnosed(verdicts)[DriftType.COVARIATE].confidence

    far, near = verdict(WARNING, column="tenure", value=0.3), verdict(WARNING, column="tenure", value=0.12)
    rest = hour_of(labels=UNKNOWN)[1:]
    blind = hour_of(labels=UNKNOWN, plan=UNKNOWN)[1:]
    assert confidence([far, *rest]) == 1.0
    assert confidence([near, *rest]) == pytest.approx(0.6)
    assert confidence([near, *blind]) == pytest.approx(0.3)


def test_a_concept_drift_is_surer_when_the_inputs_are_known_to_have_stayed() -> None:
    stayed, moved, unknown = (
        diagnosed(hour_of(cusum=CRITICAL, tenure=level))[DriftType.CONCEPT] for level in (OK, WARNING, UNKNOWN)
    )
    assert stayed.confidence > moved.confidence == unknown.confidence
    assert "the inputs moved as well" in " ".join(moved.evidence)
    assert "inputs did not move: 2 of 2 known" in stayed.evidence[1]
    assert "inputs not known: 1 of 2 known, without tenure" in unknown.evidence[1]


def test_the_evidence_says_what_moved_what_did_not_and_how_sure_that_is() -> None:
    evidence = diagnosed(hour_of(tenure=WARNING))[DriftType.VIRTUAL].evidence
    assert evidence[0] == "inputs moved: drift.psi of tenure over 24h: made for a test"
    assert evidence[1:4] == (
        "predictions did not move: 1 of 1 known, all within their thresholds",
        "outcomes did not move: 1 of 1 known, all within their thresholds",
        "errors did not move: 2 of 2 known, all within their thresholds",
    )
    assert evidence[4].startswith("confidence 1.00: 100% of what this type rests on is known")


def past(values: Sequence[float], *, every: int = 1) -> dict[datetime, float]:
    hours = [MORNING - back * every * HOUR for back in range(len(values))][::-1]
    return dict(zip(hours, values, strict=True))


def noisy(shape: NDArray[np.float64], seed: int = 1) -> list[float]:
    return [float(value) for value in 0.05 + 0.3 * shape + np.random.default_rng(seed).normal(0, 0.03, len(shape))]


def test_the_history_of_the_deciding_signal_gives_the_manner_and_the_start() -> None:
    step = past(noisy(np.repeat([0.0, 1.0], [180, 60])))
    ramp = past(noisy(np.clip((np.arange(240) - 60) / 150, 0, 1)))
    for values, pattern in ((step, DriftPattern.SUDDEN), (ramp, DriftPattern.INCREMENTAL)):
        history = {("drift.psi", "tenure", "training", "1h"): values}
        found = diagnosed(hour_of(tenure=CRITICAL), history)[DriftType.VIRTUAL]
        assert found.pattern is pattern
    assert (
        diagnosed(hour_of(tenure=CRITICAL), {("drift.psi", "plan", "training", "1h"): step})[DriftType.VIRTUAL].pattern
        is DriftPattern.NONE
    )


def test_overlapping_windows_do_not_turn_a_sudden_change_into_a_slow_one() -> None:
    hourly = noisy(np.repeat([0.0, 1.0], [480, 240]))
    trailing = np.convolve(np.asarray(hourly, dtype=np.float64), np.ones(24) / 24, mode="valid")
    history = {("drift.psi", "tenure", "training", "24h"): past(trailing.tolist())}
    found = diagnosed(hour_of(tenure=CRITICAL), history)[DriftType.VIRTUAL]
    assert found.pattern is DriftPattern.SUDDEN
    assert found.started_at is not None
    assert abs(found.started_at - (MORNING - 239 * HOUR)) <= timedelta(hours=24)


def test_a_chart_that_knows_when_its_change_began_is_believed() -> None:
    began = MORNING - 9 * HOUR
    chart = verdict(
        CRITICAL, "concept.cusum", threshold=1.0, value=1.8, window="1h", detail={"began": began.isoformat()}
    )
    errors = past(noisy(np.repeat([0.0, 1.0], [231, 9])))
    history: dict[Any, dict[datetime, float]] = {("performance.brier", "", "training", "1h"): errors}
    found = diagnosed([*hour_of()[:5], chart], history)[DriftType.CONCEPT]
    assert (found.started_at, found.pattern) == (began, DriftPattern.SUDDEN)

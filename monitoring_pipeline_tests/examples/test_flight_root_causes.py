"""What is said of the flights of spring 2013: the furlough of the air-traffic controllers, and the warmth of May.

The first version serves all the time: one trained on the furlough has another view of May.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from examples.flight_delays.model import FEATURES, fit, flights_between
from examples.flight_delays.replay import labels_between, predictions_between
from monitoring_pipeline.capture.labels import join_labels, prepare_labels
from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import outcome_hours, profile_hours
from monitoring_pipeline.judge.drift_types import diagnose_drift
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.root_causes import Cause, rank_causes
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.serve.scoring import Scorer
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.reports import Labelled, drift_report, performance_report

pytestmark = pytest.mark.slow

MONITOR = Path(__file__).parents[2] / "monitors" / "flight_delays.yaml"
MARCH, APRIL, END = (datetime(2013, month, day, tzinfo=UTC) for month, day in ((3, 1), (4, 1), (5, 6)))
OUTPUTS = {"score", "prediction"}


def hours(*days: tuple[int, int]) -> list[datetime]:
    """Return noon and the evening of some days, when the labels of the day are in."""
    return [datetime(2013, month, day, hour, tzinfo=UTC) for month, day in days for hour in (12, 20)]


FURLOUGH = hours(*((4, day) for day in range(21, 28)))
MAY = hours(*((5, day) for day in range(2, 6)))


@pytest.fixture(scope="module")
def verdicts() -> Mapping[datetime, Sequence[Verdict]]:
    """Return the verdicts on drift and performance in the hours that are asked about."""
    monitor, flights = load_monitor(MONITOR), flights_between(MARCH, END)
    columns = monitor.columns
    training = flights_between(datetime(2013, 1, 1, tzinfo=UTC), MARCH).dropna(subset=["actual"])
    scorer = Scorer("flight_delays", "1", FEATURES, fit(training))
    log, labels = predictions_between(flights, MARCH, END, scorer, "1"), labels_between(flights, MARCH, END)
    rows = prepare_predictions(log, columns, table="predictions")
    known = prepare_labels(labels, monitor.labels.columns(), table="labels")
    joined = join_labels(rows, known, id_column=columns.prediction_id, as_of=END)
    before = pc.less(joined[columns.predicted_at], pa.scalar(APRIL))
    reference = {"1": table_reference(monitor, joined.filter(before), version="1", computed_at=APRIL)}
    asked, first = [*FURLOUGH, *MAY], datetime(2013, 4, 14, tzinfo=UTC)
    described = [first + step * HOUR for step in range((END - first) // HOUR)]
    outcomes = outcome_hours(joined, described, monitor.outcome_plan(), reference)
    signals = [
        *drift_report(monitor, profile_hours(rows, reference, described, columns), reference, asked),
        *performance_report(monitor, Labelled(outcomes), reference, asked),
    ]
    by_hour: dict[datetime, list[Verdict]] = {hour: [] for hour in asked}
    for verdict in judge_signals(signals, reference, monitor.judging_policy()):
        by_hour[verdict.signal.window_end - HOUR].append(verdict)
    return by_hour


def first_cause(verdicts: Mapping[datetime, Sequence[Verdict]], hour: datetime) -> Cause:
    reached = {at: found for at, found in verdicts.items() if hour - timedelta(days=7) < at <= hour}
    diagnoses = {hour: diagnose_drift(verdicts[hour], {}, outputs=OUTPUTS)}
    return rank_causes(reached, diagnoses, [], hour=hour, outputs=OUTPUTS)[0]


@pytest.mark.parametrize("hour", FURLOUGH, ids=str)
def test_in_the_furlough_the_outcome_changed_and_inputs_did_not(
    verdicts: Mapping[datetime, Sequence[Verdict]], hour: datetime
) -> None:
    cause = first_cause(verdicts, hour)
    assert cause.name == "concept drift: outcome changed, inputs did not"
    assert cause.confidence > 0.5
    assert any(each.startswith("performance.") for each in cause.evidence)
    assert "within their thresholds: distance, scheduled_minutes, minute_of_day and 12 more" in cause.evidence


@pytest.mark.parametrize("hour", MAY, ids=str)
def test_in_may_the_inputs_drift_and_temperature_above_all(
    verdicts: Mapping[datetime, Sequence[Verdict]], hour: datetime
) -> None:
    cause = first_cause(verdicts, hour)
    assert cause.name.startswith("covariate drift, temp")
    assert cause.confidence > 0.5
    assert any("of temp over 7d is" in each for each in cause.evidence)

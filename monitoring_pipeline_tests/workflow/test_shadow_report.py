"""A shadow from what the service logged to what is said of it, on a real deployment."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.shadow import SO_FAR, Recommendation
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.workflow import shadow_report
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.shadow_report import compare_day, is_watched, keep_rows
from monitoring_pipeline_tests.deployments import MODEL, Deployment, champion, customers, scored
from monitoring_pipeline_tests.traffic import START

ASKED: dict[str, object] = {
    "start": (START - timedelta(days=8)).isoformat(),
    "labels": {"maturity": "1h", "max_delay": "8d"},
    "slices": {"enabled": False},
    "drift": {"min_rows": 100},
    "retraining": {"margin": 0.05},
}
DAY = timedelta(days=1)
FIRST = START - 8 * DAY  # partitions of days that are still to come by the clock on the wall do not exist


def serve(
    deployment: Deployment, *days: int, knows: float, shadow: str | None = "2", labels: bool = True
) -> pd.DataFrame:
    """Serve days of customers, scored by a shadow that `knows` more of what comes true than the champion, or less."""
    hours = [FIRST + day * DAY + number * HOUR for day in days for number in range(24)]
    rows = customers(hours, rows=30)
    served = scored(rows, champion()).assign(model_version="1", shadow_version=shadow)
    odds = np.log(served["score"] / (1 - served["score"])) + knows * (2 * rows["actual"] - 1)
    served["shadow_score"] = 1 / (1 + np.exp(-odds)) if shadow else np.nan
    deployment.log_table(pa.Table.from_pandas(served.drop(columns="actual"), preserve_index=False))
    if labels:
        deployment.label(rows)
    deployment.monitoring.stages(deployment.monitor).describe(hours)
    return rows


def run_day(deployment: Deployment, day: int) -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    """Run the asset alone; returns its check and its metadata."""
    deployment.set_clock(FIRST + (day + 1) * DAY + 3 * HOUR)
    chosen = [dg.AssetKey([MODEL, "shadow_report"])]
    key = f"{FIRST + day * DAY:%Y-%m-%d}"
    result = deployment.run(f"{MODEL}__daily", partition_key=key, asset_selection=chosen)
    (check,) = result.get_asset_check_evaluations()
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    return check, {name: getattr(value, "records", value.value) for name, value in metadata.items()}


def stored(deployment: Deployment, day: int) -> dict[tuple[str, str], Signal]:
    """Return what was kept of a day, by metric and span."""
    found = deployment.store.read_signals("shadow", MODEL, FIRST + day * DAY, FIRST + (day + 1) * DAY)
    assert list(found) == [FIRST + (day + 1) * DAY - HOUR]
    return {(each.metric, each.span): each for entries in found.values() for each in entries}


def test_a_shadow_is_compared_by_day_and_over_all_its_days(deployment: Deployment) -> None:
    deployment.watch(ASKED)
    deployment.add_version(customers([START - HOUR], rows=2000), trained_until=START, alias="shadow")
    materialise_references(deployment.monitoring, deployment.monitor)
    serve(deployment, *range(8), knows=0.3)
    young, _ = run_day(deployment, 5)
    assert (young.passed, young.description) == (False, "unknown: 6 days have labels, roc_auc needs 7")
    check, shown = run_day(deployment, 7)
    assert check.passed
    assert str(check.description).startswith("better: the shadow is better: roc_auc 0.")
    assert str(shown["recommendation"]).startswith("v2 beside v1: better")
    rows = [record.data for record in shown["comparison"]]  # type: ignore[attr-defined]
    assert [(row["day"], row["rows"], row["labelled"]) for row in rows] == [
        *((f"{FIRST + day * DAY:%Y-%m-%d}", 720, 720) for day in range(8)),
        ("so far", 8 * 720, 8 * 720),
    ]
    assert all(float(row["shadow"]) > float(row["served"]) for row in rows)
    kept = stored(deployment, 7)
    assert kept["shadow.coverage", ""].value == 1
    assert kept["shadow.drift", ""].value is not None
    today, so_far = kept["shadow.roc_auc_gain", ""], kept["shadow.roc_auc_gain", SO_FAR]
    assert (today.version, today.baseline, today.window, today.rows) == ("2", "1", "24h", 720)
    assert (so_far.window_start, so_far.window_end, so_far.rows) == (FIRST, FIRST + 8 * DAY, 8 * 720)
    assert (so_far.low or 0) > 0


def test_a_worse_shadow_fails_the_check_and_one_without_labels_is_not_known(deployment: Deployment) -> None:
    deployment.watch(ASKED)
    rows = serve(deployment, *range(7), knows=-0.5, labels=False)
    waiting, _ = run_day(deployment, 6)
    assert not waiting.passed
    assert waiting.description == "unknown: 0 rows that both scored have their label, 30 needed"
    assert stored(deployment, 6)["shadow.agreement", ""].value is not None, "scores can be compared before labels"
    deployment.label(rows, known_at=FIRST + 7 * DAY + 5 * HOUR)
    serve(deployment, 7, knows=-0.5, labels=False)
    check, _ = run_day(deployment, 7)
    assert not check.passed
    assert str(check.description).startswith("worse: "), "labels of the days before have come"
    assert stored(deployment, 7)["shadow.roc_auc_gain", SO_FAR].rows == len(rows)


def test_without_a_shadow_nothing_is_said_and_a_silent_one_is_unknown(deployment: Deployment) -> None:
    deployment.watch(ASKED)
    serve(deployment, 0, knows=0, shadow=None)
    check, shown = run_day(deployment, 0)
    assert (check.passed, check.description) == (True, "there is no shadow")
    assert "comparison" not in shown
    assert stored(deployment, 0) == {}
    deployment.add_version(customers([START - HOUR]), trained_until=START, alias="shadow")
    check, shown = run_day(deployment, 0)
    assert not check.passed
    assert str(check.description).startswith("unknown: 0 rows that both scored")
    assert str(shown["recommendation"]).startswith("v2: unknown")
    silent = stored(deployment, 0)
    assert silent["shadow.coverage", ""].value == 0
    assert silent["shadow.agreement", SO_FAR].absence is Absence.TOO_FEW_ROWS


def compare(deployment: Deployment, days: Sequence[datetime]) -> shadow_report.ShadowReport:
    scored = keep_rows(deployment.monitoring, deployment.monitor, days)
    found = compare_day(deployment.monitoring, deployment.monitor, days[-1], scored=scored[days[-1]])
    assert found is not None
    return found


def test_only_the_two_versions_of_the_day_are_compared_and_labels_too_young_are_left_out(
    deployment: Deployment,
) -> None:
    deployment.watch({**ASKED, "labels": {"maturity": "12h"}})
    serve(deployment, 0, knows=0.3, shadow="2")
    serve(deployment, 1, knows=0.3, shadow="3")
    deployment.set_clock(FIRST + 2 * DAY)
    found = compare(deployment, [FIRST, FIRST + DAY])
    assert found.pair == ("1", "3")
    rows = {signal.metric: signal.rows for signal in found.so_far}
    assert (rows["shadow.agreement"], rows["shadow.roc_auc_gain"]) == (720, 360)


def test_a_day_too_large_to_keep_is_thinned_and_still_counted(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.watch(ASKED)
    serve(deployment, 0, knows=0.3)
    deployment.set_clock(FIRST + DAY + 3 * HOUR)
    monkeypatch.setattr(shadow_report, "MOST_A_DAY", 500)
    found = compare(deployment, [FIRST])
    by_metric = {signal.metric: signal for signal in found.days[FIRST]}
    assert by_metric["shadow.agreement"].rows == 500
    assert by_metric["shadow.coverage"].value == 1
    assert by_metric["shadow.coverage"].rows == 720


def test_numbers_are_compared_by_their_errors(deployment: Deployment) -> None:
    deployment.watch({**ASKED, "task": "regression", "columns": {"score": None, "prediction": "score"}})
    serve(deployment, 0, knows=0.3)
    deployment.set_clock(FIRST + DAY + 3 * HOUR)
    found = compare(deployment, [FIRST])
    assert (found.recommendation, found.reason) == (Recommendation.UNKNOWN, "1 days have labels, mae needs 7")
    gain = next(signal for signal in found.days[FIRST] if signal.metric == "shadow.mae_gain")
    assert (gain.low or 0) > 0


def test_what_the_service_does_not_score_is_not_watched(deployment: Deployment) -> None:
    deployment.watch({"aliases": ["champion"]})
    assert not is_watched(deployment.monitor)
    deployment.watch({})
    assert is_watched(deployment.monitor)

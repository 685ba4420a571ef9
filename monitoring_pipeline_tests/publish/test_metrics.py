from typing import Any

import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.publish.exposition import TEXT, written
from monitoring_pipeline.publish.exposition import page as page_of
from monitoring_pipeline.publish.metrics import (
    MOST_FEATURES,
    Families,
    Measured,
    NewestHour,
    RecordedCounts,
    families_of_hour,
    families_of_records,
    metric_name,
    never_evaluated,
)
from monitoring_pipeline_tests.exposition import assert_valid, series
from monitoring_pipeline_tests.verdicts import MORNING


def measured(metric: str = "drift.psi", value: float | None = 0.05, **more: Any) -> Measured:
    usual = {"version": "1", "window": "24h", "column": "tenure", "unit": "1", "level": "ok"}
    absence = "too_few_rows" if value is None else None
    return Measured(**{**usual, "metric": metric, "value": value, "absence": absence, **more})


def text(*parts: Families) -> str:
    return page_of([written(part, TEXT) for part in parts], TEXT).decode()


def page(*signals: Measured, **more: Any) -> str:
    return text(families_of_hour(NewestHour("churn", MORNING, signals, **more)))


def test_a_signal_of_a_feature_is_a_series_with_its_labels() -> None:
    lines = page(measured(value=1 / 3)).splitlines()
    assert 'drift_psi{feature="tenure",model="churn",version="1",window="24h"} 0.3333333333333333' in lines
    assert "# TYPE drift_psi gauge" in lines


@pytest.mark.parametrize(
    ("metric", "unit", "name"),
    [
        ("drift.psi", "1", "drift_psi"),
        ("drift.js", "nat", "drift_js_nats"),
        ("operations.latency_p99", "s", "operations_latency_p99_seconds"),
        ("operations.throughput", "1/s", "operations_throughput_per_second"),
        ("model.age_days", "d", "model_age_seconds"),
        ("model.new_labelled_rows", "row", "model_new_labelled_rows"),
        ("performance.mae", "target", "performance_mae"),
        ("business.revenue (€)", "1", "business_revenue____"),
    ],
)
def test_names_are_domain_metric_and_base_unit(metric: str, unit: str, name: str) -> None:
    assert metric_name(metric, unit) == name


def test_an_age_in_days_is_exported_in_seconds() -> None:
    found = page(measured("model.age_days", 1.5, unit="d", column=""))
    assert series(found, "model_age_seconds", model="churn", version="1") == {"24h": 129_600.0}


def test_a_budget_belongs_to_the_model_and_its_objective() -> None:
    found = page(measured("slo.budget_remaining", -0.5, column="availability", window="28d"))
    assert series(found, "slo_budget_remaining", model="churn", window="28d") == {"availability": -0.5}


@pytest.mark.parametrize(("value", "reason"), [(None, "too_few_rows"), (float("nan"), "undefined")])
def test_what_is_unknown_has_no_series_and_is_counted_by_its_reason(value: float | None, reason: str) -> None:
    unknown = measured(value=value, absence=None if value is not None else reason, level="unknown")
    found = page(unknown, unknown._replace(window="1h"), measured("performance.f1", 0.7, column=""))
    assert series(found, "drift_psi") == {}
    assert series(found, "monitor_unknown_signals", model="churn") == {f"{reason},drift,1": 2.0}
    assert series(found, "performance_f1", model="churn") == {"1,24h": 0.7}
    assert_valid(found)


def test_an_hour_without_any_prediction_says_so() -> None:
    found = page()
    assert series(found, "monitor_served_rows") == {"churn": 0.0}
    assert series(found, "monitor_last_evaluated_timestamp_seconds") == {"churn": (MORNING + HOUR).timestamp()}


def test_a_model_that_was_never_evaluated_counts_as_old() -> None:
    found = text(never_evaluated("churn"))
    assert series(found, "monitor_last_evaluated_timestamp_seconds") == {"churn": 0.0}
    assert found.count("\n") == 3
    assert_valid(found)


def test_up_to_200_features_have_series_and_of_more_the_worst() -> None:
    signals = [
        measured(value=number / 1000, column=f"feature_{number:03d}", window=window)
        for number in range(250)
        for window in ("1h", "24h")
    ]
    # As bad as can be judged, however small its PSI; unknown, it is not among the worst.
    signals += [measured("quality.null_rate", 0.9, column="feature_000", level="critical")]
    signals += [measured(value=None, column="nobody_knows", level="unknown")]
    found = page(*signals, means={("1", f"feature_{number:03d}"): 1.0 for number in range(250)})
    worst = series(found, "drift_psi", model="churn", version="1", window="24h")
    assert sorted(worst) == ["feature_000", *(f"feature_{number:03d}" for number in range(51, 250))]
    assert len(worst) == MOST_FEATURES
    assert set(series(found, "feature_mean", model="churn", version="1", window="1h")) == set(worst)
    assert series(found, "monitor_features_not_exported") == {"churn,1": 51.0}
    exactly = page(*(measured(column=f"feature_{number}") for number in range(MOST_FEATURES)))
    assert series(exactly, "monitor_features_not_exported") == {"churn,1": 0.0}


def test_versions_are_side_by_side() -> None:
    found = page(measured(), measured(version="2", value=0.3), served={"1": 90, "2": 10})
    assert series(found, "drift_psi", feature="tenure", window="24h", model="churn") == {"1": 0.05, "2": 0.3}
    assert series(found, "monitor_served_rows", model="churn") == {"1": 90.0, "2": 10.0}
    assert series(found, "monitor_model_info", model="churn") == {"1": 1.0, "2": 1.0}


def test_a_family_of_several_models_has_one_head() -> None:
    hours = [NewestHour(model, MORNING, [measured()]) for model in ("fraud", "churn")]
    found = text(*map(families_of_hour, hours))
    assert found.count("# TYPE drift_psi gauge\n") == 1
    assert series(found, "drift_psi", version="1", window="24h", feature="tenure") == {"fraud": 0.05, "churn": 0.05}
    assert_valid(found)


def test_all_verdicts_of_the_hour_are_counted_by_report_and_level() -> None:
    found = page(levels={("1", "drift", "ok"): 40, ("1", "drift", "critical"): 2, ("", "slo", "unknown"): 3})
    counted = {"critical,drift,1": 2.0, "ok,drift,1": 40.0, "unknown,slo": 3.0}
    assert series(found, "monitor_verdicts", model="churn") == counted


def records(recorded: RecordedCounts) -> str:
    known = {"severities": ["warning", "critical"], "statuses": ["promoted"]}
    return text(families_of_records(recorded, models=["churn", "fraud"], **known))


def test_counts_of_the_database_are_zero_where_there_is_none() -> None:
    opened = {("churn", "critical", identity): MORNING for identity in ("a", "b")}
    found = records(RecordedCounts(opened, {("churn", "fired"): 1}, {"churn": MORNING}))
    assert series(found, "incidents_open", model="churn") == {"warning": 0.0, "critical": 2.0}
    assert series(found, "incidents_open", model="fraud") == {"warning": 0.0, "critical": 0.0}
    assert series(found, "retraining_decisions_total") == {"churn,fired": 1.0}
    assert series(found, "retraining_episodes") == {"churn,promoted": 0.0, "fraud,promoted": 0.0}
    assert series(found, "retraining_last_decided_timestamp_seconds") == {"churn": (MORNING + HOUR).timestamp()}
    assert_valid(found)


def test_charts_can_mark_what_happened_when() -> None:
    later = MORNING + HOUR
    found = records(
        RecordedCounts(
            opened={("churn", "critical", "churn/psi"): MORNING},
            finished={("churn", "rejected"): later},
            deployed={("churn", "2", "promotion"): MORNING, ("churn", "1", "rollback"): later},
        )
    )
    opened = series(found, "incident_opened_timestamp_seconds", model="churn", severity="critical")
    assert opened == {"churn/psi": MORNING.timestamp()}
    assert series(found, "retraining_finished_timestamp_seconds", model="churn") == {"rejected": later.timestamp()}
    deployed = {"promotion,2": MORNING.timestamp(), "rollback,1": later.timestamp()}
    assert series(found, "model_deployed_timestamp_seconds", model="churn") == deployed
    assert_valid(found)

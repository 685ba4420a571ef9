import pytest

from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.serve.instrument import SECONDS, families
from monitoring_pipeline.serve.metrics import Family, Metrics
from monitoring_pipeline.settings.operations import LOW_LATENCY


def test_a_counter_a_gauge_and_a_histogram_read_as_prometheus_writes_them() -> None:
    metrics = Metrics(
        {
            "runs_total": Family("counter", "Runs.", ("kind",)),
            "open_rows": Family("gauge", "Open."),
            "took_seconds": Family("histogram", "Took.", (), (0.5, 2.0)),
        }
    )
    metrics.add("runs_total", 'a "b"\\\n')
    metrics.add("runs_total", 'a "b"\\\n', amount=2)
    metrics.read_from("open_rows", lambda: {(): 7.0})
    metrics.observe("took_seconds", [0.25, 0.5, 1.0, 4.0])
    assert metrics.text().splitlines() == [
        "# HELP runs_total Runs.",
        "# TYPE runs_total counter",
        r'runs_total{kind="a \"b\"\\\n"} 3.0',
        "# HELP open_rows Open.",
        "# TYPE open_rows gauge",
        "open_rows 7.0",
        "# HELP took_seconds Took.",
        "# TYPE took_seconds histogram",
        'took_seconds_bucket{le="0.5"} 2.0',
        'took_seconds_bucket{le="2"} 3.0',
        'took_seconds_bucket{le="+Inf"} 4.0',
        "took_seconds_sum 5.75",
        "took_seconds_count 4.0",
    ]


def test_a_label_too_few_is_an_error() -> None:
    metrics = Metrics({"runs_total": Family("counter", "Runs.", ("kind", "who"))})
    metrics.add("runs_total", "a")
    with pytest.raises(ValueError, match="shorter"):
        metrics.text()


def test_every_published_limit_of_a_latency_is_the_edge_of_a_bucket() -> None:
    limits = [
        edge
        for published in (LIMITS, LOW_LATENCY)
        for name, some in published.items()
        if name.startswith("operations.latency_p9")
        for limit in some
        for edge in (limit.warning, limit.critical)
        if edge is not None
    ]
    assert len(limits) >= 4
    assert set(limits) <= set(SECONDS)


def test_the_threshold_of_a_model_is_the_edge_of_a_bucket() -> None:
    found = families([0.37])
    assert 0.37 in found["model_score_ratio"].buckets
    assert 0.63 in found["model_confidence_ratio"].buckets
    assert all(list(family.buckets) == sorted(set(family.buckets)) for family in found.values())

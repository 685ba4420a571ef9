"""A model whose labels come thirty days after its predictions: an invoice paid or not, a customer gone or not."""

import pytest

from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.workflow.sensors import GRACE
from monitoring_pipeline_tests.deployments import MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

LATE = "churn__late_labels"
MONTH = 30 * 24


def signal(deployment: Deployment, metric: str, number: int, *, kind: str = "performance") -> Signal:
    found = deployment.store.read_signals(kind, MODEL, hour(number), hour(number + 1))[hour(number)]
    return next(each for each in found if each.metric == metric and each.window == "1h" and not each.segment)


def test_labels_thirty_days_late_change_exactly_their_hours_and_leave_what_was_seen_first(
    deployment: Deployment,
) -> None:
    deployment.watch({"labels": {"max_delay": "45d", "maturity": "31d", "min_rows": 20}})
    rows = deployment.serve(0, 3, labels=False)
    deployment.set_clock(hour(4) + GRACE)
    deployment.compute(0, 3)
    deployment.tick(LATE)
    before = deployment.files()
    assert signal(deployment, "performance.accuracy", 2).absence is Absence.NO_LABELS_YET
    estimate = signal(deployment, "estimate.accuracy", 2)
    assert estimate.value is not None, "what can be said without labels is said"

    late = rows["predicted_at"].dt.floor("h").isin([hour(1), hour(2)])
    deployment.set_clock(hour(MONTH + 5))
    deployment.label(rows[late], known_at=hour(MONTH + 2))
    assert [result.success for result in deployment.pass_on(LATE)] == [True]
    after = deployment.files()
    changed = {name.partition("/")[2] for name in after if after[name] != before.get(name)}
    assert changed == {"2026-11-20T01Z", "2026-11-20T02Z"}
    accuracy = signal(deployment, "performance.accuracy", 2)
    assert accuracy.value is not None
    assert signal(deployment, "estimate.accuracy", 2) == estimate, "estimates do not look at labels"
    delay = signal(deployment, "labels.delay_p50", 2)
    assert delay.value is not None
    assert abs(delay.value / 86_400 - 30) < 0.4
    first = signal(deployment, "performance.accuracy", 2, kind="first_seen")
    assert first == accuracy

    wrong = rows[rows["predicted_at"].dt.floor("h") == hour(2)]
    deployment.set_clock(hour(MONTH + 9))
    deployment.label(wrong.assign(actual=1 - wrong["actual"]), known_at=hour(MONTH + 6))
    assert [result.success for result in deployment.pass_on(LATE)] == [True]
    now = signal(deployment, "performance.accuracy", 2)
    assert now.value == pytest.approx(1 - accuracy.value)
    assert signal(deployment, "performance.accuracy", 2, kind="first_seen") == first
    assert signal(deployment, "labels.corrected_share", 2).value == 1.0

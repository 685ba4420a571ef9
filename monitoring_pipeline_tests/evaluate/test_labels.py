from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LABELLED
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.evaluate.labels import LabelPolicy, labels_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline_tests.traffic import hour

POLICY = LabelPolicy((HOUR, 24 * HOUR), maturity=6 * HOUR, baseline=timedelta(days=2), min_rows=20)


def arrivals(number: int, delays: list[float | None], *, corrected: int = 0) -> LabelArrivals:
    """Predictions made at the start of an hour, each with its label's delay in hours, or None without one."""
    made = [hour(number)] * len(delays)
    known = [None if delay is None else hour(number) + timedelta(hours=delay) for delay in delays]
    actual = [None if delay is None else 1.0 for delay in delays]
    first = [0.0 if at < corrected else value for at, value in enumerate(actual)]
    reports = [1 + (at < corrected) for at in range(len(delays))]
    columns = dict(zip(LABELLED, (actual, known, first, known, reports), strict=True))
    table = pa.table({name: pa.array(columns[name], LABELLED[name]) for name in LABELLED})
    return LabelArrivals.of(
        table.append_column("predicted_at", pa.array(made, LABELLED["labelled_at"])), predicted_at="predicted_at"
    )


def signals(hourly: dict[int, LabelArrivals], at: int, **more: Any) -> dict[tuple[str, str], Signal]:
    versions = {hour(number): {"1": part} for number, part in hourly.items()}
    found = labels_by_version("m", versions, [hour(at)], POLICY)
    return {(signal.metric.removeprefix("labels."), signal.window): signal for signal in found}


def test_delays_are_those_of_the_first_labels() -> None:
    delays = np.random.default_rng(1).lognormal(1.0, 0.6, 400)
    found = signals({0: arrivals(0, [*delays.tolist(), *[None] * 50])}, 0)
    for name, share in (("delay_p50", 0.5), ("delay_p95", 0.95)):
        signal, exact = found[name, "1h"], 3600 * np.quantile(delays, share)
        assert signal.value == pytest.approx(exact, rel=0.011)
        assert (signal.unit, signal.rows) == ("s", 400)
        assert signal.low is not None
        assert signal.high is not None
        assert signal.low < exact < signal.high


def test_the_feedback_rate_is_of_predictions_old_enough_and_of_labels_in_time() -> None:
    hourly = {number: arrivals(number, [1.0] * 18 + [7.0] + [None]) for number in range(60)}
    hourly[59] = arrivals(59, [None] * 20)  # made just now: nothing can be known of them yet
    rate = signals(hourly, 59)["feedback_rate", "24h"]
    assert (rate.value, rate.baseline_value, rate.rows) == (0.9, 0.9, 480)
    assert rate.detail["labelled_by_age"] == {"1h": 0.9, "2h": 0.9, "3h": 0.9, "6h": 0.9}
    assert rate.detail["predictions_from"] == hour(59 + 1 - 24 - 6).isoformat()


def test_labels_that_stop_coming_are_critical_and_some_fewer_are_not() -> None:
    usual = [1.0] * 18 + [None] * 2
    broken = {number: arrivals(number, usual if number < 90 else [None] * 20) for number in range(120)}
    ratio = signals(broken, 119)["feedback_ratio", "24h"]
    assert ratio.value == 0
    verdict = judge_by_limits(ratio, LIMITS["labels.feedback_ratio"])
    assert verdict.level == "critical"
    assert "0 of 480 predictions had a label within 6h, 90.0% had in the 2d before" in verdict.reason
    fewer = {number: arrivals(number, usual if number < 80 else [1.0] * 16 + [None] * 4) for number in range(120)}
    ratio = signals(fewer, 119)["feedback_ratio", "24h"]
    assert judge_by_limits(ratio, LIMITS["labels.feedback_ratio"]).level == "ok"


def test_corrections_and_repetitions_are_counted_once_a_prediction() -> None:
    found = signals({0: arrivals(0, [1.0] * 40 + [None] * 10, corrected=4)}, 0)
    assert (found["corrected_share", "1h"].value, found["repeated_share", "1h"].value) == (0.1, 0.1)
    assert found["corrected_share", "1h"].rows == 40


def test_what_is_not_known_says_why() -> None:
    nothing = signals({0: arrivals(0, [None] * 40)}, 0)
    assert nothing["delay_p50", "1h"].absence is Absence.NO_LABELS_YET
    assert nothing["feedback_rate", "1h"].absence is Absence.WARMING_UP
    assert signals({0: arrivals(0, [1.0] * 5)}, 0)["delay_p95", "1h"].absence is Absence.TOO_FEW_ROWS
    early = signals({0: arrivals(0, [-1.0] * 40)}, 0)["delay_p50", "1h"]
    assert (early.absence, early.reason) == (Absence.UNDEFINED, "every label is older than its prediction")
    empty = signals({number: arrivals(number, [1.0] * 30 if number else []) for number in range(8)}, 6)
    assert empty["feedback_rate", "1h"].absence is Absence.EMPTY_HOUR

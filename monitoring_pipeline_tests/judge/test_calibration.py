"""Calibrated thresholds: the rate of false alarms they state is the rate they have, on series that remember."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.references import ColumnSpec, Reference
from monitoring_pipeline.judge.calibration import calibrated_thresholds
from monitoring_pipeline.judge.thresholds import TEXTBOOK, JudgingPolicy, judge_signals
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import VERSION, drift, hour, log_rows, reference
from monitoring_pipeline_tests.verdicts import signal

DAYS, AFTER, PER_HOUR = 30, 21, 8
SPECS = (ColumnSpec("tenure", ColumnRole.FEATURE, ColumnKind.NUMERIC),)


def restless(seed: int, days: int, *, shift_after: int | None = None, memory: float = 0.9) -> pa.Table:
    """Rows whose level wanders from hour to hour, AR(1), and that shift by 3 deviations of it after some days."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=days * 24) * np.sqrt(1 - memory**2)
    level = np.empty_like(noise)
    level[0] = generator.normal()
    for at in range(1, len(level)):
        level[at] = memory * level[at - 1] + noise[at]
    if shift_after is not None:
        level[shift_after * 24 :] += 3.0
    values = np.repeat(level, PER_HOUR) + generator.normal(size=len(level) * PER_HOUR)
    return log_rows(len(values), seed=seed, hours=days * 24, tenure=values)


def daily_indices(seed: int, *, shift: bool = False) -> tuple[Reference, list[float]]:
    """A reference from the first month, and the day-by-day stability index after it."""
    rows = restless(seed, DAYS + AFTER, shift_after=DAYS if shift else None)
    first = DAYS * 24 * PER_HOUR
    against = reference(rows.slice(0, first), SPECS, time="predicted_at", windows=(24 * HOUR,))
    ends = [hour((DAYS + day) * 24 + 23) for day in range(AFTER)]
    described = [hour(DAYS * 24 + number) for number in range(AFTER * 24)]
    signals = drift(against, rows.slice(first), ends, windows=(24,), described=described)
    return against, [each.value for each in signals if each.metric == "drift.psi" and each.value is not None]


def test_a_series_that_remembers_alarms_as_seldom_as_stated_where_the_textbook_alarms_often() -> None:
    stated, days, calibrated, textbook = 0.05, 0, 0, 0
    for seed in range(6):
        against, values = daily_indices(seed)
        limits = calibrated_thresholds({VERSION: against}, probability=1 - stated)
        limit = limits(signal("drift.psi", 0.1, window="24h", version=VERSION, column="tenure"))
        assert limit is not None
        days += len(values)
        calibrated += sum(value > limit.warning for value in values)
        textbook += sum(value > TEXTBOOK["drift.psi"].warning for value in values)
    assert days == 6 * AFTER
    assert calibrated <= binom.ppf(0.999, days, stated)
    assert textbook > days / 2


def test_a_real_shift_is_caught_within_days_all_the_same() -> None:
    against, values = daily_indices(100, shift=True)
    limits = calibrated_thresholds({VERSION: against}, probability=0.95)
    limit = limits(signal("drift.psi", 0.1, window="24h", version=VERSION, column="tenure"))
    assert limit is not None
    assert sum(value > limit.warning for value in values[:3]) >= 2
    assert sum(value > limit.warning for value in values) > 0.8 * AFTER


ROWS = log_rows(10_000, seed=1, hours=21 * 24)
REFERENCE = reference(ROWS, time="predicted_at", windows=(HOUR, 24 * HOUR, 7 * 24 * HOUR))


@pytest.mark.parametrize(("window", "days"), [("1h", 1 / 24), ("24h", 1.0), ("7d", 7.0)])
def test_windows_of_every_length_are_wrong_as_often_per_day(window: str, days: float) -> None:
    limits = calibrated_thresholds({VERSION: REFERENCE}, probability=0.99)
    found = limits(signal("drift.psi", 0.1, window=window, version=VERSION, column="tenure"))
    blocks = REFERENCE.columns["tenure"].calibrated("psi", window)
    assert found is not None
    assert blocks is not None
    # A day has 1 / days windows side by side: all of them stay below with the stated probability.
    assert found.warning == pytest.approx(blocks.limit(0.99**days))
    assert found.critical == pytest.approx(blocks.limit(0.999**days))
    assert (found.origin, found.direction) == ("calibrated", "above")
    assert found.critical is not None
    assert found.critical > found.warning


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "performance.accuracy"},
        {"metric": "drift.js_distance"},
        {"column": "plan", "metric": "drift.ks"},
        {"column": "unknown"},
        {"version": "9"},
        {"window": "30d"},
    ],
)
def test_what_was_not_calibrated_has_no_limit(change: dict[str, str]) -> None:
    limits = calibrated_thresholds({VERSION: REFERENCE}, probability=0.99)
    place: dict[str, Any] = {"metric": "drift.psi", "column": "tenure", "version": VERSION, "window": "24h", **change}
    assert limits(signal(value=0.1, **place)) is None


def test_without_a_probability_nothing_is_calibrated() -> None:
    limits = calibrated_thresholds({VERSION: REFERENCE}, probability=None)
    assert limits(signal("drift.psi", 0.1, window="24h", version=VERSION, column="tenure")) is None


def test_a_calibrated_limit_replaces_the_textbook_only_where_it_is_larger() -> None:
    against, _ = daily_indices(0)
    limits = calibrated_thresholds({VERSION: against}, probability=0.99)
    restless_column = signal("drift.psi", 0.3, window="24h", version=VERSION, column="tenure")
    (verdict,) = judge_signals([restless_column], limits, JudgingPolicy())
    assert (verdict.level, verdict.threshold_origin) == (Level.OK, "calibrated")
    calm = calibrated_thresholds({VERSION: REFERENCE}, probability=0.99)
    calm_column = signal("drift.psi", 0.3, window="24h", version=VERSION, column="tenure")
    (verdict,) = judge_signals([calm_column], calm, JudgingPolicy())
    assert (verdict.level, verdict.threshold_origin) == (Level.CRITICAL, "textbook")

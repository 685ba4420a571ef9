"""Calibrated thresholds: the rate of false alarms they state is the rate they have, on series that remember."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.blocks import calibration_from_json, calibration_to_json
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import BlockModel, Calibrations, LevelModel, RootModel
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.thresholds import JudgingPolicy
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stats.block_limits import block_moments
from monitoring_pipeline_tests.traffic import VERSION, drift, hour, log_rows, reference
from monitoring_pipeline_tests.verdicts import reference_of, signal

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


def after_a_month(seed: int, *, shift: bool = False) -> tuple[Reference, list[Signal]]:
    """A reference from the first month, and the day-by-day stability index after it."""
    rows = restless(seed, DAYS + AFTER, shift_after=DAYS if shift else None)
    first = DAYS * 24 * PER_HOUR
    against = reference(rows.slice(0, first), SPECS, time="predicted_at", windows=(24 * HOUR,))
    ends = [hour((DAYS + day) * 24 + 23) for day in range(AFTER)]
    described = [hour(DAYS * 24 + number) for number in range(AFTER * 24)]
    return against, drift(against, rows.slice(first), ends, windows=(24,), described=described, metrics=("psi",))


def alarms(against: Reference, signals: Sequence[Signal], **asked: Any) -> list[bool]:
    """Return for every day whether the column is said to have drifted."""
    verdicts = judge_signals(signals, {VERSION: against}, JudgingPolicy(**asked))
    return [verdict.level.rank > 0 for verdict in verdicts if verdict.signal.column]


def test_a_series_that_remembers_alarms_as_seldom_as_stated_where_the_textbook_alarms_often() -> None:
    stated, days, calibrated, textbook = 0.05, 0, 0, 0
    for seed in range(6):
        against, signals = after_a_month(seed)
        days += len(signals)
        calibrated += sum(alarms(against, signals, alpha=stated))
        textbook += sum(alarms(against, signals, alpha=stated, calibrated=False))
    assert days == 6 * AFTER
    assert calibrated <= binom.ppf(0.999, days, stated)
    assert textbook > days / 2


def test_a_real_shift_is_caught_within_days_all_the_same() -> None:
    found = alarms(*after_a_month(100, shift=True), alpha=0.05)
    assert sum(found[:3]) >= 2
    assert sum(found) > 0.8 * AFTER


def month_of(columns: int, *, spread: float = 0.4, weeks: int = 4) -> Mapping[str, list[float]]:
    """Four weeks of each column, all of which wander alike."""
    generator = np.random.default_rng(8)
    return {f"c{place}": generator.lognormal(-3, spread, weeks).tolist() for place in range(columns)}


def model_of(against: Reference, column: str = "c0", **place: Any) -> BlockModel:
    found = Calibrations({"1": against}).of(signal(column=column, **{"window": "7d", **place}))
    assert found is not None
    return found


def test_four_weeks_bound_nothing_for_one_column_and_enough_for_many() -> None:
    typical = float(np.exp(-3))
    alone = [model_of(reference_of({name: weeks}, window="7d"), name) for name, weeks in month_of(25).items()]
    together = reference_of(month_of(25), window="7d")
    shared = [model_of(together, name) for name in month_of(25)]
    rarity = 0.01 / 25
    assert np.median([model.limit(rarity) for model in alone]) > 30 * typical  # a population stability index of 1.5
    assert max(model.limit(rarity) for model in shared) < 15 * typical
    assert np.median([model.limit(rarity) for model in shared]) < 8 * typical
    assert all(model.p_value(20 * typical) < rarity for model in shared)


@pytest.mark.parametrize("columns", [1, 2])
def test_one_column_or_two_are_left_as_they_are(columns: int) -> None:
    weeks = month_of(columns)
    found = model_of(reference_of(weeks, window="7d"))
    assert isinstance(found, RootModel)
    mean, variance = block_moments(weeks["c0"])
    assert [found.mean, found.variance] == pytest.approx([float(mean), float(variance)])
    assert (found.degrees, found.independent) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("metric", "blocks", "model"),
    [("psi", 9, RootModel), ("psi", 10, LevelModel), ("wasserstein_normalised", 4, LevelModel)],
)
def test_a_distance_that_cannot_grow_for_ever_needs_ten_blocks_to_be_judged_by_its_level(
    metric: str, blocks: int, model: type[BlockModel]
) -> None:
    against = reference_of({"c0": [0.1, 0.2] * 5}, metric=metric)
    entry = against.columns["c0"]
    known = replace(entry.calibration[metric]["24h"], independent=float(blocks))
    columns = {"c0": replace(entry, calibration={metric: {"24h": known}})}
    found = Calibrations({"1": replace(against, columns=columns)}).of(signal(f"drift.{metric}", column="c0"))
    assert isinstance(found, model)


def test_a_reference_that_was_described_before_levels_were_is_judged_by_roots() -> None:
    against = reference_of({"c0": [0.1, 0.2] * 15})
    entry = against.columns["c0"]
    stored = calibration_to_json(entry.calibration)["psi"]["24h"][:5]
    columns = {"c0": replace(entry, calibration=calibration_from_json({"psi": {"24h": stored}}))}
    found = Calibrations({"1": replace(against, columns=columns)}).of(signal(column="c0"))
    assert isinstance(found, RootModel)
    assert 0.2 < found.limit(0.01) < 1


def test_columns_that_wander_alike_alarm_as_seldom_as_stated_when_they_share_what_is_known() -> None:
    """Four blocks a column, forty columns: the report as a whole keeps its rate."""
    stated, reports, false = 0.1, 60, 0
    generator = np.random.default_rng(9)
    for seed in range(reports):
        old = np.random.default_rng(seed).lognormal(-2, 0.4, (40, 4))
        against = reference_of({f"c{place}": row.tolist() for place, row in enumerate(old)}, window="7d")
        new = generator.lognormal(-2, 0.4, 40)
        report = [signal(value=float(value), column=f"c{place}", window="7d") for place, value in enumerate(new)]
        verdicts = judge_signals(report, {"1": against}, JudgingPolicy(alpha=stated))
        false += any(verdict.level.rank > 0 for verdict in verdicts if verdict.signal.column)
    assert false <= binom.ppf(0.999, reports, stated)


def test_the_limit_is_where_the_p_value_is_as_rare_as_asked() -> None:
    model = model_of(reference_of(month_of(25), window="7d"))
    limits = [model.limit(rarity) for rarity in (0.5, 0.1, 0.01, 0.001)]
    assert limits == sorted(limits)
    assert [model.p_value(limit) for limit in limits] == pytest.approx([0.5, 0.1, 0.01, 0.001])


PLAN = ReferencePlan((HOUR, 24 * HOUR, 7 * 24 * HOUR), recurring=True, segments=["plan"], most=2)


@cache
def four_weeks() -> Reference:
    return reference(log_rows(10_000, seed=1, hours=28 * 24), time="predicted_at", plan=PLAN)


def of_tenure(**change: str) -> BlockModel | None:
    place = {"metric": "drift.psi", "column": "tenure", "version": VERSION, "window": "24h", **change}
    return Calibrations({VERSION: four_weeks()}).of(signal(value=0.1, **place))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "performance.accuracy"},
        {"metric": "drift.kl"},
        {"column": "plan", "metric": "drift.ks"},
        {"column": "unknown"},
        {"version": "9"},
        {"window": "30d"},
        {"segment": "plan=gold"},
    ],
)
def test_what_was_not_calibrated_has_no_model(change: dict[str, str]) -> None:
    assert of_tenure() is not None
    assert of_tenure(**change) is None


def test_a_number_of_rows_is_calibrated_by_the_longest_window_that_fits_into_it() -> None:
    assert of_tenure(span="last_10000", window="36h") == of_tenure(window="24h")
    assert of_tenure(span="last_10000", window="4h") == of_tenure(window="1h")


def test_a_segment_has_the_calibration_of_its_own_rows() -> None:
    whole, segment = of_tenure(), of_tenure(segment="plan=(other)")
    assert whole is not None
    assert segment is not None
    assert segment.limit(0.01) > whole.limit(0.01)  # a tenth of the rows


@pytest.mark.parametrize(("window", "blocks"), [("1h", 672.0), ("24h", 28.0), ("7d", 4.0)])
def test_the_same_hours_have_a_calibration_of_their_own_and_other_baselines_that_of_training(
    window: str, blocks: float
) -> None:
    training, trailing = of_tenure(window=window), of_tenure(window=window, baseline="trailing_4w")
    same_hours = of_tenure(window=window, baseline="same_hours_4w")
    assert training is not None
    assert training == trailing
    assert training.independent == blocks
    assert same_hours is not None
    assert same_hours.limit(0.01) > training.limit(0.01)  # three weeks' hours say less than a whole month


def test_a_calibrated_limit_replaces_the_textbook_only_where_it_is_larger() -> None:
    against, signals = after_a_month(0)
    place = {"window": "24h", "version": VERSION, "column": "tenure", "p_value": 1e-9}
    (verdict, _) = judge_signals([signal("drift.psi", 0.3, **place)], {VERSION: against}, JudgingPolicy())  # type: ignore[arg-type]
    assert (verdict.level, verdict.threshold_origin) == (Level.OK, "calibrated")
    (verdict, _) = judge_signals([signal("drift.psi", 0.3, **place)], {VERSION: four_weeks()}, JudgingPolicy())  # type: ignore[arg-type]
    assert (verdict.level, verdict.threshold_origin) == (Level.CRITICAL, "textbook")
    assert signals

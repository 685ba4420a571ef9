from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.evaluate.performance import PerformancePolicy, performance_signals
from monitoring_pipeline.evaluate.regression_measures import histogram_distance
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.thresholds import JudgingPolicy, judge_alone
from monitoring_pipeline_tests.traffic import hour

Array = NDArray[np.float64]
PLAN = OutcomePlan(Task.REGRESSION, LogColumns(prediction="value", lower="low", upper="high"), quantile=0.8)


def rows(size: int, seed: int, *, bias: float = 0.0, noise: float = 0.5) -> tuple[Array, Array]:
    """Return actual numbers, and predictions of them that know part of what makes them differ."""
    generator = np.random.default_rng(seed)
    known = 2 + generator.gamma(3.0, 2.0, size)
    return known + generator.normal(bias, noise, size), known


def outcome(actual: Any, served: Any) -> OutcomeProfile:
    served = np.asarray(served, dtype=np.float64)
    columns = {"actual": pa.array(actual, pa.float64()), "value": served, "low": served - 1, "high": served + 1}
    return PLAN.of(pa.table(columns | {"labelled_at": pa.nulls(len(served), pa.timestamp("us", tz="UTC"))}))


def measured(*hours: OutcomeProfile, baseline: OutcomeProfile | None = None, min_rows: int = 1) -> dict[str, Signal]:
    policy = PerformancePolicy((len(hours) * HOUR,), min_rows=min_rows, plan=PLAN)
    by_hour = {hour(at): each for at, each in enumerate(hours)}
    signals = performance_signals("m", "1", by_hour, [hour(len(hours) - 1)], policy, baseline=baseline)
    return {signal.metric.removeprefix("performance."): signal for signal in signals}


def test_the_numbers_are_those_of_scikit_learn_on_the_raw_rows() -> None:
    parts = [rows(size, seed) for seed, size in enumerate((900, 3, 1200))]
    parts[1][0][0] = 0.0  # no percentage of it
    found = measured(*(outcome(*part) for part in parts))
    actual, served = (np.concatenate(column) for column in zip(*parts, strict=True))
    residual, divisible = actual - served, actual != 0
    exact = {
        "mae": sk.mean_absolute_error(actual, served),
        "mse": sk.mean_squared_error(actual, served),
        "rmse": sk.root_mean_squared_error(actual, served),
        "r2": sk.r2_score(actual, served),
        "mape": sk.mean_absolute_percentage_error(actual[divisible], served[divisible]),
        "pinball": sk.mean_pinball_loss(actual, served, alpha=0.8),
        "bias": residual.mean(),
        "residual_std": residual.std(),
        "mean_actual": actual.mean(),
        "mean_prediction": served.mean(),
        "interval_coverage": (np.abs(residual) <= 1).mean(),
    }
    assert {name: found[name].value for name in exact} == pytest.approx(exact, rel=1e-9)
    assert found["mape"].rows == len(actual) - 1


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    names = ("mae", "mse", "rmse", "r2", "mape", "pinball", "bias", "residual_std", "mean_actual", "interval_coverage")
    everything, hits = measured(outcome(*rows(400_000, 99))), dict.fromkeys(names, 0)
    for seed in range(200):
        found = measured(outcome(*rows(400, seed)))
        for name in names:
            low, value, high = found[name].low, everything[name].value, found[name].high
            assert low is not None
            assert value is not None
            assert high is not None
            hits[name] += low <= value <= high
    assert all(181 <= each <= 198 for each in hits.values()), hits  # 190 are expected at 95 %


def test_one_absurd_label_is_named_and_costs_nothing_else() -> None:
    actual, served = rows(200, 1)
    poisoned = measured(outcome([*actual, 1e308], [*served, 1.0]))
    assert poisoned.pop("label_coverage").detail["unusable"] == 1
    healthy = measured(outcome(actual, served))
    assert all(poisoned[name] == healthy[name] for name in poisoned)


def test_what_the_rows_do_not_define_says_why() -> None:
    found = measured(outcome([2.0] * 30, [1.0] * 30))
    assert (found["r2"].absence, found["mae"].value) == (Absence.UNDEFINED, 1.0)
    assert found["r2"].reason == "the actual number is the same in all 30 rows"
    assert measured(outcome([0.0] * 30, [1.0] * 30))["mape"].absence is Absence.UNDEFINED
    few = measured(outcome([2.0] * 30, [np.nan] * 29 + [1.0]), min_rows=2)
    assert few["mae"].reason.startswith("1 labelled rows with a usable prediction, 2 are needed")


def test_bias_and_distribution_of_the_residuals_are_held_against_the_baseline() -> None:
    baseline = outcome(*rows(5000, 2))
    same = measured(outcome(*rows(2000, 3)), baseline=baseline)
    assert abs(same["bias_shift"].value or 1) < 0.1
    assert judged(same["bias_shift"], same["residual_drift"], same["mae"], same["r2"]) == ["ok"] * 4
    assert (same["residual_drift"].p_value or 0) > 0.01
    biased = measured(outcome(*rows(2000, 4, bias=0.25)), baseline=baseline)
    assert biased["bias_shift"].value == pytest.approx(0.5, abs=0.06)
    assert judged(biased["bias_shift"], biased["residual_drift"]) == ["critical", "warning"]
    assert judged(measured(outcome(*rows(2000, 4, bias=-0.17)), baseline=baseline)["bias_shift"]) == ["warning"]
    noisy = measured(outcome(*rows(2000, 5, noise=0.8)), baseline=baseline)
    assert judged(noisy["mae"], noisy["rmse"], noisy["interval_coverage"]) == ["critical"] * 3
    alone = measured(outcome(*rows(2000, 3)))
    assert alone["bias_shift"].absence is alone["residual_drift"].absence is Absence.NO_REFERENCE


def judged(*signals: Signal) -> list[str]:
    verdicts = [judge_alone(signal, JudgingPolicy()) for signal in signals]
    return [str(verdict.level) for verdict in verdicts if verdict]


def test_the_distance_of_residuals_is_that_of_their_rows_but_for_the_width_of_a_bucket() -> None:
    generator = np.random.default_rng(6)
    first, second = generator.normal(size=3000), generator.normal(0.2, 1.5, 1000)
    exact = stats.ks_2samp(first, second).statistic
    assert histogram_distance(LogHistogram.of(first), LogHistogram.of(second)) == pytest.approx(exact, abs=0.01)
    assert np.isnan(histogram_distance(LogHistogram.of(first), LogHistogram()))

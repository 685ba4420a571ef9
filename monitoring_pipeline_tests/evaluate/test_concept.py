from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.error_dispersion import ErrorDispersion
from monitoring_pipeline.describe.moments import Moments
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline.evaluate.concept import (
    CHARTS,
    FREAK,
    ConceptPolicy,
    chart_signals,
    concept_by_version,
    rate_gap,
    rate_gap_signals,
)
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.stats.autocorrelation import innovations
from monitoring_pipeline.stats.sequential import cusum, cusum_limit
from monitoring_pipeline_tests.traffic import hour, log_rows, reference

POLICY = ConceptPolicy((24 * HOUR,), history=timedelta(days=10), average_run_length=2000, min_rows=1)
NIGHT = 6


def outcome(errors: int, rows: int, *, positives: int = 0, score: float = 0.3, unlabelled: int = 0) -> BinaryOutcomes:
    """Return an hour of predictions of which `errors` served classes are wrong."""
    actual = np.arange(rows) < positives
    served = actual ^ (np.arange(rows)[::-1] < errors)
    pad = [None] * unlabelled
    table = pa.table(
        {
            "actual": pa.array([*actual.astype(float), *pad], pa.float64()),
            "score": pa.array([score] * (rows + unlabelled), pa.float64()),
            "prediction": pa.array([*served.astype(float), *pad], pa.float64()),
            "labelled_at": pa.nulls(rows + unlabelled, pa.timestamp("us", tz="UTC")),
        }
    )
    return BinaryOutcomes.of(table, score="score", prediction="prediction")


def traffic(rates: Sequence[float], *, seed: int, rows: int = 60) -> dict[datetime, BinaryOutcomes]:
    """Return hours with the given error rates, empty at night; the rates wander by themselves."""
    generator, level, found = np.random.default_rng(seed), 0.0, {}
    for number, rate in enumerate(rates):
        level = 0.8 * level + 0.6 * generator.normal()
        errors = int(generator.binomial(rows, np.clip(rate + 0.05 * level, 0, 1)))
        found[hour(number)] = BinaryOutcomes() if number % 24 < NIGHT else outcome(errors, rows)
    return found


MONTH = traffic([0.2] * 720, seed=1)
CALM = ErrorDispersion.of(MONTH)


def charts(
    outcomes: Mapping[datetime, OutcomeProfile], numbers: Sequence[int], policy: ConceptPolicy = POLICY, **more: Any
) -> dict[int, dict[str, Signal]]:
    hours = [hour(number) for number in numbers]
    found: dict[int, dict[str, Signal]] = {number: {} for number in numbers}
    for signal in chart_signals("m", "1", outcomes, hours, policy, **{"dispersion": CALM, **more}):
        found[round((signal.window_start - hour(0)) / HOUR)][signal.metric.removeprefix("concept.")] = signal
    return found


def known(found: Mapping[int, Mapping[str, Signal]], name: str) -> dict[int, float]:
    values = {number: entries[name].value for number, entries in found.items()}
    return {number: value for number, value in values.items() if value is not None}


def test_while_errors_stay_as_they_were_no_chart_leaves_its_limits() -> None:
    found = charts(traffic([0.2] * 480, seed=2), range(240, 480))
    for name in CHARTS:
        assert max(map(abs, known(found, name).values())) <= 1, name


def test_when_errors_rise_charts_leave_their_limits_upwards_and_say_when_it_began() -> None:
    found = charts(traffic([0.2] * 360 + [0.5] * 120, seed=3), range(340, 480))
    assert max(value for number, value in known(found, "cusum").items() if number < 360) < 1
    after = [number for number, value in known(found, "cusum").items() if value > 1]
    assert 360 <= min(after) <= 390
    assert known(found, "ewma")[min(after)] > 0.7
    assert max(known(found, "page_hinkley").values()) > 1
    assert max(known(found, "adwin").values()) > 1
    began = datetime.fromisoformat(str(found[after[-1]]["cusum"].detail["began"]))
    assert abs(began - hour(366)) <= timedelta(hours=12)  # the first hour after the night
    adwin = next(entries["adwin"] for number, entries in found.items() if known(found, "adwin").get(number, 0) > 1)
    assert hour(350) <= datetime.fromisoformat(str(adwin.detail["began"])) <= adwin.window_start


def test_when_errors_fall_the_values_are_negative_and_page_hinkley_stays_at_rest() -> None:
    found = charts(traffic([0.3] * 360 + [0.08] * 120, seed=4), range(450, 480), dispersion=CALM)
    assert known(found, "adwin")[479] < -1
    assert known(found, "cusum")[479] < -1
    assert known(found, "page_hinkley")[479] < 1


def test_a_storm_that_has_passed_is_forgotten_within_days_although_the_history_still_holds_it() -> None:
    found = charts(traffic([0.2] * 300 + [0.6] * 48 + [0.2] * 132, seed=5), range(300, 480))
    assert max(known(found, "cusum").values()) > 1
    assert abs(known(found, "cusum")[479]) < 1
    assert max(known(found, "adwin").values()) > 1
    assert known(found, "adwin")[479] < 0  # the newest change is the return


def test_one_freak_hour_raises_no_alarm() -> None:
    outcomes = traffic([0.2] * 480, seed=6)
    quiet = charts(outcomes, [463])
    freak = charts({**outcomes, hour(463): outcome(60, 60)}, [463])
    assert known(freak, "cusum")[463] > known(quiet, "cusum")[463]
    assert known(freak, "cusum")[463] < 1


def test_a_value_is_the_statistic_over_a_limit_that_follows_from_the_run_length() -> None:
    detail = charts(MONTH, [690])[690]["cusum"]
    assert detail.value == pytest.approx(float(str(detail.detail["statistic"])) / float(str(detail.detail["limit"])))
    assert detail.detail["average_run_length"] == 2000
    assert detail.rows == 60 * int(str(detail.detail["hours"]))
    rarer = charts(MONTH, [690], ConceptPolicy((HOUR,), history=timedelta(days=10), average_run_length=20_000))
    for name in ("cusum", "ewma", "page_hinkley"):
        limits = [float(str(entry[name].detail["limit"])) for entry in (charts(MONTH, [690])[690], rarer[690])]
        assert limits[0] < limits[1]


def test_an_hour_gives_the_same_bits_in_whatever_range_it_is_computed() -> None:
    outcomes = traffic([0.2] * 360 + [0.4] * 120, seed=7)
    together = charts(outcomes, range(300, 480))
    for number in (310, 400, 479):
        alone = charts(outcomes, [number])[number]
        assert alone == together[number]
        assert [signal.detail for signal in alone.values()] == [each.detail for each in together[number].values()]


def test_hours_before_the_history_change_nothing() -> None:
    outcomes = traffic([0.2] * 480, seed=8)
    changed = {**outcomes, hour(479 - 240): outcome(60, 60)}
    assert charts(changed, [479]) == charts(outcomes, [479])
    assert charts(changed, [478]) != charts(outcomes, [478])


REGRESSION = replace(POLICY, plan=OutcomePlan(Task.REGRESSION))


def residual_hours(levels: Sequence[float], *, seed: int, rows: int = 50) -> dict[datetime, RegressionOutcomes]:
    """Return hours of lognormal errors about their level, empty at night; the levels wander by themselves."""
    generator, wander, found = np.random.default_rng(seed), 0.0, {}
    for number, level in enumerate(levels):
        wander = 0.8 * wander + 0.6 * generator.normal()
        errors = level * np.exp(0.2 * wander) * generator.lognormal(size=rows)
        table = {"actual": errors, "value": np.zeros(rows), "labelled_at": pa.nulls(rows, pa.timestamp("us", tz="UTC"))}
        day = number % 24 >= NIGHT
        found[hour(number)] = (
            RegressionOutcomes.of(pa.table(table), prediction="value", lower=None, upper=None)
            if day
            else RegressionOutcomes()
        )
    return found


def test_residuals_are_charted_but_for_adwin_whose_bound_they_do_not_have() -> None:
    calm = ErrorDispersion.of(residual_hours([2.0] * 720, seed=11))
    steady = charts(residual_hours([2.0] * 480, seed=17), range(240, 480), REGRESSION, dispersion=calm)
    assert steady[400].keys() == {"cusum", "ewma", "page_hinkley"} == steady[240].keys()
    assert max(abs(value) for name in steady[400] for value in known(steady, name).values()) <= 1
    worse = charts(residual_hours([2.0] * 360 + [4.0] * 120, seed=13), range(340, 480), REGRESSION, dispersion=calm)
    assert 360 <= min(number for number, value in known(worse, "cusum").items() if value > 1) <= 390
    better = charts(residual_hours([2.0] * 360 + [1.0] * 120, seed=14), range(450, 480), REGRESSION, dispersion=calm)
    assert known(better, "cusum")[479] < -1


def test_a_model_of_one_row_an_hour_is_told_that_charts_need_more() -> None:
    lonely = residual_hours([2.0] * 720, seed=15, rows=1)
    assert ErrorDispersion.of(lonely) is None
    found = charts(lonely, [710], REGRESSION, dispersion=None)[710]
    assert {each.reason for each in found.values()} == {"1 labelled predictions in this hour, a chart needs 20"}


@pytest.mark.parametrize(("persistence", "spread", "skewness"), [(0.5, 0.1, 0.5), (0.8, 0.3, 1.0), (0.9, 0.3, 1.2)])
def test_charts_of_residuals_run_as_long_as_they_say(persistence: float, spread: float, skewness: float) -> None:
    stated, rows, runs = 300, 50, []
    limit = cusum_limit(stated, POLICY.slack)
    for seed in range(6):
        generator = np.random.default_rng(seed)
        level = generator.normal(size=(21, 1800))
        for at in range(1, level.shape[1]):
            level[:, at] = persistence * level[:, at - 1] + np.sqrt(1 - persistence**2) * level[:, at]
        sums = np.exp(spread * level) * generator.lognormal(0, skewness, (rows, *level.shape)).sum(axis=0)
        month = {hour(at): of_sum(each, rows, skewness) for at, each in enumerate(sums[0, :720])}
        calm = ErrorDispersion.of(month)
        assert calm is not None
        scaled = calm.scores(sums[1:], np.full(sums[1:].shape, float(rows))) / np.sqrt(calm.dispersion)
        news = innovations(scaled, share=calm.share, persistence=calm.persistence)
        alarms = np.maximum(*cusum(np.clip(news, -FREAK, FREAK), slack=POLICY.slack)) > limit
        runs += np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1, alarms.shape[1]).tolist()
    assert stated / 1.6 <= np.mean(runs) <= 1.6 * stated, np.mean(runs)


def of_sum(total: float, rows: int, skewness: float) -> RegressionOutcomes:
    """Return an hour whose lognormal errors have this sum; their squares are those expected of it."""
    losses = np.zeros((4, 2))
    losses[:2, 0] = total, total**2 / rows * np.exp(skewness**2)
    residual = Moments(0.0, np.array([[rows, 0.0, 0.0, 0.0, 0.0]]))
    return RegressionOutcomes(rows=rows, labelled=rows, residual=residual, losses=losses)


def absences(found: Mapping[str, Signal]) -> set[Absence | None]:
    return {signal.absence for signal in found.values()}


def test_an_hour_that_cannot_be_charted_says_why() -> None:
    assert absences(charts(MONTH, [240])[240]) == {Absence.EMPTY_HOUR}
    gone = {at: part for at, part in MONTH.items() if at != hour(260)}
    assert absences(charts(gone, [260])[260]) == {Absence.WARMING_UP}
    for part, absence in (
        (outcome(0, 0, unlabelled=60), Absence.NO_LABELS_YET),
        (outcome(9, 30, unlabelled=30), Absence.LABELS_IMMATURE),
        (outcome(3, 19), Absence.TOO_FEW_ROWS),
    ):
        found = charts({**MONTH, hour(260): part}, [260])[260]
        assert absences(found) == {absence}
        assert all(signal.reason for signal in found.values())
    assert absences(charts(MONTH, [260], dispersion=None)[260]) == {Absence.NO_REFERENCE}
    young = charts(MONTH, [20])[20]
    assert absences(young) == {Absence.WARMING_UP}
    assert young["cusum"].reason == "15 labelled hours in the history, a chart needs 24"


def test_hours_with_immature_labels_are_left_out_of_the_history() -> None:
    young = {**MONTH, hour(400): outcome(10, 10, unlabelled=50), hour(401): outcome(40, 60, unlabelled=60)}
    gone = {**MONTH, hour(400): BinaryOutcomes(), hour(401): BinaryOutcomes()}
    assert charts(young, [420]) == charts(gone, [420])


def gaps(outcomes: Mapping[datetime, BinaryOutcomes], number: int = 23, **more: Any) -> Signal:
    return next(iter(rate_gap_signals("m", "1", outcomes, [hour(number)], POLICY, **more)))


def test_the_gap_is_the_observed_minus_the_predicted_rate_with_the_interval_of_the_differences() -> None:
    day = {hour(number): outcome(0, 50, positives=20, score=0.3) for number in range(24)}
    found = gaps(day)
    assert found.value == pytest.approx(0.4 - 0.3)
    assert (found.window, found.rows) == ("24h", 1200)
    error = np.sqrt(0.4 * 0.6 / 1200)  # the scores are all alike: only the outcomes vary
    assert found.low == pytest.approx(0.1 - 1.959964 * error)
    assert found.high == pytest.approx(0.1 + 1.959964 * error)


def test_hours_that_resemble_each_other_widen_the_interval_of_the_gap() -> None:
    day = {hour(number): outcome(0, 50, positives=20) for number in range(24)}
    assert CALM is not None
    plain, wide = gaps(day), gaps(day, dispersion=CALM)
    assert plain.low is not None
    assert wide.low is not None
    assert plain.value == wide.value
    assert (0.1 - wide.low) == pytest.approx((0.1 - plain.low) * np.sqrt(CALM.inflation(24)))
    assert CALM.inflation(24) > 2


def test_the_gap_of_the_reference_stands_beside_it_and_absences_are_those_of_performance() -> None:
    day = {hour(number): outcome(0, 50, positives=20) for number in range(24)}
    baseline = outcome(0, 100, positives=31, score=0.3)
    assert gaps(day, baseline=baseline).baseline_value == pytest.approx(rate_gap(baseline)) == pytest.approx(0.01)
    assert gaps({hour(23): day[hour(23)]}).absence is Absence.WARMING_UP
    assert gaps({at: BinaryOutcomes() for at in day}).absence is Absence.EMPTY_HOUR
    assert gaps({at: outcome(0, 0, unlabelled=5) for at in day}).absence is Absence.NO_LABELS_YET
    policy = ConceptPolicy((24 * HOUR,), min_rows=1201)
    few = next(iter(rate_gap_signals("m", "1", day, [hour(23)], policy)))
    assert few.absence is Absence.TOO_FEW_ROWS
    assert "1200 labelled rows with a usable score, 1201 are needed" in few.reason


def test_every_version_is_charted_against_its_own_reference() -> None:
    assert CALM is not None
    actual = pa.array(np.random.default_rng(6).integers(0, 2, 500).astype(float))
    own = reference(log_rows(500, seed=6).append_column("late", actual), label="late")
    own = replace(own, error_dispersion=CALM)
    outcomes = {at: {"3": part, "4": part} for at, part in MONTH.items()}
    signals = concept_by_version("m", outcomes, {"3": own}, [hour(300), hour(301)], POLICY)
    cusums = [(signal.version, signal.absence) for signal in signals if signal.metric == "concept.cusum"]
    assert cusums == [("3", None), ("3", None), ("4", Absence.NO_REFERENCE), ("4", Absence.NO_REFERENCE)]
    expected = {signal.version: signal.baseline_value for signal in signals if signal.metric == "concept.rate_gap"}
    assert isinstance(own.outcomes, BinaryOutcomes)
    assert expected == {"3": rate_gap(own.outcomes), "4": None}
    assert len({signal.key for signal in signals}) == len(signals) == 2 * 2 * 5

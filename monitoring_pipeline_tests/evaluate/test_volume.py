from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.volume import VolumePolicy, volume_p_value, volume_signals
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import MODEL, START, VERSION, hour

WEEK = 168
WINDOWS = tuple(timedelta(hours=length) for length in (1, 24, WEEK))
NOON, NIGHT = 8 * WEEK + 12, 8 * WEEK + 3
Served = dict[datetime, dict[str, int]]


def traffic(weeks: int, *, rate: float = 60.0, unrest: float = 0.2, seed: int = 1) -> Served:
    """Return counts with empty nights and slow weekends; errors that last for hours on top of chance."""
    generator, hours = np.random.default_rng(seed), np.arange(weeks * WEEK)
    shape = np.where(hours % 24 < 5, 0.0, 1 + 0.6 * np.sin(hours * np.pi / 12)) * np.where(hours // 24 % 7 < 5, 1, 0.6)
    mood = np.zeros(len(hours))
    for at, shock in enumerate(generator.normal(size=len(hours) - 1), start=1):
        mood[at] = 0.9 * mood[at - 1] + np.sqrt(1 - 0.9**2) * shock
    counts = generator.poisson(rate * shape * np.exp(unrest * mood))
    return {hour(at): {VERSION: int(count)} if count else {} for at, count in enumerate(counts)}


def volume(served: Mapping[datetime, Mapping[str, int]], at: int, **more: Any) -> dict[str, Signal]:
    return {each.window: each for each in volume_signals(MODEL, served, [hour(at)], VolumePolicy(WINDOWS), **more)}


def level(signal: Signal) -> Level:
    return judge_by_limits(signal, LIMITS[signal.metric]).level


def test_an_empty_hour_that_is_usually_full_is_critical_and_an_empty_night_is_not() -> None:
    served = traffic(9)
    assert level(volume(served, NOON)["1h"]) is Level.OK
    outage = volume(served | {hour(NOON): {}}, NOON)["1h"]
    assert (outage.value, outage.version, level(outage)) == (0.0, VERSION, Level.CRITICAL)
    assert outage.reason.startswith("0 predictions, ")
    night = volume(served, NIGHT)["1h"]
    assert (night.value, level(night)) == (1.0, Level.OK)


def test_too_many_predictions_and_any_in_a_night_without_are_a_warning() -> None:
    served = traffic(9)
    for at, count in ((NOON, 500), (NIGHT, 12)):
        found = volume(served | {hour(at): {VERSION: count}}, at)["1h"]
        assert (level(found), found.p_value is not None and found.p_value < 1e-3) == (Level.WARNING, True)
    assert level(volume(served | {hour(NIGHT): {VERSION: 1}}, NIGHT)["1h"]) is Level.OK


def test_half_the_traffic_of_a_day_is_seen_in_the_day() -> None:
    served = traffic(9)
    halved = {hour(at): {VERSION: sum(served[hour(at)].values()) // 3} for at in range(NOON - 23, NOON + 1)}
    found = volume(served | halved, NOON)
    assert (level(found["24h"]), level(found["7d"])) == (Level.WARNING, Level.OK)


@pytest.mark.parametrize("step", [-1, 1])
def test_clocks_put_back_or_forward_lose_no_traffic_and_an_outage_after_it_is_still_seen(step: int) -> None:
    """Callers live by their own clock: from the night of the change on, every hour is what the one beside it was."""
    served, changed = traffic(10, unrest=0.05), 8 * WEEK
    moved = served | {hour(at): served[hour(at + step)] for at in range(changed, 9 * WEEK)}
    levels = [level(volume(moved, at)["1h"]) for at in range(changed, changed + 48)]
    assert Level.CRITICAL not in levels
    assert levels.count(Level.WARNING) <= 2
    assert level(volume(moved | {hour(NOON + 24): {}}, NOON + 24)["1h"]) is Level.CRITICAL


def test_what_is_not_described_is_not_known() -> None:
    served = traffic(9)
    del served[hour(NOON)]
    assert {each.absence for each in volume(served, NOON).values() if each.window == "1h"} == {Absence.WARMING_UP}
    young = volume(traffic(3), 2 * WEEK + 12)["1h"]
    assert (young.absence, young.reason) == (
        Absence.WARMING_UP,
        "2 earlier weeks with the same hours, 3 are needed",
    )
    assert volume_signals(MODEL, {}, [START], VolumePolicy(WINDOWS)) == []


def test_the_reference_stands_in_for_weeks_that_have_not_been_served() -> None:
    counts = {at: sum(entries.values()) for at, entries in traffic(9).items()}
    reference = {at: count for at, count in counts.items() if at < hour(6 * WEEK) and count}
    served = {at: {VERSION: count} for at, count in counts.items() if at >= hour(8 * WEEK)}
    found = volume(served, NOON, reference=reference)["1h"]
    assert (found.detail["weeks"], level(found)) == (6, Level.OK)
    assert level(volume(served | {hour(NOON): {}}, NOON, reference=reference)["1h"]) is Level.CRITICAL
    assert level(volume(served, NIGHT + 24, reference=reference)["1h"]) is Level.OK


def test_an_hour_has_the_same_volume_alone_and_in_a_range() -> None:
    served, policy = traffic(10), VolumePolicy(WINDOWS)
    hours = [hour(9 * WEEK + step) for step in range(0, 60, 7)]
    ranged = volume_signals(MODEL, served, hours, policy)
    for at in hours:
        own = {each: entries for each, entries in served.items() if at + HOUR - policy.reach <= each <= at}
        assert volume_signals(MODEL, own, [at], policy) == [each for each in ranged if each.window_end == at + HOUR]


def test_without_change_alarms_are_rare_and_none_is_critical() -> None:
    found = []
    for rate, unrest in ((60.0, 0.2), (3.0, 0.3)):
        served = traffic(9, rate=rate, unrest=unrest, seed=3)
        hours = [hour(at) for at in range(8 * WEEK, 9 * WEEK)]
        found += [level(each) for each in volume_signals(MODEL, served, hours, VolumePolicy(WINDOWS))]
    assert len(found) == 2 * 3 * WEEK
    assert Level.CRITICAL not in found
    assert found.count(Level.WARNING) <= len(found) * 0.005


def test_p_values_are_those_of_the_negative_binomial() -> None:
    earlier = np.random.default_rng(4).negative_binomial(8, 0.1, size=(6, WEEK)).astype(float)
    means = earlier.mean(axis=0)
    degrees = 5.0 * WEEK
    squares = np.square(earlier - means).sum() * degrees / stats.chi2.ppf(0.05, degrees)
    dispersion = (squares - (5 * means).sum()) / (5 * means**2).sum()
    assert dispersion == pytest.approx(1 / 8, rel=0.25)
    variance = (means[0] + dispersion * means[0] ** 2) * (1 + 1 / 6)
    size = means[0] ** 2 / (variance - means[0])
    exact = stats.nbinom(size, size / (size + means[0]))
    for count in (0, 10, 60, 200, 500):
        expected = min(1.0, 2 * min(exact.cdf(count), exact.sf(count - 1)))
        assert volume_p_value(float(count), earlier, 1) == pytest.approx(expected, rel=1e-9)

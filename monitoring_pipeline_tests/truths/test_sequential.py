"""Control charts: against plain loops, river, published run lengths and simulated ones."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river.drift import ADWIN, PageHinkley

from monitoring_pipeline.stats.autocorrelation import autocorrelation_decay, innovations
from monitoring_pipeline.stats.sequential import (
    adwin,
    cusum,
    cusum_average_run_length,
    cusum_limit,
    ewma,
    ewma_average_run_length,
    ewma_limit,
    page_hinkley,
)

Array = NDArray[np.float64]
RNG = np.random.default_rng(11)
adaptive_window: Any = ADWIN  # river has no types for it


def mean_run(alarms: NDArray[np.bool_]) -> float:
    """Return steps per first alarm over series, those that ran out without one included."""
    hit = alarms.any(axis=-1)
    return float(np.where(hit, alarms.argmax(axis=-1) + 1, alarms.shape[-1]).sum() / hit.sum())


# Montgomery (2013), table 9.3: slack 0.5, two sides.
@pytest.mark.parametrize(
    ("limit", "lengths"),
    [
        (4, {0: 168, 0.25: 74.2, 0.5: 26.6, 0.75: 13.3, 1: 8.38, 1.5: 4.75, 2: 3.34, 3: 2.19}),
        (5, {0: 465, 0.25: 139, 0.5: 38.0, 0.75: 17.0, 1: 10.4, 1.5: 5.75, 2: 4.01, 3: 2.57}),
    ],
)
def test_run_lengths_of_the_cusum_are_the_published_ones(limit: int, lengths: dict[float, float]) -> None:
    found = {shift: cusum_average_run_length(limit, 0.5, shift=shift) for shift in lengths}
    assert found == pytest.approx(lengths, rel=0.005)


# Montgomery (2013), table 9.4, after Hawkins (1993).
@pytest.mark.parametrize(("slack", "limit"), [(0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1.0, 2.52), (1.5, 1.61)])
def test_limits_of_the_cusum_for_370_steps_are_the_published_ones(slack: float, limit: float) -> None:
    assert cusum_limit(370, slack) == pytest.approx(limit, abs=0.01)


# Lucas and Saccucci (1990), as table 9.11 of Montgomery (2013).
@pytest.mark.parametrize(
    ("weight", "limit", "lengths"),
    [
        (0.40, 3.054, (500, 224, 71.2, 14.3)),
        (0.25, 2.998, (500, 170, 48.2, 11.1)),
        (0.20, 2.962, (500, 150, 41.8, 10.5)),
        (0.10, 2.814, (500, 106, 31.3, 10.3)),
        (0.05, 2.615, (500, 84.1, 28.8, 11.4)),
    ],
)
def test_run_lengths_of_the_ewma_are_the_published_ones(
    weight: float, limit: float, lengths: tuple[float, ...]
) -> None:
    found = [ewma_average_run_length(limit, weight, shift=shift) for shift in (0, 0.25, 0.5, 1)]
    assert found == pytest.approx(lengths, rel=0.01)
    assert ewma_limit(500, weight) == pytest.approx(limit, abs=0.001)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_simulated_run_lengths_are_those_stated(shift: float) -> None:
    scores = RNG.normal(shift, size=(1500, 1200))
    upper, lower = cusum(scores, slack=0.5)
    assert mean_run(upper > 4) == pytest.approx(cusum_average_run_length(4, 0.5, shift=shift, sides=1), rel=0.1)
    both = cusum_average_run_length(4, 0.5, shift=shift)
    assert mean_run((upper > 4) | (lower > 4)) == pytest.approx(both, rel=0.1)
    average, _ = ewma(scores, weight=0.1)
    outside = np.abs(average) > 2.4 * np.sqrt(0.1 / 1.9)
    assert mean_run(outside) == pytest.approx(ewma_average_run_length(2.4, 0.1, shift=shift), rel=0.1)


def test_a_longer_run_needs_a_higher_limit_and_a_shift_shortens_it() -> None:
    assert (
        cusum_limit(8760, 0.5) > cusum_limit(720, 0.5) > cusum_limit(720, 0.5, sides=1) > cusum_limit(720, 1.0, sides=1)
    )
    assert ewma_limit(8760, 0.1) > ewma_limit(720, 0.1) > ewma_limit(720, 0.05)
    assert cusum_average_run_length(5, 0.5, shift=0.5, sides=1) < cusum_average_run_length(5, 0.5, sides=1)


def looped(scores: Array, slack: float) -> list[float]:
    path, level = [], 0.0
    for score in scores:
        if not np.isnan(score):
            level = max(0.0, level + score - slack)
        path.append(level)
    return path


def test_paths_are_those_of_a_plain_loop_on_every_series_and_a_missing_hour_changes_nothing() -> None:
    scores = RNG.normal(size=(2, 3, 60))
    scores[RNG.random(scores.shape) < 0.2] = np.nan
    upper, lower = cusum(scores, slack=0.3)
    assert upper.shape == lower.shape == scores.shape
    assert upper[1, 2] == pytest.approx(looped(scores[1, 2], 0.3))
    assert lower[0, 1] == pytest.approx(looped(-scores[0, 1], 0.3))
    average, deviation = ewma(scores, weight=0.2)
    kept = np.isfinite(scores[0, 0])
    alone, alone_deviation = ewma(scores[0, 0][kept], weight=0.2)
    assert average[0, 0][kept] == pytest.approx(alone)
    assert deviation[0, 0][kept] == pytest.approx(alone_deviation)
    assert alone_deviation[-1] ** 2 == pytest.approx(0.2 / 1.8 * (1 - 0.8 ** (2 * kept.sum())))
    rising = page_hinkley(scores, tolerance=0.1)
    assert rising[0, 0][kept] == pytest.approx(page_hinkley(scores[0, 0][kept], tolerance=0.1))


def test_a_ceiling_keeps_the_first_alarm_and_shortens_the_last() -> None:
    scores = np.concatenate([np.zeros(50), np.full(50, 3.0), np.zeros(200)])
    (free, _), (capped, _) = cusum(scores, slack=0.5), cusum(scores, slack=0.5, ceiling=10.0)
    assert (free > 5).argmax() == (capped > 5).argmax()
    assert (capped > 5).sum() == 48 + 9  # ten down to five by halves
    assert (free > 5).sum() > 200


def test_page_hinkley_is_that_of_river() -> None:
    values = np.concatenate([RNG.normal(0.2, 0.1, 200), RNG.normal(0.5, 0.1, 100)])
    detector: Any = PageHinkley(min_instances=1, delta=0.05, threshold=1.5, alpha=1.0, mode="up")
    paths, first = [], None
    for number, value in enumerate(values):
        detector.update(value)
        paths.append(detector._sum_increase - detector._min_increase)
        if detector.drift_detected:
            first = number
            break
    assert first is not None
    assert first > 200
    ours = page_hinkley(values, tolerance=0.05)
    assert ours[: first + 1] == pytest.approx(paths, abs=1e-9)
    assert int((ours > 1.5).argmax()) == first


def test_every_cut_that_river_finds_is_found_no_later() -> None:
    for seed in range(5):
        generator = np.random.default_rng(seed)
        stream = np.concatenate([generator.random(300) < 0.2, generator.random(300) < 0.6]).astype(float)
        detector = adaptive_window(delta=0.05, clock=1, grace_period=1)
        theirs = next(at for at, value in enumerate(stream) if (detector.update(value), detector.drift_detected)[1])
        assert adwin(stream[: theirs + 1], np.ones(theirs + 1), alpha=0.05)[1] > 1


def test_adwin_tests_every_cut_by_the_bound_of_its_authors() -> None:
    rows = RNG.integers(20, 60, 40).astype(float)
    successes = np.floor(rows * RNG.random(40) * 0.5)
    cut, excess = adwin(successes, rows, alpha=0.1)
    ratios = []
    for at in range(1, 40):
        n0, n1 = rows[:at].sum(), rows[at:].sum()
        p, log = successes.sum() / rows.sum(), np.log(2 * np.log(n0 + n1) / 0.1)
        m = 1 / (1 / n0 + 1 / n1)
        bound = np.sqrt(2 / m * p * (1 - p) * log) + 2 / (3 * m) * log
        ratios.append((successes[at:].sum() / n1 - successes[:at].sum() / n0) / bound)
    assert int(cut) == int(np.argmax(np.abs(ratios))) + 1
    assert float(excess) == pytest.approx(ratios[int(cut) - 1])


def test_adwin_hardly_ever_cuts_hours_of_one_rate_and_passes_over_those_without_rows() -> None:
    rows = np.where(np.arange(300) % 24 < 6, 0, 45)
    successes = RNG.binomial(rows, 0.2, (400, 300))
    _, excess = adwin(successes, np.broadcast_to(rows, (400, 300)), alpha=0.05)
    assert (np.abs(excess) > 1).sum() <= 20
    successes[:, 200:] = RNG.binomial(rows[200:], 0.25, (400, 100))
    _, excess = adwin(successes, np.broadcast_to(rows, (400, 300)), alpha=0.05)
    assert (excess > 1).mean() > 0.9
    assert float(adwin([0, 0], [0, 0], alpha=0.05)[1]) == float(adwin([0, 5], [0, 9], alpha=0.05)[1]) == 0.0


def error_scores(series: int, hours: int, *, persistence: float, dispersion: float, seed: int) -> Array:
    """Return binomial z-scores of 50 rows an hour whose error rate wanders, six hours of each night missing."""
    generator = np.random.default_rng(seed)
    level = generator.normal(size=(series, hours))
    for at in range(1, hours):
        level[:, at] = persistence * level[:, at - 1] + np.sqrt(1 - persistence**2) * level[:, at]
    spread = np.sqrt((dispersion - 1) / 49 * 0.2 * 0.8)
    errors = generator.binomial(50, np.clip(0.2 + spread * level, 0, 1))
    return np.where(np.arange(hours) % 24 < 6, np.nan, (errors - 10) / np.sqrt(8))


@pytest.mark.parametrize(("persistence", "dispersion"), [(0.5, 2.0), (0.8, 4.0), (0.95, 8.0)])
def test_on_restless_hours_calibrated_charts_run_as_long_as_they_say_and_plain_ones_cry_wolf(
    persistence: float, dispersion: float
) -> None:
    stated = 300
    limit, average_limit = cusum_limit(stated, 0.5), ewma_limit(stated, 0.1)
    runs: dict[str, list[float]] = {"cusum": [], "ewma": [], "page_hinkley": [], "plain": []}
    for seed in range(9):
        both = error_scores(25, 2400, persistence=persistence, dispersion=dispersion, seed=seed)
        month, later = both[0, :720], both[1:]
        scale = np.sqrt(np.nanmean(np.square(month)))
        share, remembered = autocorrelation_decay(month)
        here = np.isfinite(later[0])
        news = np.clip(innovations(later / scale, share=share, persistence=remembered), -2.5, 2.5)[:, here]
        upper, lower = cusum(news, slack=0.5)
        average, deviation = ewma(news, weight=0.1)
        runs["cusum"].append(mean_run(np.maximum(upper, lower) > limit))
        runs["ewma"].append(mean_run(np.abs(average) > average_limit * deviation))
        runs["page_hinkley"].append(mean_run(page_hinkley(news, tolerance=0.5) > limit))
        runs["plain"].append(mean_run(np.maximum(*cusum(later[:, here], slack=0.5)) > limit))
    found = {name: len(each) / sum(1 / run for run in each) for name, each in runs.items()}
    assert stated / 1.5 <= min(found["cusum"], found["ewma"], found["page_hinkley"]), found
    assert max(found["cusum"], found["ewma"], found["page_hinkley"]) <= 2 * stated, found
    assert found["plain"] < stated / 8, found

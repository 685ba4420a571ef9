"""When the level of a series changed, and in which manner.

Add a pattern here when a fit of its own tells it from the others. Keep charts that watch a series out, they belong in
sequential.py: here the series is over and its past is asked about. Last axis = time, NaN = a missing hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import kolmogorov

from monitoring_pipeline.stats.autocorrelation import autocorrelation_decay, variance_inflation

FEWEST_HOURS = 12
"""Hours below which nothing is said of a change."""

BAI_95 = 11.0
"""The place of a change is known to within this many (deviation / change)^2 hours in 95 of 100 cases (Bai, 1997)."""

KNOTS = 24
"""Places at which a ramp may begin or end; a ramp shorter than one gap between them is a step."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """The likeliest place of one change of level.

    index: the first hour of the new level; low, high: its 95 % interval. p_value: how often a series without change
    shows as much. before, after: the two levels. effective_hours: independent hours that say as much as these do.
    """

    index: int
    low: int
    high: int
    p_value: float
    before: float
    after: float
    effective_hours: float


class DriftPattern(StrEnum):
    """In which manner a level changed, as Gama et al. (2014) draw it."""

    NONE = "none"
    SUDDEN = "sudden"  # one step
    INCREMENTAL = "incremental"  # step by small step, through every level between
    GRADUAL = "gradual"  # back and forth between two levels, the new one more and more often
    RECURRING = "recurring"  # the old level comes back


@dataclass(frozen=True, slots=True)
class NamedPattern:
    """The pattern that describes a series best, how sure that is, and the numbers it rests on.

    confidence: 0 to 1, the weight of this pattern among all by their fits. index: where the first change began, None
    without any. evidence: by how much each fit beats no change (`gain_step` and so on, in units of log likelihood),
    the levels, and how often the series moved between them.
    """

    pattern: DriftPattern
    confidence: float
    index: int | None
    evidence: Mapping[str, float]


def locate_change(values: ArrayLike, weights: ArrayLike | None = None) -> Change | None:
    """When the level of one series changed, if it changed once.

    Parameters
    ----------
    values : shape (time,), NaN where an hour is missing.
    weights : shape (time,), such as the rows behind each value; an hour of weight 0 is missing. None: all alike.

    Returns
    -------
    The change, or None below 12 hours. A change is always named: its p-value says whether there was any.

    Notes
    -----
    The place is that of the least squares of two levels. The p-value is that of the largest cumulative sum of
    deviations from the mean, against the supremum of a Brownian bridge, with the variance of a long mean: of the
    residuals, inflated by their autocorrelation (`variance_inflation`). Tests at .05 on series without change reject,
    simulated: 2 to 4 % of white noise; of autoregressions of 0.5 8, 4 and 4 % at 50, 200 and 700 hours; of 0.8 16, 8
    and 5 %; of 0.9 22, 10 and 5 %. The interval assumes a single abrupt change.

    References
    ----------
    Hinkley (1970), Inference about the change-point in a sequence of random variables; Ploberger and Kraemer (1992),
    The CUSUM test with OLS residuals; Bai (1997), Estimation of a change point in multiple regression models.

    Examples
    --------
    >>> change = locate_change([1.0] * 20 + [3.0] * 10)
    >>> (change.index, change.low, change.high, change.before, change.after, change.p_value < 0.001)
    (20, 20, 20, 1.0, 3.0, True)
    """
    x = np.asarray(values, dtype=np.float64)
    given = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(x) & (given > 0))
    if len(places) < FEWEST_HOURS:
        return None
    y, w = x[places], given[places] / given[places].mean()
    cut, fitted = _two_levels(y, w)
    residuals = np.full(len(x), np.nan)
    residuals[places] = np.sqrt(w) * (y - fitted)
    inflation = float(variance_inflation(*autocorrelation_decay(residuals, levels=2)))
    variance = float(np.nansum(np.square(residuals))) / max(len(y) - 2 * inflation, len(y) / 2) * inflation
    bridge = np.abs(np.cumsum(w * (y - np.average(y, weights=w)))[:-1]).max()
    before, after = float(fitted[0]), float(fitted[-1])
    if variance == 0:
        statistic, half = (np.inf, 0) if before != after else (0.0, len(y))
    else:
        statistic = bridge / np.sqrt(variance * len(y))
        half = int(min(np.ceil(BAI_95 * variance / max((after - before) ** 2, 1e-300)), len(y)))
    low, high = places[max(cut - half, 0)], places[min(cut + half, len(y) - 1)]
    p_value = float(kolmogorov(statistic))
    return Change(int(places[cut]), int(low), int(high), p_value, before, after, len(y) / inflation)


def _two_levels(y: Array, w: Array) -> tuple[int, Array]:
    """Return the first place of the second level, and the two levels at every place."""
    sums, sizes = np.cumsum(w * y), np.cumsum(w)
    rest_sums, rest_sizes = sums[-1] - sums[:-1], sizes[-1] - sizes[:-1]
    explained = np.square(sums[:-1]) / sizes[:-1] + np.square(rest_sums) / rest_sizes
    cut = int(np.argmax(explained)) + 1
    before, after = (np.average(y[part], weights=w[part]) for part in (slice(None, cut), slice(cut, None)))
    return cut, np.where(np.arange(len(y)) < cut, before, after)


def name_pattern(values: ArrayLike) -> NamedPattern:
    """In which manner the level of one series changed: suddenly, incrementally, gradually, again and again, or not.

    Parameters
    ----------
    values : shape (time,), NaN where an hour is missing.

    Returns
    -------
    The pattern; below 12 hours NONE with confidence 0.

    Notes
    -----
    Four fits by least squares: one level; a step; a ramp between two levels; and a path between two levels that
    changes at most where the fit repays it (Viterbi, levels and path in turns). The residuals of each are taken for a
    second-order autoregression, so that a series that wanders by itself is not called a change, and the fits are
    compared by the Bayesian information criterion, a place counting as two parameters. A path that ends on its new
    level and is there far more often in its last third than in its first is gradual; any other returns, hence
    recurring. Confidence is the share of exp(-BIC / 2).
    Simulated, some change is named in series without any: 1 % of white noise of 100 hours; autoregressions of 0.8, 3 %
    at 100 hours and 1 % at 720; of 0.9 seen through noise, 14 %, 7 % and 3 % at 100, 300 and 720. Changes of four
    standard deviations get their right name in 85 to 100 % of white noise from 100 hours on, and of autoregressions of
    0.8 from 300 hours on; a slow ramp in the latter is often taken for the wandering it resembles.

    References
    ----------
    Gama et al. (2014), A survey on concept drift adaptation, figure 2; Schwarz (1978), Estimating the dimension of a
    model; Zhang and Siegmund (2007), A modified Bayes information criterion, for places as parameters.

    Examples
    --------
    >>> steps = np.tile([0.0, 0.1], 30)
    >>> name_pattern(steps + np.repeat([0.0, 5.0], 30)).pattern.value
    'sudden'
    >>> name_pattern(steps + np.repeat([0.0, 5.0, 0.0], 20)).pattern.value
    'recurring'
    """
    x = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(x))
    y = x[places]
    if len(y) < FEWEST_HOURS:
        return NamedPattern(DriftPattern.NONE, 0.0, None, {})
    cut, step = _two_levels(y, np.ones(len(y)))
    begin, ramp = _ramp(y)
    path, levels = _switching(y)
    moves = np.flatnonzero(np.diff(path)) + 1
    fits = {
        DriftPattern.NONE: (_criterion(y, np.full(len(y), y.mean()), 1), None),
        DriftPattern.SUDDEN: (_criterion(y, step, 4), cut),
        DriftPattern.INCREMENTAL: (_criterion(y, ramp, 6), begin),
    }
    if len(moves) >= 2:
        new = path != path[0]
        third = len(y) // 3
        grows = new[-1] and new[-third:].mean() - new[:third].mean() >= 0.6
        criterion = _criterion(y, levels[path], 2 + 2 * len(moves))
        fits[DriftPattern.GRADUAL if grows else DriftPattern.RECURRING] = criterion, int(moves[0])
    best = min(fits, key=lambda pattern: fits[pattern][0])
    lead = {pattern: (criterion - fits[best][0]) / 2 for pattern, (criterion, _) in fits.items()}
    place = fits[best][1]
    evidence = {f"gain_{pattern}": lead[DriftPattern.NONE] - lead[pattern] for pattern in fits if pattern != "none"}
    evidence |= {"before": float(step[0]), "after": float(step[-1]), "moves": float(len(moves))}
    confidence = 1 / sum(float(np.exp(-behind)) for behind in lead.values())
    return NamedPattern(best, confidence, None if place is None else int(places[place]), evidence)


def _criterion(y: Array, fitted: Array, parameters: int) -> float:
    """Return the Bayesian information criterion of a fit whose residuals are an autoregression of second order."""
    residuals = y - fitted
    past = np.column_stack([residuals[1:-1], residuals[:-2]])
    news = residuals[2:] - past @ np.linalg.lstsq(past, residuals[2:], rcond=None)[0]
    floor = 1e-12 * max(float(np.var(y)), 1e-300)
    return float(len(y) * np.log(np.mean(np.square(news)) + floor) + parameters * np.log(len(y)))


def _ramp(y: Array) -> tuple[int, Array]:
    """Return where the best ramp begins, and its values: level, straight line, level."""
    knots = np.unique(np.linspace(0, len(y) - 1, KNOTS).astype(int))
    begin, end = (side.ravel() for side in np.meshgrid(knots, knots))
    begin, end = begin[end - begin >= 3], end[end - begin >= 3]
    shape = np.clip((np.arange(len(y)) - begin[:, None]) / (end - begin)[:, None], 0, 1)
    shape -= shape.mean(axis=-1, keepdims=True)
    slopes = shape @ (y - y.mean()) / np.square(shape).sum(axis=-1)
    best = int(np.argmax(np.square(slopes) * np.square(shape).sum(axis=-1)))
    return int(begin[best]), y.mean() + slopes[best] * shape[best]


def _switching(y: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the path of a series between two levels, and the levels."""
    levels = np.quantile(y, [0.1, 0.9])
    path = np.zeros(len(y), np.int64)
    for _ in range(6):
        distances = np.square(y[:, None] - levels)
        noise = max(float(distances.min(axis=-1).mean()), 1e-12 * float(np.var(y)), 1e-300)
        path = _cheapest_path(distances / noise, move=2 * np.log(len(y)))
        if path.all() or not path.any():
            break
        levels = np.array([y[path == 0].mean(), y[path == 1].mean()])
    return path, levels


def _cheapest_path(costs: Array, *, move: float) -> NDArray[np.int64]:
    """Return the sequence of the two states with the least cost, `move` for every change included."""
    total, came = costs[0], np.zeros(costs.shape, np.int64)
    for at in range(1, len(costs)):
        moving = total[::-1] + move < total
        came[at] = np.where(moving, [1, 0], [0, 1])
        total = np.where(moving, total[::-1] + move, total) + costs[at]
    path = np.empty(len(costs), np.int64)
    path[-1] = np.argmin(total)
    for at in range(len(costs) - 1, 0, -1):
        path[at - 1] = came[at, path[at]]
    return path

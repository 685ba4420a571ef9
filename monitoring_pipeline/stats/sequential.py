"""Control charts: a series watched hour by hour until it has gone out of control, and how long they stay quiet.

Add a chart here together with its average run length: a limit without one is a guess. Keep judgements out. Last axis =
time; NaN is a missing hour, which a chart passes over as if the clock had stood still. The run lengths hold for
independent scores of mean 0 and variance 1; `autocorrelation.innovations` turns hourly series into such scores.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

NODES = 80
"""Nodes of the integral equations: at limits to 20 and weights from 0.02 on, 6 digits as from 300 nodes."""


def cusum(
    scores: ArrayLike, *, slack: float, ceiling: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Page's cumulative sums of a series of standard scores, for a rise and for a fall of its mean.

    Parameters
    ----------
    scores : shape (..., time), in standard deviations from the mean in control; NaN where an hour is missing.
    slack : what a score may deviate without adding up; half the shift that must be found fast.
    ceiling : the sums stop here, so that a chart forgets an alarm within (ceiling - limit) / slack hours of recovery.

    Returns
    -------
    upper, lower : shapes (..., time), 0 to `ceiling`; large means that the mean has risen (upper) or fallen (lower).

    Notes
    -----
    upper = max(0, last upper + score - slack), lower = max(0, last lower - score - slack), both from 0. A ceiling
    above the limit leaves the time to the first alarm as it is.

    References
    ----------
    Page (1954), Continuous inspection schemes; Montgomery (2013), Statistical quality control, equations 9.2 and 9.3.

    Examples
    --------
    >>> upper, lower = cusum([1.0, 2.0, -1.0, -2.0], slack=0.5)
    >>> upper.tolist(), lower.tolist()
    ([0.5, 2.0, 0.5, 0.0], [0.0, 0.0, 0.5, 2.0])
    """
    x = np.asarray(scores, dtype=np.float64)
    return _held_above_zero(x - slack, ceiling), _held_above_zero(-x - slack, ceiling)


def _held_above_zero(steps: NDArray[np.float64], ceiling: float) -> NDArray[np.float64]:
    path, level = np.empty(steps.shape), np.zeros(steps.shape[:-1])
    for at in range(steps.shape[-1]):
        moved = np.clip(level + steps[..., at], 0.0, ceiling)
        path[..., at] = level = np.where(np.isnan(moved), level, moved)
    return path


def ewma(scores: ArrayLike, *, weight: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exponentially weighted moving average of standard scores, with its standard deviation at every step.

    Parameters
    ----------
    scores : shape (..., time), in standard deviations from the mean in control; NaN where an hour is missing.
    weight : of the newest score, above 0 and up to 1; small weights find small shifts.

    Returns
    -------
    average, deviation : shapes (..., time), in standard deviations of a score. The deviation is 0 before the first
    score, and sqrt(weight / (2 - weight)) after many.

    Notes
    -----
    average = (1 - weight) * last average + weight * score, from 0; the variance after n scores is
    weight / (2 - weight) * (1 - (1 - weight)^(2 n)).

    References
    ----------
    Roberts (1959), Control chart tests based on geometric moving averages; Montgomery (2013), equations 9.22 to 9.24.

    Examples
    --------
    >>> average, deviation = ewma([1.0, 1.0], weight=0.5)
    >>> average.tolist(), np.square(deviation).round(12).tolist()
    ([0.5, 0.75], [0.25, 0.3125])
    """
    x = np.asarray(scores, dtype=np.float64)
    average, variance = np.empty(x.shape), np.empty(x.shape)
    level, spread = np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1])
    for at in range(x.shape[-1]):
        here = np.isfinite(x[..., at])
        level = np.where(here, (1 - weight) * level + weight * np.where(here, x[..., at], 0.0), level)
        spread = np.where(here, (1 - weight) ** 2 * spread + weight**2, spread)
        average[..., at], variance[..., at] = level, spread
    return average, np.sqrt(variance)


def page_hinkley(values: ArrayLike, *, tolerance: float, ceiling: float = np.inf) -> NDArray[np.float64]:
    """Page and Hinkley's sum: how far a series has risen above its own mean so far.

    Parameters
    ----------
    values : shape (..., time), in any unit; NaN where an hour is missing.
    tolerance : what a value may exceed the mean so far without adding up, in the unit of the values.
    ceiling : as in `cusum`.

    Returns
    -------
    Shape (..., time), 0 to `ceiling`, in the unit of the values; large means that the mean has risen.

    Notes
    -----
    The upper sum of a CUSUM that takes the mean so far for the mean in control. It needs no reference, and it stays
    quiet a little longer than `cusum_average_run_length(limit, tolerance, sides=1)` says of standard scores: a rise
    lifts the mean, too. For a fall, negate the values.

    References
    ----------
    Page (1954); Hinkley (1971), Inference about the change-point from cumulative sum tests; Gama et al. (2014), A
    survey on concept drift adaptation, section 3.2.

    Examples
    --------
    >>> page_hinkley([0.0, 0.0, 3.0, 3.0], tolerance=0.5).tolist()
    [0.0, 0.0, 1.5, 2.5]
    """
    x = np.asarray(values, dtype=np.float64)
    here = np.isfinite(x)
    seen = np.cumsum(here, axis=-1)
    mean = np.cumsum(np.where(here, x, 0.0), axis=-1) / np.maximum(seen, 1)
    return _held_above_zero(x - mean - tolerance, ceiling)


def adwin(successes: ArrayLike, rows: ArrayLike, *, alpha: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where a window of binomial hours falls into two parts with different rates, by the cut test of ADWIN.

    Parameters
    ----------
    successes, rows : shapes (..., time), counts by hour; they need not be whole: rows that repeat each other count as
        the smaller number of independent ones. 0 rows where an hour is missing.
    alpha : how likely a window without change is cut, above 0 and below 1.

    Returns
    -------
    cut : shape (...), index of the first hour of the newer part at the most convincing cut.
    excess : shape (...), rate of the newer part minus that of the older, over the bound. The window is cut where
        |excess| is above 1; positive means that the rate rose. 0 where no cut leaves rows on both sides.

    Notes
    -----
    |p1 - p0| against sqrt(2 / m * p (1 - p) * ln(2 / a)) + 2 / (3 m) * ln(2 / a), with 1/m = 1/n0 + 1/n1 and
    a = alpha / ln(n0 + n1). Every cut is tested, by cumulative sums, where the streaming algorithm tests those its
    buckets keep. The bound is wide: of 400 windows of 300 independent hours none is cut at alpha 0.01. The
    probability holds for one window; 1 / alpha bounds the mean number of windows between false cuts from below.

    References
    ----------
    Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing, equation 3.1.

    Examples
    --------
    With alpha = 2 ln(200) / e^9 the bound of 100 failures and then 100 successes is 0.3 + 0.12:

    >>> cut, excess = adwin([0, 100], [100, 100], alpha=2 * np.log(200) / np.exp(9))
    >>> int(cut), round(1 / float(excess), 12)
    (1, 0.42)
    """
    k, n = (np.cumsum(np.asarray(part, dtype=np.float64), axis=-1) for part in (successes, rows))
    total = n[..., -1:]
    older, newer = n[..., :-1], total - n[..., :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (k[..., -1:] - k[..., :-1]) / newer - k[..., :-1] / older
        rate = k[..., -1:] / total
        log = np.log(2 * np.log(np.maximum(total, np.e)) / alpha)
        inverse = 1 / older + 1 / newer
        bound = np.sqrt(2 * inverse * rate * (1 - rate) * log) + 2 / 3 * inverse * log
        excess = np.where((older > 0) & (newer > 0), gap / bound, 0.0)
    best = np.argmax(np.abs(excess), axis=-1, keepdims=True)
    return np.asarray(best[..., 0] + 1), np.take_along_axis(excess, best, axis=-1)[..., 0]


def cusum_average_run_length(limit: float, slack: float, *, shift: float = 0.0, sides: Literal[1, 2] = 2) -> float:
    """How many scores a CUSUM takes, on average, until it first exceeds its limit.

    Parameters
    ----------
    limit, slack : of the chart, in standard deviations of a score.
    shift : mean of the scores; 0 is in control.
    sides : 1 for the upper sum alone (a Page-Hinkley chart, too), 2 for whichever of the two comes first.

    Returns
    -------
    Steps, 1 or more, from a chart at 0.

    Notes
    -----
    Page's integral equation L(s) = 1 + L(0) F(slack - s) + integral of L(y) f(y + slack - s) over 0 < y < limit, with
    the normal distribution of the scores, solved on 80 Gauss-Legendre nodes; two sides have the reciprocal sum,
    exactly so where the two sums are never positive together. It gives Montgomery's table (slack 0.5: 465 at limit 5
    and 168 at limit 4), and simulated runs within their error.

    References
    ----------
    Page (1954), section 3; van Dobben de Bruyn (1968), Cumulative sum tests; Montgomery (2013), tables 9.3 and 9.4.

    Examples
    --------
    At limit 0 it is the first score beyond the slack: at slack 0 one score in two, on either side every one.

    >>> round(cusum_average_run_length(0.0, 0.0, sides=1), 9), round(cusum_average_run_length(0.0, 0.0), 9)
    (2.0, 1.0)
    """
    lengths = [_page_run_length(limit, slack - shift)]
    if sides == 2:
        lengths.append(_page_run_length(limit, slack + shift))
    return 1 / sum(1 / length for length in lengths)


def _page_run_length(limit: float, slack: float) -> float:
    nodes, weights = _gauss_legendre(0.0, limit)
    starts = np.append(nodes, 0.0)
    # The unknowns are L at the nodes and at 0, where the sum rests with a probability of its own.
    kernel = weights * _normal_density(nodes + slack - starts[:, None])
    return _solve(np.column_stack([kernel, ndtr(slack - starts)]))


def ewma_average_run_length(limit: float, weight: float, *, shift: float = 0.0) -> float:
    """How many scores an EWMA chart takes, on average, until its average first leaves the limits on either side.

    Parameters
    ----------
    limit : in standard deviations of the average after many scores, sqrt(weight / (2 - weight)).
    weight : of the newest score, above 0 and up to 1.
    shift : mean of the scores; 0 is in control.

    Returns
    -------
    Steps, 1 or more, from an average of 0.

    Notes
    -----
    Crowder's integral equation on 80 Gauss-Legendre nodes, for limits that do not vary in time. Limits that widen
    with `ewma`'s own deviation let the first scores alarm a little sooner. It gives 500 for weight 0.1 and limit
    2.814, as the published tables do.

    References
    ----------
    Crowder (1987), A simple method for studying run-length distributions of exponentially weighted moving average
    charts; Lucas and Saccucci (1990), Exponentially weighted moving average control schemes, table 3.

    Examples
    --------
    With weight 1 it is Shewhart's chart of single scores:

    >>> round(ewma_average_run_length(3.0, 1.0) * 2 * float(ndtr(-3.0)), 9)
    1.0
    """
    half = limit * np.sqrt(weight / (2 - weight))
    nodes, weights = _gauss_legendre(-half, half)
    starts = np.append(nodes, 0.0)
    kernel = weights / weight * _normal_density((nodes - (1 - weight) * starts[:, None]) / weight - shift)
    return _solve(np.column_stack([kernel, np.zeros(len(starts))]))


def _solve(transitions: NDArray[np.float64]) -> float:
    return float(np.linalg.solve(np.eye(len(transitions)) - transitions, np.ones(len(transitions)))[-1])


@cache
def _unit_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(NODES)


def _gauss_legendre(low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = _unit_nodes()
    return low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2


def _normal_density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi))


def cusum_limit(average_run_length: float, slack: float, *, sides: Literal[1, 2] = 2) -> float:
    """Limit at which a CUSUM in control gives one false alarm in `average_run_length` scores.

    Parameters
    ----------
    average_run_length : steps, at least what the chart has at limit 0.
    slack, sides : as in `cusum_average_run_length`.

    Returns
    -------
    Limit in standard deviations of a score, to 9 digits; 0 where the run length asked for is shorter than any.

    Examples
    --------
    >>> round(cusum_limit(cusum_average_run_length(4.0, 0.5), 0.5), 6)
    4.0
    """
    return _inverse(lambda limit: cusum_average_run_length(limit, slack, sides=sides), average_run_length)


def ewma_limit(average_run_length: float, weight: float) -> float:
    """Limit at which an EWMA chart in control gives one false alarm in `average_run_length` scores.

    Parameters
    ----------
    average_run_length : steps, at least 1.
    weight : as in `ewma_average_run_length`.

    Returns
    -------
    Limit in standard deviations of the average after many scores, to 9 digits.

    Examples
    --------
    >>> round(ewma_limit(ewma_average_run_length(2.7, 0.1), 0.1), 6)
    2.7
    """
    return _inverse(lambda limit: ewma_average_run_length(limit, weight), average_run_length)


def _inverse(run_length: Callable[[float], float], wanted: float) -> float:
    """Return the limit of a run length; its logarithm grows almost in a straight line with the limit."""
    from scipy.optimize import brentq

    if run_length(0.0) >= wanted:
        return 0.0
    low, high = 0.0, 1.0
    while run_length(high) < wanted:
        low, high = high, 2 * high
    return float(brentq(lambda limit: np.log(run_length(limit) / wanted), low, high, xtol=1e-10))

"""How one hour resembles the hours before it, and what is new in it.

Add what a series says about its own memory here. Keep charts out, they belong in sequential.py. Last axis = time, a
step an hour; NaN is an hour that is missing, at its place.

The model throughout: a series of variance 1 is a wandering level, whose correlation falls by `persistence` with every
hour, of variance `share`, and independent noise of variance 1 - share. An hourly error rate is just that: weather
that lasts, and the noise of a binomial. With share 1 it is the autoregression AR(1), with share 0 white noise.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LAGS = 24
GRID = np.linspace(0.0, 0.99, 100)
FEWEST_PAIRS = 10
ROUNDS = 4
LONGEST_MEMORY = 5
"""A memory 1 / (1 - persistence) longer than a tenth of the series cannot be told from a mean."""


def autocorrelations(values: ArrayLike, *, lags: int = LAGS) -> NDArray[np.float64]:
    """Autocorrelation of one series at lags 1 to `lags`, from the pairs of hours that are both there.

    Parameters
    ----------
    values : shape (time,), NaN where an hour is missing.
    lags : the largest lag, in hours.

    Returns
    -------
    Shape (lags,), about -1 to 1. NaN for a lag with fewer than 10 pairs and for a constant series.

    References
    ----------
    Box, Jenkins and Reinsel (1994), Time series analysis, equation 2.1.12.

    Examples
    --------
    >>> autocorrelations([1, -1] * 50, lags=2).round(12).tolist()
    [-1.0, 1.0]
    """
    x = np.asarray(values, dtype=np.float64)
    here = np.isfinite(x)
    centred = np.where(here, x - x[here].mean(), 0.0) if here.any() else np.zeros_like(x)
    variance = np.square(centred).sum() / max(int(here.sum()), 1)
    found = np.full(lags, np.nan)
    for lag in range(1, min(lags, len(x) - 1) + 1):
        pairs = int((here[lag:] & here[:-lag]).sum())
        if pairs >= FEWEST_PAIRS and variance > 0:
            found[lag - 1] = (centred[lag:] * centred[:-lag]).sum() / pairs / variance
    return found


def autocorrelation_decay(values: ArrayLike, *, lags: int = LAGS, levels: int = 1) -> tuple[float, float]:
    """Share and persistence of the wandering level in one series: its autocorrelation is share * persistence^lag.

    Parameters
    ----------
    values : shape (time,), NaN where an hour is missing.
    lags : how many lags are fitted.
    levels : how many means were taken out of the series: 2 for the residuals of a step.

    Returns
    -------
    share, 0 to 1, and persistence, 0 to 0.99; both 0 for a series too short or without variance, or when no memory is
    seen. Negative autocorrelation counts as none.

    Notes
    -----
    Least squares over the lags, on a grid of persistence of 0.01. The first lags count most (lag k has the weight
    1/k), so that a daily cycle does not pass for memory. A mean taken out of a series takes part of its level with
    it, inflation / hours of the variance: every autocorrelation is corrected by that much, at most by half, in
    rounds, because the inflation rests on the fit.

    References
    ----------
    Marriott and Pope (1954), Bias in the estimation of autocorrelations, for the correction.

    Examples
    --------
    >>> autocorrelation_decay([3.0, 3.0, 3.0, 3.0])
    (0.0, 0.0)
    """
    found = autocorrelations(values, lags=lags)
    known = np.isfinite(found)
    lag = np.arange(1, lags + 1)[known]
    hours = int(np.isfinite(np.asarray(values, dtype=np.float64)).sum())
    if not known.any():
        return 0.0, 0.0
    longest = max(1 - LONGEST_MEMORY / hours, 0.5)
    grid = GRID[longest >= GRID]
    share, persistence = _decay(found[known], lag, grid)
    for _ in range(ROUNDS):
        hidden = min(levels * float(variance_inflation(share, persistence)) / hours, 0.5)
        share, persistence = _decay((found + hidden * (1 - found))[known], lag, grid)
    return share, persistence


def _decay(found: NDArray[np.float64], lag: NDArray[np.int64], grid: NDArray[np.float64]) -> tuple[float, float]:
    powers = grid[:, None] ** lag
    scale = (powers**2 / lag).sum(axis=-1)
    share = np.clip((powers * found / lag).sum(axis=-1) / np.where(scale > 0, scale, np.inf), 0.0, 1.0)
    misfit = (np.square(found - share[:, None] * powers) / lag).sum(axis=-1)
    best = int(np.argmin(misfit))
    return (float(share[best]), float(grid[best])) if share[best] > 0 else (0.0, 0.0)


def variance_inflation(share: ArrayLike, persistence: ArrayLike, *, hours: ArrayLike = np.inf) -> NDArray[np.float64]:
    """How many times the variance of a mean of consecutive hours exceeds that of as many independent ones.

    Parameters
    ----------
    share : broadcastable, 0 to 1.
    persistence : broadcastable, 0 to less than 1.
    hours : broadcastable, length of the mean, 1 or more.

    Returns
    -------
    Shape (...), 1 or more. The effective number of hours is hours / inflation.

    Notes
    -----
    1 + 2 * sum((1 - lag / hours) * share * persistence^lag) over the lags below `hours`. For a long mean with share 1
    that is (1 + persistence) / (1 - persistence).

    References
    ----------
    Bayley and Hammersley (1946), The effective number of independent observations in an autocorrelated time series.

    Examples
    --------
    >>> variance_inflation([0.0, 0.5, 1.0], 0.5).tolist(), float(variance_inflation(1.0, 0.5, hours=2))
    ([1.0, 2.0, 3.0], 1.5)
    """
    phi, length = np.asarray(persistence, dtype=np.float64), np.asarray(hours, dtype=np.float64)
    lags = phi / (1 - phi) - phi * (1 - phi**length) / length / np.square(1 - phi)
    return np.asarray(1 + 2 * np.asarray(share) * lags)


def innovations(values: ArrayLike, *, share: float, persistence: float) -> NDArray[np.float64]:
    """What is new in each hour: its distance from what the hours before it foretold, in standard errors of that.

    Parameters
    ----------
    values : shape (..., time), of mean 0 and variance 1; NaN where an hour is missing.
    share, persistence : the memory of the series, as `autocorrelation_decay` gives it.

    Returns
    -------
    Shape (..., time), NaN where the hour is missing. Of mean 0, variance 1 and, for a Gaussian series, independent.

    Notes
    -----
    The Kalman filter of a first-order autoregression seen through noise; exact from the first hour on and across
    gaps. A lasting shift of the series shows as a smaller lasting shift of the innovations: what the level could have
    done by itself is no news.

    References
    ----------
    Kalman (1960); Alwan and Roberts (1988), Time-series modeling for statistical process control, for charts of it.

    Examples
    --------
    An autoregression looks one hour back, x - 0.6 * (the last), over sqrt(1 - 0.36):

    >>> innovations([1.0, 0.6, 0.36, 1.016], share=1.0, persistence=0.6).round(12).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    x = np.asarray(values, dtype=np.float64)
    found = np.full(x.shape, np.nan)
    level, uncertain = np.zeros(x.shape[:-1]), np.full(x.shape[:-1], float(share))
    for at in range(x.shape[-1]):
        here = np.isfinite(x[..., at])
        total = np.maximum(uncertain + 1 - share, 1e-12)
        surprise = np.where(here, x[..., at] - level, 0.0)
        found[..., at] = np.where(here, surprise / np.sqrt(total), np.nan)
        gain = np.where(here, uncertain / total, 0.0)
        level = persistence * (level + gain * surprise)
        uncertain = persistence**2 * (1 - gain) * uncertain + (1 - persistence**2) * share
    return found

"""Mean and variance that PSI, Jensen-Shannon and Hellinger have in small samples when nothing changed.

Add a divergence to `TERMS` when it is a sum over bins of a function of both proportions. Keep p-values out, they belong
in null_distributions.py. Chi-square describes these sums only where every bin expects dozens of rows: below, smoothing
makes them smaller than it says. Their mean is computed exactly here and their variance nearly so.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, rel_entr

Divergence = Literal["psi", "jensen_shannon", "hellinger"]
Term = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
THICK = 50.0
"""Expected rows a bin, on the smaller side, from which chi-square's own moments serve."""
PIECE = 1000
"""Bins taken at a time: their working arrays fit the cache of a processor core."""
POINTS, REACH, STEP = 30, 6.0, 0.4
"""The distribution of a bin's rows is read at 30 points: each count near zero, every 0.4 deviations further up."""

TERMS: dict[Divergence, Term] = {
    "psi": lambda p, q: (q - p) * np.log(q / p),
    "jensen_shannon": lambda p, q: 4 * (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)),
    "hellinger": lambda p, q: 4 * (np.sqrt(q) - np.sqrt(p)) ** 2,
}
"""What a bin adds, times the factor that makes the sum (1/n + 1/m) * chi-square in large samples."""


def null_moments(
    divergence: Divergence,
    pooled: ArrayLike,
    *,
    reference_rows: ArrayLike,
    current_rows: ArrayLike,
    pseudocount: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of a divergence in units of 1/n + 1/m, when the rows fell to the two sides by chance.

    Parameters
    ----------
    divergence : "psi", "jensen_shannon" (divergence times 8) or "hellinger" (squared distance times 8).
    pooled : shape (..., bins), rows per bin of both sides together.
    reference_rows, current_rows : shapes (...), rows on each side.
    pseudocount : rows added to each occupied bin before the divergence was taken, see `smoothed_pair`.

    Returns
    -------
    Mean and variance, each of shape (...); in large samples bins - 1 and twice that. NaN where a side has no rows.

    Notes
    -----
    Given the pooled counts, the current rows of a bin are hypergeometric, so the mean is a sum over that distribution.
    The covariance of two bins with shares s and t follows from orthogonal polynomials of their rows: those of degree k
    correlate by (-sqrt(s * t / (1 - s) / (1 - t))) ** k, exactly so for a multinomial; degrees 1 to 4 are kept.

    References
    ----------
    Eagleson (1964), Polynomial expansions of bivariate distributions, section 4; Yarnold (1970), The minimum
    expectation in chi-square goodness of fit tests and the accuracy of approximations for the null distribution.

    Examples
    --------
    >>> rows = {"reference_rows": 3_000_000, "current_rows": 3_000_000}
    >>> mean, variance = null_moments("psi", [1_000_000, 2_000_000, 3_000_000], **rows)
    >>> round(float(mean), 5), round(float(variance), 5)
    (2.0, 4.0)
    """
    counts = np.asarray(pooled, dtype=np.float64)
    n, m = (np.asarray(rows, dtype=np.float64)[..., None] for rows in (reference_rows, current_rows))
    with np.errstate(divide="ignore", invalid="ignore"):
        n, m = np.where(n > 0, n, np.nan), np.where(m > 0, m, np.nan)
        share = counts / (n + m)
    mean, variance = 1 - share, 2 * (1 - share) ** 2
    parts = np.zeros((4, *share.shape))
    parts[1] = np.sqrt(2) * (1 - share)
    thin = (share > 0) & (share * np.minimum(n, m) < THICK)
    if thin.any():
        # The last bin is taken twice: numpy adds up a lone column in another order than one of several, and a bin must
        # give the same bits in whatever company.
        smoothing = pseudocount * (counts > 0).sum(axis=-1, keepdims=True)
        together = np.broadcast_arrays(share, n, m, smoothing)
        columns = [np.append(each[thin], each[thin][-1]) for each in together]
        pieces = [
            _bin_moments(TERMS[divergence], pseudocount, *(each[start : start + PIECE] for each in columns))
            for start in range(0, len(columns[0]), PIECE)
        ]
        mean[thin], variance[thin], parts[:, thin] = (
            np.concatenate(each, axis=-1)[..., :-1] for each in zip(*pieces, strict=True)
        )
    used = share > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.where(used & (share < 1), np.sqrt(share / (1 - share)), 0.0)
    total = np.where(used, variance, 0.0).sum(axis=-1)
    for degree, part in enumerate(parts, start=1):
        if not part.any():  # thick bins have degree 2 alone
            continue
        weighted = odds**degree * part
        total += (-1) ** degree * (weighted.sum(axis=-1) ** 2 - (weighted**2).sum(axis=-1))
    sides = np.isfinite(n[..., 0] + m[..., 0])
    return np.where(sides, np.where(used, mean, 0.0).sum(axis=-1), np.nan), np.where(sides, total, np.nan)


def _bin_moments(
    term: Term,
    pseudocount: float,
    share: NDArray[np.float64],
    n: NDArray[np.float64],
    m: NDArray[np.float64],
    smoothing: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of what one bin adds, and its components along polynomials of its rows of degree 1 to 4."""
    rows = share * (n + m)
    deviation = np.sqrt(rows * (1 - share) * n * m) / (n + m)
    step = np.maximum(1.0, STEP * deviation)
    start = np.maximum(0.0, np.maximum(rows - n, np.floor(share * m - REACH * deviation)))
    x = start + step * np.arange(POINTS)[:, None]
    valid = (x <= rows) & (x <= m)
    x = np.where(valid, x, start)
    logs = -gammaln(x + 1) - gammaln(rows - x + 1) - gammaln(m - x + 1) - gammaln(n - rows + x + 1)
    weight = np.where(valid, np.exp(logs - logs.max(axis=0)), 0.0)
    weight /= weight.sum(axis=0)
    value = term((rows - x + pseudocount) / (n + smoothing), (x + pseudocount) / (m + smoothing)) / (1 / n + 1 / m)
    mean = (weight * value).sum(axis=0)
    value -= mean
    variance = (weight * value**2).sum(axis=0)
    basis = [np.ones_like(x)]
    centred = (x - (weight * x).sum(axis=0)) / np.maximum(deviation, 1e-9)
    parts = []
    for _ in range(4):
        new = centred * basis[-1]
        for old in basis[-2:]:
            new = new - (weight * new * old).sum(axis=0) * old
        norm = np.sqrt((weight * new**2).sum(axis=0))
        basis.append(new / np.where(norm > 1e-6, norm, np.inf))
        parts.append((weight * value * basis[-1]).sum(axis=0))
    return mean, variance, np.stack(parts)

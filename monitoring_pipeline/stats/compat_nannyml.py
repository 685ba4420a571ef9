"""The numbers of NannyML 0.13.1 from raw values: its univariate drift methods, by the names it gives them.

Add a metric here when NannyML has it and the tests hold its numbers; a new release of NannyML may change any. Keep
better definitions out, they belong in distances.py and hypothesis_tests.py. Throughout `reference` and `current` are
raw values of one column, shape (rows,), current being one chunk; missing values are dropped first, infinite ones are
not. NaN where current has no row left, ValueError where the reference has none or numpy refuses to bin it.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring_pipeline.stats.compat import Score, Scorer, rows_present

LARGE_REFERENCE = 10_000
"""From this many rows on NannyML keeps a histogram of the reference in place of its rows, of as many bins."""

Floats = NDArray[np.float64]


def nannyml_jensen_shannon(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """NannyML's `jensen_shannon`: the square root of the divergence in bits.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value of the reference.

    Returns
    -------
    0 (same) to 1 (no bin in common).

    Notes
    -----
    Numbers get equal-width bins by Doane's rule on the reference alone. All current rows outside, below, above or of a
    new category, share one extra bin which the reference has empty. Equal shares come out as 0, up to 1e-8, or NaN
    where rounding leaves less than 0 under the root.

    Examples
    --------
    >>> nannyml_jensen_shannon(["a", "a"], ["b", "c"], categorical=True)
    1.0
    """
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):
        return float(jensenshannon(*_shares(reference, current, categorical=categorical), base=2))


def nannyml_hellinger(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """NannyML's `hellinger`: Hellinger distance over the bins of `nannyml_jensen_shannon`.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value of the reference.

    Returns
    -------
    0 (same) to 1 (no bin in common).

    Examples
    --------
    >>> round(nannyml_hellinger(["a"], ["a", "b", "b", "c"], categorical=True) ** 2, 12)
    0.5
    """
    p, q = _shares(reference, current, categorical=categorical)
    return float(np.sqrt(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)) / np.sqrt(2))


def nannyml_kolmogorov_smirnov(reference: ArrayLike, current: ArrayLike) -> float:
    """NannyML's `kolmogorov_smirnov`: the distance, not a p-value.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers.

    Returns
    -------
    0 (same) to 1.

    Notes
    -----
    Exact below 10,000 reference rows. From there on read at the upper edges of 10,000 equal-width bins between the
    reference's least and greatest value, so that one outlier can hide a shift, and what lies below the least value is
    only seen at the first edge.

    Examples
    --------
    >>> nannyml_kolmogorov_smirnov([1.0, 2.0], [2.0, 3.0])
    0.5
    """
    from scipy.stats import ks_2samp

    first, second = _numbers(reference), _numbers(current)
    if second.size == 0:
        return float("nan")
    if first.size < LARGE_REFERENCE:
        return float(ks_2samp(first, second).statistic)
    counts, edges = np.histogram(first, np.linspace(first.min(), first.max(), LARGE_REFERENCE + 1))
    below = np.count_nonzero(second < edges[0]) / second.size
    step = below + np.cumsum(np.histogram(second, edges)[0] / second.size)
    return float(np.abs(np.cumsum(counts / first.size) - step).max())


def nannyml_wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """NannyML's `wasserstein`: Wasserstein-1 distance in the unit of the column.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers.

    Returns
    -------
    0 (same) to inf, not divided by any spread.

    Notes
    -----
    Exact below 10,000 reference rows. From there on computed from 10,000 equal-width bins between the reference's least
    and greatest value, plus the way of the rows outside to the nearer of the two. Where any row lies below the least
    value, one row too many is counted there: that moves the result by up to range / current rows.

    Examples
    --------
    >>> nannyml_wasserstein([0.0, 2.0], [3.0, 5.0])
    3.0
    """
    from scipy.stats import wasserstein_distance

    first, second = _numbers(reference), _numbers(current)
    if second.size == 0:
        return float("nan")
    if first.size < LARGE_REFERENCE:
        return float(wasserstein_distance(first, second))
    counts, edges = np.histogram(first, LARGE_REFERENCE)
    below, above = second[second < edges[0]], second[second > edges[-1]]
    outside = (np.sum(edges[0] - below) + np.sum(above - edges[-1])) / second.size
    start = (below.size + 1) / second.size if below.size else 0.0
    gap = np.cumsum(counts / first.size) - (np.cumsum(np.histogram(second, edges)[0] / second.size) + start)
    return float(np.sum(np.abs(gap) * (edges[1] - edges[0])) + outside)


def nannyml_chi2(reference: ArrayLike, current: ArrayLike) -> float:
    """NannyML's `chi2`: the statistic of the two-sample chi-square test.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories.

    Returns
    -------
    0 (same) to inf; it grows with the number of rows, and NannyML judges `nannyml_chi2_p_value` instead.

    Notes
    -----
    As `chi_square_two_sample`, except that two categories get Yates's continuity correction.

    Examples
    --------
    >>> round(nannyml_chi2(["a"] * 20 + ["b"] * 10, ["a"] * 10 + ["b"] * 20), 12)
    5.4
    """
    return _contingency(reference, current)[0]


def nannyml_chi2_p_value(reference: ArrayLike, current: ArrayLike) -> float:
    """The p-value of `nannyml_chi2`, which NannyML does not show but alerts on.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories.

    Returns
    -------
    0 to 1; drift below 0.05, and no threshold that is configured changes that.

    Examples
    --------
    >>> round(nannyml_chi2_p_value(["a"] * 20 + ["b"] * 10, ["a"] * 10 + ["b"] * 20), 4)
    0.0201
    """
    return _contingency(reference, current)[1]


def nannyml_l_infinity(reference: ArrayLike, current: ArrayLike) -> float:
    """NannyML's `l_infinity`: the largest change of any one category's share.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories.

    Returns
    -------
    0 (same) to 1. New categories count one by one.

    Examples
    --------
    >>> nannyml_l_infinity(["a", "b"], ["a", "b", "c", "c"])
    0.5
    """
    p, q = _counts(reference, current)
    return float(np.abs(p / p.sum() - q / q.sum()).max()) if q.sum() else float("nan")


def nannyml_threshold(score: Score, reference: ArrayLike, *, chunk_rows: int | None = None) -> float:
    """The value above which NannyML alerts by default: mean plus 3 standard deviations over the reference's chunks.

    Parameters
    ----------
    score : one of the functions above.
    reference : shape (rows,), raw values in the order of their timestamps, missing ones included.
    chunk_rows : rows per chunk. Default: a tenth of the rows, rounded down.

    Returns
    -------
    The threshold, in the unit of the score. For `kolmogorov_smirnov` NannyML cuts it at 1, which changes no alert.

    Notes
    -----
    Each chunk is compared with the whole reference, itself included, and weighs the same. The rows left over form a
    chunk of their own, be it one row: its distance is large, and the threshold with it.

    Examples
    --------
    Chunks of one row, each half a share away from the whole:

    >>> nannyml_threshold(nannyml_l_infinity, ["a", "b"] * 10, chunk_rows=1)
    0.5
    """
    rows = np.asarray(reference)
    size = len(rows) // 10 if chunk_rows is None else chunk_rows
    if size < 1:
        raise ValueError(f"{len(rows)} reference rows, NannyML's ten chunks need 10. Pass chunk_rows.")
    scores = [score(rows, rows[start : start + size]) for start in range(0, len(rows), size)]
    if np.isnan(scores).all():
        return float("nan")
    return float(np.nanmean(scores) + 3 * np.nanstd(scores))


def _numbers(values: ArrayLike) -> Floats:
    return rows_present(values, numeric=True, finite=False).astype(np.float64)


def _counts(reference: ArrayLike, current: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sides = (rows_present(side, numeric=False, finite=False).tolist() for side in (reference, current))
    first, second = (Counter(side) for side in sides)
    keys = {**first, **second}
    return np.array([first[key] for key in keys]), np.array([second[key] for key in keys])


def _contingency(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    from scipy.stats import chi2_contingency

    p, q = _counts(reference, current)
    if q.sum() == 0:
        return float("nan"), float("nan")
    result: Any = chi2_contingency(np.stack([p, q]))
    return float(result.statistic), float(result.pvalue)


def _shares(reference: ArrayLike, current: ArrayLike, *, categorical: bool) -> tuple[Floats, Floats]:
    if categorical:
        first, second = (rows_present(side, numeric=False, finite=False) for side in (reference, current))
        # Sorted as NannyML has them: the order of adding decides whether rounding leaves a remainder below.
        keys, p = np.unique(first, return_counts=True)
        found = Counter(second.tolist())
        q = np.array([found[key] for key in keys.tolist()])
    else:
        first, second = _numbers(reference), _numbers(current)
        edges = np.histogram_bin_edges(first, bins="doane")
        p, q = np.histogram(first, edges)[0], np.histogram(second, edges)[0]
    if second.size == 0:
        return np.full(1, np.nan), np.full(1, np.nan)
    reference_shares, shares = p / first.size, q / second.size
    outside = 1 - np.sum(shares)
    if outside > 0:
        return np.append(reference_shares, 0.0), np.append(shares, outside)
    return reference_shares, shares


NANNYML: Mapping[str, Scorer] = {
    "jensen_shannon": Scorer(">", None, nannyml_jensen_shannon, partial(nannyml_jensen_shannon, categorical=True)),
    "kolmogorov_smirnov": Scorer(">", None, nannyml_kolmogorov_smirnov),
    "wasserstein": Scorer(">", None, nannyml_wasserstein),
    "hellinger": Scorer(">", None, nannyml_hellinger, partial(nannyml_hellinger, categorical=True)),
    "chi2": Scorer("<", 0.05, categorical=nannyml_chi2, p_value=nannyml_chi2_p_value),
    "l_infinity": Scorer(">", None, categorical=nannyml_l_infinity),
}
"""NannyML's own name of each method. Where the threshold is None, `nannyml_threshold` derives it."""

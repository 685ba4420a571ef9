"""The numbers of Evidently 0.7.23 from raw values: its drift scores, by the names it gives them.

Add a metric here when Evidently has it and it is reproduced to 1e-9 in the tests; a new release of Evidently may change
any. Keep better definitions out, they belong in distances.py and hypothesis_tests.py. Throughout `reference` and
`current` are raw values of one column, shape (rows,); missing and infinite values are dropped first, and ValueError is
raised where nothing is left or Evidently refuses the rows for another reason.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from monitoring_pipeline.stats.compat import Scorer, rows_present
from monitoring_pipeline.stats.distances import population_stability_index

FEW_VALUES = 20
"""A numeric reference with no more distinct values than this is binned by value."""

LARGE_REFERENCE = 1000
"""From more rows than this on, the default method is a distance in place of a test."""

Floats = NDArray[np.float64]


def evidently_psi(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """Evidently's `psi`: population stability index in nats over equal-width bins of both sides' range.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value.

    Returns
    -------
    0 (same) upwards; drift from 0.1 on.

    Notes
    -----
    Numbers get ceil(log2(n + m) + 1) equal bins from the least to the greatest value of both sides together, so one
    outlier empties the others; up to 20 distinct reference values get a bin each. An empty bin's share is 0.0001, or a
    millionth of the least share on that side where that is 0.0001 or less, and the shares are not brought back to 1.

    Examples
    --------
    >>> round(evidently_psi(["a", "a", "a", "b"], ["a", "b", "b", "b"], categorical=True) / math.log(3), 12)
    1.0
    """
    return float(population_stability_index(*_shares(reference, current, categorical=categorical)))


def evidently_kl_div(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """Evidently's `kl_div`: divergence of the reference from current, D(reference || current), in nats.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value.

    Returns
    -------
    0 (same) upwards; drift from 0.1 on. A vanished category weighs heavily, a new one hardly at all.

    Notes
    -----
    Bins and fills as in `evidently_psi`, after which the shares are brought back to 1. The direction is the other one
    than in `kullback_leibler_divergence`.

    Examples
    --------
    >>> round(evidently_kl_div(["a", "b"], ["a", "b", "b", "b"], categorical=True) / math.log(4 / 3), 12)
    0.5
    """
    from scipy.stats import entropy

    return float(entropy(*_shares(reference, current, categorical=categorical)))


def evidently_jensenshannon(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """Evidently's `jensenshannon`: the square root of the divergence in nats.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value.

    Returns
    -------
    0 (same) to sqrt(ln 2) = 0.8326 (no bin in common); drift from 0.1 on.

    Notes
    -----
    Bins as in `evidently_psi`, empty ones left empty. `jensen_shannon_distance` is larger by 1 / sqrt(ln 2) = 1.2011.
    Equal shares come out as 0, up to 1e-8, or NaN where rounding leaves less than 0 under the root.

    Examples
    --------
    >>> round(evidently_jensenshannon(["a"], ["b"], categorical=True) ** 2 / math.log(2), 12)
    1.0
    """
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):
        return float(jensenshannon(*_shares(reference, current, categorical=categorical, fill=False)))


def evidently_hellinger(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> float:
    """Evidently's `hellinger`: Hellinger distance over equal-width bins of both sides' range.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : one bin per value.

    Returns
    -------
    0 (same) to 1 (no bin in common); drift from 0.1 on.

    Notes
    -----
    sqrt(1 - sum(sqrt(p * q))). There are ceil(log2(distinct values) + 1) bins, however many rows there are. For equal
    shares rounding leaves up to 1e-7, in Evidently differently from run to run.

    Examples
    --------
    >>> round(evidently_hellinger(["a"], ["a", "b", "b", "b"], categorical=True) ** 2, 12)
    0.5
    """
    first, second = _rows(reference, current, numeric=not categorical)
    if categorical:
        p, q = _counts(first, second)
        overlap = np.sqrt((p / first.size) * (q / second.size))
    else:
        edges = np.histogram_bin_edges(np.union1d(first, second), bins="sturges")
        p, q = (np.histogram(side, edges, density=True)[0] for side in (first, second))
        overlap = np.sqrt(p * q) * ((edges[-1] - edges[0]) / (edges.size - 1))
    # Evidently adds term by term; near 1 the root magnifies any other order of rounding.
    return math.sqrt(1 - np.clip(np.cumsum(overlap)[-1], 0, 1))


def evidently_wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `wasserstein`: exact Wasserstein-1 distance in standard deviations of the reference.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers.

    Returns
    -------
    0 (same) to inf; drift from 0.1 on.

    Notes
    -----
    The standard deviation is the population's (division by n) and not below 0.001, whatever the unit of the column.

    Examples
    --------
    >>> evidently_wasserstein([0.0, 2.0], [3.0, 5.0])
    3.0
    """
    from scipy.stats import wasserstein_distance

    first, second = _rows(reference, current, numeric=True)
    return float(wasserstein_distance(first, second) / max(float(np.std(first)), 0.001))


def evidently_ks(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `ks`: p-value of the two-sample Kolmogorov-Smirnov test.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers.

    Returns
    -------
    0 to 1; drift up to 0.05.

    Examples
    --------
    >>> round(evidently_ks([1.0, 2.0], [3.0, 4.0]), 12)
    0.333333333333
    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(*_rows(reference, current, numeric=True)).pvalue)


def evidently_anderson(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `anderson`: p-value of the two-sample Anderson-Darling test, between 0.001 and 0.25.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers, not all equal.

    Returns
    -------
    0.001 to 0.25, the ends meaning "at most" and "at least"; drift below 0.1.

    Examples
    --------
    >>> evidently_anderson([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    0.25
    """
    from scipy.stats import anderson_ksamp

    first, second = _rows(reference, current, numeric=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="p-value (capped|floored)")
        return float(anderson_ksamp([first, second], variant="midrank").pvalue)


def evidently_cramer_von_mises(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `cramer_von_mises`: p-value of the two-sample Cramer-von Mises test.

    Parameters
    ----------
    reference, current : shapes (rows,), raw numbers, two or more a side.

    Returns
    -------
    0 to 1; drift up to 0.1.

    Notes
    -----
    The one metric that is not Evidently's to the last digit: with up to 20 rows on both sides it counts orders in half
    precision, which leaves errors up to 0.001, or fails. Here the p-value of these sizes is exact.

    Examples
    --------
    >>> round(evidently_cramer_von_mises([1.0, 2.0], [3.0, 4.0]), 12)
    0.333333333333
    """
    from scipy.stats import cramervonmises_2samp

    return float(cramervonmises_2samp(*_rows(reference, current, numeric=True)).pvalue)


def evidently_chisquare(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `chisquare`: p-value of a one-sample test, the reference's shares taken for the truth.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories.

    Returns
    -------
    0 to 1; drift below 0.05. 0 as soon as current has one row of a new category.

    Notes
    -----
    The reference's own sampling error is left out: with equal sizes and no drift the statistic is twice too large, and
    5 % false alarms become 17 % for 2 categories and 49 % for 10. `chi_square_two_sample` counts both sides.

    Examples
    --------
    >>> round(evidently_chisquare(["a", "b"] * 50, ["a"] * 60 + ["b"] * 40), 4)
    0.0455
    """
    from scipy.stats import chisquare

    expected, observed = _counts(*_rows(reference, current, numeric=False))
    with np.errstate(divide="ignore"):
        return float(chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue)


def evidently_g_test(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `g_test`: p-value of a one-sample likelihood-ratio test, for two sides of equal size only.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories, as many present in one as in the other.

    Returns
    -------
    0 to 1; drift below 0.1. 0 as soon as current has one row of a new category.

    Notes
    -----
    The reference's counts serve as the expected ones unscaled, so that unequal sizes raise ValueError, in Evidently as
    here.

    Examples
    --------
    >>> round(evidently_g_test(["a", "b"] * 50, ["a"] * 60 + ["b"] * 40), 4)
    0.0448
    """
    from scipy.stats import power_divergence

    expected, observed = _counts(*_rows(reference, current, numeric=False))
    with np.errstate(divide="ignore"):
        return float(power_divergence(observed, expected, lambda_="log-likelihood").pvalue)


def evidently_tvd(reference: ArrayLike, current: ArrayLike, *, permutations: int = 1000) -> float:
    """Evidently's `TVD`: p-value, not value, of the total variation distance, by permutations from a fixed seed.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories.
    permutations : Evidently always takes 1,000.

    Returns
    -------
    0 to 1 in steps of 1 / permutations; drift below 0.1.

    Notes
    -----
    The share of permutations at least as far apart as the rows are. Distances that are equal in exact arithmetic are
    compared by their rounding, that is by the order of a set, which for text changes with every start of Python: with
    ties the same rows got 0.81 and 0.86.

    Examples
    --------
    >>> evidently_tvd(["a", "b"], ["a", "b"])
    1.0
    """
    first, second = (side.tolist() for side in _rows(reference, current, numeric=False))
    code = {key: index for index, key in enumerate(set(dict.fromkeys(first)) | set(dict.fromkeys(second)))}
    pooled = np.array([code[each] for each in first + second])

    def distance(reference_codes: NDArray[np.int64]) -> float:
        counts = np.bincount(reference_codes, minlength=len(code))
        return float(0.5 * np.sum(np.abs(counts / len(first) - (total - counts) / len(second))))

    total = np.bincount(pooled)
    observed = distance(pooled[: len(first)])
    generator = np.random.RandomState(0)  # Evidently's own stream and seed, the global state left alone
    permuted = [distance(pooled[generator.permutation(pooled.size)[: len(first)]]) for _ in range(permutations)]
    return float(np.mean(observed <= np.array(permuted)))


def evidently_z(reference: ArrayLike, current: ArrayLike) -> float:
    """Evidently's `z`: p-value of the two-proportion z-test on the share of rows that are not the least category.

    Parameters
    ----------
    reference, current : shapes (rows,), raw categories that can be sorted.

    Returns
    -------
    0 to 1; drift below 0.05.

    Notes
    -----
    Pooled variance, no continuity correction. Beyond two categories it sees only the first against all others.

    Examples
    --------
    >>> round(evidently_z([0, 1] * 50, [0] * 36 + [1] * 64), 4)
    0.0455
    """
    first, second = _rows(reference, current, numeric=False)
    values = {*first.tolist(), *second.tolist()}
    if len(values) == 1:
        return 1.0
    least = min(values)
    n, m = first.size, second.size
    one, other = 1 - np.count_nonzero(first == least) / n, 1 - np.count_nonzero(second == least) / m
    pooled = (one * n + other * m) / (n + m)
    return float(2 * (1 - ndtr(abs(one - other) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))))


def evidently_default_method(reference: ArrayLike, current: ArrayLike, *, categorical: bool = False) -> str:
    """The name, a key of `EVIDENTLY`, of the method Evidently takes for a column when none is asked for.

    Parameters
    ----------
    reference, current : shapes (rows,), raw values.
    categorical : how Evidently types the column. Left alone it takes integers of up to 10 distinct values, booleans and
        text that repeats for categorical.

    Returns
    -------
    Up to 1,000 reference rows a test: `z` for 1 or 2 distinct values, `chisquare` for categories or up to 5 numbers,
    otherwise `ks`. Above, a distance: `jensenshannon` for categories or up to 5 numbers, otherwise `wasserstein`.

    Examples
    --------
    >>> evidently_default_method(range(1000), range(1000)), evidently_default_method(range(1001), range(1000))
    ('ks', 'wasserstein')
    """
    first, second = _rows(reference, current, numeric=not categorical)
    values = len({*first.tolist(), *second.tolist()})
    few = categorical or values <= 5
    if first.size > LARGE_REFERENCE:
        return "jensenshannon" if few else "wasserstein"
    return ("chisquare" if values > 2 else "z") if few else "ks"


def _rows(reference: ArrayLike, current: ArrayLike, *, numeric: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = (rows_present(side, numeric=numeric, finite=True) for side in (reference, current))
    if not (first.size and second.size):
        raise ValueError(
            f"{first.size} reference and {second.size} current values are left without missing and infinite ones; "
            "Evidently needs one on each side."
        )
    return first, second


def _counts(reference: NDArray[Any], current: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = Counter(reference.tolist()), Counter(current.tolist())
    keys = set(first) | set(second)
    return np.array([first[key] for key in keys]), np.array([second[key] for key in keys])


def _shares(reference: ArrayLike, current: ArrayLike, *, categorical: bool, fill: bool = True) -> tuple[Floats, Floats]:
    first, second = _rows(reference, current, numeric=not categorical)
    if categorical or np.unique(first).size <= FEW_VALUES:
        p, q = _counts(first, second)
    else:
        edges = np.histogram_bin_edges(np.concatenate([first, second]), bins="sturges")
        p, q = np.histogram(first, edges)[0], np.histogram(second, edges)[0]
    shares = p / first.size, q / second.size
    return (_filled(shares[0]), _filled(shares[1])) if fill else shares


def _filled(shares: Floats) -> Floats:
    least = float(shares[shares > 0].min())
    return np.where(shares == 0, least / 10**6 if least <= 0.0001 else 0.0001, shares)


EVIDENTLY: Mapping[str, Scorer] = {
    "psi": Scorer(">=", 0.1, evidently_psi, partial(evidently_psi, categorical=True)),
    "ks": Scorer("<=", 0.05, evidently_ks),
    "jensenshannon": Scorer(">=", 0.1, evidently_jensenshannon, partial(evidently_jensenshannon, categorical=True)),
    "wasserstein": Scorer(">=", 0.1, evidently_wasserstein),
    "kl_div": Scorer(">=", 0.1, evidently_kl_div, partial(evidently_kl_div, categorical=True)),
    "hellinger": Scorer(">=", 0.1, evidently_hellinger, partial(evidently_hellinger, categorical=True)),
    "anderson": Scorer("<", 0.1, evidently_anderson),
    "cramer_von_mises": Scorer("<=", 0.1, evidently_cramer_von_mises),
    # For numbers these two cannot be asked for by name, but are what Evidently takes by itself when the values are few.
    "chisquare": Scorer("<", 0.05, evidently_chisquare, evidently_chisquare),
    "z": Scorer("<", 0.05, evidently_z, evidently_z),
    "g_test": Scorer("<", 0.1, None, evidently_g_test),
    "TVD": Scorer("<", 0.1, None, evidently_tvd),
}
"""Evidently's own name of each metric, with the threshold it ships."""

"""Adjusted p-values for many tests at once: how many of the alarms raised may be false.

Add a correction here when it turns p-values into adjusted p-values. Keep which tests form a family out, that is decided
in judge. p-values are of shape (..., tests); NaN stands for a test that was not made: it stays NaN and does not count.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values that bound the share of false alarms among all alarms, for independent tests.

    Parameters
    ----------
    p_values : shape (..., tests), 0 to 1, NaN where not tested; each leading index is a family of its own.

    Returns
    -------
    Shape (..., tests), 0 to 1, NaN where not tested. Alarms are those at or below the false discovery rate wanted.

    Notes
    -----
    The smallest p(j) * tests / j over all ranks j from the p-value's own upwards. If no test has anything to find, the
    chance of any alarm at level q is at most q. Positively dependent tests, such as correlated columns, keep the
    promise; tests that tend to disagree may break it, see `benjamini_yekutieli`.

    References
    ----------
    Benjamini and Hochberg (1995), Controlling the false discovery rate: a practical and powerful approach to multiple
    testing; Benjamini and Yekutieli (2001), The control of the false discovery rate in multiple testing under
    dependency, theorem 1.2.

    Examples
    --------
    >>> benjamini_hochberg([0.25, 0.01, np.nan, 0.03, 0.5]).round(12).tolist()
    [0.333333333333, 0.04, nan, 0.06, 0.5]
    """
    return _step_up(p_values, any_dependence=False)


def benjamini_yekutieli(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values that bound the share of false alarms among all alarms, however the tests depend on each other.

    Parameters
    ----------
    p_values : shape (..., tests), as in `benjamini_hochberg`.

    Returns
    -------
    Shape (..., tests), 0 to 1, NaN where not tested: those of `benjamini_hochberg` times 1 + 1/2 + ... + 1/tests, 1 at
    most. With 41 tests that factor is 4.3.

    References
    ----------
    Benjamini and Yekutieli (2001), The control of the false discovery rate in multiple testing under dependency,
    theorem 1.3.

    Examples
    --------
    >>> benjamini_yekutieli([0.02, np.nan, 0.5]).round(12).tolist()
    [0.06, nan, 0.75]
    """
    return _step_up(p_values, any_dependence=True)


def _step_up(p_values: ArrayLike, *, any_dependence: bool) -> NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN comes last
    ranked = np.take_along_axis(p, order, axis=-1)
    ranks = np.arange(1, p.shape[-1] + 1)
    tests = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    factor = np.where(ranks <= tests, 1 / ranks, 0.0).sum(axis=-1, keepdims=True) if any_dependence else 1.0
    # fmin passes over NaN, which stays only where nothing but NaN comes after.
    smallest = np.fmin.accumulate((ranked * tests * factor / ranks)[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(smallest, 1.0), axis=-1)
    return adjusted

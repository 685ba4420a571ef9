"""Group-sequential limits: how far a statistic may go at each of several looks before chance stops being an excuse.

Add a boundary here when its overall probability of a false alarm can be computed. Keep what is compared out: it belongs
in experiments. Looks are in order along the last (only) axis; a fraction is the information at a look, 1 / variance of
the difference, over the information planned. Limits are of the absolute value of a standard normal statistic.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

FloatArray = NDArray[np.float64]
Shape = Literal["obrien_fleming", "pocock"]
Boundary = Literal["obrien_fleming", "pocock", "always_valid", "fixed"]

FARTHEST, LEAST = 30.0, 1e-190
"""A look that may spend less than the least cannot end a test; what it leaves is spent by a later one."""

REACH = 9.0
"""Standard deviations around the mean that are integrated over: 2e-19 lies outside."""

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
MOST_PANELS = 96
"""Each with Gauss and Legendre's nodes, into which the range between the limits is cut."""


class _Path(NamedTuple):
    """Where the score process is, if no limit was crossed so far: nodes, their probabilities, and the information."""

    places: FloatArray
    masses: FloatArray
    information: float

    def crossing(self, information: float, limit: float, drift: float) -> tuple[float, float]:
        """Return the probabilities of being above the limit at the next look, and below its mirror image."""
        step, edge = information - self.information, limit * np.sqrt(information)
        middle, spread = self.places + drift * step, np.sqrt(step)
        ends = ndtr((middle - edge) / spread), ndtr((-edge - middle) / spread)
        return float(self.masses @ ends[0]), float(self.masses @ ends[1])

    def onward(self, information: float, limit: float, drift: float, finest: float) -> "_Path":
        """Return the path after a look that crossed no limit; no step is shorter than `finest`."""
        step, root = information - self.information, np.sqrt(information)
        low, high = (root * np.clip(end, -limit, limit) for end in (drift * root - REACH, drift * root + REACH))
        # A panel is 6 standard deviations of the shortest step wide.
        panels = min(1 + int((high - low) / np.sqrt(finest) / 6), MOST_PANELS)
        half = (high - low) / panels / 2
        places = (low + half * (2 * np.arange(panels)[:, None] + 1 + NODES)).ravel()
        z = (places[:, None] - self.places - drift * step) / np.sqrt(step)
        density = np.exp(-np.square(z) / 2) @ self.masses / np.sqrt(2 * np.pi * step)
        return _Path(places, np.tile(WEIGHTS * half, panels) * density, information)


_START = _Path(np.zeros(1), np.ones(1), 0.0)


def crossing_probabilities(
    fractions: ArrayLike, limits: ArrayLike, *, drift: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Probability that the first limit crossed is that of each look, above and below.

    Parameters
    ----------
    fractions : shape (looks,), increasing and above 0.
    limits : shape (looks,), of the absolute value of the statistic; infinite where a look cannot end the test.
    drift : mean of the statistic at fraction 1; 0 is no effect.

    Returns
    -------
    upper, lower : shapes (looks,), 0 to 1. The sum of both, at drift 0, is the overall probability of a false alarm;
        the sum of the upper one, at another drift, the power.

    Notes
    -----
    The score, statistic times sqrt(fraction), has independent normal increments of variance equal to the information
    between looks. Its density inside the limits is carried from look to look by Gauss-Legendre integration, on as many
    nodes as the shortest step needs: to 9 digits where every step is at least a thousandth.

    References
    ----------
    Armitage, McPherson and Rowe (1969), Repeated significance tests on accumulating data; Jennison and Turnbull (2000),
    Group sequential methods, chapter 19.

    Examples
    --------
    Two looks that nothing stops before the second are one look:

    >>> upper, lower = crossing_probabilities([0.5, 1.0], [np.inf, 1.959964])
    >>> upper.round(6).tolist(), lower.round(6).tolist()
    ([0.0, 0.025], [0.0, 0.025])
    """
    looks, finest = _increasing(fractions)
    path, found = _START, []
    for information, limit in zip(looks, np.asarray(limits, np.float64).tolist(), strict=True):
        found.append(path.crossing(information, limit, drift))
        path = path.onward(information, limit, drift, finest)
    upper, lower = np.array(found).reshape(-1, 2).T
    return upper, lower


def _increasing(fractions: ArrayLike) -> tuple[list[float], float]:
    """Return the fractions and the shortest step between them."""
    values = np.asarray(fractions, dtype=np.float64)
    steps = np.diff(values, prepend=0.0)
    if not (steps > 0).all():
        raise ValueError(f"fractions of information increase from above 0, found {values.tolist()}")
    return [float(value) for value in values], float(steps.min(initial=np.inf))


def alpha_spent(fractions: ArrayLike, *, shape: Shape, alpha: float = 0.05) -> FloatArray:
    """Probability of a false alarm that may have been used up at a fraction of the information planned.

    Parameters
    ----------
    fractions : shape (...), 0 or more.
    shape : "obrien_fleming" spends hardly anything early, "pocock" nearly as much at every look.
    alpha : two-sided, in all.

    Returns
    -------
    Shape (...), 0 to alpha; alpha from fraction 1 on.

    Notes
    -----
    4 - 4 Phi(z / sqrt(t)) with z the 1 - alpha / 4 quantile (alpha / 2 on each side), and alpha ln(1 + (e - 1) t).

    References
    ----------
    Lan and DeMets (1983), Discrete sequential boundaries for clinical trials, section 2.

    Examples
    --------
    >>> spent = [alpha_spent([0.0, 1.0], shape=shape).round(12).tolist() for shape in ("obrien_fleming", "pocock")]
    >>> spent[0] == spent[1] == [0.0, 0.05]
    True
    """
    t = np.clip(np.asarray(fractions, dtype=np.float64), 0.0, 1.0)
    if shape == "pocock":
        return np.asarray(alpha * np.log1p((np.e - 1) * t))
    with np.errstate(divide="ignore"):
        return np.asarray(4 * ndtr(ndtri(alpha / 4) / np.sqrt(t)))


def spending_limits(fractions: ArrayLike, *, shape: Shape, alpha: float = 0.05) -> FloatArray:
    """Limits that use up exactly what `alpha_spent` allows, at whatever fractions the looks fall.

    Parameters
    ----------
    fractions : shape (looks,), increasing and above 0; the looks taken so far are enough.
    shape, alpha : as in `alpha_spent`.

    Returns
    -------
    Shape (looks,), of the absolute value of the statistic; infinite where next to nothing may be spent.

    Notes
    -----
    Every limit depends on the looks up to its own only, so that neither their number nor their times need be planned,
    as long as they do not depend on what was seen. The overall probability of a false alarm is alpha once a look is at
    fraction 1 or beyond.

    References
    ----------
    Lan and DeMets (1983). Five equal looks at alpha 0.05 give the published 4.88, 3.36, 2.68, 2.29, 2.03.

    Examples
    --------
    One look at all of the information is a plain test:

    >>> spending_limits([1.0], shape="pocock").round(4).tolist()
    [1.96]
    """
    from scipy.optimize import brentq

    looks, finest = _increasing(fractions)
    path, before, limits = _START, 0.0, []
    for information, spent in zip(looks, alpha_spent(looks, shape=shape, alpha=alpha).tolist(), strict=True):

        def excess(
            limit: float, path: _Path = path, at: float = information, to_spend: float = spent - before
        ) -> float:
            return float(np.log(max(2 * path.crossing(at, limit, 0.0)[0], 1e-300) / to_spend))

        possible = spent - before > LEAST
        limits.append(float(brentq(excess, 0.0, FARTHEST, xtol=1e-10)) if possible else np.inf)
        path, before = path.onward(information, limits[-1], 0.0, finest), spent if possible else before
    return np.array(limits)


def classic_limits(fractions: ArrayLike, *, shape: Shape, alpha: float = 0.05) -> FloatArray:
    """Limits of a fixed shape, for looks that are all planned.

    Parameters
    ----------
    fractions : shape (looks,), increasing and above 0, of all looks; the last is the end.
    shape : "obrien_fleming" falls as 1 / sqrt(fraction), "pocock" stays the same.
    alpha : two-sided, in all.

    Returns
    -------
    Shape (looks,), of the absolute value of the statistic.

    Notes
    -----
    The shape times the one number that makes the overall probability of a false alarm alpha.

    References
    ----------
    Pocock (1977), Group sequential methods in the design and analysis of clinical trials; O'Brien and Fleming (1979), A
    multiple testing procedure for clinical trials. Five equal looks at alpha 0.05: 4.56, 3.23, 2.63, 2.28, 2.04, and
    2.413 for Pocock (Jennison and Turnbull, 2000, tables 2.1 and 2.3).

    Examples
    --------
    >>> first, second = classic_limits([0.25, 1.0], shape="obrien_fleming")
    >>> round(float(first / second), 12)
    2.0
    """
    from scipy.optimize import brentq

    t = np.asarray(_increasing(fractions)[0])
    form = np.sqrt(t[-1] / t) if shape == "obrien_fleming" else np.ones(t.shape)
    ends = -ndtri(alpha / 2), -ndtri(alpha / 2 / len(t))  # one look, and Bonferroni's inequality

    def excess(factor: float) -> float:
        return float(np.sum(crossing_probabilities(t, factor * form)) - alpha)

    return np.asarray(form * brentq(excess, ends[0] - 0.1, ends[1] + 0.1, xtol=1e-10))


def always_valid_limits(fractions: ArrayLike, *, alpha: float = 0.05) -> FloatArray:
    """Limits that may be looked at as often as one likes, for as long as one likes.

    Parameters
    ----------
    fractions : shape (...), above 0; how many and when does not matter.
    alpha : two-sided, in all.

    Returns
    -------
    Shape (...), of the absolute value of the statistic; tightest about fraction 1, where they are 3.04 at alpha 0.05.

    Notes
    -----
    sqrt((1 + 1/r) ln((1 + r) / alpha^2)) with r = k t and k = -2 ln(alpha) + ln(1 - 2 ln(alpha)): the likelihood ratio
    against a normal mixture of effects is a martingale, so by Ville's inequality the probability that a Brownian motion
    ever leaves these limits is at most alpha, at any number of looks, without an end, and whatever the looks depend on.
    For means with estimated variances it holds asymptotically: start looking at a few hundred rows. The price is
    width: 3.04 instead of 1.96 standard errors.

    References
    ----------
    Robbins (1970), Statistical methods related to the law of the iterated logarithm; Johari et al. (2017), Peeking at
    A/B tests; Waudby-Smith et al. (2024), Time-uniform central limit theory and asymptotic confidence sequences,
    theorem 2.2 and appendix B.2.

    Examples
    --------
    At the limit the mixture likelihood ratio exp(z^2 r / (1 + r) / 2) / sqrt(1 + r) is 1 / alpha:

    >>> alpha = np.exp(-1.5)  # r = 3 + ln(4)
    >>> r, z = 3 + np.log(4), float(always_valid_limits(1.0, alpha=alpha))
    >>> round(float(alpha * np.exp(z**2 / 2 * r / (1 + r)) / np.sqrt(1 + r)), 12)
    1.0
    """
    log = -2 * np.log(alpha)
    r = (log + np.log1p(log)) * np.asarray(fractions, dtype=np.float64)
    return np.asarray(np.sqrt((1 + 1 / r) * (np.log1p(r) + log)))


def limits_of(boundary: Boundary, fractions: ArrayLike, *, alpha: float = 0.05) -> FloatArray:
    """Limits of a boundary by its name, at looks that need not have been planned.

    Parameters
    ----------
    boundary : "obrien_fleming" or "pocock", both as spending functions; "always_valid"; or "fixed": one look, the first
        at fraction 1 or beyond.
    fractions : shape (looks,), increasing and above 0.
    alpha : two-sided, in all.

    Returns
    -------
    Shape (looks,), of the absolute value of the statistic; infinite where a look decides nothing.

    Examples
    --------
    >>> limits_of("fixed", [0.5, 1.0, 1.5]).round(4).tolist()
    [inf, 1.96, inf]
    """
    if boundary == "always_valid":
        return always_valid_limits(_increasing(fractions)[0], alpha=alpha)
    if boundary == "fixed":
        at_end = np.asarray(_increasing(fractions)[0]) >= 1
        return np.where(at_end & (np.cumsum(at_end) == 1), -ndtri(alpha / 2), np.inf)
    return spending_limits(fractions, shape=boundary, alpha=alpha)


def inflation(boundary: Boundary, *, looks: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """How many times the rows of a single test a sequential one is planned with, for the same power.

    Parameters
    ----------
    boundary : as in `limits_of`.
    looks : equally spaced.
    alpha, power : two-sided; 0 to 1.

    Returns
    -------
    1 or more: the largest number of rows, which is needed if no look ends the test.

    Notes
    -----
    The square of the drift at which the upper limits are crossed with the power asked for, over that of a single test,
    z(1 - alpha / 2) + z(power). Published for classic limits, five looks, power 0.8: 1.028 (O'Brien-Fleming) and 1.228
    (Pocock); the spending versions need about as many.

    References
    ----------
    Jennison and Turnbull (2000), tables 2.2 and 2.4.

    Examples
    --------
    >>> round(inflation("pocock", looks=1), 9), inflation("obrien_fleming", looks=5) < inflation("pocock", looks=5)
    (1.0, True)
    """
    from scipy.optimize import brentq

    fractions = np.arange(1, looks + 1) / looks
    limits = limits_of(boundary, fractions, alpha=alpha)
    single = float(ndtri(1 - alpha / 2) + ndtri(power))

    def excess(drift: float) -> float:
        return float(crossing_probabilities(fractions, limits, drift=drift)[0].sum() - power)

    return float(brentq(excess, 0.9 * single, 4 * single, xtol=1e-10) / single) ** 2

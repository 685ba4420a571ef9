"""Two arms of a randomised experiment: how large it has to be, whether the split held, and what the difference is.

Add a comparison here when rows, means and (co)variances of both arms are enough. Keep repeated looks out: they belong
in spending; what follows from a difference is decided in evaluate.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtr, ndtri, stdtr, stdtrit

from monitoring_pipeline.stats.spending import Boundary, inflation


class Arm(NamedTuple):
    """Rows of one arm, mean and variance of the outcome, and of a covariate known before the experiment.

    `freedom` is that of the variances where it is not rows - 1, because whole groups of rows were randomised.
    """

    rows: float
    mean: float
    variance: float
    covariate_mean: float = 0.0
    covariate_variance: float = 0.0
    covariance: float = 0.0
    freedom: float | None = None


class Effect(NamedTuple):
    """Treatment minus control, its standard error, two-sided p-value and degrees of freedom; NaN where not known.

    `control` is the mean of the control, `control_error` its standard error, `covariance` that of difference and
    `control`: what the relative lift needs.
    """

    difference: float
    error: float
    p_value: float
    freedom: float
    control: float
    control_error: float
    covariance: float


class Plan(NamedTuple):
    """Rows of each arm, information (1 / variance of the difference) and days, up to the last look."""

    control_rows: int
    treatment_rows: int
    information: float
    days: int | None


def welch(control: Arm, treatment: Arm) -> Effect:
    """Welch's test of two means whose variances need not be equal.

    Parameters
    ----------
    control, treatment : rows, mean and variance (divided by rows - 1) of the outcome.

    Returns
    -------
    `Effect`, in the unit of the outcome. NaN where an arm has fewer than 2 rows or no outcome varies.

    Notes
    -----
    t = difference / sqrt(v / n + w / m), with the degrees of freedom of Welch and Satterthwaite. For independent rows,
    from about 30 an arm, hundreds with heavy tails.

    References
    ----------
    Welch (1947), The generalization of Student's problem when several different population variances are involved.

    Examples
    --------
    Two rows an arm with variance 1 have 2 degrees, where P(|t| >= sqrt(2 / 3)) is 1/2:

    >>> effect = welch(Arm(2, 1.0, 1.0), Arm(2, 1.0 + np.sqrt(2 / 3), 1.0))
    >>> round(effect.freedom, 12), round(effect.p_value, 12)
    (2.0, 0.5)
    """
    return _effect(control, treatment, slope=0.0)


def cuped(control: Arm, treatment: Arm) -> Effect:
    """Welch's test after removing what a covariate from before the experiment already knew of the outcome.

    Parameters
    ----------
    control, treatment : with mean and variance of the covariate and its covariance with the outcome.

    Returns
    -------
    `Effect`, in the unit of the outcome; as `welch` where the covariate does not vary.

    Notes
    -----
    difference of outcomes - slope * difference of covariates, where the slope (covariances over variances of the
    covariate, both of the difference) makes the variance smallest: 1 - r^2 of what it was, for correlation r. The
    covariate must not be able to feel the treatment. As for `welch`; the slope is estimated, a bias of order 1 / rows.

    References
    ----------
    Deng, Xu, Kohavi and Walker (2013), Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, equations 4 and 5.

    Examples
    --------
    A correlation of 0.6 leaves 1 - 0.36 of the variance:

    >>> arm = Arm(100, 1.0, 1.0, covariate_variance=1.0, covariance=0.6)
    >>> round(cuped(arm, arm).error ** 2 / welch(arm, arm).error ** 2, 12)
    0.64
    """
    variance = control.covariate_variance / control.rows + treatment.covariate_variance / treatment.rows
    covariance = control.covariance / control.rows + treatment.covariance / treatment.rows
    return _effect(control, treatment, slope=covariance / variance if variance > 0 else 0.0)


def _effect(control: Arm, treatment: Arm, *, slope: float) -> Effect:
    parts, freedom = [], []
    for arm in (control, treatment):
        variance = arm.variance - 2 * slope * arm.covariance + slope**2 * arm.covariate_variance
        parts.append(max(variance, 0.0) / max(arm.rows, 1))
        freedom.append(arm.rows - 1 if arm.freedom is None else arm.freedom)
    if min(freedom) < 1 or not sum(parts) > 0:
        return Effect(*[math.nan] * 7)
    difference = treatment.mean - control.mean - slope * (treatment.covariate_mean - control.covariate_mean)
    error = math.sqrt(sum(parts))
    degrees = sum(parts) ** 2 / sum(part**2 / each for part, each in zip(parts, freedom, strict=True))
    p_value = float(2 * stdtr(degrees, -abs(difference) / error))
    own, shared = (each / control.rows for each in (control.variance, slope * control.covariance - control.variance))
    return Effect(difference, error, p_value, degrees, control.mean, math.sqrt(own), shared)


def two_proportions(control: Arm, treatment: Arm) -> Effect:
    """Normal test of two proportions, with the pooled proportion under no difference.

    Parameters
    ----------
    control, treatment : rows and, as mean, the share of them that converted; variances are not read.

    Returns
    -------
    `Effect`, from -1 to 1; its error is that of the difference, not pooled. NaN where none or all converted.

    Notes
    -----
    z = difference / sqrt(p (1 - p) (1/n + 1/m)). From about 10 conversions and as many failures an arm.

    References
    ----------
    Fleiss, Levin and Paik (2003), Statistical methods for rates and proportions, section 3.1.

    Examples
    --------
    Shares of 0.4 and 0.6 of 50 rows: z is 2.

    >>> effect = two_proportions(Arm(50, 0.4, 0.0), Arm(50, 0.6, 0.0))
    >>> round(effect.p_value / (2 * float(ndtr(-2.0))), 12), round(effect.error**2, 12)
    (1.0, 0.0096)
    """
    n, m = control.rows, treatment.rows
    pooled = (n * control.mean + m * treatment.mean) / max(n + m, 1)
    if not (min(n, m) > 0 and 0 < pooled < 1):
        return Effect(*[math.nan] * 7)
    difference = treatment.mean - control.mean
    own, other = (arm.mean * (1 - arm.mean) / arm.rows for arm in (control, treatment))
    z = difference / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p_value = float(2 * ndtr(-abs(z)))
    return Effect(difference, math.sqrt(own + other), p_value, math.inf, control.mean, math.sqrt(own), -own)


def effect_interval(effect: Effect, *, limit: float) -> tuple[float, float]:
    """Interval of a difference that belongs to a limit of its statistic.

    Parameters
    ----------
    effect : of `welch`, `cuped` or `two_proportions`.
    limit : of the absolute value of a normal statistic: 1.96 for a plain 95 % interval; that of a look, as in
        spending, for one that holds at all looks together.

    Returns
    -------
    Low and high, in the unit of the outcome; infinite where the limit is.

    Notes
    -----
    difference -/+ q * error, with q the quantile of Student's distribution that is as rare as the limit. Taken at every
    look with that look's limit, all intervals hold the true difference with probability 1 - alpha.

    References
    ----------
    Jennison and Turnbull (1989), Interim analyses: the repeated confidence interval approach.

    Examples
    --------
    >>> low, high = effect_interval(two_proportions(Arm(50, 0.4, 0.0), Arm(50, 0.6, 0.0)), limit=2.0)
    >>> round((low + high) / 2, 12), round((high - low) ** 2 / 16, 12)
    (0.2, 0.0096)
    """
    half = student_limit(limit, freedom=effect.freedom) * effect.error
    return effect.difference - half, effect.difference + half


def lift_interval(effect: Effect, *, limit: float) -> tuple[float, float]:
    """Interval of the relative lift, difference over mean of the control, by Fieller's theorem.

    Parameters
    ----------
    effect, limit : as in `effect_interval`.

    Returns
    -------
    Low and high, 0.02 being 2 % more. Both infinite where the control's mean may be zero.

    Notes
    -----
    All ratios R for which |difference - R control| is within the limit of its own standard error. It takes the
    uncertainty of the control into account, which dividing the interval of the difference does not.

    References
    ----------
    Fieller (1954), Some problems in interval estimation, section 4.

    Examples
    --------
    Means 2 and 3 of variance 0.03 each: at limit 10/3 the ends R satisfy 3 (3 - 2 (1 + R))^2 = 1 + (1 + R)^2.

    >>> effect = Effect(1.0, 0.06**0.5, np.nan, np.inf, control=2.0, control_error=0.03**0.5, covariance=-0.03)
    >>> [round(3 * (1 - 2 * R) ** 2 / (1 + (1 + R) ** 2), 9) for R in lift_interval(effect, limit=10 / 3)]
    [1.0, 1.0]
    """
    square = student_limit(limit, freedom=effect.freedom) ** 2
    bottom = effect.control**2 - square * effect.control_error**2
    if not (bottom > 0 and square < math.inf):
        return -math.inf, math.inf
    middle = effect.difference * effect.control - square * effect.covariance
    rest = effect.difference**2 - square * effect.error**2
    half = math.sqrt(max(middle**2 - bottom * rest, 0.0))
    return (middle - half) / bottom, (middle + half) / bottom


def student_limit(limit: float, *, freedom: float) -> float:
    """Value that Student's t leaves as rarely as a normal statistic leaves a limit.

    Examples
    --------
    >>> round(student_limit(2.0, freedom=np.inf), 12)
    2.0
    """
    return float(-stdtrit(freedom, ndtr(-limit))) if limit < math.inf else math.inf


def sample_ratio_p_value(rows: ArrayLike, shares: ArrayLike, *, dispersion: float = 1.0) -> float:
    """Probability of so uneven a split of the rows, if the arms got the shares they should.

    Parameters
    ----------
    rows : shape (arms,), counts.
    shares : shape (arms,), what each arm should get; they need not add up to 1.
    dispersion : by how much counts vary more than those of independent rows; 1 where every row was assigned by itself.

    Returns
    -------
    0 to 1; below 0.001 the experiment is broken, whatever it shows. NaN without rows.

    Notes
    -----
    Pearson's chi-square with one degree less than arms, over the dispersion. From about 5 expected rows an arm.

    References
    ----------
    Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments; McCullagh and Nelder
    (1989), Generalized linear models, section 4.5 (the dispersion).

    Examples
    --------
    50 rows too many in one arm of 1,000 rows have chi-square 10:

    >>> round(sample_ratio_p_value([550, 450], [0.5, 0.5]) / (2 * float(ndtr(-np.sqrt(10)))), 9)
    1.0
    """
    counts, wanted = np.asarray(rows, np.float64), np.asarray(shares, np.float64)
    if not counts.sum() > 0:
        return math.nan
    expected = counts.sum() * wanted / wanted.sum()
    return float(chdtrc(len(counts) - 1, np.sum((counts - expected) ** 2 / expected) / dispersion))


def information_needed(
    change: float, *, power: float = 0.8, alpha: float = 0.05, boundary: Boundary = "fixed", looks: int = 1
) -> float:
    """How small 1 / variance of a difference may be for a test to find a change.

    Parameters
    ----------
    change : in the unit of the outcome.
    power, alpha, boundary, looks : as in `plan_experiment`.

    Returns
    -------
    Above 0, in 1 / the square of the unit.

    Notes
    -----
    inflation ((z(1 - alpha / 2) + z(power)) / change)^2. An experiment that ends at this information rather than at a
    number of rows has the power planned whatever the variance turns out to be.

    References
    ----------
    Mehta and Tsiatis (2001), Flexible sample size considerations using information-based interim monitoring.

    Examples
    --------
    >>> round(information_needed(0.5) / information_needed(1.0), 9)
    4.0
    """
    single = (float(ndtri(1 - alpha / 2) + ndtri(power)) / change) ** 2
    return single * inflation(boundary, looks=looks, alpha=alpha, power=power)


def plan_experiment(
    baseline: float,
    *,
    relative_mde: float = 0.02,
    variance: float | None = None,
    explained: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
    treatment_share: float = 0.5,
    boundary: Boundary = "fixed",
    looks: int = 1,
    rows_per_day: float | None = None,
) -> Plan:
    """How many rows an experiment needs to find a relative change of its baseline.

    Parameters
    ----------
    baseline : mean of the outcome in the control; where `variance` is not given, a share of rows.
    relative_mde : smallest change worth finding, as a share of the baseline.
    variance : of a row's outcome, the same in both arms.
    explained : share of the variance that a covariate takes away: r^2, see `cuped`.
    power : probability of finding that change.
    alpha : two-sided probability of a false alarm, at all looks together.
    treatment_share : of the rows in the experiment.
    boundary, looks : see `spending.limits_of`; equally spaced looks.
    rows_per_day : in the experiment, both arms together.

    Returns
    -------
    `Plan`: the rows of both arms if no look ends the experiment early, the information that goes with them, and days
    where `rows_per_day` is given.

    Notes
    -----
    Rows so that the variance of the difference, control / n + treatment / m, is the reciprocal of `information_needed`.
    Rows are independent; of entities with several rows each, count entities.

    References
    ----------
    Fleiss, Levin and Paik (2003), section 4.2.

    Examples
    --------
    A change of one standard deviation needs 2 (1.96 + 0.84)^2 = 15.7 rows an arm:

    >>> plan = plan_experiment(10.0, relative_mde=0.1, variance=1.0, rows_per_day=8)
    >>> plan.control_rows, plan.treatment_rows, plan.days
    (16, 16, 4)
    """
    change = baseline * relative_mde
    shares = [baseline * (1 - baseline), (baseline + change) * (1 - baseline - change)]
    control, treatment = ((each if variance is None else variance) * (1 - explained) for each in shares)
    if not (change != 0 and min(control, treatment) > 0):
        needed = (
            "a share that stays between 0 and 1" if variance is None else "a baseline and a variance that are not 0"
        )
        raise ValueError(f"baseline {baseline:g} with a change of {change:+g}: {needed} is needed")
    information = information_needed(change, power=power, alpha=alpha, boundary=boundary, looks=looks)
    total = information * (control / (1 - treatment_share) + treatment / treatment_share)
    rows = math.ceil(total * (1 - treatment_share)), math.ceil(total * treatment_share)
    return Plan(*rows, information, None if rows_per_day is None else math.ceil(sum(rows) / rows_per_day))

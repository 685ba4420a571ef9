"""How often the gate promotes a challenger that is no better, or is; and how often guard-rails object to mere chance.

Every rate is over simulated hold-outs whose rows err together by day. A rate that is held would exceed what is asserted
in one of a thousand such tests: binomial noise is allowed for up to its 99.9 % quantile.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binom, nct, t

from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.gains import ERRORS, METRICS, GateMetric, Units, compare
from monitoring_pipeline.retrain.gate import GatePolicy, Outcome, evaluate_challenger
from monitoring_pipeline.retrain.guard_rails import HoldOut, RailPolicy, Status, sampled_rails

Array = NDArray[np.float64]
STATED = 0.025
PAIRS, DAYS, ROWS_A_DAY = 600, 8, 60
DAY = np.repeat(np.arange(DAYS), ROWS_A_DAY)
TASKS = [(Task.BINARY, metric) for metric in METRICS[Task.BINARY]]
TASKS += [(Task.REGRESSION, metric) for metric in METRICS[Task.REGRESSION]]


class Case(NamedTuple):
    """A labelled hold-out, and whether the challenger is better in truth, by metric."""

    truth: Array
    champion: Array
    challenger: Array
    better: dict[str, bool]


def by_day(generator: np.random.Generator, columns: int = 1, *, share: float = 0.5) -> Array:
    """Return standard normal numbers, shape (rows, columns), of which a share of the variance is the day's."""
    own = generator.normal(size=(len(DAY), columns))
    return np.asarray(share**0.5 * generator.normal(size=(DAYS, columns))[DAY] + (1 - share) ** 0.5 * own)


@cache
def alike(task: Task) -> list[Case]:
    """Return pairs of models that see the same signal through noise of the same law: neither is better."""
    cases = []
    for seed in range(PAIRS):
        generator = np.random.default_rng(seed)
        signal = by_day(generator)[:, 0]
        first, second = (signal + by_day(generator)[:, 0] for _ in range(2))
        truth = signal * 2
        if task is Task.BINARY:
            truth = (generator.random(len(DAY)) < 1 / (1 + np.exp(-2 * signal))).astype(float)
            first, second = (1 / (1 + np.exp(-each)) for each in (first, second))
        cases.append(Case(truth, first, second, dict.fromkeys(METRICS[task], False)))
    return cases


@cache
def trained(task: Task) -> list[Case]:
    """Return pairs of models trained on two samples of 2000 rows of one law, and which is better in closed form.

    Classes are normal around -centre and centre, the model is the estimated direction: its AUC is ndtr(sqrt(2) cosine
    length). A linear regression errs by a normal number, of which either error is a multiple of the standard deviation.
    """
    cases, centre, sample = [], np.full(5, 0.3), 2000
    for seed in range(PAIRS):
        generator = np.random.default_rng([1, seed])
        weights = [centre + generator.normal(size=5) / sample**0.5 for _ in range(2)]
        inputs = by_day(generator, 5)
        if task is Task.BINARY:
            truth = (generator.random(len(DAY)) < 0.5).astype(float)
            inputs += np.where(truth == 1, 1, -1)[:, None] * centre
            quality = [float(ndtr(2**0.5 * (each @ centre) / np.linalg.norm(each))) for each in weights]
            answers = [1 / (1 + np.exp(-2 * inputs @ each)) for each in weights]
            losses = [_log_loss(each, centre) for each in weights]
            better = {"roc_auc": quality[1] > quality[0], "log_loss": losses[1] < losses[0]}
        else:
            truth = inputs @ centre + generator.normal(size=len(DAY))
            answers = [inputs @ each for each in weights]
            spread = [float(np.sum((each - centre) ** 2)) for each in weights]
            better = dict.fromkeys(METRICS[task], spread[1] < spread[0])
        cases.append(Case(truth, answers[0], answers[1], better))
    return cases


def _log_loss(weights: Array, centre: Array) -> float:
    """Return the expected log loss of a direction, by Gauss's rule for the normal score of a positive row."""
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    scores = 2 * (weights @ centre + np.linalg.norm(weights) * nodes)
    return float(shares @ np.log1p(np.exp(-scores)) / shares.sum())


@cache
def gains_promoted(models: Callable[[Task], list[Case]], task: Task, metric: GateMetric) -> list[float | None]:
    """Return the gain of every challenger that is promoted without a margin, as a share where the margin is one."""
    return [promoted_gain(case, task, metric, Units(DAY)) for case in models(task)]


def promoted_gain(case: Case, task: Task, metric: GateMetric, units: Units) -> float | None:
    policy = GatePolicy(metric=metric, margin=0.0, largest_loss=9.0, minimum_rows=100)
    found = evaluate_challenger(case.truth, case.champion, case.challenger, units, policy, task=task)
    if found.outcome is not Outcome.PROMOTE:
        return None
    (item,) = [each for each in found.comparisons if each.metric == metric]
    return item.gain / (item.champion if metric in ERRORS else 1.0)


def most(rate: float, pairs: int = PAIRS) -> int:
    return int(binom.ppf(0.999, pairs, rate))


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_a_challenger_that_is_no_better_is_promoted_no_more_often_than_stated(task: Task, metric: GateMetric) -> None:
    found = [gain for gain in gains_promoted(alike, task, metric) if gain is not None]
    assert 1 <= len(found) <= most(STATED), "and the gate is not simply shut"


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_of_two_models_trained_alike_the_worse_is_promoted_no_more_often_than_stated(
    task: Task, metric: GateMetric
) -> None:
    found = list(zip(gains_promoted(trained, task, metric), trained(task), strict=True))
    assert sum(gain is not None and not case.better[metric] for gain, case in found) <= most(STATED)
    # With the default margin that holds of all promotions: what one is truly better by is less than that.
    assert sum(gain is not None and gain >= GatePolicy().margin for gain, _ in found) <= most(STATED)


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_were_rows_taken_as_independent_too_many_would_pass(task: Task, metric: GateMetric) -> None:
    units, pairs = Units(np.arange(len(DAY))), 300
    found = [promoted_gain(case, task, metric, units) for case in alike(task)[:pairs]]
    assert sum(gain is not None for gain in found) > most(STATED, pairs)


def test_a_better_challenger_is_promoted_as_often_as_planned() -> None:
    # Errors fall by a gain that is normal over the days: Student's power, by the noncentral distribution.
    pairs, gain, spread = 1500, 0.1, 0.1
    generator = np.random.default_rng(7)
    gains = gain + spread * generator.normal(size=(pairs, DAYS))
    found = 0
    for daily in gains:
        case = (np.zeros(len(DAY)), np.full(len(DAY), 5.0), 5.0 - daily[DAY])
        found += compare("mae", *case, Units(DAY), confidence=0.95).low > 0
    planned = float(nct.sf(t.ppf(1 - STATED, DAYS - 1), DAYS - 1, gain / spread * DAYS**0.5))
    assert 0.6 < planned < 0.8
    low, high = binom.ppf([0.0005, 0.9995], pairs, planned)
    assert low <= found <= high


def test_guard_rails_together_object_to_chance_no_more_often_than_stated() -> None:
    worlds, policy = (
        200,
        RailPolicy(
            # Limits so low that nothing but chance can keep a finding within them.
            segments=1e-9,
            fairness=0.999999,
            calibration=1e-9,
            parts=Grouping(("region",), intersections=False),
            groups=Grouping(("sex", "age")),
        ),
    )
    objected = {"any": 0}
    for seed in range(worlds):
        generator = np.random.default_rng([2, seed])
        rows = 2 * len(DAY)
        day, region = np.repeat(DAY, 2), generator.choice(12, rows, p=[0.3, 0.2, 0.1, *[0.4 / 9] * 9])
        signal = generator.normal(-0.5, 1, rows)
        answers = [
            1
            / (1 + np.exp(-signal - 0.5 * generator.normal(size=(DAYS, 12))[day, region] - generator.normal(size=rows)))
            for _ in range(2)
        ]
        columns = {"region": region.astype(str), "sex": generator.choice(["f", "m"], rows, p=[0.3, 0.7])}
        columns |= {"age": generator.choice(["old", "young"], rows)}
        truth = (generator.random(rows) < 1 / (1 + np.exp(-signal))).astype(float)
        held = HoldOut(truth, answers[0], answers[1], Units(day), pa.table(columns))
        against = [each.rail for each in sampled_rails(held, policy) if each.status is Status.OBJECTS]
        for name in [*against, *(["any"] if against else [])]:
            objected[name] = objected.get(name, 0) + 1
    assert objected["any"] <= most(1 - policy.confidence, worlds), objected

"""How many alarms a month trailing windows give that are measured anew every hour, against the budget that was stated.

Add a length or a budget here. Keep laws and cells out.
"""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
from worlds.laws import LAWS, MONTH_HOURS, RESTLESSNESS, Drawn, Law, levels, moving, reference_of, signal
from worlds.tables import table

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.blocks import BlockDistances, selected
from monitoring_pipeline.describe.distances import Pair, measured
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import BlockModel, Calibrations
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.thresholds import TEXTBOOK, JudgingPolicy
from monitoring_pipeline.settings.defaults import default_rules
from monitoring_pipeline.stats.corrections import benjamini_hochberg

BUDGETS = (0.5, 1.0, 2.0, 4.0)
LENGTHS = (timedelta(days=1), timedelta(days=7))
LARGEST = 0.35
"""No budget here lets a report be wrong more often."""
COLUMNS, MONTHS, ROWS_PER_HOUR = 15, 6, 50
WORLDS = {
    "independent": (LAWS[:1], 0.0, False),
    "independent, calibrated": (LAWS[:1], 0.0, True),
    "autocorrelated, calibrated": (LAWS[:1], RESTLESSNESS, True),
    "autocorrelated, mildly": (LAWS[:1], RESTLESSNESS / 2.5, True),
    "autocorrelated, 2 categories": (LAWS[4:5], RESTLESSNESS, True),
    "autocorrelated, 20 categories": (LAWS[6:7], RESTLESSNESS, True),
}


def sliding(quick: bool) -> Iterator[str]:
    """Yield the table of alarms a month."""
    rule = default_rules(window="24h", long="7d", features=["x"], score="score", prediction=None)[0]
    yield (
        f"Reports of {COLUMNS} columns by PSI, bands at 0 and {ROWS_PER_HOUR} "
        f"rows an hour, measured every hour for {MONTHS} months after a month of reference. An alarm is an incident: "
        f"{rule.for_} drifted hours in a row open it, {rule.resolve_after} (or 24) quiet ones end it."
    )
    rows = []
    for name, (laws, restlessness, calibrated) in WORLDS.items():
        for length in LENGTHS:
            found = _adjusted(laws[0], restlessness, length, calibrated, 4 if quick else 20)
            policies = [JudgingPolicy(TEXTBOOK, false_alarms_per_month=budget) for budget in BUDGETS]
            rates = [policy.alarm_rate(length, calibrated=calibrated) for policy in policies]
            for resolve_after in (rule.resolve_after, 24):
                counts = [_alarms(found, rate, rule, resolve_after) for rate in rates]
                rows.append([name, window_name(length), f"{resolve_after} h", *map(_cell, counts, BUDGETS)])
    yield table(["columns", "window", "quiet after", *(f"budget {budget:g}" for budget in BUDGETS)], rows)


def _adjusted(law: Law, restlessness: float, length: timedelta, calibrated: bool, references: int) -> np.ndarray:
    """Return the least adjusted p-value of each hourly report, shape (references, hours)."""
    rng, hours = np.random.default_rng(references), round(length / HOUR)
    found = []
    for _ in range(references):
        columns, p_values = {}, []
        later: dict[str, Pair] = {}
        for number in range(COLUMNS):
            walk = levels(rng, MONTH_HOURS * (MONTHS + 1) + hours - 1, restlessness)
            rows = law.rows(rng, walk, ROWS_PER_HOUR)
            drawn = Drawn.reference(law, rows[:MONTH_HOURS])
            blocks: dict[str, BlockDistances] = drawn.blocks(hours, ("psi",)) if calibrated else {}
            columns[f"c{number}"] = drawn.column, blocks
            windows = moving(drawn.counted(rows[MONTH_HOURS:]), hours)
            later[f"c{number}"] = Pair(drawn.column, drawn.expected, windows)
        calibrations = Calibrations({"r": reference_of("r", columns, window_name(length))})
        for name, pair in later.items():
            p_values.append(_p_values(pair, calibrations.of(_asked(name, length))))
        found.append(benjamini_hochberg(np.stack(p_values, axis=-1)).min(axis=-1))
    return np.stack(found)


def _p_values(pair: Pair, blocks: BlockModel | None) -> np.ndarray:
    """Return the larger of both p-values, 1 where it cannot matter: testing takes longer than all the rest."""
    if blocks is None:
        return np.asarray(measured(pair, ("psi",))["psi"].p_values)
    p_values = _rarity(blocks, measured(pair, ("psi",), tested=False)["psi"].values)
    near = p_values <= LARGEST
    if near.any():
        tested = measured(Pair(pair.column, pair.reference, selected(pair.current, near)), ("psi",))["psi"]
        p_values[near] = np.maximum(p_values[near], np.asarray(tested.p_values))
    return np.where(near, p_values, 1.0)


def _asked(column: str, length: timedelta) -> Signal:
    one = signal("psi", "r", 0, column, 0.0, None)
    return Signal(one.metric, one.model, "r", one.window_end - length, one.window_end, value=0.0, column=column)


def _rarity(blocks: BlockModel, distances: np.ndarray) -> np.ndarray:
    """Return the block p-values of many distances, read off the limits of some."""
    rarities = 10.0 ** np.linspace(-7, 0, 141)[:-1]
    limits = np.array([blocks.limit(float(rarity)) for rarity in rarities])
    logarithms = np.interp(-distances, -limits, np.log(rarities))
    return np.where(distances > limits.min(), np.exp(logarithms), 1.0)


def _alarms(adjusted: np.ndarray, rate: float, rule: Rule, resolve_after: int) -> np.ndarray:
    """Return incidents a month by reference, as notify opens and resolves them."""
    drifted = adjusted <= rate
    count, hours = drifted.shape
    run, quiet, opened = np.zeros(count, int), np.zeros(count, int), np.zeros(count, int)
    is_open, not_before = np.zeros(count, bool), np.zeros(count, int)
    for hour in range(hours):
        run = np.where(drifted[:, hour], run + 1, 0)
        quiet = np.where(drifted[:, hour], 0, quiet + 1)
        resolved = is_open & (quiet >= resolve_after)
        not_before = np.where(resolved, hour + round(rule.cooldown / HOUR), not_before)
        is_open &= ~resolved
        starts = ~is_open & (run >= rule.for_) & (hour >= not_before)
        opened += starts
        is_open |= starts
    return np.asarray(opened / (hours / MONTH_HOURS))


def _cell(alarms: np.ndarray, budget: float) -> str:
    mean, half = alarms.mean(), 1.96 * alarms.std(ddof=1) / np.sqrt(len(alarms))
    mark = "**>**" if mean - half > budget else "<" if mean + half < budget / 2 else "="
    return f"{mean:.2f} ± {half:.2f} {mark}"

"""How often p-values, verdicts and reports alarm when nothing changed, and how often Evidently's defaults do.

Add a judgement as a table of `independent` or `autocorrelated`. Keep laws out: they belong in laws.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from worlds.laws import DAY, LAWS, MONTH_HOURS, RESTLESSNESS, Drawn, Law, levels, moving, reference_of, signal
from worlds.tables import cell, table

from monitoring_pipeline.describe.blocks import BlockDistances, selected
from monitoring_pipeline.describe.distances import Measured, Pair, measured
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import Calibrations
from monitoring_pipeline.judge.datasets import dataset_verdicts
from monitoring_pipeline.judge.families import judge_families
from monitoring_pipeline.judge.thresholds import TEXTBOOK, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.sections import Drift

SIZES = (50, 100, 500, 1000, 10_000)
REFERENCE_ROWS = 20_000
TESTED = ("psi", "js", "hellinger", "ks", "l_infinity", "chi_square", "mean_shift")
BANDED = tuple(name.removeprefix("drift.") for name in TEXTBOOK)
COLUMNS = 15
PRODUCT = JudgingPolicy(false_alarms_per_month=Drift().false_alarms_per_month)
BARE = JudgingPolicy(
    {name: Thresholds(0.0, None, "none", needs_calibration=band.needs_calibration) for name, band in TEXTBOOK.items()},
    false_alarms_per_month=PRODUCT.false_alarms_per_month,
)
"""The default judgement with every band at 0, so that only the p-values decide."""

Results = dict[str, Measured]
"""Distances by metric, shapes (references, windows)."""


class Cell:
    """One law and number of rows: the distances of new windows from their references, and what those know of blocks."""

    def __init__(self, found: list[Results], columns: list[Drawn], blocks: list[dict[str, BlockDistances]]) -> None:
        self.columns, self.blocks = columns, blocks
        self.values = {name: np.stack([each[name].values for each in found]) for name in found[0]}
        self.p_values = {
            name: np.stack([np.asarray(each[name].p_values) for each in found])
            for name, first in found[0].items()
            if first.p_values is not None
        }

    def alarms(self, metric: str, policy: JudgingPolicy) -> np.ndarray:
        """Return which windows the verdict on this column alone calls drifted."""
        shape = self.values[metric].shape
        places = [
            (place, at)
            for place, at in product(*map(range, shape))
            if self.values[metric][place, at] > policy.bands[f"drift.{metric}"].warning  # below it nothing is drift
        ]
        references = {f"{place}": self.reference(place) for place, _ in places}
        signals = [self.signal(metric, f"{place}", place, at) for place, at in places]
        hits = np.zeros(shape, bool)
        for where, verdict in zip(places, judge_families(signals, Calibrations(references), policy), strict=True):
            hits[where] = verdict.level is not Level.OK
        return hits

    def signal(self, metric: str, version: str, place: int, at: int, column: str = "x") -> Signal:
        p_value = self.p_values[metric][place, at] if metric in self.p_values else None
        return signal(metric, version, at, column, self.values[metric][place, at], p_value)

    def reference(self, place: int) -> Reference:
        return reference_of(f"{place}", {"x": (self.columns[place].column, self.blocks[place])}, "24h")


def independent_cells(law: Law, references: int, windows: int, seed: int) -> dict[int, Cell]:
    """Return windows of independent rows, each size against a reference of 20,000."""
    rng = np.random.default_rng(seed)
    found: dict[int, list[Results]] = {size: [] for size in SIZES}
    columns = []
    still = np.zeros(windows)
    for _ in range(references):
        drawn = Drawn.reference(law, law.rows(rng, still[:1], REFERENCE_ROWS))
        columns.append(drawn)
        for size in SIZES:
            pair = Pair(drawn.column, drawn.expected, drawn.counted(law.rows(rng, still, size)))
            found[size].append(measured(pair, {*TESTED, *BANDED}))
    return {size: Cell(results, columns, [{}] * references) for size, results in found.items()}


def autocorrelated_cell(law: Law, size: int, references: int, windows: int, seed: int) -> Cell:
    """Return days of a column whose level wanders, against a month of it that calibrates the thresholds."""
    rng = np.random.default_rng(seed)
    found, columns, blocks = [], [], []
    for _ in range(references):
        walk = levels(rng, MONTH_HOURS + 48 * windows, RESTLESSNESS)
        rows = law.rows(rng, walk, max(round(size / 24), 1))
        drawn = Drawn.reference(law, rows[:MONTH_HOURS])
        days = selected(moving(drawn.counted(rows[MONTH_HOURS:]), 24), slice(24, None, 48))
        found.append(measured(Pair(drawn.column, drawn.expected, days), BANDED))
        columns.append(drawn)
        blocks.append(drawn.blocks(24, BANDED))
    return Cell(found, columns, blocks)


def reports(cells: list[Cell], policy: JudgingPolicy, *, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which reports of 15 columns name a drifted column, and which call the whole of them degraded."""
    count = len(cells[0].columns)
    named, degraded = np.zeros((count, windows), bool), np.zeros((count, windows), bool)
    for place in range(count):
        # The same law twice is another reference of it.
        members = {
            f"c{number}": (cells[number % len(cells)], (place + number // len(cells)) % count)
            for number in range(COLUMNS)
        }
        known = {name: (cell.columns[at].column, cell.blocks[at]) for name, (cell, at) in members.items()}
        references = {"r": reference_of("r", known, "24h")}
        signals = [
            cell.signal("psi", "r", at, window, name)
            for window in range(windows)
            for name, (cell, at) in members.items()
        ]
        verdicts = judge_families(signals, Calibrations(references), policy)
        alarms = [verdict.level is not Level.OK for verdict in verdicts]
        named[place] = np.reshape(alarms, (windows, COLUMNS)).any(axis=-1)
        degraded[place] = [verdict.level is not Level.OK for verdict in dataset_verdicts(verdicts, references)]
    return named, degraded


def independent(quick: bool) -> Iterator[str]:
    """Yield the tables of independent rows."""
    references, windows = (20, 5) if quick else (500, 8)
    cells = [independent_cells(law, references, windows, seed) for seed, law in enumerate(LAWS)]
    yield f"{references * windows:,} windows a cell, {references} references of {REFERENCE_ROWS:,} rows."
    for level in (0.05, 0.01):
        rows = [
            [law.name, metric, *(cell(sizes[n].p_values[metric] <= level, level) for n in SIZES)]
            for law, sizes in zip(LAWS, cells, strict=True)
            for metric in TESTED
            if metric in sizes[SIZES[0]].p_values
        ]
        yield f"p-values alone, nominal {level:.0%}."
        yield table(["column", "p-value of", *map(_rows, SIZES)], rows)
    yield from _verdicts(cells, windows, nominal=PRODUCT.alarm_rate(DAY))


def autocorrelated(quick: bool) -> Iterator[str]:
    """Yield the tables of columns whose level wanders from hour to hour."""
    references, most, windows = (10, 5, 3) if quick else (300, 100, 4)  # a month of 10,000 rows a day takes long
    cells = [
        {
            n: autocorrelated_cell(law, n, references if n <= 1000 else most, windows, 10 * seed + at)
            for at, n in enumerate(SIZES)
        }
        for seed, law in enumerate(LAWS)
    ]
    yield f"{references * windows:,} days a cell, {references} references of a month; with 10,000 rows a third of that."
    nominal = BARE.alarm_rate(DAY, calibrated=True)
    rows = [
        [law.name, metric, *(cell(sizes[n].alarms(metric, BARE), nominal) for n in SIZES)]
        for law, sizes in zip(LAWS, cells, strict=True)
        for metric in BANDED
        if metric in sizes[SIZES[0]].values
    ]
    yield f"Verdicts on one column calibrated by blocks, bands at 0, nominal {nominal:.2%}."
    yield table(["column", "verdict on", *map(_rows, SIZES)], rows)
    rows = [
        [law.name, *(cell(sizes[n].p_values["psi"] <= 0.01, 0.01) for n in SIZES)]
        for law, sizes in zip(LAWS, cells, strict=True)
    ]
    yield "What blocks are for: PSI's p-value for independent rows on the same days, nominal 1 %."
    yield table(["column", *map(_rows, SIZES)], rows)
    yield from _verdicts(cells, windows, nominal=nominal)


def _verdicts(cells: list[dict[int, Cell]], windows: int, *, nominal: float) -> Iterator[str]:
    rows = [
        [law.name, metric, *(_known(n, cell(sizes[n].alarms(metric, PRODUCT), nominal)) for n in SIZES)]
        for law, sizes in zip(LAWS, cells, strict=True)
        for metric in BANDED
        if metric in sizes[SIZES[0]].values
    ]
    yield f"Default verdicts on one column over 24 h, at most {nominal:.2%}."
    yield table(["column", "verdict on", *map(_rows, SIZES)], rows)
    rows = []
    for policy, title in ((PRODUCT, "default bands"), (BARE, "bands at 0")):
        found = {n: reports([sizes[n] for sizes in cells], policy, windows=min(windows, 4)) for n in SIZES}
        rows.append([f"any column drifted, {title}", *(_known(n, cell(found[n][0], nominal)) for n in SIZES)])
        rows.append([f"data degraded, {title}", *(_known(n, cell(found[n][1], nominal)) for n in SIZES)])
    count = len(cells[0][SIZES[0]].columns) * min(windows, 4)
    yield f"Reports of {COLUMNS} columns by PSI, {count:,} each, at most {nominal:.2%}."
    yield table(["verdict", *map(_rows, SIZES)], rows)


def _known(rows: int, text: str) -> str:
    return text if rows >= Drift().min_rows else f"unknown ({text})"


def _rows(count: int) -> str:
    return f"{count:,} rows"

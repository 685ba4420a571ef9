"""The same columns judged by Evidently's defaults, and how often changes of stated sizes are noticed by either.

Add a change to `CHANGES`. Keep windows without a change out: they belong in alarms.
"""

import warnings
from collections.abc import Iterator
from itertools import islice

import numpy as np
from worlds.alarms import BANDED, PRODUCT, REFERENCE_ROWS, SIZES, TESTED, Cell
from worlds.laws import DAY, LAWS, MONTH_HOURS, RESTLESSNESS, Drawn, Law, levels
from worlds.tables import cell, table

from monitoring_pipeline.describe.distances import Pair, measured

SMALL_REFERENCE = 1000
"""Up to so many reference rows Evidently tests; with more it takes a distance and a limit."""
BINARY = Law("2 categories", categories=2)


def evidently_drifts(law: Law, reference: np.ndarray, current: np.ndarray) -> bool:
    """Return what Evidently's default method says of the rows of one column."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical if law.values is not None else ColumnType.Categorical
    first, second = (
        pd.Series(side.ravel() if law.values is not None else np.repeat(np.arange(side.shape[-1]), side.sum(axis=0)))
        for side in (reference, current)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = get_stattest(first, second, kind, None)
        return bool(test(first, second, kind, None).drifted)


def evidently(quick: bool) -> Iterator[str]:
    """Yield how often Evidently alarms when nothing changed."""
    count = 5 if quick else 200
    yield f"{count} windows a cell, nominal 5 % where it tests."
    rows = []
    for seed, law in enumerate(LAWS):
        for title, reference_rows, nominal in (
            (f"independent, reference of {SMALL_REFERENCE:,}", SMALL_REFERENCE, 0.05),
            (f"independent, reference of {REFERENCE_ROWS:,}", REFERENCE_ROWS, None),
            ("autocorrelated, reference of a month", None, None),
        ):
            rng = np.random.default_rng(seed)
            found = [cell(_evidently_alarms(rng, law, size, reference_rows, count), nominal) for size in SIZES]
            rows.append([law.name, title, *found])
    yield table(["column", "rows are", *(f"{size:,} rows" for size in SIZES)], rows)


def _evidently_alarms(
    rng: np.random.Generator, law: Law, size: int, reference_rows: int | None, count: int
) -> np.ndarray:
    hits: list[list[bool]] = []
    while len(hits) < count:
        if reference_rows is not None:
            reference, windows = law.rows(rng, np.zeros(1), reference_rows), law.rows(rng, np.zeros(4), size)[:, None]
        else:
            walk, per_hour = levels(rng, MONTH_HOURS + 48 * 4, RESTLESSNESS), max(round(size / 24), 1)
            # A month of the largest size would be 300,000 rows; 20,000 of them say the same.
            reference = law.rows(rng, walk[:MONTH_HOURS], min(per_hour, REFERENCE_ROWS // MONTH_HOURS))
            windows = law.rows(rng, walk[MONTH_HOURS:], per_hour).reshape(8, 24, -1)[1::2]
        hits.append([evidently_drifts(law, reference, window) for window in windows])
        if sum(map(len, hits)) >= count:
            break
    return np.array(hits)


CHANGES = (
    *((f"normal, {shift:g} standard deviations", LAWS[0], 0.0, shift) for shift in (0.1, 0.25, 0.5)),
    *(
        (f"category, {before:.0%} to {after:.0%}", BINARY, _odds, _odds_after)
        for before, after in ((0.5, 0.55), (0.5, 0.6), (0.2, 0.25), (0.2, 0.3))
        for _odds, _odds_after in [(np.log(before / (1 - before) / 2), np.log(after / (1 - after) / 2))]
    ),
)
"""Name, law, and the level before and after: the first of two categories has the odds 2 exp(level)."""


def power(quick: bool) -> Iterator[str]:
    """Yield how often changes are noticed, in percent."""
    references, windows = (5, 2) if quick else (25, 16)
    level = PRODUCT.alarm_rate(DAY)
    yield (
        f"Share of {references * windows} windows that notice, in percent: p-values at the {level:.2%} of the default "
        f"budget, verdicts with the default bands, Evidently ({references * 4} windows) with a reference of "
        f"{REFERENCE_ROWS:,} and of {SMALL_REFERENCE:,} rows."
    )
    rows = []
    for name, law, before, after in CHANGES:
        rng = np.random.default_rng(1)
        for size in (100, 1000, 10_000):
            found, columns = [], []
            small, large = [], []
            for _ in range(references):
                reference, current = (
                    law.rows(rng, np.full(1, before), REFERENCE_ROWS),
                    law.rows(rng, np.full(windows, after), size),
                )
                columns.append(drawn := Drawn.reference(law, reference))
                found.append(measured(Pair(drawn.column, drawn.expected, drawn.counted(current)), {*TESTED, *BANDED}))
                tested = law.rows(rng, np.full(1, before), SMALL_REFERENCE)
                for window in islice(current, 4):
                    large.append(evidently_drifts(law, reference, window[None]))
                    small.append(evidently_drifts(law, tested, window[None]))
            judged = Cell(found, columns, [{}] * references)
            p_values = (judged.p_values.get(metric) for metric in ("psi", "ks", "chi_square", "mean_shift"))
            verdicts = [judged.alarms(metric, PRODUCT) for metric in BANDED if metric in judged.values]
            cells = ["" if p is None else f"{100 * (p <= level).mean():.0f}" for p in p_values]
            distance = judged.values.get("wasserstein_normalised")
            cells.append("" if distance is None else f"{100 * (distance > 0.1).mean():.0f}")
            cells += [f"{100 * np.mean(hits):.0f}" for hits in (verdicts[0], np.any(verdicts, axis=0), large, small)]
            rows.append([name, f"{size:,}", *cells])
    head = ["change", "rows", "PSI p", "KS p", "chi-square p", "mean p", "Wasserstein > 0.1"]
    yield table([*head, "verdict PSI", "any verdict", "Evidently, large", "Evidently, small"], rows)

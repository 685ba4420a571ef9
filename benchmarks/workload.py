"""The rows that claims about speed are measured on: 30 numeric columns of varied shape, 10 categories and a score.

Add a shape that real features have to `NUMERIC`. Keep what is measured out: it belongs in the other files.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REFERENCE_ROWS = 200_000
GROUP_ROWS = 131_072
NULLS = 0.02
CARDINALITIES = (3, 4, 8, 12, 25, 60, 150, 400, 1_500, 5_000)
SHIFTED = ("normal_0", "lognormal_1", "gamma_0", "counts_1", "category_5", "category_7", "score")
"""Columns whose law changes in rows that are written as shifted."""

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _normal(mean: float, std: float) -> Draw:
    return lambda rng, rows: rng.normal(mean, std, rows)


def _gamma(shape: float) -> Draw:
    return lambda rng, rows: rng.gamma(shape, 12.0, rows)


def _lognormal(sigma: float) -> Draw:
    return lambda rng, rows: rng.lognormal(sigma=sigma, size=rows)


def _heavy(freedom: float) -> Draw:
    return lambda rng, rows: rng.standard_t(freedom, rows)


def _zero_inflated(share: float) -> Draw:
    return lambda rng, rows: np.where(rng.random(rows) < share, 0.0, rng.exponential(size=rows))


def _integers(most: int, least: int = 0) -> Draw:
    return lambda rng, rows: rng.integers(least, most, rows)


def _poisson(mean: float) -> Draw:
    return lambda rng, rows: rng.poisson(mean, rows)


NUMERIC: dict[str, Draw] = {
    **{f"normal_{n}": _normal(50.0 * n, 1.0 + n) for n in range(4)},
    **{f"lognormal_{n}": _lognormal(sigma) for n, sigma in enumerate((0.5, 1.0, 2.0, 3.0))},
    **{f"heavy_{n}": _heavy(freedom) for n, freedom in enumerate((1.5, 3.0))},
    **{f"gamma_{n}": _gamma(1.0 + n) for n in range(3)},
    "uniform": lambda rng, rows: rng.random(rows),
    "beta": lambda rng, rows: rng.beta(0.5, 0.5, rows),
    "two_humps": lambda rng, rows: rng.normal(size=rows) + 6.0 * (rng.random(rows) < 0.3),
    "single_precision": lambda rng, rows: rng.normal(size=rows).astype(np.float32),
    "price": lambda rng, rows: np.round(rng.lognormal(3.0, 1.0, rows), 2),
    "temperature": lambda rng, rows: np.round(rng.normal(12.0, 8.0, rows), 1),
    **{f"zeros_{n}": _zero_inflated(share) for n, share in enumerate((0.6, 0.95))},
    **{f"counts_{n}": _poisson(mean) for n, mean in enumerate((0.5, 20.0))},
    "flag": _integers(2),
    "grade": _integers(16),
    "whole": _integers(1_000_000),
    "postcode": lambda rng, rows: 10_000 + 7 * rng.integers(0, 3_000, rows),
    "nearly_constant": lambda rng, rows: np.where(rng.random(rows) < 0.999, 1.0, 2.0),
    "unix_seconds": _integers(1_790_000_000, 1_760_000_000),
    "unix_micros": _integers(1_790_000_000_000_000, 1_760_000_000_000_000),
}


def write_workload(folder: Path, rows: int, seed: int, *, shifted: bool = False) -> Path:
    """Write rows as zstd Parquet, a row group at a time, and return the file; one that is there already is kept."""
    path = folder / f"rows_{rows}_{seed}{'_shifted' if shifted else ''}.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    writer = None
    for number, start in enumerate(range(0, rows, GROUP_ROWS)):
        table = _rows(np.random.default_rng([seed, number]), min(GROUP_ROWS, rows - start), shifted=shifted)
        writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return unfinished.rename(path)


def _rows(rng: np.random.Generator, rows: int, *, shifted: bool) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, draw in NUMERIC.items():
        values = draw(rng, rows)
        if shifted and name in SHIFTED:
            values = values + np.asarray(0.5 * values.std()).astype(values.dtype)
        columns[name] = pa.array(values, mask=rng.random(rows) < NULLS)
    for number, size in enumerate(CARDINALITIES):
        name = f"category_{number}"
        weights = 1.0 / np.arange(1, size + 1)
        codes = rng.choice(size, rows, p=weights / weights.sum())
        if shifted and name in SHIFTED:
            codes = np.where(rng.random(rows) < 0.15, size - 1, codes)
        names = pa.array([f"{name} value {code}" for code in range(size)])
        coded = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=rng.random(rows) < NULLS), names)
        columns[name] = coded.cast(pa.string())
    columns["score"] = pa.array(rng.beta(2.5 if shifted else 2.0, 5.0, rows))
    return pa.table(columns)

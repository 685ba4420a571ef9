"""frouros: its PSI detector, one a column. It takes numbers only, so that categories become their place in a list."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from footings import Verdicts, run
from frouros.detectors.data_drift import PSI

Fitted = dict[str, tuple[PSI, pa.Array | None]]


def numbers(column: pa.ChunkedArray, categories: pa.Array | None) -> np.ndarray:
    """Return a column without nulls; categories as their place in the reference's, new ones as -1."""
    known = column.drop_null()
    if categories is not None:
        known = pc.fill_null(pc.index_in(known, categories), -1)
    return known.to_numpy()


def fit(path: str) -> Fitted:
    """Return a detector for every column, fitted."""
    fitted, table = {}, pq.read_table(path)
    for name in table.column_names:
        column, detector = table[name], PSI()
        categories = column.unique().drop_null() if pa.types.is_string(column.type) else None
        detector.fit(X=numbers(column, categories))
        fitted[name] = detector, categories
    return fitted


def compare(reference: Fitted, path: str) -> Verdicts:
    """Return whether the PSI is above 0.2, the usual threshold; it has none of its own."""
    table = pq.read_table(path)
    return {
        name: bool(detector.compare(X=numbers(table[name], categories))[0].distance > 0.2)
        for name, (detector, categories) in reference.items()
    }


if __name__ == "__main__":
    run(fit, compare)

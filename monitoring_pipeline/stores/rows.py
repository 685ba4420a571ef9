"""Rows that somebody hands over in a file of their own: Parquet or CSV.

Add a format here. Keep files of the pipeline itself out: they belong in `files`.
"""

from pathlib import Path

import pyarrow as pa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.files import read_parquet


def read_rows(path: Path) -> pa.Table:
    """Return the rows of a file; one that does not end in .csv is Parquet."""
    if path.suffix.lower() != ".csv":
        return read_parquet(path)
    from pyarrow import csv

    try:
        return csv.read_csv(path)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file. Check the path.") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path}: not readable as CSV ({error}). Write a header and commas, or give Parquet."
        ) from error

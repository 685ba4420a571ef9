"""The profile of a Parquet file in one pass, a column of a row group at a time.

Add another way of reading rows in pieces here. Keep counting out: it belongs in `kernel`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.describe.columns import Column, bins_digest
from monitoring_pipeline.describe.kernel import column_values
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile


def profile_parquet(
    path: Path, columns: Mapping[str, Column], version: str, *, time: str | None = None, threads: int = 2
) -> Profile:
    """Return the profile of all rows of a file, which need not fit into memory.

    One column of a row group is read and counted while it is still in the processor's cache, then forgotten. The parts
    are merged in the order of the row groups, so that the result depends neither on the threads nor on their timing.
    `time` names the rows' own time, which ages are counted from.
    """
    with pq.ParquetFile(path) as file:
        schema, groups, rows = file.schema_arrow, file.num_row_groups, file.metadata.num_rows
    names = frozenset(schema.names)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    pieces = list(product(columns.values(), range(groups)))

    def share(first: int) -> list[ColumnProfile]:
        # A reader is not to be shared by threads. Reading ahead would read all columns of a row group at once.
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False, read_dictionary=texts) as file:
            return [_piece(file, group, column, time, names) for column, group in pieces[first::threads]]

    parts = [ColumnProfile.empty(column.bins) for column, _ in pieces]
    with ThreadPoolExecutor(threads) as pool:
        for first, found in enumerate(pool.map(share, range(threads))):
            parts[first::threads] = found
    profiles = {}
    for name, column in columns.items():
        own_parts, parts = parts[:groups], parts[groups:]
        profiles[name] = reduce(ColumnProfile.merge, own_parts, ColumnProfile.empty(column.bins))
    return Profile(version, rows, profiles, bins=bins_digest(columns))


def _piece(file: pq.ParquetFile, group: int, column: Column, time: str | None, names: frozenset[str]) -> ColumnProfile:
    wanted = {column.read_from, time if column.part else None} & names
    rows = file.read_row_group(group, columns=list(wanted), use_threads=False)
    return ColumnProfile.of(column_values(rows, column.read_from, column.part, time), column)

"""Parquet files whose rows are never in memory all at once: column by column, or profiled in one pass.

Reading a whole table costs three times what its columns cost one by one, most of it for memory that is new each time.
Add another way of reading rows in pieces here. Keep counting out: it belongs in `kernel`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.describe.columns import Column, bins_digest
from monitoring_pipeline.describe.kernel import column_values, is_text
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile
from monitoring_pipeline.errors import TableError


class ParquetRows:
    """The rows of a file as far as they are asked for; texts stay dictionaries, in which repeated values are quick."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _named(path), pq.ParquetFile(path) as file:
            self.schema, self.metadata = file.schema_arrow, file.metadata
        self._texts = [field.name for field in self.schema if is_text(field.type)]

    @property
    def column_names(self) -> list[str]:
        return list(self.schema.names)

    def select(self, names: list[str]) -> pa.Table:
        """Return some of the columns; raises TableError when the file is broken there."""
        with _named(self._path, ", ".join(names)), self.open() as file:
            return file.read(columns=names, use_threads=False).select(names)

    def open(self) -> pq.ParquetFile:
        """Return a reader, which is not to be shared by threads."""
        # Reading ahead would read all columns of a row group at once.
        return pq.ParquetFile(
            self._path, metadata=self.metadata, memory_map=False, pre_buffer=False, read_dictionary=self._texts
        )


@contextmanager
def _named(path: Path, what: str = "") -> Iterator[None]:
    """Say which file, and what of it, is broken."""
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file. Check the path.") from error
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())
        broken = f"{what} cannot be read" if what else "not a readable Parquet file"
        raise TableError(f"{path}: {broken} ({said}). Restore or remove the file.") from error


def profile_parquet(
    path: Path,
    columns: Mapping[str, Column],
    version: str,
    *,
    time: str | None = None,
    threads: int = 2,
    groups: Sequence[int] | None = None,
) -> Profile:
    """Return the profile of all rows of a file, which need not fit into memory, or of some row `groups`.

    One column of a row group is read and counted while it is still in the processor's cache, then forgotten. The parts
    are merged in the order of the row groups, so that the result depends neither on the threads nor on their timing.
    `time` names the rows' own time, which ages are counted from.
    """
    rows = ParquetRows(path)
    groups, names = range(rows.metadata.num_row_groups) if groups is None else groups, frozenset(rows.column_names)
    pieces = list(product(columns.values(), groups))
    parts, waiting = [ColumnProfile.empty(column.bins) for column, _ in pieces], iter(enumerate(pieces))

    def describe(_: int) -> None:
        with rows.open() as file:
            for place, (column, group) in waiting:  # each thread takes the next piece when it has done one
                with _named(path, column.read_from):
                    parts[place] = _piece(file, group, column, time, names)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(describe, range(threads)))
    profiles = {}
    for name, column in columns.items():
        own_parts, parts = parts[: len(groups)], parts[len(groups) :]
        profiles[name] = reduce(ColumnProfile.merge, own_parts, ColumnProfile.empty(column.bins))
    counted = sum(rows.metadata.row_group(group).num_rows for group in groups)
    return Profile(version, counted, profiles, bins=bins_digest(columns))


def _piece(file: pq.ParquetFile, group: int, column: Column, time: str | None, names: frozenset[str]) -> ColumnProfile:
    wanted = {column.read_from, time if column.part else None} & names
    rows = file.read_row_group(group, columns=list(wanted), use_threads=False)
    return ColumnProfile.of(column_values(rows, column.read_from, column.part, time), column)

"""Atomic files: a reader sees the old content or the new, never half of either.

Add a way of publishing a file here. Keep what is in the files out: it belongs in the stores that write them.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.logs import together
from monitoring_pipeline.stores.objects import THREADS, ObjectPath, Place

FEW = 4
"""Files that are published one after the other: a program that is ending can begin no threads."""


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as Parquet; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def publish(path: Place, content: bytes, *, lasting: bool = False) -> None:
    """Write `content` to a temporary name beside `path` and rename it; a bucket has no half objects.

    What is `lasting` survives a loss of power from the moment this returns, which takes milliseconds: for what somebody
    is told he may forget. The rest can be computed again.
    """
    if isinstance(path, ObjectPath):
        path.write_bytes(content)
        return
    changed = _make(path.parent)
    temporary = _written(path, content, lasting=lasting)
    reached("file.before_rename")
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    if lasting:
        _flush(*changed)


def publish_lasting(files: Mapping[Place, bytes]) -> None:
    """Publish files that are lasting; many at once, which disks flush together in the time of a few."""
    if len(files) <= FEW:
        for path, content in files.items():
            publish(path, content, lasting=True)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda path: publish(path, files[path], lasting=True), files))


def publish_new(path: Path, content: bytes) -> bool:
    """Write `content` to `path`, lasting, unless something is there already; returns whether it was written."""
    changed = _make(path.parent)
    temporary = _written(path, content, lasting=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _flush(*changed)
    return True


def remove(path: Place) -> None:
    """Remove a file for good, if it is there: a loss of power does not bring it back."""
    path.unlink(missing_ok=True)
    if isinstance(path, Path):
        _flush(path.parent)


@lru_cache(maxsize=20_000)
def _few_columns(path: Path, modified: int, columns: tuple[str, ...]) -> pa.Table:  # noqa: ARG001 - part of the key
    # Counts of months of hours are asked for every hour, and few of the files have changed since.
    with pq.ParquetFile(path, memory_map=False) as file:
        return file.read(columns=list(columns))


def _make(folder: Path) -> list[Path]:
    """Make a folder; return it and those whose entries that changed."""
    changed = [folder]
    while not changed[-1].exists():
        changed.append(changed[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _flush(*folders: Path) -> None:
    for folder in folders:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _written(path: Path, content: bytes, *, lasting: bool) -> Path:
    # Not tempfile: its files are closed to everyone but their owner, and logs are shared between services.
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def digest(content: bytes) -> str:
    """Return a short content address, for names of files that are written once."""
    return sha256(content).hexdigest()[:20]


def read_parquet(path: Place, columns: Sequence[str] | None = None, *, encoded: bool = False) -> pa.Table:
    """Return a Parquet file, or some of its columns, as a table; raises StoreError saying which file is broken.

    `encoded` leaves text as dictionaries, which is several times faster where values repeat.
    """
    with parquet_errors(path):
        if isinstance(path, ObjectPath):
            # Not opened in place: that is a request for the size, one for the end, and one for every column.
            with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
                return file.read(columns=None if columns is None else list(columns))
        if columns is not None:
            return _few_columns(path, path.stat().st_mtime_ns, tuple(columns))
        texts = [field.name for field in pq.read_schema(path) if pa.types.is_string(field.type)] if encoded else None
        # Not read_table: it sets up a dataset first, which for a small file takes longer than reading it.
        with pq.ParquetFile(path, memory_map=False, read_dictionary=texts) as file:
            return file.read()


def read_json(path: Place) -> dict[str, Any]:
    """Return a JSON mapping; raises StoreError saying which file is broken."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file. Check the path.") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable JSON ({error}). Restore it, or make it anew.") from error
    if not isinstance(document, dict):
        raise StoreError(f"{path}: JSON without the keys of a mapping. Name the file that was meant.")
    return document


@contextmanager
def parquet_errors(path: Place) -> Iterator[None]:
    """Turn what reading a Parquet file raises into a StoreError that says which file is broken."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file. Check the path.") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: not a readable Parquet file ({error}). Restore or remove it.") from error


def read_together(paths: Sequence[Place]) -> pa.Table | None:
    """Return files as one table, in the order of their names; None for no files."""
    with ThreadPoolExecutor(THREADS if any(isinstance(path, ObjectPath) for path in paths) else 1) as pool:
        return together(list(pool.map(read_parquet, sorted(paths))))

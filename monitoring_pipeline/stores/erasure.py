"""What files hold about one subject, found and removed: whatever has rows of single predictions, of every kind.

Which files those are is seen from their columns and is listed nowhere, so a new kind of rows is covered when it is
first written. Add a kind of file here that is not Parquet. Keep databases out: they belong in `postgres_erasure`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitoring_pipeline.capture.predictions import as_utc
from monitoring_pipeline.capture.subjects import Subject
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.stores.files import digest, parquet_bytes, parquet_errors, publish, read_parquet, remove
from monitoring_pipeline.stores.objects import ObjectPath, Place, names, sizes
from monitoring_pipeline.stores.parquet import model_folder

LAST = ("samples", "predictions")
"""Kinds whose rows say which predictions are the subject's: while one of them is there, a crash loses nothing."""


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file with rows of single predictions; `named` where they name the subject themselves."""

    kind: str
    folder: Place
    name: str
    named: bool

    @property
    def place(self) -> Place:
        return self.folder / self.name


def row_files(folders: Iterable[tuple[str, Place]], subject: Subject) -> list[RowFile]:
    """Return the files of a model with rows of predictions, in the order in which rows can be removed from them."""
    found = []
    for kind, folder in folders:
        for name in sorted(sizes(folder)):
            if name.endswith(".parquet") and not name.rpartition("/")[2].startswith("."):
                columns = _columns(folder / name)
                if subject.key(columns) is not None:
                    found.append(RowFile(kind, folder, name, subject.named_in(columns)))
    return sorted(found, key=lambda each: (each.named, LAST.index(each.kind) if each.kind in LAST else -1))


def folders_of(root: Place, model: str) -> Iterator[tuple[str, Place]]:
    """Yield every kind of files there is of a model, and where they are."""
    for kind in sorted(names(root)):
        yield kind, model_folder(root, kind, model)


def known_of(files: Iterable[RowFile], subject: Subject) -> tuple[Subject, set[str]]:
    """Return the subject with the ids of its predictions, and the days (2013-04-18) on which it has rows."""
    ids, days = set(subject.ids), set[str]()
    for file in files:
        if file.named:
            rows = read_parquet(file.place)
            ids |= subject.ids_in(rows)
            days |= _days(rows.filter(pa.array(subject.rows_of(rows))))
    return subject.with_ids(ids), days


def erase_rows(files: Iterable[RowFile], subject: Subject, *, dry: bool) -> Counter[str]:
    """Remove the rows about a subject; return how many there are of each kind.

    A file is written anew beside the old one, which goes when that is there: a crash leaves the rows, or some of them
    twice, and the next time finds them again.
    """
    removed: Counter[str] = Counter()
    for file in files:
        rows = read_parquet(file.place)
        about = subject.rows_of(rows)
        removed[file.kind] += int(about.sum())
        if about.any() and not dry:
            _replace(file, rows.filter(pa.array(~about)))
    return removed


def erase_pages(root: Place, model: str, days: Iterable[str], *, dry: bool) -> int:
    """Remove the Evidently pages of some days, which have the rows of their sample in them; return how many."""
    folder = model_folder(root, "evidently", model)
    pages = [name for name in names(folder) if name.removesuffix(".html") in set(days)]
    for name in pages if not dry else ():
        remove(folder / name)
    return len(pages)


def _replace(file: RowFile, left: pa.Table) -> None:
    content, path, name = parquet_bytes(left), *file.name.rpartition("/")[::2]
    if not re.fullmatch(r"[0-9a-f]{20}\.parquet", name):
        publish(file.place, content, lasting=True)
        return
    # Named by its content, so it is another file now.
    if left.num_rows:
        new = f"{digest(content)}.parquet"
        publish(file.folder / (f"{path}/{new}" if path else new), content, lasting=True)
    remove(file.place)


def _columns(place: Place) -> list[str]:
    if isinstance(place, ObjectPath):
        return list(read_parquet(place).column_names)
    with parquet_errors(place):
        return list(pq.read_schema(place).names)


def _days(rows: pa.Table) -> set[str]:
    found: set[str] = set()
    for field in rows.schema:
        if pa.types.is_timestamp(field.type):
            try:
                moments = as_utc(rows[field.name], name=field.name, table="rows", each_alone=True).drop_null()
            except TableError:
                continue
            found |= set(pc.strftime(moments, format="%Y-%m-%d").to_pylist())
    return found

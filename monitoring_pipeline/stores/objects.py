"""Places: paths on this machine, and objects in a bucket that speaks S3, with the few methods stores need of either.

Credentials, region and `AWS_ENDPOINT_URL` are taken from the environment as AWS tools take them. Writing an object is
one request, which a bucket carries out whole or not at all; of a large one sent in parts nothing is seen before the
last. Add a kind of bucket here. Keep what is in the files out: it belongs in the stores that write them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring_pipeline.errors import StoreError

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, S3FileSystem

SCHEME = "s3://"
THREADS = 16
"""Requests to a bucket that wait side by side."""

CURES = {
    "NO_SUCH_BUCKET": "There is no such bucket: make it, or look at MONITORING_DATA.",
    "ACCESS_DENIED": "Give this process credentials that may list, read, write and delete there.",
    "INVALID_ACCESS_KEY_ID": "Look at AWS_ACCESS_KEY_ID.",
    "SIGNATURE_DOES_NOT_MATCH": "Look at AWS_SECRET_ACCESS_KEY.",
    "NETWORK_CONNECTION": "Look at AWS_ENDPOINT_URL, at AWS_REGION, and at the network.",
}
"""What to do about what the client says."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or what objects have before their last slash, as `Path` has a file or a folder."""

    key: str

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.key}/{name}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.key}"

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    def exists(self) -> bool:
        return stamp(self) is not None

    def read_bytes(self) -> bytes:
        with self.answers(), self.bucket().open_input_file(self.key) as file:
            return bytes(file.read())

    def write_bytes(self, content: bytes) -> int:
        with self.answers(), self.bucket().open_output_stream(self.key) as file:
            return int(file.write(content))

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            with self.answers():
                self.bucket().delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def below(self, *, recursive: bool) -> "list[FileInfo]":
        """Return what is below: one request for every thousand objects."""
        from pyarrow.fs import FileSelector

        with self.answers():
            return list(self.bucket().get_file_info(FileSelector(self.key, allow_not_found=True, recursive=recursive)))

    def bucket(self) -> "S3FileSystem":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")  # noqa: TID251 - as AWS tools
        return _bucket(self.key.partition("/")[0], endpoint)

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Turn what the client raises into a StoreError that says what to do; a missing object stays missing."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            cure = next((cure for sign, cure in CURES.items() if sign in str(error)), "Try again later.")
            raise StoreError(f"{self}: {error}. {cure}") from error


Place = Path | ObjectPath
"""Where files are."""


@lru_cache(maxsize=8)
def _bucket(name: str, endpoint: str | None) -> "S3FileSystem":
    from pyarrow.fs import FileType, S3FileSystem

    # Opened late, a small object is one request, and not the three of an upload in parts.
    client = S3FileSystem(endpoint_override=endpoint, allow_delayed_open=True)
    # Listing a bucket that is not there says only that nothing is there.
    if client.get_file_info(name).type is FileType.NotFound:
        raise StoreError(f"{SCHEME}{name}: {CURES['NO_SUCH_BUCKET']}")
    return client


def place_at(address: str) -> Place:
    """Return the place of an address: `s3://bucket/prefix`, or a folder of this machine."""
    if address.startswith(SCHEME):
        return ObjectPath(address.removeprefix(SCHEME).rstrip("/"))
    if "://" in address:
        raise StoreError(f"{address}: not a place for data. Give a folder, or {SCHEME}bucket/prefix.")
    return Path(address)


def names(folder: Place) -> list[str]:
    """Return what is directly in a folder; nothing where there is none."""
    if isinstance(folder, ObjectPath):
        return [info.base_name for info in folder.below(recursive=False)]
    try:
        # Not paths: making one of each of a year of hours takes longer than reading an hour.
        return os.listdir(folder)  # noqa: PTH208 - see above
    except FileNotFoundError:
        return []


def sizes(folder: Place) -> dict[str, int]:
    """Return the bytes of every file below a folder, by its path from there."""
    if isinstance(folder, ObjectPath):
        files = [info for info in folder.below(recursive=True) if info.is_file]
        return {info.path.removeprefix(f"{folder.key}/"): info.size for info in files}
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def stamp(place: Place) -> tuple[int, int] | None:
    """Return what differs between two writes of a file; None where it is missing."""
    if isinstance(place, ObjectPath):
        with place.answers():
            info = place.bucket().get_file_info(place.key)
        return (info.mtime_ns, info.size) if info.is_file else None
    try:
        found = place.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino

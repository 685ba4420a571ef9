"""Rows on disk before their request is answered: what a killed process had taken on, the next one on the disk stores.

    <folder>/<process>/000001.rows     a part: a line with the names of its columns, and a line for every row

A process holds the lock of its folder for as long as it lives; a folder whose lock is free is a dead one's. Writing
waits for no disk: the kernel keeps what it was given when a process is killed, and a machine that loses power loses it.
Add what keeps rows whole here. Keep what they say, and where they go, out: the recorder knows.
"""

import fcntl
import json
import logging
import os
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

_log = logging.getLogger(__name__)

PART_ROWS = 1000
"""Rows that are stored together at most."""


WAITING, REFUSED = ".rows", ".refused"
"""Parts that are to be stored, and those that no log took."""


def spool_of(folder: Path, model: str) -> Path:
    """Return where processes keep what they answered for a model."""
    return folder / f"model={quote(model, safe='')}"


@dataclass(eq=False, slots=True)
class Part:
    """Rows that are stored together, and always the same: a log that is given them twice has them once."""

    path: Path
    rows: int = 0
    size: int = 0
    unwritten: list[bytes] = field(default_factory=list)
    passed_over: int | None = None

    def lines(self) -> list[bytes]:
        """Return the names of the columns, and the rows. A line without an end was never acknowledged."""
        written = self.path.read_bytes() if self.path.exists() else b""
        return (written + b"".join(self.unwritten)).split(b"\n")[:-1]


def rows_of(part: Part) -> tuple[list[str], list[list[Any]]]:
    """Return the names of the columns of a part, and its rows without those that are damaged."""
    names, *rows = [_values(line) for line in part.lines()] or [None]
    return names or [], [row for row in rows if row is not None and len(row) == len(names or [])]


class Spool:
    """Parts of one process, and those that dead ones have left: the oldest first. Its user sees to one call a time."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._names = json.dumps(list(names)).encode() + b"\n"
        self.parts: deque[Part] = deque()
        self._locks: list[int] = []
        for place, lock in _left(folder):
            self._locks.append(lock)
            for path in sorted(place.glob(f"*{WAITING}")):
                part = Part(path, size=path.stat().st_size)
                part.rows = max(0, len(part.lines()) - 1)
                self.parts.append(part)
            _remove_if_empty(place)
        self.recovered = sum(part.rows for part in self.parts)
        self.size = sum(part.size for part in self.parts)
        self._folder, lock = _own(folder)
        self._locks.append(lock)
        self._number = 0
        self._file: int | None = None
        self._last: Part | None = None

    def add(self, rows: Sequence[bytes]) -> bool:
        """Take on rows, each a line with its end; False where the disk has no room, and memory has to hold them."""
        if self._last is None or self._last.rows >= PART_ROWS:
            self._begin()
        assert self._last is not None
        part = self._last
        content = b"".join([self._names, *rows] if not part.size else rows)
        written = self._written(content, part)
        if not written:
            if not part.unwritten:
                _log.error("%s: no room on the disk. Rows are kept in memory only", part.path)
            part.unwritten.append(content)
        part.rows += len(rows)
        part.size += len(content)
        self.size += len(content)
        return written

    def first(self) -> Part | None:
        """Return the oldest part; from now on nothing is added to it."""
        part = self.parts[0] if self.parts else None
        if part is not None and part is self._last:
            self._end()
        return part

    def remove(self, part: Part) -> None:
        """Forget a part that is stored."""
        part.path.unlink(missing_ok=True)
        self._forget(part)

    def set_aside(self, part: Part) -> None:
        """Leave a part that no log takes to people, who find it as `.refused`."""
        with suppress(FileNotFoundError):
            part.path.rename(part.path.with_suffix(REFUSED))
        self._forget(part)

    def close(self) -> None:
        """End, and leave what is there to the next process."""
        self._end()
        _remove_if_empty(self._folder)
        for lock in self._locks:
            os.close(lock)
        self._locks = []

    def _forget(self, part: Part) -> None:
        self.parts.remove(part)
        self.size -= part.size
        if part.path.parent != self._folder:
            _remove_if_empty(part.path.parent)

    def _begin(self) -> None:
        self._end()
        self._number += 1
        self._last = Part(self._folder / f"{self._number:06d}{WAITING}")
        self.parts.append(self._last)
        with suppress(OSError):
            self._file = os.open(self._last.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = self._last = None

    def _written(self, content: bytes, part: Part) -> bool:
        if self._file is None or part.unwritten:  # in between, rows would be in another order when they are read again
            return False
        with suppress(OSError):
            if os.write(self._file, content) == len(content):
                return True
            os.ftruncate(self._file, part.size)
        return False


def _own(folder: Path) -> tuple[Path, int]:
    """Make a folder of one's own. It is locked before it has its name: who sees it sees its owner's lock."""
    being_made = folder / f"{uuid.uuid4().hex}.new"
    being_made.mkdir(mode=0o700)
    lock = os.open(being_made, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return being_made.rename(being_made.with_suffix("")), lock


def _left(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders of dead processes, each with its lock, which is ours from now on."""
    for place in sorted(each for each in folder.iterdir() if not each.suffix):
        try:
            lock = os.open(place, os.O_RDONLY)
        except FileNotFoundError:  # somebody else has just stored what was in it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            yield place, lock


def _values(line: bytes) -> list[Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _remove_if_empty(place: Path) -> None:
    with suppress(OSError):
        place.rmdir()

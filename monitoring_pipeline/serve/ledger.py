"""Counters that outlive their process: what a killed service had taken on and not stored is known to the next one.

Add a counter to `NAMES`, at the end. Keep the records themselves out: they are lost with the process, only their number
is not.
"""

import fcntl
import mmap
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

NAMES = ("accepted", "stored", "lost", "dropped", "sampled_out")
"""What became of records: taken into the queue, then stored or lost; or refused by a full queue, or by the sample."""

_SIZE = 8 * len(NAMES)


class Ledger:
    """Counters in a file mapped into memory, or in memory alone. Counting costs no system call.

    The kernel keeps what was counted when the process is killed; a machine that loses power loses it. Whoever counts
    sees to it that nobody else does at the same time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self.path: Path | None = None
        if folder is None:
            self._counts = memoryview(bytearray(_SIZE)).cast("Q")
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uuid.uuid4().hex}.ledger"
        # Filled and locked under another name: a ledger that can be seen has its owner's lock for as long as it lives.
        being_made = self.path.with_suffix(".new")
        self._file = being_made.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(bytes(_SIZE))
        self._file.flush()
        being_made.rename(self.path)
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._counts = memoryview(self._map).cast("Q")

    def add(self, name: str, amount: int = 1) -> None:
        self._counts[NAMES.index(name)] += amount

    def counts(self) -> dict[str, int]:
        return dict(zip(NAMES, self._counts.tolist(), strict=True))

    @property
    def pending(self) -> int:
        """Records that were accepted and are neither stored nor lost yet."""
        return self._counts[0] - self._counts[1] - self._counts[2]

    def close(self) -> None:
        """Take the file away, unless something is still pending: then the next process finds it."""
        if self._file is None or self._map is None or self.path is None:
            return
        if self.pending == 0:
            self.path.unlink(missing_ok=True)
        # Counting goes on in memory, for whoever still asks.
        self._counts = memoryview(bytearray(self._counts.tobytes())).cast("Q")
        self._map.close()
        self._file.close()
        self._map = self._file = None


def unaccounted(folder: Path) -> int:
    """Return how many records processes that are gone had accepted and not stored, and forget their ledgers.

    At most that many: one that dies between storing a batch and counting it leaves a batch that is there.
    """
    found = 0
    for path in sorted(folder.glob("*.ledger")):
        try:
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its process lives
                content = file.read(_SIZE)
                if os.fstat(file.fileno()).st_nlink:  # or somebody else has just counted it
                    path.unlink()
                    found += _pending(content)
        except (BlockingIOError, FileNotFoundError):
            continue
    return found


def _pending(content: bytes) -> int:
    counts: Mapping[str, int] = dict(zip(NAMES, memoryview(content).cast("Q").tolist(), strict=True))
    return counts["accepted"] - counts["stored"] - counts["lost"]

"""The journal of a label log: what arrived, numbered so that whoever reads on from a number misses nothing.

    arrivals/00000000000000000042.json                                      in a folder
    arrivals/00000000000000000000/00000000000000000042-<unique>.json        in a bucket, in blocks of a thousand

Add a way to take a number here. Keep what arrives out: it belongs in capture.
"""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitoring_pipeline.stores.files import publish, publish_new
from monitoring_pipeline.stores.objects import ObjectPath, Place, names

BLOCK = 1000
"""Numbers that are listed together, which is one request."""

MEETING_S = 0.1
"""How long one that has met another waits at most before it tries again, times its tries."""


def record(journal: Place, entry: dict[str, Any]) -> int:
    """Put an entry down under the next free number, and return that."""
    content = json.dumps(entry).encode()
    if isinstance(journal, ObjectPath):
        return _record_object(journal, content)
    # A number can be seen only once all smaller ones can.
    sequence = max((int(path.stem) for path in journal.glob("*.json")), default=0)
    while True:
        sequence += 1
        if publish_new(journal / f"{sequence:020d}.json", content):
            return sequence


def _record_object(journal: ObjectPath, content: bytes) -> int:
    """Put an entry down in a bucket, where a number cannot be taken by one alone.

    Once it is there, whoever lists sees it. So where nothing else has its number or a greater one, nobody can have read
    beyond it without it; where something has, somebody may, and it is put down again with a greater number.
    """
    mine: list[ObjectPath] = []
    while True:
        sequence, unique = max((number for number, _ in _last_block(journal)), default=0) + 1, uuid.uuid4().hex
        mine.append(_block(journal, sequence) / f"{sequence:020d}-{unique}.json")
        publish(mine[-1], content)
        if not any(number >= sequence and path not in mine for number, path in _last_block(journal)):
            break
        # Those that met here would meet again.
        time.sleep(len(mine) * MEETING_S * int(unique[:4], 16) / 0xFFFF)
    for path in mine[:-1]:
        path.unlink(missing_ok=True)
    return sequence


def entries(journal: Place, *, after: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the entries whose number is greater than `after`, by number; in a bucket one may come twice."""
    found: list[tuple[int, dict[str, Any]]] = []
    for number, path in _objects(journal, after) if isinstance(journal, ObjectPath) else _files(journal, after):
        if len(found) == limit:
            break
        try:
            found.append((number, json.loads(path.read_bytes())))
        except FileNotFoundError:  # put down again, with a greater number
            continue
    return found


def _files(journal: Path, after: int) -> Iterator[tuple[int, Path]]:
    # Not listed: an entry is looked for by its number, however many there are.
    while (path := journal / f"{after + 1:020d}.json").exists():
        after += 1
        yield after, path


def _objects(journal: ObjectPath, after: int) -> Iterator[tuple[int, ObjectPath]]:
    for block in _blocks(journal):
        if int(block.name) + BLOCK > after:
            yield from (entry for entry in _numbered(block) if entry[0] > after)


def _last_block(journal: ObjectPath) -> list[tuple[int, ObjectPath]]:
    blocks = _blocks(journal)
    return _numbered(blocks[-1]) if blocks else []


def _numbered(block: ObjectPath) -> list[tuple[int, ObjectPath]]:
    return sorted((int(name.partition("-")[0]), block / name) for name in names(block) if name.endswith(".json"))


def _blocks(journal: ObjectPath) -> list[ObjectPath]:
    return [journal / name for name in sorted(names(journal))]


def _block(journal: ObjectPath, sequence: int) -> ObjectPath:
    return journal / f"{sequence // BLOCK * BLOCK:020d}"

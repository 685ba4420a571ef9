"""What of personal data may be kept: columns that are dropped, and columns whose values become keyed digests.

A digest is HMAC-SHA256 under a key that is kept elsewhere, so the same value has the same digest wherever rows are
joined, and nobody without the key can find it by trying values. Add a way to make a column harmless here. Keep where
the key comes from out: it is an argument.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.labels import LabelArrival, LabelLog
from monitoring_pipeline.capture.predictions import PredictionLog, as_text
from monitoring_pipeline.capture.windows import Window

DIGEST = "hmac:"
"""How digests begin, so that people see what they are looking at and none is digested again."""

DIGITS = 32
"""Hexadecimal digits that are kept, 128 bits: two of a billion values share them with a chance of 1 in 10^21."""

_DIGEST = re.compile(f"{DIGEST}[0-9a-f]{{{DIGITS}}}")

SHORTEST_KEY = 32
"""Bytes. A shorter key may be found by trying."""


class PiiKey:
    """A key that can digest and cannot be read: it does not print, and is not pickled into another process."""

    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST_KEY:
            raise ValueError(f"a key has {SHORTEST_KEY} bytes or more: make one with `openssl rand -base64 32`")
        self._mac = hmac.new(secret, digestmod="sha256")

    def digest(self, text: str) -> str:
        """Return the digest of a text; a digest stays as it is."""
        if is_digest(text):
            return text
        mac = self._mac.copy()
        mac.update(text.encode("utf-8", "surrogatepass"))
        return DIGEST + mac.hexdigest()[:DIGITS]

    def __repr__(self) -> str:
        return "PiiKey(***)"


def is_digest(text: str) -> bool:
    """Return whether a text has the form of a digest."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Privacy:
    """What becomes of the columns of a log: `hashed` and `dropped` before anything of a row is kept.

    Values of `redacted` columns stay in the log, as models learn from them, and are digests in whatever is made of it.
    """

    key: PiiKey | None = None
    hashed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.key is None and (self.hashed or self.redacted):
            raise ValueError("columns cannot be hashed without a key")

    def keep(self, rows: pa.Table) -> pa.Table:
        """Return rows as they may be stored; what has been through this before comes out the same."""
        rows = rows.drop_columns([name for name in self.dropped if name in rows.column_names])
        return self._digested(rows, self.hashed)

    def redact(self, rows: pa.Table) -> pa.Table:
        """Return rows as they may be described, sampled and shown."""
        return self._digested(self.keep(rows), self.redacted)

    def of_labels(self, *, id_column: str, label_id: str) -> "Privacy":
        """Return the same for rows of labels, in which the id of a prediction has another name."""
        names = {*self.hashed} - {label_id} | ({label_id} if id_column in self.hashed else set())
        return replace(self, hashed=tuple(sorted(names)))

    def both(self, text: str) -> set[str]:
        """Return a value as it may stand in a log: as it is where it was stored in the clear, and its digest."""
        return {text} if self.key is None else {text, self.key.digest(text)}

    def _digested(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        for place, name in enumerate(rows.column_names):
            if name in names:
                rows = rows.set_column(place, name, self._digests(rows[name]))
        return rows

    def _digests(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        assert self.key is not None
        texts = as_text(column)
        if pc.all(pc.match_substring_regex(texts, f"^{_DIGEST.pattern}$")).as_py() is not False:
            return texts  # as most rows are that are read
        values = texts.combine_chunks().dictionary_encode()  # each distinct value once
        names = [None if text is None else self.key.digest(text) for text in values.dictionary.to_pylist()]
        return pa.chunked_array([pc.take(pa.array(names, pa.string()), values.indices)])


@dataclass(frozen=True, slots=True)
class PrivatePredictionLog:
    """A prediction log that neither takes nor gives what may not be kept (`capture.predictions.PredictionLog`)."""

    log: PredictionLog
    privacy: Privacy

    def append(self, model: str, rows: pa.Table) -> int:
        return self.log.append(model, self.privacy.keep(rows))

    def read(self, window: Window) -> pa.Table:
        return self.privacy.keep(self.log.read(window))

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        return self.log.hours(model, since=since)


@dataclass(frozen=True, slots=True)
class RedactedPredictionLog:
    """A prediction log as it may be described and shown (`capture.predictions.PredictionLog`)."""

    log: PredictionLog
    privacy: Privacy

    def append(self, model: str, rows: pa.Table) -> int:
        return self.log.append(model, rows)

    def read(self, window: Window) -> pa.Table:
        return self.privacy.redact(self.log.read(window))

    def hours(self, model: str, *, since: datetime) -> Sequence[datetime]:
        return self.log.hours(model, since=since)


@dataclass(frozen=True, slots=True)
class PrivateLabelLog:
    """A label log that neither takes nor gives what may not be kept (`capture.labels.LabelLog`)."""

    log: LabelLog
    privacy: Privacy

    def append(self, model: str, labels: pa.Table, *, hours: Sequence[datetime]) -> LabelArrival:
        return self.log.append(model, self.privacy.keep(labels), hours=hours)

    def read(self, model: str, *, start: datetime, end: datetime) -> pa.Table | None:
        found = self.log.read(model, start=start, end=end)
        return None if found is None else self.privacy.keep(found)

    def arrivals(self, model: str, *, after: int, limit: int) -> Sequence[LabelArrival]:
        return self.log.arrivals(model, after=after, limit=limit)


def logs_kept_private(
    predictions: PredictionLog, labels: LabelLog, privacy: Privacy, *, id_column: str, label_id: str
) -> tuple[PredictionLog, LabelLog]:
    """Return both logs behind `privacy`; ids that are hashed in one are hashed in the other, so that they still join.

    `id_column` and `label_id` are what the id of a prediction is called in each of them.
    """
    if not (privacy.hashed or privacy.dropped):
        return predictions, labels
    in_labels = privacy.of_labels(id_column=id_column, label_id=label_id)
    return PrivatePredictionLog(predictions, privacy), PrivateLabelLog(labels, in_labels)

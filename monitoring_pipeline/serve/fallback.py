"""Answers although something is broken: a chain of models that ends in a rule, with circuit breakers and a gate.

Add a reason to pass a row on here. Keep models out: a link is whatever scores rows.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np

from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.serve.metrics import Metrics

Row = Mapping[str, Any]
Score = Callable[[Sequence[Row]], FloatArray]


class UnansweredError(MonitoringError):
    """No link of the chain answered."""


class Circuit(StrEnum):
    """Whether a link is asked: always, by one caller who tries whether it works again, by nobody."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class CircuitBreaker:
    """Opens after `failures` in a row; after `cooldown_s` one call may try, and its outcome closes or opens it."""

    def __init__(self, *, failures: int = 5, cooldown_s: float = 30.0, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._cooldown_s, self._clock = failures, cooldown_s, clock
        self._failures = 0
        self._opened_at: float | None = None
        self._tried_at = -math.inf
        self._lock = Lock()

    @property
    def state(self) -> Circuit:
        with self._lock:
            if self._opened_at is None:
                return Circuit.CLOSED
            return Circuit.OPEN if self._clock() - self._opened_at < self._cooldown_s else Circuit.HALF_OPEN

    def allows(self) -> bool:
        """Return whether the link may be asked now; whoever is told yes says how it went."""
        state = self.state
        if state is not Circuit.HALF_OPEN:
            return state is Circuit.CLOSED
        with self._lock:
            now = self._clock()
            if now - self._tried_at < self._cooldown_s:
                return False  # somebody is trying
            self._tried_at = now
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._opened_at, self._tried_at = 0, None, -math.inf

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self._most:
                self._opened_at, self._tried_at = self._clock(), -math.inf


@dataclass(frozen=True, slots=True)
class QualityGate:
    """When a row is too poor to be shown to a model, and which of its values are unusable.

    A value is unusable when it is missing or outside its range. A row is refused when one of its `required` features
    is unusable, or more than the share `most_unusable` of all.
    """

    features: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    most_unusable: float = 0.5

    def unusable(self, row: Row) -> frozenset[str]:
        return frozenset(name for name in self.features if not self._is_usable(name, row.get(name)))

    def refuses(self, unusable: frozenset[str]) -> bool:
        return bool(unusable & self.required) or len(unusable) > self.most_unusable * len(self.features)

    def _is_usable(self, name: str, value: Any) -> bool:
        if value is None:
            return False
        low, high = self.ranges.get(name, (-math.inf, math.inf))
        return not isinstance(value, int | float) or low <= value <= high


@dataclass(frozen=True, slots=True)
class Link:
    """One part of a chain: a model under its role, or the rule.

    robust: takes rows that the gate refuses. fills: unusable values become their defaults first, not nothing.
    """

    name: str
    version: str
    score: Score
    robust: bool = False
    fills: bool = False
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)


@dataclass(frozen=True, slots=True)
class Answer:
    """The score of a row, who gave it and, where that was not the first link, why."""

    score: float
    served_by: str
    version: str
    reason: str = ""


def constant(score: float) -> Score:
    """Return the rule that answers always the same, such as the share of positives."""
    return lambda rows: np.full(len(rows), score)


@dataclass(frozen=True, slots=True)
class Chain:
    """Links in the order in which they are asked. A row goes to the next one when a link fails or may not be asked.

    defaults: what stands for an unusable value of a feature. slow_s: an answer that takes longer is given, and counts
    as a failure.
    """

    links: tuple[Link, ...]
    gate: QualityGate
    metrics: Metrics
    defaults: Mapping[str, Any] = field(default_factory=dict)
    slow_s: float = math.inf

    def score(self, rows: Sequence[Row], *, begin: str = "") -> list[Answer]:
        """Return an answer for each row. `begin` names the first link that is asked: an operator's switch.

        Raises UnansweredError when the last link fails, too.
        """
        unusable = [self.gate.unusable(row) for row in rows]
        for name in (name for names in unusable for name in names):
            self.metrics.add("serving_defaults_total", name)
        # Where nothing takes what the gate refuses, a poor answer is better than none.
        gated = any(link.robust for link in self.links)
        refused = [gated and self.gate.refuses(names) for names in unusable]
        found: dict[int, Answer] = {}
        reasons: dict[int, str] = {}
        skipped = begin in {link.name for link in self.links}
        for link in self.links:
            skipped = skipped and link.name != begin
            waiting = [at for at in range(len(rows)) if at not in found]
            asked = [at for at in waiting if link.robust or not refused[at]]
            self._pass_on(link, [at for at in waiting if at not in asked], "input_quality", reasons)
            if not asked:
                continue
            scores = None
            if skipped:
                why = "switched"
            elif not link.breaker.allows():
                why = "circuit_open"
            else:
                scores, why = self._asked(link, [self._shown(link, rows[at], unusable[at]) for at in asked])
            if scores is None:
                self._pass_on(link, asked, why, reasons)
                continue
            version = link.version or self.links[0].version
            for at, score in zip(asked, scores.tolist(), strict=True):
                found[at] = Answer(score, link.name, version, reasons.get(at, ""))
        if len(found) < len(rows):
            why = ", ".join(sorted({reasons[at] for at in range(len(rows)) if at not in found}))
            raise UnansweredError(f"{len(rows) - len(found)} of {len(rows)} rows were answered by nobody: {why}.")
        return [found[at] for at in range(len(rows))]

    def _pass_on(self, link: Link, places: Sequence[int], why: str, reasons: dict[int, str]) -> None:
        if places:
            self.metrics.add("serving_passed_on_total", link.name, why, amount=len(places))
        for at in places:
            reasons.setdefault(at, f"{link.name}: {why}")

    def _shown(self, link: Link, row: Row, unusable: frozenset[str]) -> Row:
        if not unusable:
            return row
        return {**row, **{name: self.defaults.get(name) if link.fills else None for name in unusable}}

    def _asked(self, link: Link, rows: Sequence[Row]) -> tuple[FloatArray | None, str]:
        began = monotonic()
        try:
            scores = np.asarray(link.score(rows), dtype=np.float64)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, the next link may still answer
            link.breaker.failed()
            return None, type(error).__name__
        if scores.shape != (len(rows),) or not np.isfinite(scores).all():
            link.breaker.failed()
            return None, "no_number"
        if monotonic() - began > self.slow_s:
            link.breaker.failed()
        else:
            link.breaker.succeeded()
        return scores, ""


def circuits(chains: Mapping[str, Chain]) -> Iterator[tuple[Link, Circuit]]:
    """Yield every link once, with the state of its circuit."""
    links = {(link.name, link.version): link for chain in chains.values() for link in chain.links}
    yield from ((link, link.breaker.state) for link in links.values())

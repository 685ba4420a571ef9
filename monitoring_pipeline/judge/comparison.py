"""Two tables held against each other, column by column: one entry each, with its verdict.

Every column is described, measured and judged on its own, so that one that cannot be read leaves the others as they
are. Add what a person or a program wants to know of a compared column here. Keep formulas and layout out.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import as_utc, require_columns
from monitoring_pipeline.capture.windows import EPOCH, HOUR, hour_of, window_name
from monitoring_pipeline.describe.columns import CategoricalBins, Column, ColumnKind, ColumnRole
from monitoring_pipeline.describe.distances import METRICS
from monitoring_pipeline.describe.kinds import kind_of_type
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_building import ReferencePlan, describe_rows, specs_of
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.errors import MonitoringError, TableError
from monitoring_pipeline.evaluate.drift import table_drift
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.thresholds import JudgingPolicy
from monitoring_pipeline.judge.verdicts import Level, Verdict

PRIMARY = "psi"
CONFIRMING = {True: ("ks", "wasserstein_normalised"), False: ("js", "l_infinity")}
"""What decides on a column: the index, and two that see what it hides, by whether the column's values have an order.

Three judges at most: of a dozen metrics one would always be over some limit.
"""

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column of two tables. `metric`, `value` and `threshold` are those that made the verdict.

    `q_value` is the p-value corrected for all columns of the comparison. `absence` names why nothing is known (`reason`
    begins with it). `moved` are the bins that make most of the PSI; `unseen` counts the heaviest categories that only
    the current table has.
    """

    column: str
    kind: str | None
    n_reference: int
    n_current: int
    verdict: Level = Level.UNKNOWN
    metric: str = "psi"
    value: float | None = None
    threshold: float | None = None
    threshold_origin: str = "none"
    p_value: float | None = None
    q_value: float | None = None
    absence: str | None = None
    reason: str = ""
    moved: tuple[Mapping[str, Any], ...] = ()
    unseen: Mapping[str, int] = field(default_factory=dict)
    null_rate_reference: float | None = None
    null_rate_current: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=lambda: dict.fromkeys(METRICS))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The entries of all columns, in the order of the tables, and what they add up to."""

    columns: tuple[ColumnComparison, ...]
    note: str = ""  # what to know about all thresholds

    @property
    def verdict(self) -> Level:
        """The worst level; OK only when every column is known to be."""
        found = {entry.verdict for entry in self.columns}
        order = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.OK)
        return next((level for level in order if level in found), Level.UNKNOWN)

    @property
    def drifted(self) -> list[ColumnComparison]:
        """The columns that warn or are critical, worst first."""
        return [entry for entry in self.worst_first() if entry.verdict in (Level.WARNING, Level.CRITICAL)]

    def worst_first(self) -> list[ColumnComparison]:
        """Return the entries by level, then by how many times over their threshold they are; unknown before ok."""
        place = {Level.CRITICAL: 0, Level.WARNING: 1, Level.UNKNOWN: 2, Level.OK: 3}
        return sorted(self.columns, key=lambda entry: (place[entry.verdict], -_excess(entry)))

    def conclusion(self) -> str:
        """Return the result in one sentence."""
        counts = Counter(entry.verdict for entry in self.columns)
        known, unknown = len(self.columns) - counts[Level.UNKNOWN], counts[Level.UNKNOWN]
        if not self.columns:
            return "Nothing to compare: the tables have no columns."
        if not known:
            return f"Nothing is known: none of the {unknown} columns could be compared."
        if self.drifted:
            names = ", ".join(entry.column for entry in self.drifted[:5])
            more = f" and {len(self.drifted) - 5} more" if len(self.drifted) > 5 else ""
            critical = f", {counts[Level.CRITICAL]} critically" if counts[Level.CRITICAL] else ""
            said = f"{len(self.drifted)} of {known} columns drifted{critical}: {names}{more}"
        else:
            said = f"No drift: all {known} columns compared are within their thresholds"
        return f"{said}; {unknown} could not be compared." if unknown else f"{said}."

    def to_json(self) -> dict[str, Any]:
        """Return the public form: plain values, null for whatever is not a finite number."""
        counts = Counter(entry.verdict for entry in self.columns)
        known = len(self.columns) - counts[Level.UNKNOWN]
        summary: dict[str, Any] = {level.value: counts[level] for level in Level}
        summary |= {
            "columns": len(self.columns),
            "drifted_share": len(self.drifted) / known if known else None,
            "verdict": self.verdict.value,
            "conclusion": self.conclusion(),
            "note": self.note,
        }
        return {"columns": [asdict(entry) for entry in self.columns], "summary": summary}


@dataclass(frozen=True, slots=True)
class ComparisonPolicy:
    """Rows both tables need, coarse bins of the PSI, and how often a comparison may name a drift that is none."""

    min_rows: int = 1000
    bins: int = 10
    alpha: float = 0.05

    def judging(self) -> JudgingPolicy:
        """Return a policy whose judges share the rate of false alarms."""
        return JudgingPolicy(alpha=self.alpha / (1 + sum(map(len, CONFIRMING.values()))))


class Rows(Protocol):
    """What is compared: a table in memory, or `ParquetRows`, which are read a column at a time."""

    @property
    def column_names(self) -> list[str]: ...

    def select(self, names: list[str]) -> pa.Table: ...


def compare_tables(
    reference: Rows,
    current: Rows,
    policy: ComparisonPolicy,
    *,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, ColumnKind] | None = None,
    time: str | None = None,
) -> Comparison:
    """Return the drift of every column of `current` from `reference`, or only of `columns`.

    Kinds come from the types where `kinds` does not name them. With `time`, blocks of the reference as long as the
    current table calibrate the thresholds.
    """
    _require_single_names(reference, current)
    present = list(dict.fromkeys([*reference.column_names, *current.column_names]))
    if missing := [name for name in [*(columns or ()), *(kinds or {})] if name not in present]:
        found, there = (", ".join(map(repr, names)) for names in (missing, present))
        raise TableError(f"comparison: neither table has {found}; there are {there}. Correct the names.")
    start, end, note = EPOCH, EPOCH + HOUR, ""
    if time is not None:
        reference, known = placed(reference.select(reference.column_names), time, "reference table")
        current, wanted = placed(current.select(current.column_names), time, "current table")
        start, end = wanted or (start, end)
        if known and known[1] - known[0] < 2 * (end - start):
            spans = [window_name(last - first) for first, last in (known, (start, end))]
            note = f"Thresholds are not calibrated: {spans[0]} of reference for {spans[1]}, twice as much is needed."
    tables = _Tables(reference, current, policy, kinds or {}, time, start, end)
    names = columns or [name for name in present if not _PANDAS_INDEX.fullmatch(name)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = [part for parts in pool.map(tables.measure, dict.fromkeys(names)) for part in parts]
    return Comparison(tuple(judged(parts, policy.judging())), note)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A column that was measured, or the reason why it was not."""

    place: Mapping[str, Any]
    reference: ColumnReference | None = None
    signals: Sequence[Signal] = ()
    unknown: ColumnComparison | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    reference: Rows
    current: Rows
    policy: ComparisonPolicy
    kinds: Mapping[str, ColumnKind]
    time: str | None
    start: datetime
    end: datetime

    def measure(self, name: str) -> list[Part]:
        """Return one column (a date and time: its parts) measured; whatever is wrong with it ends here."""
        wanted = [name] if self.time in (None, name) else [name, str(self.time)]
        tables = [rows.select(wanted) if name in rows.column_names else None for rows in (self.reference, self.current)]
        sides = [None if table is None else table[name] for table in tables]
        kind = self.kinds.get(name) or _kind(sides)
        rows = [0 if side is None else len(side) for side in sides]
        place: dict[str, Any] = {
            "column": name,
            "kind": kind.value if kind else None,
            "n_reference": rows[0],
            "n_current": rows[1],
        }
        try:
            place |= {"null_rate_reference": _null_rate(sides[0]), "null_rate_current": _null_rate(sides[1])}
            if (why := _absence(sides, kind, self.policy.min_rows)) is not None or kind is None:
                return [Part(place, unknown=unknown_entry(place, *(why or (Absence.UNDEFINED, ""))))]
            return self._measured(place, name, kind, *tables)
        except (MonitoringError, pa.ArrowException, ValueError, TypeError, ArithmeticError) as error:
            said = " ".join(str(error).split())
            reason = f"{said:.300}. Correct the column, or leave it out."
            return [Part(place, unknown=unknown_entry(place, Absence.FAILED, reason))]

    def _measured(
        self, place: dict[str, Any], name: str, kind: ColumnKind, before: pa.Table, now: pa.Table
    ) -> list[Part]:
        reference = describe_rows(
            before,
            specs_of(name, ColumnRole.FEATURE, kind, groups=self.policy.bins, aged=self.time not in (None, name)),
            computed_at=self.end,
            time=self.time,
            plan=ReferencePlan(windows=[self.end - self.start]),
        )
        profile = Profile.of(now, reference.version, reference.specs, time=self.time)
        signals = table_drift(reference, profile, start=self.start, end=self.end, metrics=tuple(METRICS))
        return [
            Part(
                {**place, "column": column},
                entry,
                [signal for signal in signals if signal.column == column],
            )
            for column, entry in reference.columns.items()
        ]


def judged(parts: Sequence[Part], policy: JudgingPolicy) -> Iterable[ColumnComparison]:
    """Yield the entries: all columns are judged together, since the more there are, the rarer one must be."""
    references = {part.reference.column.name: part.reference for part in parts if part.reference is not None}
    whole = Reference("comparison", "reference", EPOCH, 0, references, None)
    verdicts: dict[str, dict[str, Verdict]] = {name: {} for name in references}
    signals = [signal for part in parts for signal in part.signals]
    for verdict in judge_signals(signals, {whole.version: whole}, policy):
        if verdict.signal.column:
            verdicts[verdict.signal.column][verdict.signal.metric.removeprefix("drift.")] = verdict
    for part in parts:
        if part.unknown is not None or part.reference is None:
            yield part.unknown or unknown_entry(dict(part.place), Absence.UNDEFINED, "")
        else:
            yield _entry(part.place, part.reference.column, verdicts[part.reference.column.name])


def _entry(place: Mapping[str, Any], column: Column, verdicts: Mapping[str, Verdict]) -> ColumnComparison:
    psi = decisive = verdicts[PRIMARY]
    for name in CONFIRMING[column.is_ordered]:
        found = verdicts.get(name)
        if found is not None and found.level.rank > max(decisive.level.rank, Level.OK.rank):
            decisive = found
    metric = decisive.signal.metric.removeprefix("drift.")
    if psi.level is Level.UNKNOWN and decisive is psi:
        return unknown_entry(place, psi.signal.absence or Absence.UNDEFINED, psi.reason)
    reason = decisive.reason
    if isinstance(column.bins, CategoricalBins) and not column.bins.complete:
        reason += "; more categories than are remembered, so new ones count as rare ones"
    return ColumnComparison(
        **place,
        verdict=decisive.level,
        metric=metric,
        value=decisive.signal.value,
        threshold=decisive.threshold,
        threshold_origin=decisive.threshold_origin,
        p_value=decisive.signal.p_value,
        q_value=decisive.q_value,
        reason=reason,
        moved=tuple(_moved(psi.signal)),
        unseen=_unseen(psi.signal),
        metrics={name: verdicts[name].signal.value if name in verdicts else None for name in METRICS},
    )


def _moved(signal: Signal) -> Iterable[dict[str, Any]]:
    bins = signal.detail.get("bins")
    for entry in bins if isinstance(bins, list) else ():
        yield {"range" if name == "bin" else name: value for name, value in entry.items()}


def _unseen(signal: Signal) -> dict[str, int]:
    found = signal.detail.get("unseen")
    return dict(found) if isinstance(found, dict) else {}


def unknown_entry(place: Mapping[str, Any], absence: Absence, reason: str) -> ColumnComparison:
    """Return the entry of a column of which nothing is known, and why."""
    return ColumnComparison(**place, absence=absence.value, reason=f"{absence}: {reason}")


def _absence(
    sides: Sequence[pa.ChunkedArray | None], kind: ColumnKind | None, min_rows: int
) -> tuple[Absence, str] | None:
    """Return why a column cannot be compared before a value of it is looked at, or None."""
    for side, table in zip(sides, ("reference", "current"), strict=True):
        if side is None:
            return Absence.MISSING_COLUMN, f"the {table} table does not have it. Add it there, or leave it out."
    if kind is None:
        type_ = next(side.type for side in sides if side is not None and kind_of_type(side.type) is None)
        fix = "Put what matters of it into columns of their own, or leave it out."
        return Absence.UNDEFINED, f"values of type {type_} have no distribution to compare. {fix}"
    for side, table in zip(sides, ("reference", "current"), strict=True):
        if side is not None and len(side) < min_rows:
            fix = "Compare more rows, or lower the minimum."
            return Absence.TOO_FEW_ROWS, f"the {table} table has {len(side)} rows, {min_rows} are needed. {fix}"
    return None


def _kind(sides: Sequence[pa.ChunkedArray | None]) -> ColumnKind | None:
    """Return the kind the reference's type gives; a column that is all null there has the type of the other side."""
    types = [side.type for side in sides if side is not None]
    if any(kind_of_type(type_) is None for type_ in types):
        return None
    return kind_of_type(next((type_ for type_ in types if not pa.types.is_null(type_)), types[0]))


def _null_rate(side: pa.ChunkedArray | None) -> float | None:
    if side is None or len(side) == 0:
        return None
    unknown = pc.sum(pc.is_nan(side)).as_py() if pa.types.is_floating(side.type) else 0
    return float((side.null_count + (unknown or 0)) / len(side))


def placed(table: pa.Table, time: str, name: str) -> tuple[pa.Table, tuple[datetime, datetime] | None]:
    """Return the rows in the order of time, and the whole hours they span; None for no rows."""
    require_columns(table, [time], table=name)
    if table.num_rows == 0:
        return table, None
    moments = as_utc(table[time], name=time, table=name)
    bounds = pc.min_max(moments.cast(pa.int64())).as_py()
    if bounds["min"] is None:
        raise TableError(f"{name}, column {time!r}: no row has a time. Name another column, or compare without time.")
    placed = table.set_column(table.column_names.index(time), time, moments)
    return placed.take(pc.sort_indices(moments)), (_hour(bounds["min"]), _hour(bounds["max"]) + HOUR)


def _hour(micros: int) -> datetime:
    return hour_of(EPOCH + timedelta(microseconds=micros))


def _require_single_names(reference: Rows, current: Rows) -> None:
    for table, name in ((reference, "reference table"), (current, "current table")):
        if repeated := sorted(column for column, count in Counter(table.column_names).items() if count > 1):
            names = ", ".join(map(repr, repeated))
            raise TableError(f"{name}: more than one column is called {names}. Rename them, so that each name is one.")


def _excess(entry: ColumnComparison) -> float:
    if entry.value is None or not entry.threshold or not math.isfinite(entry.value / entry.threshold):
        return 0.0
    return entry.value / entry.threshold

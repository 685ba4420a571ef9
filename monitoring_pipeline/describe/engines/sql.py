"""The SQL engine: profiles of a table that lives in a warehouse, counted there and not fetched.

Add here which rows of a table are described together. Keep connections out: whoever calls gives `run`; and keep what is
counted out: it belongs in `sql_counts`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlglot import exp

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import EPOCH, HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.engines.engine import ProfilePlan
from monitoring_pipeline.describe.engines.sql_counts import ColumnCounts
from monitoring_pipeline.describe.engines.sql_tables import (
    LoggedTable,
    Part,
    Run,
    by_bytes,
    logged_rows,
    row_count,
    rows_of,
    statement,
    unreadable,
)
from monitoring_pipeline.describe.engines.sql_values import Stored, given, hour_number, name_of, quoted, text, whole
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import TableError

HOURS_AT_ONCE = 24
"""Hours that one statement counts."""

References = Callable[[set[str]], Mapping[str, Reference]]
"""Finds the references of some versions."""


@dataclass(frozen=True, slots=True)
class SqlEngine:
    """Profiles a table where it is (`describe.engines.engine.Engine`)."""

    run: Run

    def profile(self, rows: LoggedTable, plan: ProfilePlan) -> Profile:
        """Return the profile of all rows of a table."""
        timed = plan.time is not None and plan.time in rows.fields
        asked = ColumnCounts(rows, plan.columns, (), timed)
        own = rows.micros(plan.time) if plan.time is not None and timed else exp.null()
        logged = rows.select(whole(0).as_("hour", quoted=True), own.as_("moment", quoted=True), *asked.sources())
        found = asked.profiles(self.run, [("placed", logged)], plan.version)
        return found[0][0] if found else plan.nothing()

    def profile_hours(
        self, rows: LoggedTable, log: LogColumns, hours: Sequence[datetime], references: References
    ) -> dict[datetime, list[Profile]]:
        """Return what `describe.hours.profile_hours` makes of the prepared rows of the hours."""
        if missing := [name for name in log.names() if name not in rows.fields]:
            raise TableError.missing_columns(f"log in table {rows.name!r}", missing, list(rows.fields))
        if not rows.stored(log.predicted_at).is_temporal:
            raise unreadable(rows, log.predicted_at, "a timestamp or a date")
        described: dict[datetime, list[Profile]] = {hour: [] for hour in sorted(hours)}
        for start, end in _spans(hours):
            described |= self._of_span(_Placed(rows, log, start, end), references)
        return described

    def _of_span(self, placed: "_Placed", references: References) -> dict[datetime, list[Profile]]:
        table = placed.table
        repeated = any(count > distinct for _, count, distinct in self.run(placed.ids()))
        placed = replace(placed, repeated=repeated)
        served = self.run(placed.versions())
        known = references({version for _, version, _ in served})
        described: dict[int, list[Profile]] = {}
        for version in sorted({version for _, version, _ in served}):
            if (reference := known.get(version)) is None:
                nothing = Profile.empty(version, {})
                found = {hour: [replace(nothing, rows=int(count))] for hour, of, count in served if of == version}
            else:
                cuts = [each for each in reference.segmentations if each.column in table.fields]
                asked = ColumnCounts(table, reference.specs, cuts)
                found = asked.profiles(self.run, placed.of_version(version, asked.sources()), version)
            for hour, profiles in found.items():
                described.setdefault(hour, []).extend(profiles)
        return {EPOCH + hour * HOUR: profiles for hour, profiles in described.items()}


def _spans(hours: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the stretches of consecutive hours, none longer than `HOURS_AT_ONCE`."""
    ordered = sorted(hours)
    while ordered:
        length = 1
        while length < min(len(ordered), HOURS_AT_ONCE) and ordered[length] - ordered[0] == length * HOUR:
            length += 1
        yield ordered[0], ordered[0] + length * HOUR
        ordered = ordered[length:]


@dataclass(frozen=True, slots=True)
class _Placed:
    """The rows of [start, end) as `capture.predictions.prepare_predictions` leaves them.

    `repeated` says that an id may be there more than once in an hour.
    """

    table: LoggedTable
    log: LogColumns
    start: datetime
    end: datetime
    repeated: bool = True

    def ids(self) -> str:
        """Return the statement that finds hour, rows and distinct ids."""
        logged = self._rows(self.table.own(self.log.prediction_id).as_("id", quoted=True))
        distinct = exp.Count(this=exp.Distinct(expressions=[quoted("id")]))
        found = rows_of("logged", quoted("hour"), row_count(), distinct).group_by(quoted("hour"))
        return statement([("logged", logged)], found, self.table.dialect)

    def versions(self) -> str:
        """Return the statement that finds hour, version and rows."""
        parts = self._once([])
        keys = [quoted("hour"), quoted("version")]
        found = rows_of("once", *keys, row_count()).group_by(*keys)
        return statement(parts, found, self.table.dialect)

    def of_version(self, version: str, columns: Sequence[exp.Expr]) -> list[Part]:
        """Return the rows of one version, with `columns` of the table, as a query called placed."""
        chosen = exp.EQ(this=quoted("version"), expression=text(version))
        return [*self._once(columns), ("placed", rows_of("once", exp.Star()).where(chosen))]

    def _once(self, columns: Sequence[exp.Expr]) -> list[Part]:
        """Return rows of which each id is there once an hour: the earliest, ties by version, prediction and score."""
        if not self.repeated:
            return [("once", self._rows(*columns))]
        log, table = self.log, self.table
        first = [name for name in (log.version, log.prediction, log.score) if name is not None]
        others = sorted(set(table.fields) - {log.prediction_id, log.predicted_at, *first})
        order = [self._moment, *(_sorted_by(table, name, as_text=name == log.version) for name in [*first, *others])]
        place = exp.Window(
            this=exp.RowNumber(),
            partition_by=[table.own(log.prediction_id), hour_number(self._moment)],
            order=exp.Order(expressions=[exp.Ordered(this=each, desc=False, nulls_first=False) for each in order]),
        )
        logged = self._rows(*columns, place.as_("place", quoted=True))
        chosen = exp.EQ(this=quoted("place"), expression=whole(1))
        return [("logged", logged), ("once", rows_of("logged", exp.Star()).where(chosen))]

    @property
    def _moment(self) -> exp.Expr:
        return self.table.micros(self.log.predicted_at)

    def _rows(self, *columns: exp.Expr) -> exp.Select:
        found = logged_rows(self.table, self.log, self.start, self.end, *columns)
        return found.where(given(self.table.own(self.log.prediction_id)))


def _sorted_by(table: LoggedTable, name: str, *, as_text: bool) -> exp.Expr:
    """Return what rows are put in order by: text by its bytes, what may have no order by its text."""
    value, stored = table.own(name), table.stored(name)
    if stored is Stored.TEXT:
        return by_bytes(value, table.dialect)
    if stored is not Stored.OTHER and not as_text:
        return value
    return by_bytes(name_of(value, stored, ColumnKind.CATEGORICAL), table.dialect)

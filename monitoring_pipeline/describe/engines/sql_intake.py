"""The intake of an hour of a table: its rows are counted where they are, those with a bad value alone are fetched.

Add here what `describe.intake` counts of rows without a bad value. Keep what is bad out: it is `describe.quarantine`
that says so, of rows that `suspicious` may let through in excess.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.engines.sql_tables import LoggedTable, Run, logged_rows, rows_of, statement
from monitoring_pipeline.describe.engines.sql_values import (
    Stored,
    all_of,
    any_of,
    cases,
    double,
    given,
    missing,
    name_of,
    number,
    one_of,
    quoted,
    whole,
)
from monitoring_pipeline.describe.intake import IntakeProfile, intake_of_hour, type_name
from monitoring_pipeline.describe.kernel import LARGEST
from monitoring_pipeline.describe.quarantine import IntakePlan


def intake_in_place(
    run: Run, table: LoggedTable, plan: IntakePlan, hour: datetime, suspects: pa.Table, schema: pa.Schema
) -> tuple[dict[str, IntakeProfile], pa.Table]:
    """Return what `describe.intake.intake_of_hour` makes of all rows of an hour.

    `suspects` are those for which `suspicious` holds, `schema` is that of rows of the hour as they are read.
    """
    found, quarantine = intake_of_hour(suspects, plan)
    repeated = {version: int(both or 0) - by for version, by, both in run(_repeated(table, plan, hour))}
    counted = {}
    for version, rows, placed, ids in run(_sizes(table, plan, hour)):
        counted[version] = replace(
            found.get(version, IntakeProfile()),
            rows=rows,
            placed=placed,
            duplicate_ids=placed - ids,
            duplicate_rows=repeated.get(version, 0) if plan.features else 0,
            types={entry.name: {type_name(entry.type): rows} for entry in schema},
        )
    return dict(sorted(counted.items())), quarantine


def suspicious(table: LoggedTable, plan: IntakePlan) -> str:
    """Return a condition that holds for every row with a value that cannot be used."""
    found: list[exp.Expr] = [missing(table.own(plan.columns.prediction_id))]
    for name, kind in plan.kinds.items():
        if name not in table.fields or name in (plan.columns.prediction_id, plan.columns.predicted_at):
            continue
        own, stored = table.own(name), table.stored(name)
        if stored is Stored.TEXT:
            found.append(exp.Length(this=own.copy()) > whole(plan.longest))
        value = number(own.copy(), stored, table.dialect)
        if kind is ColumnKind.NUMERIC:
            found.append(any_of(value < double(-LARGEST), value > double(LARGEST)))
            if stored not in (Stored.FLOAT, Stored.INTEGER, Stored.BOOLEAN):
                found.append(all_of(given(own), missing(value)))
        elif kind is ColumnKind.BOOLEAN and stored is not Stored.BOOLEAN:
            known = one_of(name_of(own.copy(), stored, kind), ("true", "false"))
            found.append(all_of(given(own), exp.not_(known)))
        elif kind is ColumnKind.DATETIME:
            found.append(all_of(given(own), missing(table.micros(name))) if stored.is_temporal else given(own))
        if name in plan.probabilities:
            found.append(any_of(value.copy() < double(0.0), value.copy() > double(1.0)))
    return any_of(*found).sql(dialect=table.dialect)


def with_ids(table: LoggedTable, column: str, ids: Sequence[str]) -> str:
    """Return a condition that holds for the rows of some ids."""
    name = name_of(table.own(column), table.stored(column), ColumnKind.CATEGORICAL)
    return one_of(name, ids).sql(dialect=table.dialect)


def _sizes(table: LoggedTable, plan: IntakePlan, hour: datetime) -> str:
    """Return the statement that finds version, rows, those with an id, and ids."""
    logged = logged_rows(
        table, plan.columns, hour, hour + HOUR, table.own(plan.columns.prediction_id).as_("id", quoted=True)
    )
    ids = [exp.Count(this=quoted("id")), exp.Count(this=exp.Distinct(expressions=[quoted("id")]))]
    found = rows_of("logged", quoted("version"), exp.Count(this=exp.Star()), *ids).group_by(quoted("version"))
    return statement([("logged", logged)], found, table.dialect)


def _repeated(table: LoggedTable, plan: IntakePlan, hour: datetime) -> str:
    """Return the statement that finds version, different rows by their features, and by their features and id."""
    features = [_compared(table, name) for name in plan.features if name in table.fields]
    columns = [value.as_(f"f{place}", quoted=True) for place, value in enumerate(features)]
    key = table.own(plan.columns.prediction_id)
    logged = logged_rows(table, plan.columns, hour, hour + HOUR, key.as_("id", quoted=True), *columns)
    keys = [quoted("version"), *(quoted(f"f{place}") for place in range(len(columns)))]
    ids = exp.Count(this=exp.Distinct(expressions=[quoted("id")])).as_("ids", quoted=True)
    each = rows_of("logged", quoted("version"), ids).where(given(quoted("id"))).group_by(*keys)
    found = rows_of("each", quoted("version"), exp.Count(this=exp.Star()), exp.Sum(this=quoted("ids")))
    return statement([("logged", logged), ("each", each)], found.group_by(quoted("version")), table.dialect)


def _compared(table: LoggedTable, name: str) -> exp.Expr:
    """Return a value as rows are compared by it: NaN is none, and what may not be comparable is text."""
    own, stored = table.own(name), table.stored(name)
    if stored is Stored.OTHER:
        return name_of(own, stored, ColumnKind.CATEGORICAL)
    if stored is not Stored.FLOAT:
        return own
    return cases((any_of(own < double(0.0), exp.Neg(this=own.copy()) <= double(0.0)), own.copy()))

"""The form of the SQL engine's statements in every dialect. What they count is in laws/test_sql_engine.py."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlglot
from sqlglot import exp

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import (
    Column,
    ColumnKind,
    ColumnRole,
    DatetimePart,
    categorical_bins,
    numeric_bins,
)
from monitoring_pipeline.describe.engines.sql import SqlEngine
from monitoring_pipeline.describe.engines.sql_intake import suspicious
from monitoring_pipeline.describe.engines.sql_tables import LoggedTable, Run
from monitoring_pipeline.describe.engines.sql_values import DIALECTS, Stored
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline.describe.references import ColumnReference, Reference
from monitoring_pipeline.describe.segments import Segmentation
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.traffic import COMPUTED, MODEL, hour

LOG = LogColumns(prediction_id="id", predicted_at="at", version="version", prediction=None, score=None)

EVERYWHERE = {"ABS", "CASE", "CAST", "COALESCE", "COUNT", "FLOOR", "LENGTH", "LOWER", "MAX", "MIN", "ROUND"} | {
    *("ROW_NUMBER", "SUM", "TRIM")
}
"""Functions of standard SQL, or at any rate of every dialect here."""

OWN = {
    "bigquery": {"MOD", "REGEXP_CONTAINS", "SAFE_CAST", "UNIX_MICROS"},
    "databricks": {"REGEXP_LIKE", "TRY_CAST", "UNIX_MICROS"},
    "duckdb": {"EPOCH_US", "REGEXP_MATCHES", "TRY_CAST"},
    "postgres": {"EXTRACT", "SUBSTRING"},
    "snowflake": {"DATE_PART", "REGEXP_LIKE", "TRY_CAST"},
    "trino": {"REGEXP_LIKE", "TO_UNIXTIME", "TRY_CAST"},
}
"""Functions that the vendor documents, beyond those."""

SYNTAX = {"AND", "AS", "BY", "DISTINCT", "ELSE", "FROM", "IN", "NOT", "OR", "OVER", "THEN", "WHEN", "WHERE", "ALL"}
"""Words that a parenthesis may follow."""

HOSTILE = ["' OR 1=1 --", "\\", "\\'; DROP TABLE log; --", '"', "`", "%s", ":x", "$$", "a\nb", "{{x}}", "/*", "--"]


def table(dialect: str) -> LoggedTable:
    held = {
        "id": Stored.TEXT,
        "at": Stored.ZONED,
        "version": Stored.INTEGER,
        "amount": Stored.FLOAT,
        "said": Stored.TEXT,
        "exact": Stored.DECIMAL,
        "paid": Stored.BOOLEAN,
        "plan": Stored.TEXT,
        "since": Stored.TIME,
        "born": Stored.DATE,
    }
    fields = {name: (name.title(), stored) for name, stored in held.items()}
    return LoggedTable(dialect, "Served; DROP", fields, "of them", {"tenant": "O'Hara\\", "live": True})


def reference(names: Sequence[str] = ("basic", "pro"), *, some: Sequence[str] = ()) -> Reference:
    bins = numeric_bins(np.array([-1.5, 0.0, 2.25]), groups=10)
    plans = categorical_bins({name: len(names) - place for place, name in enumerate(names)}, groups=20)
    feature = (ColumnRole.FEATURE, ColumnKind.NUMERIC, bins)
    columns = [
        *(Column(name, *feature) for name in ("amount", "said", "exact", "missing")),
        Column("plan", ColumnRole.FEATURE, ColumnKind.CATEGORICAL, plans),
        Column("paid", ColumnRole.FEATURE, ColumnKind.BOOLEAN, categorical_bins({"true": 2, "false": 1}, groups=10)),
        *(
            Column(f"{name}.{part}", ColumnRole.FEATURE, ColumnKind.DATETIME, bins, name, part)
            for name, part in zip(("since", "born", "born"), DatetimePart, strict=True)
        ),
    ]
    asked = [each for each in columns if not some or each.name in some]
    entries = {each.name: ColumnReference(each, ColumnProfile.empty(each.bins), {}, {}) for each in asked}
    cuts = (Segmentation("plan", ColumnKind.CATEGORICAL, tuple(names)),)
    return Reference(MODEL, "3", COMPUTED, 0, entries, None, segmentations=cuts)


def answers(found: list[str], *, ids: int) -> Run:
    """Return what keeps statements, and answers that the first hour has two rows of version 3 with so many ids."""

    def run(text: str) -> list[tuple[Any, ...]]:
        found.append(text)
        said: dict[int, list[tuple[Any, ...]]] = {1: [(0, 2, ids)], 2: [(0, "3", 2)]}
        return said.get(len(found), [])

    return run


def statements(dialect: str, *, repeated: bool, against: Reference | None = None) -> Iterator[str]:
    """Yield every statement that describes two hours of one version, in which ids came once or more often."""
    found: list[str] = []

    engine = SqlEngine(answers(found, ids=1 if repeated else 2))
    engine.profile_hours(table(dialect), LOG, [hour(0), hour(1)], lambda _: {"3": against or reference()})
    yield from found
    plan = IntakePlan(LOG, {"amount": ColumnKind.NUMERIC, "said": ColumnKind.NUMERIC, "since": ColumnKind.DATETIME})
    yield f"SELECT 1 WHERE {suspicious(table(dialect), plan)}"


every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@every_dialect
def test_statements_are_those_that_were_looked_at(dialect: str) -> None:
    against = reference(some=("said", "plan", "since.hour_of_day"))
    found = statements(dialect, repeated=False, against=against)
    shown = [sqlglot.parse_one(each, dialect=dialect).sql(dialect, pretty=True) for each in found]
    assert_golden(f"engine_{dialect}.sql", ";\n\n".join(shown) + ";\n")


@every_dialect
@pytest.mark.parametrize("repeated", [True, False])
def test_statements_can_be_parsed_again_and_mean_the_same(dialect: str, repeated: bool) -> None:
    for text in statements(dialect, repeated=repeated):
        (parsed,) = sqlglot.parse(text, dialect=dialect)
        assert parsed is not None
        assert not list(parsed.find_all(exp.Command))
        assert parsed.sql(dialect=dialect) == text


@every_dialect
def test_statements_call_what_the_dialect_has(dialect: str) -> None:
    text = " ".join(statements(dialect, repeated=True))
    escapes = r"\\.|" if dialect in ("bigquery", "databricks", "snowflake") else ""
    without_quotes = re.sub(rf"'(?:{escapes}[^']|'')*'|\"[^\"]*\"|`[^`]*`", "x", text)
    called = {name.upper() for name in re.findall(r"\b([A-Za-z_]\w*)\(", without_quotes)}
    assert called <= EVERYWHERE | OWN[dialect] | SYNTAX
    assert called >= OWN[dialect]


@every_dialect
def test_names_and_values_come_back_from_a_statement_as_they_went_in(dialect: str) -> None:
    hostile = replace(table(dialect), name=HOSTILE[2], fields={**table(dialect).fields, "plan": ('"`;--', Stored.TEXT)})
    found: list[str] = []

    SqlEngine(answers(found, ids=2)).profile_hours(hostile, LOG, [hour(0)], lambda _: {"3": reference(HOSTILE)})
    for text in found:
        (parsed,) = sqlglot.parse(text, dialect=dialect)
        assert parsed is not None
        assert {each.name for each in parsed.find_all(exp.Table)} & {HOSTILE[2]}
    texts = {each.name for each in sqlglot.parse_one(found[-1], dialect=dialect).find_all(exp.Literal)}
    assert {*HOSTILE, "O'Hara\\"} <= texts
    assert '"`;--' in {each.name for each in sqlglot.parse_one(found[-1], dialect=dialect).find_all(exp.Column)}


def test_no_statement_is_longer_than_a_warehouse_takes() -> None:
    bins = numeric_bins(np.arange(5000) / 7, groups=10)
    names = {f"a category with a rather long name {number}": 1 for number in range(100)}
    columns = [Column(f"x{number}", ColumnRole.FEATURE, ColumnKind.NUMERIC, bins) for number in range(30)]
    columns.append(Column("c", ColumnRole.FEATURE, ColumnKind.CATEGORICAL, categorical_bins(names, groups=10)))
    entries = {each.name: ColumnReference(each, ColumnProfile.empty(each.bins), {}, {}) for each in columns}
    fields = {each.name: (each.name, Stored.TEXT) for each in columns}
    wide = replace(table("postgres"), fields={**table("postgres").fields, **fields})
    found: list[str] = []

    against = Reference(MODEL, "3", COMPUTED, 0, entries, None)
    SqlEngine(answers(found, ids=2)).profile_hours(wide, LOG, [hour(0), hour(0) + HOUR], lambda _: {"3": against})
    assert len(found) == 7
    assert max(map(len, found)) < 500_000

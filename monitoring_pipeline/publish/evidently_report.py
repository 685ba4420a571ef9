"""Evidently's HTML report and test suite on one sample of rows against another: shown beside our verdicts, never one.

Evidently writes names and values of the data into a script of its page, and one bad column costs it the whole report.
So it gets copies: text without a character that means something in HTML or a script, and only columns it can compare.
Add what a report shows to `_run`. Keep where reports are kept out: that belongs in stores.
"""

import html
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kernel import category_names, floats_with_nan

MOST_COLUMNS = 100
"""Each column costs 60 kB of the page and a tenth of a second."""

MOST_CATEGORIES = 30
LONGEST_TEXT = 80
OTHERS = "(all others)"

MEANINGFUL = str.maketrans({"<": "‹", ">": "›", "&": "+", **dict.fromkeys("\"'`\\{}$", "_")})  # noqa: RUF001 - look-alikes on purpose
"""What could end a string, a script or a tag, or start a template of the charts, and what stands in its place."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""The page may run what it brings along and ask no other machine for anything."""


@dataclass(frozen=True, slots=True)
class EvidentlyPolicy:
    """How many rows of a side are compared, how large a page may be, and how long pages are kept."""

    max_rows: int = 5000
    max_megabytes: float = 20.0
    keep: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class EvidentlyTest:
    """One test of the suite; names of columns are written as in the page."""

    name: str
    passed: bool
    description: str


@dataclass(frozen=True, slots=True)
class EvidentlyReport:
    """The page, the tests, and which columns are not in it and why; or `failure`, which says why there is no page."""

    page: bytes = b""
    tests: tuple[EvidentlyTest, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


def render_evidently(
    reference: pa.Table,
    current: pa.Table,
    *,
    columns: Mapping[str, ColumnKind],
    policy: EvidentlyPolicy = EvidentlyPolicy(),
    seed: int = 0,
) -> EvidentlyReport:
    """Return Evidently's report of the current rows against the reference; whatever goes wrong is its `failure`.

    `columns` are those to compare: features, score, prediction, label, under one name in both tables. Of a side with
    more rows than the policy allows some are drawn, by `seed`.
    """
    rng = np.random.default_rng(seed)
    sides = [_drawn(rows, policy.max_rows, rng) for rows in (reference, current)]
    if not all(side.num_rows for side in sides):
        return EvidentlyReport(failure="one of the two samples has no rows")
    left_out: dict[str, str] = {}
    kept: dict[str, tuple[list[Any], bool]] = {}
    for name, kind in columns.items():
        try:
            found = _comparable(sides, name, kind) if len(kept) < MOST_COLUMNS else f"beyond {MOST_COLUMNS} columns"
        except Exception as error:  # noqa: BLE001 - a column that cannot be read costs itself alone
            found = f"not readable: {error}"
        if isinstance(found, str):
            left_out[name] = found
        else:
            kept[name] = (found, kind is ColumnKind.NUMERIC)
    if not kept:
        return EvidentlyReport(left_out=left_out, failure="no column can be compared")
    try:
        page, tests = _run(kept)
    except Exception as error:  # noqa: BLE001 - its failure is not that of the run
        return EvidentlyReport(left_out=left_out, failure=f"Evidently failed: {type(error).__name__}: {error}"[:500])
    content = _framed(page, [side.num_rows for side in sides], left_out).encode()
    if len(content) > policy.max_megabytes * 1e6:
        allowed = f"{policy.max_megabytes:g} are allowed (evidently.max_megabytes)"
        found = f"the page has {len(content) / 1e6:.1f} MB, {allowed}"
        return EvidentlyReport(tests=tests, left_out=left_out, failure=found)
    return EvidentlyReport(content, tests, left_out)


def harmless(texts: Iterable[str]) -> dict[str, str]:
    """Return each text as it can stand in any page: short, without markup or control characters, still distinct."""
    safe: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        shown = "".join(letter if unicodedata.category(letter)[0] != "C" else "_" for letter in text)
        shown = shown.translate(MEANINGFUL)[:LONGEST_TEXT].strip() or "(empty)"
        number, distinct = 1, shown
        while distinct in taken:
            number += 1
            distinct = f"{shown} ({number})"
        taken.add(distinct)
        safe[text] = distinct
    return safe


def _drawn(rows: pa.Table, limit: int, rng: np.random.Generator) -> pa.Table:
    if rows.num_rows <= limit:
        return rows
    return rows.take(pa.array(np.sort(rng.choice(rows.num_rows, limit, replace=False))))


def _comparable(sides: list[pa.Table], name: str, kind: ColumnKind) -> list[Any] | str:
    """Return a column's values in each side, or why Evidently cannot compare them."""
    if kind is ColumnKind.DATETIME:
        return "dates and times are not compared"
    for side, which in zip(sides, ("reference", "current"), strict=True):
        if name not in side.column_names:
            return f"the {which} sample lacks it"
    if kind is ColumnKind.NUMERIC:
        numbers = [floats_with_nan(side[name], kind) for side in sides]
        values: list[Any] = [np.where(np.isfinite(each), each, np.nan) for each in numbers]
        known = [np.unique(each[np.isfinite(each)]).tolist() for each in values]
    else:
        names = [category_names(side[name], kind) for side in sides]
        values = _few_categories(names)
        known = [pc.unique(each.drop_null()).to_pylist() for each in names]
    for each, which in zip(known, ("reference", "current"), strict=True):
        if not each:
            return f"no usable value in the {which} sample"
    return "one constant" if known[0] == known[1] and len(known[0]) == 1 else values


def _few_categories(sides: list[pa.ChunkedArray]) -> list[list[str | None]]:
    """Return the most frequent categories of both sides as harmless text, the others as one."""
    counts = pc.value_counts(pa.chunked_array([chunk for side in sides for chunk in side.chunks]).drop_null())
    ranked = sorted((-each["counts"], each["values"]) for each in counts.to_pylist())
    shown = harmless(name for _, name in ranked[:MOST_CATEGORIES])
    return [[None if name is None else shown.get(name, OTHERS) for name in side.to_pylist()] for side in sides]


def _run(columns: Mapping[str, tuple[list[Any], bool]]) -> tuple[str, tuple[EvidentlyTest, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.core.report import ReferenceMetricNotFound
        from evidently.presets import DataDriftPreset

        shown = harmless(columns)
        definition = DataDefinition(
            numerical_columns=[shown[name] for name, (_, numeric) in columns.items() if numeric],
            categorical_columns=[shown[name] for name, (_, numeric) in columns.items() if not numeric],
        )
        before, now = (
            pd.DataFrame({shown[name]: sides[place] for name, (sides, _) in columns.items()}) for place in (0, 1)
        )
        try:
            found = Report([DataDriftPreset()], include_tests=True).run(
                Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition)
            )
        except ReferenceMetricNotFound as error:  # no Exception: it would end the run
            raise RuntimeError(str(error)) from error
        tests = tuple(
            EvidentlyTest(each.name, each.status.value == "SUCCESS", each.description) for each in found.tests_results
        )
        return found.get_html_str(as_iframe=False), tests


def _framed(page: str, rows: list[int], left_out: Mapping[str, str]) -> str:
    """Return Evidently's page with what may run in it, and a note of what it compares."""
    note = f"{rows[1]:,} sampled rows against {rows[0]:,} reference rows, compared by Evidently's own rules."
    if left_out:
        shown = harmless(left_out)
        note += " Left out: " + "; ".join(f"{shown[name]} ({why})" for name, why in left_out.items()) + "."
    policy = f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    banner = f'<body><p style="font-family: sans-serif; margin: 1em">{html.escape(note)}</p>'
    return page.replace("<head>", policy, 1).replace("<body>", banner, 1)

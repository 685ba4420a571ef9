"""Evidently's daily pages as files, and how long they are kept.

    evidently/model=<name>/2013-04-18.html

Add what a day's page is made from here. Keep its content out: it belongs in publish.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.publish.evidently_report import EvidentlyReport, EvidentlyTest, render_evidently
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.parquet import model_folder


@dataclass(frozen=True, slots=True)
class EvidentlyDay:
    """What became of one day's page: where it is, or why there is none."""

    path: Path | None
    size: int
    tests: tuple[EvidentlyTest, ...]
    left_out: Mapping[str, str]
    failure: str

    @property
    def failed_tests(self) -> tuple[EvidentlyTest, ...]:
        return tuple(test for test in self.tests if not test.passed)


class EvidentlyReports:
    """The pages by model and day."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, model: str, day: date, report: EvidentlyReport) -> EvidentlyDay:
        """Store a day's page in place of an earlier one; a report that failed leaves none, not that of another run."""
        path = model_folder(self._root, "evidently", model) / f"{day.isoformat()}.html"
        failure = report.failure
        try:
            if failure:
                path.unlink(missing_ok=True)
            else:
                publish(path, report.page)
        except OSError as error:
            failure = failure or f"{path}: not written ({error})"
        return EvidentlyDay(
            None if failure else path, 0 if failure else len(report.page), report.tests, report.left_out, failure
        )

    def prune(self, model: str, *, before: date) -> list[Path]:
        """Remove the pages of days before `before`; returns those removed."""
        removed = []
        for path in sorted(model_folder(self._root, "evidently", model).glob("????-??-??.html")):
            if path.stem < before.isoformat():
                path.unlink(missing_ok=True)
                removed.append(path)
        return removed


def compared_columns(reference: Reference, columns_of_rows: Mapping[str, str | None]) -> dict[str, ColumnKind]:
    raise NotImplementedError

"""Evidently's daily pages as files, and how long they are kept.

    evidently/model=<name>/2013-04-18.html

Add what a day's page is made from here. Keep its content out: it belongs in publish.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy, EvidentlyTest, render_evidently
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


class EvidentlyReports:
    """The pages by model and day."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(
        self,
        model: str,
        day: date,
        reference: pa.Table,
        rows: pa.Table,
        *,
        columns: Mapping[str, ColumnKind],
        policy: EvidentlyPolicy,
        seed: int = 0,
    ) -> EvidentlyDay:
        """Make the page of a day from its sampled rows and reference rows, and drop what has been kept long enough.

        It replaces the page of an earlier run of that day; where it fails there is none.
        """
        report = render_evidently(reference, rows, columns=columns, policy=policy, seed=seed)
        folder = model_folder(self._root, "evidently", model)
        path, failure = folder / f"{day:%Y-%m-%d}.html", report.failure
        try:
            if failure:
                path.unlink(missing_ok=True)
            else:
                publish(path, report.page)
            prune(folder, before=day - policy.keep)
        except OSError as error:
            failure = failure or f"{path} cannot be written: {error}"
        size = 0 if failure else len(report.page)
        return EvidentlyDay(None if failure else path, size, report.tests, report.left_out, failure)


def prune(folder: Path, *, before: date) -> None:
    """Remove the pages of a folder that are of days before `before`."""
    for path in folder.glob("????-??-??.html"):
        if path.stem < f"{before:%Y-%m-%d}":
            path.unlink(missing_ok=True)

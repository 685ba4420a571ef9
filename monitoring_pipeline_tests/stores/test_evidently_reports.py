from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy
from monitoring_pipeline.stores.evidently_reports import EvidentlyDay, EvidentlyReports

DAY = date(2026, 11, 20)
ROWS = pa.table({"tenure": np.random.default_rng(1).normal(size=60)})


def made(root: Path, day: date, rows: pa.Table = ROWS, *, keep: int = 30) -> EvidentlyDay:
    kinds, policy = {"tenure": ColumnKind.NUMERIC}, EvidentlyPolicy(keep=timedelta(days=keep))
    return EvidentlyReports(root).make("chu/rn", day, ROWS, rows, columns=kinds, policy=policy)


def test_a_page_is_kept_by_day_and_the_old_ones_go(tmp_path: Path) -> None:
    pages = [made(tmp_path, DAY - timedelta(days=ago)) for ago in (3, 2, 0)]
    assert pages[-1].path == tmp_path / "evidently" / "model=chu%2Frn" / "2026-11-20.html"
    assert pages[-1].size == pages[-1].path.stat().st_size > 1_000_000
    other = pages[-1].path.with_name("notes.html")
    other.touch()
    assert all(page.path is not None and page.path.exists() for page in pages)
    made(tmp_path, DAY, keep=2)
    assert sorted(path.name for path in other.parent.iterdir()) == ["2026-11-18.html", "2026-11-20.html", "notes.html"]


def test_a_day_that_is_made_again_and_fails_keeps_no_page_of_before(tmp_path: Path) -> None:
    first = made(tmp_path, DAY)
    again = made(tmp_path, DAY, ROWS.slice(0, 0))
    assert (again.path, again.size, again.failure) == (None, 0, "one of the two samples has no rows")
    assert first.path is not None
    assert not first.path.exists()


def test_a_folder_that_cannot_be_written_is_a_failure_in_words(tmp_path: Path) -> None:
    (tmp_path / "evidently").touch()
    found = made(tmp_path, DAY)
    assert found.path is None
    assert "2026-11-20.html cannot be written" in found.failure
    assert len(found.tests) == 2

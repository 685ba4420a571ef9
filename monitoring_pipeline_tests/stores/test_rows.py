from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.rows import read_rows


def test_csv_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    at = datetime(2026, 3, 2, 7, tzinfo=UTC)
    rows = pa.table({"id": ["a", "b"], "at": [at, at], "x": [1.5, None]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    (tmp_path / "rows.CSV").write_text("id,at,x\na,2026-03-02T07:00Z,1.5\nb,2026-03-02T07:00Z,\n")
    assert read_rows(tmp_path / "rows.parquet").to_pylist() == read_rows(tmp_path / "rows.CSV").to_pylist()


@pytest.mark.parametrize(("text", "said"), [(None, "no such file"), ("a,b\n1\n", "not readable as CSV")])
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(StoreError, match=said):
        read_rows(tmp_path / "rows.csv")

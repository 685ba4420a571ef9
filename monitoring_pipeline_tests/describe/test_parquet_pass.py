from dataclasses import fields
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.describe.columns import Column, ColumnKind, ColumnRole, DatetimePart, numeric_bins
from monitoring_pipeline.describe.parquet_pass import ParquetRows, profile_parquet
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.errors import TableError
from monitoring_pipeline_tests.traffic import VERSION, column, log_rows

GROUP = 700
ROWS = log_rows(3000, seed=5, hours=40)
SPECS = {
    "tenure": column("tenure", ROWS["tenure"].to_pylist()[:500]),
    "plan": column("plan", ["basic", "pro"], ColumnKind.CATEGORICAL),
    "prediction": column("prediction", [0, 1], ColumnKind.CATEGORICAL),
    "never logged": column("never logged", [1.0]),
    "at.hour_of_day": Column(
        "at.hour_of_day",
        ColumnRole.FEATURE,
        ColumnKind.DATETIME,
        numeric_bins(np.arange(24.0), groups=10),
        "predicted_at",
        DatetimePart.HOUR_OF_DAY,
    ),
    "at.age_days": Column(
        "at.age_days",
        ColumnRole.FEATURE,
        ColumnKind.DATETIME,
        numeric_bins(np.arange(3.0), groups=10),
        "predicted_at",
        DatetimePart.AGE_DAYS,
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pq.write_table(ROWS, tmp_path / "rows.parquet", row_group_size=GROUP)
    return tmp_path / "rows.parquet"


def bits(profile: Profile) -> Any:
    columns = {
        name: (*(getattr(found, each.name) for each in fields(found) if each.name not in ("counts", "sums")),)
        for name, found in profile.columns.items()
    }
    arrays = {name: (found.counts.tolist(), found.sums.tobytes()) for name, found in profile.columns.items()}
    return profile.rows, profile.bins, columns, arrays


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_file_is_the_merge_of_its_row_groups_to_the_bit(file: Path, threads: int) -> None:
    groups = [ROWS.slice(start, GROUP) for start in range(0, ROWS.num_rows, GROUP)]
    parts = [Profile.of(group, VERSION, SPECS, time="predicted_at") for group in groups]
    expected = reduce(Profile.merge, parts, Profile.empty(VERSION, SPECS))
    found = profile_parquet(file, SPECS, VERSION, time="predicted_at", threads=threads)
    assert bits(found) == bits(expected)
    assert found.columns["never logged"].nulls == found.columns["plan"].rows == ROWS.num_rows


def test_a_file_without_rows_has_the_empty_profile(tmp_path: Path) -> None:
    pq.write_table(ROWS.slice(0, 0), tmp_path / "rows.parquet")
    assert bits(profile_parquet(tmp_path / "rows.parquet", SPECS, VERSION)) == bits(Profile.empty(VERSION, SPECS))


def test_ages_need_the_time_of_the_row(file: Path) -> None:
    found = profile_parquet(file, SPECS, VERSION).columns["at.age_days"]
    assert (found.nulls, found.rows) == (ROWS.num_rows, ROWS.num_rows)


def test_columns_of_a_file_are_read_when_they_are_asked_for(file: Path) -> None:
    rows = ParquetRows(file)
    assert rows.column_names == ROWS.column_names
    found = rows.select(["plan", "tenure"])
    assert found.column_names == ["plan", "tenure"]
    assert found["tenure"].to_pylist() == ROWS["tenure"].to_pylist()
    assert found["plan"].to_pylist() == ROWS["plan"].to_pylist()
    assert pa.types.is_dictionary(found["plan"].type)


def test_a_column_is_not_mistaken_for_the_parts_of_another(tmp_path: Path) -> None:
    table = pa.table({"place": [{"zip": "a"}], "place.zip": ["b"], "place.": [1.0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    for name in table.column_names:
        assert ParquetRows(tmp_path / "rows.parquet").select([name]).to_pylist() == table.select([name]).to_pylist()


def test_a_file_that_is_broken_inside_says_which_column_cannot_be_read(file: Path) -> None:
    rows = ParquetRows(file)
    content = bytearray(file.read_bytes())
    content[4:2000] = b"\xff" * 1996
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"rows\.parquet: .* cannot be read \(.*Restore or remove the file"):
        [rows.select([name]) for name in rows.column_names]

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitoring_pipeline.settings.logs import LogForm, ParquetLog, PostgresLog, SqlLog
from monitoring_pipeline.stores.sql_log import SqlTable

FORM: TypeAdapter[ParquetLog | PostgresLog | SqlLog] = TypeAdapter(LogForm)
TABLE = {"table": "served", "schema": "theirs", "columns": {"tenure": "months"}, "only": {"tenant": 7, "live": True}}


def test_a_log_is_in_files_in_postgresql_or_in_tables_of_others() -> None:
    assert FORM.validate_python({"kind": "parquet"}) == ParquetLog()
    stored = FORM.validate_python({"kind": "postgres", "url_env": "LOG_URL"})
    assert isinstance(stored, PostgresLog)
    assert (stored.in_schema, stored.length) == ("monitoring", timedelta(days=1))
    hourly = FORM.validate_python({"kind": "postgres", "url_env": "LOG_URL", "partition": "hour"})
    assert isinstance(hourly, PostgresLog)
    assert hourly.length == timedelta(hours=1)
    known = {"table": "known", "arrived_at": "changed_at", "settled": "15m"}
    read = FORM.validate_python({"kind": "sql", "url_env": "DWH", "predictions": TABLE, "labels": known})
    assert isinstance(read, SqlLog)
    assert SqlTable(**read.predictions.named()) == SqlTable(
        "served", "theirs", {"tenure": "months"}, {"tenant": 7, "live": True}
    )
    assert read.labels is not None
    assert (read.labels.arrived_at, read.labels.settled) == ("changed_at", timedelta(minutes=15))
    alone = FORM.validate_python({"kind": "sql", "url_env": "DWH", "predictions": {"table": "served"}})
    assert isinstance(alone, SqlLog)
    assert alone.labels is None


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"kind": "postgres"}, "url_env"),
        ({"kind": "postgres", "url_env": "postgresql://me:secret@host/db"}, "Name an environment variable in capitals"),
        ({"kind": "sql", "url_env": "DWH"}, "predictions"),
        ({"kind": "sql", "url_env": "DWH", "predictions": {"table": "t", "column": "c"}}, "column"),
        ({"kind": "postgres", "url_env": "URL", "partition": "week"}, "'day' or 'hour'"),
        ({"kind": "oracle"}, "'parquet', 'postgres', 'sql'"),
    ],
)
def test_a_log_that_cannot_be_found_is_refused(form: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FORM.validate_python(form)

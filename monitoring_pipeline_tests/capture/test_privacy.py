import hashlib
import hmac
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.privacy import PiiKey, Privacy, is_digest, logs_kept_private
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.traffic import START

KEY = b"0123456789abcdef0123456789abcdef"
PRIVACY = Privacy(PiiKey(KEY), hashed=("email",), dropped=("name",), redacted=("plan",))


def rows(*emails: object) -> pa.Table:
    count = len(emails)
    return pa.table(
        {
            "prediction_id": [f"p{number}" for number in range(count)],
            "predicted_at": pa.array([START] * count, pa.timestamp("us", tz="UTC")),
            "email": pa.array(emails),
            "name": ["Ana"] * count,
            "plan": ["gold"] * count,
        }
    )


def test_a_digest_is_hmac_sha256_under_the_key() -> None:
    wanted = hmac.new(KEY, b"ana@example.org", hashlib.sha256).hexdigest()[:32]
    assert PiiKey(KEY).digest("ana@example.org") == f"hmac:{wanted}"
    assert PiiKey(KEY[::-1]).digest("ana@example.org") != f"hmac:{wanted}"


def test_the_same_value_has_the_same_digest_in_whatever_type_it_came() -> None:
    numbers, floats, texts = (PRIVACY.keep(rows(*each))["email"] for each in ([7, None], [7.0, None], ["7", None]))
    assert numbers.equals(floats)
    assert numbers.equals(texts)
    assert numbers[1].as_py() is None
    assert is_digest(numbers[0].as_py())


def test_keeping_rows_a_second_time_changes_nothing() -> None:
    once = PRIVACY.keep(rows("ana@example.org", "ben@example.org"))
    assert PRIVACY.keep(once).equals(once)
    assert "name" not in once.column_names
    assert once["plan"].to_pylist() == ["gold", "gold"]
    assert PRIVACY.redact(once)["email"].equals(once["email"])


def test_redacted_categories_are_digests_only_in_what_is_made_of_rows() -> None:
    (shown,) = set(PRIVACY.redact(rows("a", "b"))["plan"].to_pylist())
    assert is_digest(shown)


def test_columns_cannot_be_hashed_without_a_key() -> None:
    with pytest.raises(ValueError, match="without a key"):
        Privacy(hashed=("email",))


def test_neither_the_files_of_a_log_nor_what_is_read_hold_what_was_given(tmp_path: Path) -> None:
    log, _ = logs_kept_private(
        ParquetPredictionLog(tmp_path, LogColumns()),
        ParquetLabelLog(tmp_path, LabelColumns()),
        PRIVACY,
        id_column="prediction_id",
        label_id="prediction_id",
    )
    log.append("churn", rows("ana@example.org"))
    found = log.read(Window("churn", START, START + HOUR))
    assert is_digest(found["email"][0].as_py())
    assert log.hours("churn", since=START) == [START]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert b"ana@example.org" not in stored
    assert b"Ana" not in stored


def test_rows_stored_before_anybody_asked_are_read_as_digests(tmp_path: Path) -> None:
    inner = ParquetPredictionLog(tmp_path, LogColumns())
    inner.append("churn", rows("ana@example.org"))
    log, _ = logs_kept_private(
        inner, ParquetLabelLog(tmp_path, LabelColumns()), PRIVACY, id_column="prediction_id", label_id="prediction_id"
    )
    found = log.read(Window("churn", START, START + HOUR))
    assert found["email"].to_pylist() == [PiiKey(KEY).digest("ana@example.org")]
    assert "name" not in found.column_names


def test_hashed_ids_still_join_predictions_and_labels_whatever_they_are_called(tmp_path: Path) -> None:
    names = LabelColumns(prediction_id="id")
    predictions, labels = logs_kept_private(
        ParquetPredictionLog(tmp_path, LogColumns()),
        ParquetLabelLog(tmp_path, names),
        Privacy(PiiKey(KEY), hashed=("prediction_id",)),
        id_column="prediction_id",
        label_id="id",
    )
    predictions.append("churn", rows("a", "b"))
    said = pa.table({"id": ["p1"], "actual": [1], "labelled_at": pa.array([START], pa.timestamp("us", tz="UTC"))})
    assert labels.append("churn", said, hours=[START]).rows == 1
    known = labels.read("churn", start=START, end=START + timedelta(days=1))
    assert known is not None
    served = predictions.read(Window("churn", START, START + HOUR))["prediction_id"].to_pylist()
    assert known["id"].to_pylist() == [served[1]]
    assert [each.sequence for each in labels.arrivals("churn", after=0, limit=9)] == [1]
    assert labels.read("churn", start=START - HOUR, end=START) is None


@pytest.mark.parametrize(
    "text", ["hmac:", "hmac:" + "0" * 31, "hmac:" + "0" * 33, "hmac:" + "0" * 32 + "\n", "x hmac:" + "0" * 32]
)
def test_what_only_looks_like_a_digest_is_hashed(text: str) -> None:
    (found,) = PRIVACY.keep(rows(text))["email"].to_pylist()
    assert found != text
    assert is_digest(found)

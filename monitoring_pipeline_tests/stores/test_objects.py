import http.client
import urllib.request
from datetime import timedelta
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.files import publish, read_parquet
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.objects import ObjectPath, names, place_at
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline_tests.buckets import BucketServer
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, hour, log_rows

pytestmark = pytest.mark.slow

ROW = pa.table({"a": [1]})


def test_a_bucket_that_is_not_there_is_named_and_not_taken_for_an_empty_one(bucket: ObjectPath) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket: .*make it, or look at MONITORING_DATA"):
        HourlyStore(place_at("s3://no-such-bucket/data")).hours("verdicts", MODEL)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(StoreError, match=r"gs://bucket: .* s3://bucket/prefix"):
        place_at("gs://bucket")


def test_credentials_that_are_wrong_are_said_to_be(
    bucket: ObjectPath, bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_from(request: int) -> None:
        """Have the server look at credentials from its next request on, or, as it begins, at none."""
        asked = urllib.request.Request(f"{bucket_server.endpoint}/moto-api/reset-auth", data=str(request).encode())
        asked.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(asked).close()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    check_from(0)
    try:
        with pytest.raises(StoreError, match=r"s3://.*(credentials|AWS_ACCESS_KEY_ID)"):
            publish(bucket / "file", b"content")
    finally:
        check_from(10**9)


def test_a_small_file_is_written_in_one_request_and_read_in_two(
    bucket: ObjectPath, bucket_server: BucketServer
) -> None:
    HourlyStore(bucket).write("samples", MODEL, hour(0), ROW)
    requests = bucket_server.requests
    assert len(requests.of("PUT")) == 1
    assert not requests.of("POST")
    requests.seen.clear()
    assert read_parquet(bucket / "samples" / f"model={MODEL}" / "2026-11-20T00Z.parquet").equals(ROW)
    assert len(requests.seen) == 2


def test_of_a_large_file_nothing_is_seen_before_its_last_part(bucket: ObjectPath, bucket_server: BucketServer) -> None:
    path, content = bucket / "file", b"0" * (24 << 20)
    publish(path, b"old")
    stream = path.bucket().open_output_stream(path.key)
    stream.write(content)
    assert bucket_server.requests.of("POST", "uploads"), "large enough to be sent in parts"
    assert path.read_bytes() == b"old"
    stream.close()
    assert path.read_bytes() == content


def test_a_request_that_breaks_off_leaves_what_was_there(bucket: ObjectPath, bucket_server: BucketServer) -> None:
    path = bucket / "file"
    publish(path, b"old")
    server = urlsplit(bucket_server.endpoint)
    connection = http.client.HTTPConnection(str(server.hostname), server.port)
    connection.putrequest("PUT", f"/{path.key}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"half a file")
    connection.close()
    assert path.read_bytes() == b"old"


def test_reading_months_of_hours_lists_them_once(bucket: ObjectPath, bucket_server: BucketServer) -> None:
    store = HourlyStore(bucket)
    for number in (0, 1, 30, 500):
        store.write("samples", MODEL, hour(number), ROW)
    store.write("samples", "another", hour(0), ROW)
    bucket_server.requests.seen.clear()
    assert len(store.read("samples", MODEL, hour(0), hour(24 * 90))) == 4
    assert store.newest("samples", MODEL) == hour(500)
    listings = bucket_server.requests.listings
    assert len(listings) == 4
    assert all(f"prefix=churn/data/samples/model={MODEL}/" in each for each in listings)


def test_a_day_of_a_log_is_one_listing_and_labels_of_a_month_are_one_a_day(
    bucket: ObjectPath, bucket_server: BucketServer
) -> None:
    predictions, labels = ParquetPredictionLog(bucket, LOG), ParquetLabelLog(bucket, LabelColumns())
    predictions.append(MODEL, log_rows(40, seed=1, hours=30))
    known = {"prediction_id": ["1"], "actual": [1], "labelled_at": [START + timedelta(days=3)]}
    labels.append(MODEL, pa.table(known), hours=[START])
    requests = bucket_server.requests
    for hours, listings in ((1, 1), (24, 1), (30, 2)):
        requests.seen.clear()
        assert predictions.read(Window(MODEL, START, START + hours * HOUR)).num_rows > 0
        assert len(requests.listings) == listings
    requests.seen.clear()
    assert labels.read(MODEL, start=START, end=START + timedelta(days=30)) is not None
    assert len(requests.listings) == 30
    requests.seen.clear()
    assert len(labels.arrivals(MODEL, after=0, limit=9)) == 1
    assert labels.arrivals(MODEL, after=1, limit=9) == []
    assert len(requests.listings) == 4


def test_numbers_of_arrivals_go_on_beyond_a_block(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring_pipeline.stores.arrivals.BLOCK", 2)
    log, row = ParquetLabelLog(bucket, LabelColumns()), {"prediction_id": ["1"], "actual": [1], "labelled_at": [START]}
    assert [log.append(MODEL, pa.table(row), hours=[]).sequence for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(names(bucket / "labels" / f"model={MODEL}" / "arrivals")) == 3
    for after in range(6):
        found = [arrival.sequence for arrival in log.arrivals(MODEL, after=after, limit=2)]
        assert found == list(range(after + 1, 6))[:2]

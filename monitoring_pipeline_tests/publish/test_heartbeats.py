import json
import subprocess
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from monitoring_pipeline.evaluate.heartbeats import Heartbeat
from monitoring_pipeline.publish.heartbeats import heartbeat_json, heartbeat_metrics, heartbeat_text
from monitoring_pipeline_tests.binaries import require

NOW = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
HEARTBEATS = [Heartbeat("daemon", NOW - timedelta(seconds=12)), Heartbeat("hourly_churn", None)]


def test_people_read_how_long_ago() -> None:
    assert heartbeat_text(HEARTBEATS, NOW).splitlines() == [
        "daemon        12 s ago, 2026-11-20 13:04:48Z",
        "hourly_churn  never heard from",
    ]


def test_programs_read_json() -> None:
    assert json.loads(heartbeat_json(HEARTBEATS, NOW)) == [
        {"name": "daemon", "at": "2026-11-20T13:04:48+00:00", "age_seconds": 12},
        {"name": "hourly_churn", "at": None, "age_seconds": None},
    ]


def test_prometheus_reads_seconds_of_the_epoch_and_what_is_missing_as_old() -> None:
    (family,) = text_string_to_metric_families(heartbeat_metrics(HEARTBEATS, NOW) + "\n")
    assert (family.name, family.type) == ("monitoring_heartbeat_timestamp_seconds", "gauge")
    moments = {sample.labels["name"]: sample.value for sample in family.samples}
    assert moments == {"daemon": NOW.timestamp() - 12, "hourly_churn": 0}


def test_prometheus_accepts_the_metrics() -> None:
    text = heartbeat_metrics(HEARTBEATS, NOW) + "\n"
    command = [str(require("promtool", "/usr/bin/promtool")), "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr

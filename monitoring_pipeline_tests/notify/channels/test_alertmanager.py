import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.alertmanager import AlertmanagerChannel, alerts_of
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.processes import free_port, running, wait_until
from monitoring_pipeline_tests.sinks import Answer, HttpSink, http_sink
from monitoring_pipeline_tests.told import HOSTILE, MESSAGES, OPENED, RESOLVED, WORSENED

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FOUR_WEEKS = timedelta(days=28)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_alerts_are_the_ones_that_were_read_and_found_good(name: str) -> None:
    alerts = alerts_of(MESSAGES[name], now=NOW, keep_firing=FOUR_WEEKS)
    assert_golden(f"{name}_alertmanager.json", json.dumps(alerts, indent=2, ensure_ascii=False) + "\n")


def test_an_alert_fires_for_weeks_without_a_further_word_and_ends_at_once_when_told() -> None:
    (opened,) = alerts_of(OPENED, now=NOW, keep_firing=FOUR_WEEKS)
    (resolved,) = alerts_of(RESOLVED, now=NOW, keep_firing=FOUR_WEEKS)
    assert datetime.fromisoformat(opened["endsAt"]) == NOW + FOUR_WEEKS
    assert datetime.fromisoformat(resolved["endsAt"]) == NOW


def test_a_worse_alert_takes_the_place_of_the_milder_one() -> None:
    worse, *over = alerts_of(WORSENED, now=NOW, keep_firing=FOUR_WEEKS)
    (opened,) = alerts_of(OPENED, now=NOW, keep_firing=FOUR_WEEKS)
    assert worse["labels"]["severity"] == "critical"
    assert opened["labels"] in [alert["labels"] for alert in over]
    assert all(datetime.fromisoformat(alert["endsAt"]) == NOW for alert in over)


def test_an_alert_of_a_replayed_future_does_not_start_after_it_ends() -> None:
    message = replace(RESOLVED, started_at="2031-01-01T00:00:00+00:00")
    (alert,) = alerts_of(message, now=NOW, keep_firing=FOUR_WEEKS)
    assert alert["startsAt"] <= alert["endsAt"]


def test_a_token_is_sent_and_never_written_down() -> None:
    with http_sink() as sink:
        sink.script(Answer(401, "Bearer t0ken-secret is unknown"))
        channel = AlertmanagerChannel(sink.url + "/", clock=now, token=Credential("t0ken-secret"))
        with pytest.raises(DeliveryError) as caught:
            channel.send(OPENED, dedup_key="k")
    assert sink.received[0].headers["Authorization"] == "Bearer t0ken-secret"
    assert sink.received[0].path == "/api/v2/alerts"
    assert "t0ken-secret" not in str(caught.value)


CONFIG = """
route:
  receiver: sink
  group_by: [incident]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: sink
    webhook_configs:
      - url: {url}/hook
        send_resolved: true
"""


@contextmanager
def alertmanager(folder: Path, sink: HttpSink) -> Iterator[str]:
    program = require("prometheus-alertmanager", "/usr/local/bin/alertmanager")
    config = folder / "alertmanager.yml"
    config.write_text(CONFIG.format(url=sink.url))
    port = free_port()
    command: list[str | Path] = [
        program,
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)

    log = folder / "log"
    with running(command, env=dict(os.environ), cwd=folder, log=log):
        wait_until("Alertmanager is ready", ready, seconds=30, logs=[log])
        yield url


def alerts_in(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def test_a_real_alertmanager_receives_groups_and_resolves_ours(tmp_path: Path) -> None:
    other = replace(HOSTILE, incident_id="orders/quality@2026-11-20T06Z", model="orders", fingerprint="orders/quality")
    with http_sink() as sink, alertmanager(tmp_path, sink) as url:
        channel = AlertmanagerChannel(url, clock=now)

        def told(incident: str, severity: str, status: str) -> bool:
            """Whether the receiver was last told this of an alert."""
            heard = [
                alert["status"]
                for posted in sink.received
                for alert in posted.json["alerts"]
                if (alert["labels"]["incident"], alert["labels"]["severity"]) == (incident, severity)
            ]
            return heard[-1:] == [status]

        for message in (OPENED, other):
            channel.send(message, dedup_key="opened")
            channel.send(message, dedup_key="opened")
        wait_until("the first is firing", lambda: told(OPENED.incident_id, "warning", "firing"), seconds=20)
        wait_until("the second is firing", lambda: told(other.incident_id, "warning", "firing"), seconds=20)
        groups = [posted.json["groupLabels"]["incident"] for posted in sink.received]
        assert sorted(groups) == sorted([OPENED.incident_id, other.incident_id]), "one message for each incident"
        ends = {datetime.fromisoformat(alert["endsAt"]) for alert in alerts_in(url)}
        assert min(ends) > now() + timedelta(days=27)

        channel.send(WORSENED, dedup_key="worsened")
        wait_until("it is critical", lambda: told(OPENED.incident_id, "critical", "firing"), seconds=20)
        wait_until("no longer a warning", lambda: told(OPENED.incident_id, "warning", "resolved"), seconds=20)

        channel.send(RESOLVED, dedup_key="resolved")
        wait_until("it is over", lambda: told(OPENED.incident_id, "critical", "resolved"), seconds=20)
        assert [alert["labels"]["incident"] for alert in alerts_in(url)] == [other.incident_id]

import json
import logging
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.service_health import Checked
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.exposition import OPENMETRICS, TEXT
from monitoring_pipeline.publish.metrics import FEATURE_METRICS, metric_name
from monitoring_pipeline.settings.deployment import Deployment as Places
from monitoring_pipeline.stores.health_history import HISTORY, HealthHistory, write_health
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.workflow.exporter import Exporter
from monitoring_pipeline_tests.deployments import ASKED, MODEL, VERSION, Deployment, deploying
from monitoring_pipeline_tests.exposition import assert_valid, samples, series
from monitoring_pipeline_tests.processes import free_port, listens, running, wait_until
from monitoring_pipeline_tests.traffic import hour
from monitoring_pipeline_tests.verdicts import MORNING, verdict

LAST = 5
FILE = Path(__file__)
"""What stands for the YAML of a monitor that is never read."""


@pytest.fixture(scope="module")
def deployment(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all tests here, of which the first six hours are judged."""
    with (
        pytest.MonkeyPatch.context() as environment,
        deploying(template, tmp_path_factory.mktemp("exported") / "home", environment) as made,
    ):
        made.monitoring.database  # noqa: B018 - migrates
        made.set_clock(hour(LAST + 1))
        made.serve(0, LAST)
        made.compute(0, LAST)
        yield made


def exporter_of(home: Path, *models: str) -> Exporter:
    places = Places.from_environment({"MONITORING_HOME": str(home)}, root=home)
    ends = dict.fromkeys(models, hour(LAST + 9))
    return Exporter(places, dict.fromkeys(models, FILE), clock=lambda: datetime.now(UTC), ends=ends)


def page_of(exporter: Exporter, accept: str = "") -> str:
    """Return a page without what is different every second."""
    lines = exporter.page(accept)[0].decode().splitlines(keepends=True)
    return "".join(line for line in lines if "host_" not in line)


def test_a_real_page_is_valid_and_holds_what_is_stored(deployment: Deployment) -> None:
    exporter = exporter_of(deployment.home, MODEL)
    exporter.ask_registry()
    page = page_of(exporter)
    assert_valid(page)
    found, at = samples(page), hour(LAST)
    assert samples(page_of(exporter, OPENMETRICS.content_type)) == found
    checked = set()
    for each in deployment.store.read_verdicts(MODEL, at, at + HOUR)[at]:
        signal = each.signal
        if signal.segment or signal.baseline != "training" or (signal.column and signal.metric not in FEATURE_METRICS):
            continue
        labels = {"model": MODEL, "version": VERSION, "window": signal.window, "feature": signal.column}
        key = metric_name(signal.metric, signal.unit), frozenset(each for each in labels.items() if each[1])
        value = None if signal.value is None else signal.value * (86_400 if signal.unit == "d" else 1)
        assert found.get(key) == value, key
        checked.add(key[0] if value is not None else "")
    assert checked >= {"drift_psi", "drift_js_nats", "drift_ks", "quality_null_rate", "performance_accuracy"}
    assert checked >= {"performance_f1", ""}, "and some are unknown"
    rows = deployment.monitoring.stages(deployment.monitor).labelled_rows(at, at + HOUR, as_of=at + HOUR)
    assert series(page, "monitor_served_rows") == {f"{MODEL},{VERSION}": float(rows.num_rows)}
    means = series(page, "feature_mean", model=MODEL, version=VERSION, window="1h")
    numeric = ("usage", "tenure", "score")
    assert means == pytest.approx({name: float(np.mean(rows[name].to_numpy())) for name in numeric})
    assert series(page, "slo_budget_remaining", model=MODEL)
    assert series(page, "incidents_open", model=MODEL) == {"warning": 0.0, "critical": 0.0}
    assert set(series(page, "exporter_source_up").values()) == {1.0}
    verdicts = Counter(
        (each.level.value, each.signal.metric.partition(".")[0])
        for each in deployment.store.read_verdicts(MODEL, at, at + HOUR)[at]
        if each.signal.version == VERSION
    )
    counted = series(page, "monitor_verdicts", model=MODEL, version=VERSION)
    assert counted == {",".join(key): float(number) for key, number in verdicts.items() if key[1] != "slo"}
    assert series(page, "registry_alias_info", alias="champion", model=MODEL) == {VERSION: 1.0}
    assert series(page, "monitor_config_changed_timestamp_seconds") == {MODEL: FILE.stat().st_mtime}
    assert series(page, "monitor_end_timestamp_seconds") == {MODEL: hour(LAST + 9).timestamp()}
    assert series(page, "outbox_messages") == {"pending": 0.0, "dead": 0.0}


def test_a_registry_that_does_not_answer_takes_the_champion_away_and_nothing_else(
    deployment: Deployment, tmp_path: Path
) -> None:
    exporter = exporter_of(tmp_path, MODEL)
    exporter.ask_registry()
    page = page_of(exporter)
    assert series(page, "registry_alias_info") == {}
    assert series(page, "monitor_last_evaluated_timestamp_seconds") == {MODEL: 0.0}


def test_services_are_as_they_were_when_they_were_last_asked(tmp_path: Path) -> None:
    levels = {"mlflow": [Level.CRITICAL, Level.OK], "scoring": [Level.OK, Level.CRITICAL]}
    checks = {
        name: tuple(Checked(MORNING + number * HOUR, level, "") for number, level in enumerate(each))
        for name, each in levels.items()
    }
    write_health(tmp_path / HISTORY, HealthHistory(checks))
    page = page_of(exporter_of(tmp_path, MODEL))
    assert series(page, "service_level") == {"mlflow": 0.0, "scoring": 2.0}
    asked = (MORNING + HOUR).timestamp()
    assert series(page, "service_last_checked_timestamp_seconds") == {"mlflow": asked, "scoring": asked}


def test_after_a_restart_the_page_is_the_same(deployment: Deployment) -> None:
    exporter = exporter_of(deployment.home, MODEL)
    assert page_of(exporter) == page_of(exporter) == page_of(exporter_of(deployment.home, MODEL))


def write(home: Path, model: str, value: float | None, *, at: datetime = MORNING) -> None:
    level = Level.OK if value is not None else Level.UNKNOWN
    found = verdict(level, value=value, column="tenure", hour=at)
    HourlyStore(home / "data").write_verdicts(model, {at: [found]})


def test_only_the_model_that_changed_is_different_afterwards(tmp_path: Path) -> None:
    write(tmp_path, "churn", 0.1)
    write(tmp_path, "fraud", 0.2)
    exporter = exporter_of(tmp_path, "churn", "fraud")
    before = samples(page_of(exporter))
    write(tmp_path, "churn", 0.3, at=MORNING + HOUR)
    page = page_of(exporter)
    changed = {dict(labels)["model"] for name, labels in dict(samples(page).items() ^ before.items())}
    assert changed == {"churn"}
    assert page == page_of(exporter_of(tmp_path, "churn", "fraud"))


def test_a_model_that_is_judged_no_more_keeps_its_values_and_shows_its_age(tmp_path: Path) -> None:
    write(tmp_path, "churn", 0.1)
    write(tmp_path, "fraud", 0.2)
    exporter = exporter_of(tmp_path, "churn", "fraud", "new")
    page_of(exporter)
    write(tmp_path, "fraud", 0.3, at=MORNING + 9 * HOUR)
    page = page_of(exporter)
    ends = {"churn": MORNING + HOUR, "fraud": MORNING + 10 * HOUR}
    told = {model: end.timestamp() for model, end in ends.items()} | {"new": 0.0}
    assert series(page, "monitor_last_evaluated_timestamp_seconds") == told
    assert series(page, "drift_psi", model="churn") == {"tenure,1,24h": 0.1}


def test_an_hour_of_which_nothing_is_known_takes_the_values_of_the_hour_before_away(tmp_path: Path) -> None:
    write(tmp_path, "churn", 0.1)
    exporter = exporter_of(tmp_path, "churn")
    assert series(page_of(exporter), "drift_psi")
    write(tmp_path, "churn", None, at=MORNING + HOUR)
    page = page_of(exporter)
    assert series(page, "drift_psi") == {}
    assert series(page, "monitor_unknown_signals", model="churn") == {"too_few_rows,drift,1": 1.0}


def test_what_cannot_be_read_is_said_and_hides_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.disable(logging.NOTSET)
    write(tmp_path, "churn", 0.1)
    write(tmp_path, "fraud", 0.2)
    (broken,) = (tmp_path / "data" / "verdicts" / "model=churn").glob("*.parquet")
    broken.write_bytes(b"PAR1")
    page = page_of(exporter_of(tmp_path, "churn", "fraud"))  # nor are there any tables in the database
    up = series(page, "exporter_source_up")
    assert {name for name, value in up.items() if not value} == {"state_database", "churn,hours"}
    assert up["fraud,hours"] == 1
    assert series(page, "drift_psi", version="1", window="24h") == {"tenure,fraud": 0.2}
    assert series(page, "incidents_open") == {}, "nobody knows of none"
    assert "hours of churn could not be exported" in caplog.text
    assert_valid(page)


def test_the_command_serves_the_page_on_loopback_to_who_asks_for_it_by_that_name(tmp_path: Path) -> None:
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(json.dumps(ASKED))
    write(tmp_path / ".monitoring", "churn", 0.1)
    command = [sys.executable, "-m", "monitoring_pipeline.cli", "metrics-exporter", "--port", str(port := free_port())]
    with running(command, env={"PYTHONPATH": str(Path(__file__).parents[2])}, cwd=tmp_path, log=tmp_path / "log"):
        wait_until("the exporter listens", lambda: listens(port), seconds=60, logs=[tmp_path / "log"])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.headers["content-type"] == TEXT.content_type
            page = answer.read().decode()
        assert series(page, "drift_psi", feature="tenure", version="1", window="24h") == {"churn": 0.1}
        assert 0 <= series(page, "host_cpu_used_ratio")[""] <= 1
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": OPENMETRICS.content_type})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert answer.headers["content-type"] == OPENMETRICS.content_type
            assert series(answer.read().decode(), "drift_psi", model="churn") == {"tenure,1,24h": 0.1}
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics", headers={"Host": "evil.example"})
        assert connection.getresponse().status == 421
        connection.close()

"""What is declared personal stands nowhere as it is: not in the log, nor in anything that monitoring makes of it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.capture.privacy import is_digest
from monitoring_pipeline.capture.windows import Window
from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.workflow.forgetting import Places, forget
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.scoring_service import scoring_service
from monitoring_pipeline_tests.deployments import MODEL, ROWS, VERSION, Deployment, champion, customers, scored
from monitoring_pipeline_tests.scoring import listening
from monitoring_pipeline_tests.traffic import START, hour

KEY = "a-key-that-stands-in-no-file-at-all-0123456789"
PEOPLE = 50
SOMEBODY = "person7@mail.example"
ASKED = {
    "columns": {"entity": "customer_id"},
    "segments": {"columns": ["plan"]},
    "privacy": {"hash": ["customer_id"], "drop": ["full_name"], "redact_categories": ["plan"], "min_group": 30},
}


@pytest.fixture
def private(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Five hours of a service that logs people, some of them with values that cannot be used."""
    monkeypatch.setenv("MONITORING_PII_KEY", KEY)
    deployment.watch(ASKED)
    deployment.set_clock(hour(24))
    materialise_references(deployment.monitoring, deployment.monitor)
    rows = customers([hour(number) for number in range(5)])
    served = scored(rows, champion()).drop(columns="actual").assign(model_version=VERSION, full_name="Ada Lovelace")
    served["customer_id"] = [f"person{number % PEOPLE}@mail.example" for number in range(len(rows))]
    served.loc[::100, "usage"] = np.inf
    deployment.log_table(pa.Table.from_pandas(served, preserve_index=False))
    deployment.label(rows)
    return deployment


def drift(deployment: Deployment) -> list[Signal]:
    deployment.compute(0, 4)
    found: list[Signal] = deployment.store.read_signals("drift", MODEL, hour(4), hour(5))[hour(4)]
    return found


def of_plan(signals: list[Signal]) -> dict[tuple[str, str], float | None]:
    whole = (each for each in signals if each.column == "plan" and not each.segment)
    return {(each.metric, each.window): each.value for each in whole}


def test_hours_of_monitoring_leave_no_name_and_no_category(private: Deployment) -> None:
    signals, folder = drift(private), private.monitoring.data
    seen = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert {"predictions", "samples", "quarantine", "profiles", "drift", "verdicts"} <= seen
    for path in (path for path in private.home.rglob("*") if path.is_file()):
        content = path.read_bytes() if path.suffix != ".parquet" else repr(pq.read_table(path).to_pylist()).encode()
        for secret in (b"@mail.example", b"Lovelace", KEY.encode()):
            assert secret not in content, path
        if path.is_relative_to(folder) and path.relative_to(folder).parts[0] != "predictions":
            assert b"basic" not in content, path
    sample = private.store.read("samples", MODEL, hour(3), hour(4))[hour(3)]
    assert "full_name" not in sample.column_names
    assert all(is_digest(each) for name in ("customer_id", "plan") for each in sample[name].to_pylist())

    small = [each for each in signals if each.segment and each.absence is Absence.SUPPRESSED]
    assert small
    assert all(is_digest(each.segment.partition("=")[2]) and not each.rows for each in small)
    assert all(each.rows >= 30 for each in signals if each.segment and each.value is not None)

    learnt = private.monitoring.stages(private.monitor).labelled_rows(hour(0), hour(2), as_of=hour(24))
    assert set(learnt["plan"].to_pylist()) == {"basic", "plus", "pro"}  # which models go on learning from
    assert all(is_digest(each) for each in learnt["customer_id"].to_pylist())


def test_the_drift_of_digests_is_that_of_the_categories_they_stand_for(private: Deployment) -> None:
    shown = of_plan(drift(private))
    private.watch({})
    materialise_references(private.monitoring, private.monitor)
    assert of_plan(drift(private)) == shown
    assert any(value is not None for value in shown.values())


def test_somebody_is_forgotten_and_hours_can_be_computed_again_but_not_without_the_key(
    private: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(private)
    kept, asked = private.files("profiles", "drift"), {"column": "customer_id", "values": [SOMEBODY]}
    places, secrets = Places.of(private.monitoring.deployment), {"MONITORING_PII_KEY": KEY}
    done: Any = forget(private.monitor, places, secrets.get, **asked, dry=False)  # type: ignore[arg-type]  # mixed
    found = {each.place: each.count for each in done}
    assert found["predictions"] == found["labels"] == found["samples"] == 5 * ROWS // PEOPLE
    assert private.files("profiles", "drift") == kept
    drift(private)
    rows = private.monitoring.stages(private.monitor).predictions.read(Window(MODEL, START, hour(5)))
    key = private.monitor.privacy.protection(secrets.get, model=MODEL).key
    assert key is not None
    assert key.digest(SOMEBODY) not in rows["customer_id"].to_pylist()

    monkeypatch.delenv("MONITORING_PII_KEY")
    before = {path: path.stat().st_mtime_ns for path in private.monitoring.data.rglob("*")}
    with pytest.raises(SettingsError, match="MONITORING_PII_KEY: is not set"):
        private.log(customers([hour(5)]))
    with pytest.raises(SettingsError, match="MONITORING_PII_KEY: is not set"):
        private.compute(0, 0)
    assert {path: path.stat().st_mtime_ns for path in private.monitoring.data.rglob("*")} == before


def test_a_service_logs_no_id_that_is_personal_and_labels_still_find_their_predictions(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.watch({"privacy": {"hash": ["prediction_id"]}})
    secrets = {"MONITORING_PII_KEY": KEY}
    monitor, places = deployment.monitor, deployment.monitoring.deployment
    caplog.set_level("INFO")
    service = scoring_service(monitor, places, clock=lambda: hour(1), secret=secrets.get)
    with listening(service) as port:
        features = {"usage": 50.0, "tenure": 12.0, "plan": "basic"}
        assert port.predict(features, prediction_id="passport.A1234567")["prediction_id"] == "passport.A1234567"
        label = {"prediction_id": "passport.A1234567", "actual": 1}
        assert port.ask("POST", "/feedback", {"labels": [label]})[:2] == (200, {"stored": 1})
    assert "passport.A1234567" not in caplog.text
    assert "/predict" in caplog.text
    monkeypatch.setenv("MONITORING_PII_KEY", KEY)
    stages = deployment.monitoring.stages(monitor)
    (row,) = stages.labelled_rows(hour(1), hour(2), as_of=hour(3)).to_pylist()
    assert (row["actual"], is_digest(row["prediction_id"])) == (1, True)
    (arrival,) = stages.labels.arrivals(MODEL, after=0, limit=9)
    assert arrival.hours == (hour(1),)

"""The live demonstration in small: customers whose habits turn, a day of traffic in a minute."""

import fcntl
import json
import os
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from examples.live import World, run_live
from examples.servers import postgres, running, wait_until
from examples.traffic import Ask
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.stores.mlflow_reference import log_reference
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import (
    ASKED,
    FEATURES,
    MODEL,
    REFERENCE_DAYS,
    ROLES,
    TRAINED_UNTIL,
    customers,
    hours_before,
    register_champion,
    scored,
)
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store
from monitoring_pipeline_tests.traffic import START, hour
from monitoring_pipeline_tests.trainers import fit

ROWS, BATCH = 150, 25
TURNS, ENDS = 3, 22
MONITOR: dict[str, Any] = ASKED | {
    "end": hour(ENDS).isoformat(),
    "aliases": ["champion"],
    "windows": ["1h", "4h"],
    "columns": {
        "score": "score",
        "prediction": "prediction",
        "served_by": "served_by",
        "status": "status",
        "latency_ms": {"total": "latency_ms"},
    },
    "experiments": {
        "second_opinion": {
            "start": hour(2).isoformat(),
            "baseline": 0.5,
            "outcome": "prediction",
            "treatment_share": 0.3,
            "max_days": 1,
        }
    },
    "retraining": ASKED["retraining"]
    | {
        "mode": "any",
        "triggers": [
            {
                "name": "performance",
                "condition": {"metric": "performance.roc_auc", "window": "1h", "below": 0.4},
                "for": 8,
            }
        ],
        "training_window": "5h",
        "holdout": "4h",
        "minimum_labelled_rows": 500,
        "cooldown": "1d",
    },
}


def rows_between(start: datetime, end: datetime) -> pd.DataFrame:
    """Return customers who are moved by the opposite of what used to move them, and use more, from one hour on."""
    hours = [start + step * HOUR for step in range(round((end - start) / HOUR))]
    parts = [
        customers([at], rows=ROWS, turned=at >= hour(TURNS), shift=12.0 if at >= hour(TURNS) else 0.0) for at in hours
    ]
    return pd.concat(parts, ignore_index=True)


def asks_between(start: datetime, end: datetime) -> list[Ask]:
    """Return the customers in batches, and the first one of each hour alone."""
    rows = rows_between(start, end)
    bodies = [
        {"features": row, "prediction_id": one}
        for row, one in zip(rows[FEATURES].to_dict("records"), rows["prediction_id"], strict=True)
    ]
    batches = [bodies[first : first + BATCH] for first in range(1, len(bodies), BATCH)]
    moments = [start, *(start + (2 + 4 * number) * timedelta(minutes=1) for number in range(len(batches)))]
    return [
        Ask(moments[0], "/predict", bodies[0]),
        *(Ask(at, "/predict/batch", {"rows": rows}) for at, rows in zip(moments[1:], batches, strict=True)),
    ]


def labels_between(start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return what came true by the end of the hour: everything, at once."""
    known = rows_between(start, end)
    return [
        {"prediction_id": one, "actual": int(actual), "predicted_at": start.isoformat()}
        for one, actual in zip(known["prediction_id"], known["actual"], strict=True)
    ]


def add_candidate(uri: str) -> str:
    """Register a model that was fitted a little longer, and return its version."""
    import mlflow
    from mlflow.models import infer_signature

    estimator = fit(customers(hours_before(START, 2 * REFERENCE_DAYS), seed=1))
    reference = scored(customers(hours_before(START, REFERENCE_DAYS)), estimator)
    mlflow.set_experiment(MODEL)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            registered_model_name=MODEL,
            signature=infer_signature(reference[FEATURES], reference["score"].to_numpy()),
            serialization_format="skops",
            pip_requirements=["scikit-learn"],
        )
    version = str(logged.registered_model_version)
    log_reference(reference, model_name=MODEL, version=version, tracking_uri=uri, **ROLES)
    mlflow.MlflowClient(uri, uri).set_model_version_tag(MODEL, version, "trained_until", TRAINED_UNTIL.isoformat())
    return version


def add_champion(_: str, artifacts: Path) -> None:
    register_champion(new_mlflow_store(artifacts.parent), artifacts)


CUSTOMERS = World(
    monitor=MONITOR,
    start=START,
    end=hour(ENDS),
    shadow_from=hour(1),
    champion=add_champion,
    candidate=add_candidate,
    asks=asks_between,
    labels=labels_between,
    behind=timedelta(hours=6),
)


@pytest.mark.postgres
@pytest.mark.slow
def test_a_model_is_replaced_while_it_serves_and_every_request_is_answered(tmp_path: Path) -> None:
    require("postgres", "/usr/lib/postgresql/*/bin/postgres")
    home = tmp_path / "live"
    account = run_live(CUSTOMERS, home, pace_s=0.3, tick_s=2)
    assert account == json.loads((home / "live.json").read_text())
    asked, served = account["requests"], account["served"]
    assert (asked["failed"], asked["failures"]) == (0, [])
    batches = -(-(ROWS - 1) // BATCH)
    probes = asked["sent"].pop("/predict/batch (probes)")
    assert probes > 0, "callers went on while the clock stood still"
    assert asked["sent"] == {"/predict": ENDS, "/predict/batch": ENDS * batches, "/feedback": ENDS}
    assert account["labels"] == sum(sum(versions.values()) for versions in served.values()) == ENDS * ROWS

    assert "feature_drift" in {rule for incident in account["incidents"] for rule in incident["rules"]}
    (retraining,) = account["retrainings"]
    assert (retraining["status"], retraining["challenger"], account["champion"]) == ("promoted", "3", "3")
    hours = list(served.values())
    assert list(hours[0]) == ["v1"]
    assert "v3" in hours[-1], "the service followed the registry, and no restart"
    followed = next(place for place, versions in enumerate(hours) if "v3" in versions)
    assert not any("v1" in versions for versions in hours[followed + 1 :])
    assert account["shadow"]["versions"] == ["2"]
    assert account["shadow"]["rows"] >= ROWS
    arms = account["experiment"]["rows"]
    assert arms["control v1"] > arms["treatment v2"] > 0
    assert "treatment v3" not in arms, "nobody is served by what was not judged"
    assert left_over(home) == []


def left_over(home: Path) -> list[str]:
    """Return the programs that still run for a demonstration, as far as the system tells."""
    ours = f"MONITORING_HOME={home.resolve()}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if ours in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_a_program_that_ends_by_itself_is_told_of_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    command = [sys.executable, "-c", "import sys; sys.exit('no champion')"]
    told = r"(?s)it answers: service ended with 1.*service.log.*no champion"
    with running(command, env=os.environ, log=log) as process, pytest.raises(MonitoringError, match=told):
        wait_until("it answers", lambda: False, seconds=30, programs={log: process})


def test_whatever_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    held, log = tmp_path / "held", tmp_path / "parent.log"
    # A lock goes with the last process that holds it, also where nobody waits for that process to end.
    child = f"import fcntl, time; file = open({str(held)!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX); time.sleep(600)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"

    def is_held() -> bool:
        with held.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    with running([sys.executable, "-c", parent], env=os.environ, log=log) as process:
        wait_until("the child", lambda: held.exists() and is_held(), seconds=30, programs={log: process})
    wait_until("its end", lambda: not is_held(), seconds=30, programs={})


def test_without_postgresql_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("examples.servers.POSTGRES", ())
    with pytest.raises(MonitoringError, match="or keep the log in files with --log parquet"), postgres():
        pass

"""Claims about load: what the scoring service holds for minutes, a backfill beside the schedule, a crowd of webhooks.

    python benchmarks/load.py service --minutes 10
    python benchmarks/load.py backfill --hours 1000
    python benchmarks/load.py webhook --calls 100

The service answers as many callers as keep two cores busy: no record may be lost, and its memory must not grow with
what it has answered. The backfill computes its hours in one process while another has a run for one hour after the
other, as the schedule would: both must come out whole. The webhook gets all calls at once, each with a signature of its
own, on one incident.
"""

import argparse
import json
import logging
import multiprocessing as mp
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from recording import BODY, PORTS, connected, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

CALLERS = 8
MEGABYTE = 2**20


def show(name: str, value: object) -> None:
    """Print one figure."""
    print(f"{name:44}{value:>16}" if isinstance(value, str) else f"{name:44}{value:16,.1f}", flush=True)


def call(port: int, until: float, told: "Connection") -> None:
    """Ask one question after the other, and tell what each took in milliseconds."""
    connection, took = connected(port), []
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request("POST", "/predict", BODY, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append((time.perf_counter() - began) * 1000)
    told.send(took)


def service(minutes: float) -> None:
    """Measure the scoring service."""
    port = PORTS["recorded"]
    with tempfile.TemporaryDirectory() as folder:
        here, there = mp.Pipe()
        process = mp.Process(target=serve, args=(port, Path(folder), there), daemon=True)
        process.start()
        connected(port).close()
        watched, memory = psutil.Process(process.pid), list[float]()
        until = time.monotonic() + 60 * minutes
        pipes = [mp.Pipe() for _ in range(CALLERS)]
        callers = [mp.Process(target=call, args=(port, until, end)) for _, end in pipes]
        for caller in callers:
            caller.start()
        while time.monotonic() < until:
            time.sleep(min(1.0, 60 * minutes / 20))
            memory.append(watched.memory_info().rss / MEGABYTE)
        took = [value for near, _ in pipes for value in near.recv()]
        for caller in callers:
            caller.join()
        time.sleep(3)  # the last batch is stored
        connection = connected(port)
        connection.request("GET", "/told")
        calls, counts = here.recv()
        process.terminate()
        process.join()
    show("minutes", minutes)
    show("answers", float(len(took)))
    show("answers a second", len(took) / (60 * minutes))
    show("p50 ms", float(np.quantile(took, 0.5)))
    show("p99 ms", float(np.quantile(took, 0.99)))
    tenth = max(1, len(memory) // 10)
    # The benchmark itself keeps what each call of `record` took.
    own = (sys.getsizeof(0.0) + 8) * len(calls) / MEGABYTE
    show("memory in the second tenth, MB", float(np.mean(memory[tenth : 2 * tenth] or memory)))
    show("memory in the last tenth, MB", float(np.mean(memory[-tenth:])) - own)
    for name, count in counts.items():
        show(f"records {name}", float(count))
    assert counts["stored"] == counts["accepted"] == len(took), "a record is missing"
    assert counts["lost"] == counts["dropped"] == 0, "a record was lost"


def hour_by_hour(home: Path, first: int, last: int, told: "Connection", stop: Any) -> None:
    """Execute a run for one hour after the other, and tell what each took in seconds."""
    from monitoring_pipeline.workflow.partitions import range_tags
    from monitoring_pipeline_tests.traffic import hour
    from monitoring_pipeline_tests.workers import run_hours

    logging.disable(logging.CRITICAL)
    took = []
    for number in range(first, last):
        if stop.is_set() and len(took) >= 5:
            break
        began = time.perf_counter()
        run_hours(home / "dagster", range_tags(hour(number), hour(number)))
        took.append(time.perf_counter() - began)
    told.send(took)


def backfill(hours: int) -> None:
    """Measure a backfill beside the schedule."""
    import pytest

    from monitoring_pipeline.workflow.partitions import range_tags
    from monitoring_pipeline_tests.deployments import MODEL, deploying, make_template
    from monitoring_pipeline_tests.faults.invariants import no_hour_is_missing, prove, stored_hours
    from monitoring_pipeline_tests.traffic import hour
    from monitoring_pipeline_tests.workers import run_hours

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # Dagster's, of every definition
    most, alone = max(20, hours // 5), 5
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        make_template(Path(folder) / "template")
        with deploying(Path(folder) / "template", Path(folder) / "home", patch) as deployment:
            home, end = deployment.home, hours + most
            for first in range(0, end, 100):
                deployment.serve(first, min(first + 100, end) - 1)
            deployment.set_clock(hour(end) + timedelta(minutes=30))
            here, there = mp.Pipe()
            quiet = mp.Event()
            hour_by_hour(home, hours, hours + alone, there, quiet)
            before = here.recv()
            beside = mp.Process(target=hour_by_hour, args=(home, hours + alone, end, there, quiet))
            beside.start()
            began = time.perf_counter()
            for first in range(0, hours, 500):
                run_hours(home / "dagster", range_tags(hour(first), hour(min(first + 500, hours) - 1)))
            took = time.perf_counter() - began
            quiet.set()
            during = here.recv()
            beside.join()
            done = [*range(hours), *range(hours, hours + alone + len(during))]
            prove(no_hour_is_missing(stored_hours(deployment.store, MODEL, {hour(number): 60 for number in done})))
    show("hours backfilled", float(hours))
    show("backfilled hours a second", hours / took)
    show("runs of one hour beside it", float(len(during)))
    show("one hour alone, median s", float(np.median(before)))
    show("one hour beside the backfill, median s", float(np.median(during)))
    show("one hour beside the backfill, slowest s", max(during))
    show("hours missing", "none")


@contextmanager
def incident_service() -> "Iterator[tuple[int, Any, str]]":
    """Give the port of a webhook, the state database behind it, and the incident it knows."""
    from monitoring_pipeline.capture.windows import hour_of
    from monitoring_pipeline.notify.actions import Action, ActionKind
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.stores.database import StateDatabase
    from monitoring_pipeline.workflow.telling import delivery_rules
    from monitoring_pipeline_tests.processes import free_port, listens, running, wait_until
    from monitoring_pipeline_tests.workers import SECRET

    with tempfile.TemporaryDirectory() as folder:
        home, now = Path(folder), datetime.now(UTC)
        (home / "monitors").mkdir()
        file = home / "monitors" / "churn.yaml"
        file.write_text(
            json.dumps({"model": "churn", "start": hour_of(now).isoformat(), "features": {"numeric": ["tenure"]}})
        )
        state = StateDatabase(f"sqlite:///{home / 'monitoring.db'}")
        state.migrate()
        said = Action(ActionKind.OPEN, "", "ana", now, "it drifts", {"model": "churn", "severity": "critical"})
        incident = state.act(said, rules=delivery_rules(load_monitor(file))).id
        named = {"HOME": home, "MONITORS": home / "monitors", "WEBHOOK_SECRET": SECRET}
        env = {**os.environ, **{f"MONITORING_{name}": str(value) for name, value in named.items()}}
        env["PYTHONPATH"] = str(Path(__file__).parents[1])
        port, log = free_port(), home / "log"
        command = [sys.executable, "-m", "monitoring_pipeline.cli", "incident-webhook", "--port", str(port)]
        with running(command, env=env, cwd=home, log=log):
            wait_until("it listens", lambda: listens(port), seconds=60, logs=[log])
            yield port, state, incident
        state.close()


def webhook(calls: int) -> None:
    """Measure concurrent calls of the webhook."""
    from monitoring_pipeline.notify.channels.signatures import signature
    from monitoring_pipeline_tests.workers import SECRET

    with incident_service() as (port, state, incident):

        def post(number: int) -> tuple[int, float]:
            body = json.dumps({"kind": "note", "incident_id": incident, "author": "ana", "text": f"{number}"}).encode()
            sent, name = int(time.time()), f"msg_{number}"
            headers = {
                "webhook-id": name,
                "webhook-timestamp": str(sent),
                "webhook-signature": signature(SECRET, webhook_id=name, timestamp=sent, body=body),
            }
            connection, began = HTTPConnection("127.0.0.1", port, timeout=60), time.perf_counter()
            connection.request("POST", "/incidents/actions", body, headers)
            status = connection.getresponse().status
            return status, (time.perf_counter() - began) * 1000

        began = time.perf_counter()
        with ThreadPoolExecutor(calls) as crowd:
            found = list(crowd.map(post, range(calls)))
        took = time.perf_counter() - began
        kept = [event.why for event in state.incident_events(incident)]
    statuses = [status for status, _ in found]
    show("calls at once", float(calls))
    show("calls a second", calls / took)
    show("p50 ms", float(np.quantile([ms for _, ms in found], 0.5)))
    show("slowest ms", max(ms for _, ms in found))
    show("carried out", float(statuses.count(200)))
    assert set(statuses) == {200}, statuses
    assert sorted(kept[1:], key=int) == [str(number) for number in range(calls)], "each once"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["service", "backfill", "webhook"])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--hours", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=100)
    asked = parser.parse_args()
    {
        "service": lambda: service(asked.minutes),
        "backfill": lambda: backfill(asked.hours),
        "webhook": lambda: webhook(asked.calls),
    }[asked.what]()

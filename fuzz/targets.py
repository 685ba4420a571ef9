"""What reads the input of others, as functions of bytes; `python fuzz/targets.py SECONDS [NAME ...]` fuzzes them.

Each may refuse its input by a MonitoringError, or an answer of 4xx, and by nothing else. Add a target here for every
reader; the suite tries all of them for a moment, and atheris for as long as it is told. Inputs that made one fail are
left in `.fuzz/`.
"""

# ruff: noqa: T201 - a script prints

import base64
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import MonitoringError

NOW = datetime(2026, 11, 20, 13, 15, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a key of which everybody may know").decode()


def settings(data: bytes) -> None:
    """Read a monitor's YAML."""
    from monitoring_pipeline.settings.documents import read_document
    from monitoring_pipeline.settings.load import load_monitor

    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        read_document(data.decode("utf-8", "replace"), "fuzzed.yaml")
        load_monitor(Path(file.name))


def services_file(data: bytes) -> None:
    """Read the YAML of the services that are checked."""
    from monitoring_pipeline.settings.services import load_services

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "services.yaml").write_bytes(data)
        load_services(Path(folder) / "services.yaml")


def formula(data: bytes) -> None:
    """Read a formula of a business metric."""
    from monitoring_pipeline.describe.formulas import Formula, FormulaError

    try:
        Formula.parse(data.decode("utf-8", "replace"))
    except FormulaError as error:
        raise MonitoringError(str(error)) from None  # the settings that hold it make it one


def reference(data: bytes) -> None:
    """Read a stored reference whose digest fits, as that of whoever forges one does."""
    from monitoring_pipeline.describe.reference_json import document_digest, reference_from_json

    document = _json(data)
    if isinstance(document, dict):
        try:
            digest = document_digest({name: value for name, value in document.items() if name != "digest"})
        except (ValueError, RecursionError):
            digest = ""
        document = document | {"format": 3, "digest": digest}
    reference_from_json(document)


def rows(data: bytes) -> None:
    """Read a Parquet file of rows that somebody hands over."""
    from monitoring_pipeline.stores.rows import read_rows

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(data)
        file.flush()
        read_rows(Path(file.name))


def skops_model(data: bytes) -> None:
    """Load a model, whose file's schema is the data where that is JSON."""
    import zipfile

    from monitoring_pipeline.serve.trusted import load_trusted

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skops"
        path.write_bytes(data)
        if data[:1] == b"{":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("schema.json", data)
        load_trusted(path, [], "fuzzed v1")


def model_description(data: bytes) -> None:
    """Read an MLmodel file."""
    from monitoring_pipeline.serve.artifacts import description

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MLmodel"
        path.write_bytes(data)
        description(path, "fuzzed v1")


def webhook(data: bytes) -> None:
    """Post a request that acts on incidents, signed as it should be."""
    from monitoring_pipeline.notify.channels.signatures import signature

    moment = int(NOW.timestamp())
    signed = signature(SECRET, webhook_id="1", timestamp=moment, body=data)
    headers = {"webhook-id": "1", "webhook-timestamp": str(moment), "webhook-signature": signed}
    _answered(_webhook().post("/incidents/actions", content=data, headers=headers))


def scoring(data: bytes) -> None:
    """Post to every route of a scoring service."""
    for path in ("/predict", "/predict/batch", "/feedback"):
        _answered(_scoring().post(path, content=data, headers={"content-type": "application/json"}))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "settings": settings,
    "services_file": services_file,
    "formula": formula,
    "reference": reference,
    "rows": rows,
    "skops_model": skops_model,
    "model_description": model_description,
    "webhook": webhook,
    "scoring": scoring,
}


def seeds(name: str) -> list[bytes]:
    """Return inputs from which others are made."""
    root = Path(__file__).parents[1]
    if name == "settings":
        return [(root / "monitoring_pipeline_tests/settings/complete.yaml").read_bytes(), b"model: churn\n"]
    if name == "services_file":
        return [b"services:\n- {name: api, url: http://127.0.0.1:8008, canaries: []}\n"]
    if name == "formula":
        return [b"sum(amount * (actual == 1)) / count() - mean(usage)", b"count(plan == 'plus')"]
    if name == "reference":
        return [_reference()]
    if name == "rows":
        sink = io.BytesIO()
        pq.write_table(pa.table({"a": [1.5, None], "b": ["x", "y"]}), sink)
        return [sink.getvalue()]
    if name == "skops_model":
        return [json.dumps(_node("list", [_node("dict", [])])).encode(), b"PK\x05\x06" + b"\x00" * 18]
    if name == "model_description":
        inputs = json.dumps([{"name": "a", "type": "double"}])
        return [f"flavors: {{sklearn: {{pickled_model: m}}}}\nsignature: {{inputs: '{inputs}'}}\n".encode()]
    if name == "webhook":
        return [json.dumps({"kind": "note", "author": "ana", "incident_id": "1", "text": "x"}).encode()]
    features = {"tenure": 12.0, "plan": "plus", "is_new": False, "seen_at": "2026-11-20T12:00:00Z"}
    label = {"prediction_id": "1", "actual": 1, "labelled_at": "2026-11-20T12:00:00Z"}
    bodies: list[dict[str, Any]] = [{"features": features}, {"rows": []}, {"labels": [label]}]
    return [json.dumps(each).encode() for each in bodies]


def run(name: str, data: bytes) -> None:
    """Give one input to a target, and pass over what it says is wrong with it."""
    with suppress(MonitoringError):
        TARGETS[name](data)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return {}


def _node(kind: str, content: list[Any]) -> dict[str, Any]:
    loader = {"list": "ListNode", "dict": "DictNode"}[kind]
    return {"__class__": kind, "__module__": "builtins", "__loader__": loader, "content": content, "protocol": 2}


def _answered(answer: Any) -> None:
    assert answer.status_code < 500 or answer.json()["detail"].endswith("Try again in a moment."), answer.text
    json.loads(answer.content)


@cache
def _reference() -> bytes:
    from monitoring_pipeline.describe.outcomes import Task
    from monitoring_pipeline.describe.reference_json import reference_to_json
    from monitoring_pipeline_tests.poison import reference as poisoned

    return json.dumps(reference_to_json(poisoned(Task.BINARY))).encode()


@cache
def _webhook() -> Any:
    from starlette.testclient import TestClient

    from monitoring_pipeline.workflow.incident_webhook import app_of

    class Never:
        """Forgets what was carried out, so that every request is."""

        def claim(self, message_id: str, now: datetime) -> bool:
            return True

        def release(self, message_id: str) -> None:
            """Forget it as well."""

    return TestClient(
        app_of(lambda action: {"kind": action.kind}, Credential(SECRET), clock=lambda: NOW, replays=Never())
    )


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzzed-")  # which goes with the process


@cache
def _scoring() -> Any:
    from starlette.testclient import TestClient

    from monitoring_pipeline_tests.scoring import Registered, Scoring, scorer

    return TestClient(Scoring(Path(_folder().name), Registered({"1": scorer("1", 0.5)}, {"champion": "1"})).app)


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; atheris ends it."""
    import atheris  # type: ignore[import-untyped]  # published without types

    with atheris.instrument_imports(include=["monitoring_pipeline"], enable_loader_override=False):
        for seed in seeds(name):
            run(name, seed)
    found = Path(".fuzz") / name
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (found / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", f"-artifact_prefix={found}/"]
    atheris.Setup([sys.argv[0], str(found), *options, "-print_final_stats=1"], lambda data: run(name, bytes(data)))
    atheris.Fuzz()


def main(seconds: str, *names: str) -> None:
    """Fuzz the named targets, or all of them, each in a process of its own for its share of the time."""
    if names[:1] == ("--one",):
        _fuzz(names[1], int(seconds))
        return
    wanted = names or tuple(TARGETS)
    failed = []
    for name in wanted:
        share = max(1, int(seconds) // len(wanted))
        done = subprocess.run(  # noqa: S603 - this file, by the interpreter it runs in
            [sys.executable, __file__, str(share), "--one", name], stderr=subprocess.PIPE, text=True, check=False
        )
        runs = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?")
        print(f"{name:18} {runs:>9} inputs in {share} s: {'failed' if done.returncode else 'none failed'}")
        if done.returncode:
            failed.append(name)
            print(done.stderr[-3000:])
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["60"]))

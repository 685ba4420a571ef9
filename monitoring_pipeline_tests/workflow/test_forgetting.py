"""Somebody is forgotten wherever there are rows of single predictions, and nobody else is touched."""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.capture.predictions import TIME_TYPE
from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.describe.quarantine import SCHEMA
from monitoring_pipeline.serve.spool import REFUSED, Part, Spool, rows_of, spool_of
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores import erasure
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.objects import ObjectPath
from monitoring_pipeline.stores.parquet import model_folder
from monitoring_pipeline.workflow.forgetting import Forgotten, Places, forget
from monitoring_pipeline.workflow.logs import logs_at
from monitoring_pipeline_tests.buckets import bucket, bucket_server
from monitoring_pipeline_tests.postgres import running_postgres
from monitoring_pipeline_tests.traffic import START

__all__ = ["bucket", "bucket_server"]

MODEL, SUBJECT, OTHER = "churn", "c1", "c2"
KEY = "k" * 43
ASKED: dict[str, Any] = {
    "model": MODEL,
    "start": START.isoformat(),
    "features": {"categorical": ["plan"]},
    "columns": {"entity": "customer_id"},
}


@dataclass
class Deployment:
    """A monitor with rows of two customers wherever it has rows: predictions 0, 3 and 5 of six are the first one's."""

    monitor: Monitor
    places: Places
    secrets: dict[str, str]
    left: list[Forgotten] = field(default_factory=list)

    def store(self) -> None:
        model, root = self.monitor.registry_name, self.places.here
        predictions, labels = logs_at(self.monitor, self.places.data, self.secrets.get)
        predictions.append(model, rows())
        labels.append(model, labelled(), hours=[START])
        hourly = HourlyStore(self.places.data)
        sample = predictions.read(Window(model, START, START + HOUR))
        hourly.write("samples", model, START, sample)
        hourly.write("shadow_rows", model, START, sample.select(["prediction_id", "score"]))
        hourly.write("quarantine", model, START, quarantine())
        hourly.write("drift", model, START, pa.table({"metric": ["drift.psi"], "column": ["customer_id"]}))
        for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
            publish(model_folder(root, "evidently", model) / f"{day}.html", b"<p>rows</p>")
        kept = sample.select(["prediction_id", "plan"])
        run = root / "retraining" / model / "run"
        run.mkdir(parents=True)
        HourlyStore(root / "training").write("x", model, START, kept)
        next((root / "training").rglob("*.parquet")).rename(run / "holdout.parquet")

    def forget(self, values: list[str], *, column: str = "customer_id", dry: bool = False) -> dict[str, int]:
        found = forget(self.monitor, self.places, self.secrets.get, column=column, values=values, dry=dry)
        self.left = [each for each in found if each.left]
        return {each.place: each.count for each in found if each.count}

    def ids(self) -> list[str]:
        predictions, _ = logs_at(self.monitor, self.places.data, self.secrets.get)
        model = self.monitor.registry_name
        return sorted(predictions.read(Window(model, START, START + 48 * HOUR))["prediction_id"].to_pylist())


def rows() -> pa.Table:
    at = [START + 10 * minute * timedelta(minutes=1) for minute in range(5)] + [START + 30 * HOUR]
    return pa.table(
        {
            "prediction_id": [f"p{number}" for number in range(6)],
            "predicted_at": pa.array(at, TIME_TYPE),
            "model_version": ["1"] * 6,
            "prediction": [0] * 6,
            "score": [0.1] * 6,
            "plan": ["gold"] * 6,
            "customer_id": [SUBJECT, OTHER, OTHER, SUBJECT, OTHER, SUBJECT],
        }
    )


def labelled() -> pa.Table:
    moments = pa.array([START + HOUR] * 6, TIME_TYPE)
    return pa.table({"prediction_id": [f"p{n}" for n in range(6)], "actual": [1] * 6, "labelled_at": moments})


def quarantine() -> pa.Table:
    said = [("p0", "score", "inf"), ("p1", "score", "inf"), (None, "customer_id", SUBJECT)]
    lines = [
        {"prediction_id": id_, "predicted_at": START, "column": name, "reason": "bad_type", "value": value}
        for id_, name, value in said
    ]
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def deployment(folder: Path, **changes: Any) -> Deployment:
    made = Deployment(
        parse_monitor(ASKED | changes), Places(folder, folder, folder / "spool"), {"MONITORING_PII_KEY": KEY}
    )
    made.store()
    return made


EVERYWHERE = {
    "predictions": 3,
    "labels": 3,
    "samples": 2,
    "shadow_rows": 2,
    "quarantine": 2,
    "retraining": 2,
    "evidently pages": 2,
}


def test_of_what_the_service_could_not_store_rows_go_and_those_that_wait_are_said(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    assert here.places.spools is not None
    folder = spool_of(here.places.spools, MODEL)
    lines = [json.dumps([f"q{n}", who]).encode() + b"\n" for n, who in enumerate((SUBJECT, OTHER, SUBJECT))]
    spool = Spool(folder, ["prediction_id", "customer_id"])
    spool.add([*lines, b"torn\n"])
    refused = spool.first()
    assert refused is not None
    spool.set_aside(refused)
    spool.add(lines[:2])
    would = here.forget([SUBJECT], dry=True)
    assert (would["rows no log took"], would["rows that wait for the log"]) == (2, 1)
    did = here.forget([SUBJECT])
    assert (did["rows no log took"], did["rows that wait for the log"]) == (2, 1)
    assert [each.place for each in here.left] == ["rows that wait for the log"]
    (left,) = folder.glob(f"*/*{REFUSED}")
    assert rows_of(Part(left)) == (["prediction_id", "customer_id"], [["q1", OTHER]])
    assert here.forget([SUBJECT]) == {"rows that wait for the log": 1}


def test_all_rows_of_somebody_go_from_every_place_and_nobody_elses(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    assert here.forget([SUBJECT]) == EVERYWHERE
    assert here.ids() == ["p1", "p2", "p4"]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert OTHER.encode() in stored
    assert SUBJECT.encode() not in stored
    assert [path.stem for path in tmp_path.rglob("*.html")] == ["2026-11-22"]
    hourly = HourlyStore(tmp_path)
    assert hourly.read("quarantine", MODEL, START, START + HOUR)[START]["prediction_id"].to_pylist() == ["p1"]
    assert hourly.read("drift", MODEL, START, START + HOUR)[START].num_rows == 1


def test_forgetting_again_finds_nothing(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    here.forget([SUBJECT])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert here.forget([SUBJECT]) == {}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_dry_run_counts_the_same_and_changes_nothing(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert here.forget([SUBJECT], dry=True) == EVERYWHERE
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_somebody_whose_id_was_hashed_before_it_was_stored_is_found_by_it(tmp_path: Path) -> None:
    here = deployment(tmp_path, privacy={"hash": ["customer_id", "prediction_id"]})
    assert SUBJECT.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("predictions/**/*.parquet"))
    found = here.forget([SUBJECT])
    assert (found["predictions"], found["labels"], found["samples"]) == (3, 3, 2)
    assert len(here.ids()) == 3


def test_a_prediction_can_be_forgotten_by_its_id(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    found = here.forget(["p1"], column="prediction_id")
    assert found == dict.fromkeys(EVERYWHERE, 1)
    assert here.ids() == ["p0", "p2", "p3", "p4", "p5"]


def test_nobody_is_forgotten_whom_nobody_knows(tmp_path: Path) -> None:
    here = deployment(tmp_path)
    assert here.forget(["c", "nobody", "C1", "c1 "]) == {}


class KilledError(BaseException):
    """What nothing catches: the files are left as a killed process leaves them."""


def test_whenever_it_is_killed_forgetting_again_finishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in itertools.count():
        here, left = deployment(tmp_path / str(step)), iter(range(step))

        def counted(change: Callable[..., None], left: Iterator[int] = left) -> Callable[..., None]:
            def changed(*said: Any, **named: Any) -> None:
                if next(left, None) is None:
                    raise KilledError
                change(*said, **named)

            return changed

        with monkeypatch.context() as patch, suppress(KilledError):
            patch.setattr(erasure, "publish", counted(publish))
            patch.setattr(Path, "unlink", counted(Path.unlink))
            here.forget([SUBJECT])
            break
        here.forget([SUBJECT])
        assert here.ids() == ["p1", "p2", "p4"]
        stored = b"".join(path.read_bytes() for path in here.places.here.rglob("*.parquet"))
        assert SUBJECT.encode() not in stored
        known = logs_at(here.monitor, here.places.data, here.secrets.get)[1].read(
            MODEL, start=START, end=START + 48 * HOUR
        )
        assert known is not None
        assert sorted(known["prediction_id"].to_pylist()) == ["p1", "p2", "p4"]
    assert step > 8


@pytest.mark.slow
def test_rows_in_a_bucket_go_as_those_in_files(bucket: ObjectPath, tmp_path: Path) -> None:
    here = Deployment(parse_monitor(ASKED), Places(bucket, tmp_path), {})
    here.store()
    assert here.forget([SUBJECT]) == EVERYWHERE
    assert here.forget([SUBJECT]) == {}
    assert here.ids() == ["p1", "p2", "p4"]


def test_in_somebody_elses_table_nothing_is_deleted_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    engine = sa.create_engine(url)
    texts = rows().set_column(
        1, "predicted_at", pa.array([at.isoformat() for at in rows()["predicted_at"].to_pylist()])
    )
    texts.to_pandas().to_sql("served", engine, index=False)
    here = deployment(tmp_path / "ours")
    here.secrets["LOG_URL"] = url
    log = {"kind": "sql", "url_env": "LOG_URL", "predictions": {"table": "served"}}
    here.monitor = parse_monitor(ASKED | {"log": log})
    found = here.forget([SUBJECT])
    assert found["table served"] == 3
    assert here.left == [Forgotten("table served", 3, here.left[0].left)]
    assert "delete the rows with these values of 'customer_id' there" in here.left[0].left
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM served")).scalar() == 6
        connection.execute(sa.text("DELETE FROM served WHERE customer_id = 'c1'"))
        connection.commit()
    assert here.forget([SUBJECT]) == {}
    assert here.left == []


@pytest.fixture
def postgres_url() -> Iterator[str]:
    # Not tmp_path: its parents are closed to the user the server runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        with running_postgres(Path(folder) / "server") as url:
            yield url


@pytest.mark.postgres
def test_rows_in_postgresql_go_with_those_that_have_no_time(postgres_url: str, tmp_path: Path) -> None:
    log = {"kind": "postgres", "url_env": "LOG_URL"}
    made = Deployment(parse_monitor(ASKED | {"log": log}), Places(tmp_path, tmp_path), {"LOG_URL": postgres_url})
    made.store()
    predictions, labels = logs_at(made.monitor, tmp_path, made.secrets.get)
    timeless = rows().set_column(1, "predicted_at", pa.nulls(6, TIME_TYPE))
    predictions.append(MODEL, timeless)
    numbers = rows().set_column(6, "customer_id", pa.array([7.0] * 6)).slice(0, 2)
    predictions.append(MODEL, numbers.set_column(0, "prediction_id", pa.array(["n0", "n1"])))
    wanted = EVERYWHERE | {"predictions in PostgreSQL": 6, "labels in PostgreSQL": 3}
    del wanted["predictions"], wanted["labels"]
    assert made.forget([SUBJECT], dry=True) == wanted
    assert made.forget([SUBJECT]) == wanted
    assert made.forget([SUBJECT]) == {}
    assert made.ids() == ["n0", "n1", "p1", "p2", "p4"]
    assert made.forget(["7"])["predictions in PostgreSQL"] == 2
    known = labels.read(MODEL, start=START, end=START + 48 * HOUR)
    assert known is not None
    assert known.num_rows == 3

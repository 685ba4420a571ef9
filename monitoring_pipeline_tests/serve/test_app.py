import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import Window
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.serve.assignment import Assignment
from monitoring_pipeline.serve.routing import CHALLENGER, CHAMPION, SHADOW, Router
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.scoring import COLUMNS, MODEL, NOW, ROW, Port, Registered, Scoring, listening, scorer

ONE = {"features": ROW}


def registered(**pointers: str) -> Registered:
    found = {name: scorer(name, 0.1 * int(name)) for name in "123456789"}
    return Registered(found, pointers or {CHAMPION: "3"})


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    return Scoring(tmp_path, registered())


@pytest.fixture
def port(scoring: Scoring) -> Iterator[Port]:
    with listening(scoring.app) as found:
        yield found


def test_a_prediction_is_answered_and_recorded_as_it_was_asked_for(scoring: Scoring, port: Port) -> None:
    answer = port.predict(prediction_id="p-1", entity="u-7", context={"country": "CH"})
    assert answer | {"predicted_at": ""} == {
        "prediction_id": "p-1",
        "predicted_at": "",
        "model": MODEL,
        "version": "3",
        "prediction": 0.0,
        "score": pytest.approx(0.3),
        "served_by": CHAMPION,
        "variant": "",
    }
    (row,) = scoring.logged()
    assert row.pop("latency_ms") >= row.pop("score_ms") > 0
    assert row.pop("seen_at").isoformat() == "2026-11-20T12:00:00+00:00"
    assert row == {
        "prediction_id": "p-1",
        "predicted_at": NOW,
        "model_version": "3",
        "prediction": 0,
        "score": pytest.approx(0.3),
        "served_by": CHAMPION,
        "status": "ok",
        "variant": None,
        "endpoint": "/predict",
        "user": "u-7",
        "batch_rows": 1,
        "tenure": 12.0,
        "plan": "plus",
        "is_new": False,
        "country": "CH",
        "shadow_version": None,
        "shadow_score": None,
    }


def test_a_batch_is_answered_in_its_order_and_says_how_large_it_was(scoring: Scoring, port: Port) -> None:
    rows = [{"features": {"tenure": float(number), "plan": "x", "is_new": True}} for number in range(20)]
    status, answer, _ = port.ask("POST", "/predict/batch", {"rows": rows})
    assert (status, len(answer["predictions"])) == (200, 20)
    logged = {row["prediction_id"]: row for row in scoring.logged()}
    assert [logged[each["prediction_id"]]["tenure"] for each in answer["predictions"]] == [*range(20)]
    assert {row["batch_rows"] for row in logged.values()} == {20}


def test_labels_come_back_to_the_hours_of_their_predictions(scoring: Scoring, port: Port) -> None:
    known, unknown = port.predict(), {"prediction_id": "nobody", "actual": 0}
    status, answer, _ = port.ask(
        "POST", "/feedback", {"labels": [{"prediction_id": known["prediction_id"], "actual": 1}, unknown]}
    )
    assert (status, answer) == (200, {"stored": 2})
    later = {"prediction_id": known["prediction_id"], "actual": 0.0, "predicted_at": known["predicted_at"]}
    assert port.ask("POST", "/feedback", {"labels": [later]})[0] == 200
    hour = Window.of_hour(MODEL, NOW).start
    arrivals = scoring.labels.arrivals(MODEL, after=0, limit=10)
    assert [(each.rows, each.hours) for each in arrivals] == [(2, (hour,)), (1, (hour,))]


def test_what_a_probe_asks_is_answered_and_not_recorded(scoring: Scoring, port: Port) -> None:
    status, answer, _ = port.ask("POST", "/predict", ONE, x_monitoring_canary="1")
    assert (status, answer["version"]) == (200, "3")
    assert scoring.logged() == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"features": {"tenur": 1.0}}, "body.features.tenur"),
        ({"features": {"tenure": "12"}}, "body.features.tenure"),
        ({"features": {"plan": 7}}, "body.features.plan"),
        ({"features": {"plan": "x" * 501}}, "body.features.plan"),
        ({"features": {"is_new": 1}}, "body.features.is_new"),
        ({"features": {"seen_at": "2026-11-20T12:00:00"}}, "body.features.seen_at"),
        ({"features": {"seen_at": 1_795_176_000}}, "body.features.seen_at"),
        ({"features": {"seen_at": "1795176000"}}, "body.features.seen_at"),
        ({"features": {}, "context": {"city": "Bern"}}, "body.context.city"),
        ({"features": {}, "prediction_id": "a b"}, "body.prediction_id"),
        ({}, "body.features"),
        (b'{"features": {"tenure": NaN}}', "body.features.tenure"),
        (b'{"features": {"tenure": 1e999}}', "body.features.tenure"),
        (b'{"features": {"plan": "\\ud800"}}', "body.features.plan"),
        (b"{", "body.1"),
    ],
)
def test_a_request_that_is_wrong_is_told_where_and_not_what_it_said(
    scoring: Scoring, port: Port, body: object, where: str
) -> None:
    status, problem, headers = port.ask("POST", "/predict", body)
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert [fault["where"] for fault in problem["errors"]][:1] == [where]
    assert "input" not in json.dumps(problem["errors"][0]).replace("Input should", "").replace("Extra inputs", "")
    assert scoring.logged() == []


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with listening(Scoring(tmp_path, registered(), max_body=1000).app) as port:
        status, problem, _ = port.ask("POST", "/predict", {"features": {"plan": "x" * 2000}})
        assert status == 413, problem
        assert port.ask("POST", "/predict/batch", {"rows": [ONE] * 5})[0] == 200
    with listening(Scoring(tmp_path, registered()).app) as port:
        assert port.ask("POST", "/predict/batch", {"rows": [ONE] * 51})[0] == 422


def test_without_a_key_only_health_is_told(tmp_path: Path) -> None:
    with listening(
        Scoring(tmp_path, registered(), api_keys=[Credential("first-key"), Credential("second-key")]).app
    ) as port:
        for method, path, body in (
            ("POST", "/predict", ONE),
            ("POST", "/predict/batch", {"rows": [ONE]}),
            ("POST", "/feedback", {"labels": [{"prediction_id": "p", "actual": 1}]}),
            ("GET", "/model", None),
            ("GET", "/metrics", None),
        ):
            for wrong in ({}, {"x_api_key": "first-ke"}, {"authorization": "Bearer second-key2"}, {"x_api_key": "é"}):
                status, problem, headers = port.ask(method, path, body, **wrong)
                assert (status, headers["www-authenticate"]) == (401, "Bearer")
                assert "key" not in json.dumps(problem).replace("one of the keys", "")
            for right in ({"x_api_key": "first-key"}, {"authorization": "Bearer second-key"}):
                assert port.ask(method, path, body, **right)[0] == 200
        assert port.ask("GET", "/health")[:2] == (200, {"status": "ok", "model": MODEL, "version": "3"})
        assert port.ask("GET", "/ready")[0] == 200


def test_a_broken_model_is_answered_for_by_the_rule_until_it_is_replaced(tmp_path: Path) -> None:
    source = registered()
    scoring = Scoring(tmp_path, source)
    with listening(scoring.app) as port:
        source.scorers["3"].estimator.broken = True
        answers = [port.predict() for _ in range(5)]
        assert {(each["served_by"], each["score"], each["version"]) for each in answers} == {("rule", 0.125, "3")}
        links = {link["name"]: link["circuit"] for link in port.ask("GET", "/model")[1]["links"]}
        assert links == {CHAMPION: "open", "rule": "closed"}
        source.pointers[CHAMPION] = "4"
        assert _within(2, lambda: port.predict()["served_by"] == CHAMPION)
    profile = OperationsProfile.of(prepare_predictions(_log(scoring), COLUMNS), COLUMNS)
    assert profile.served_by["rule"] >= 5
    assert profile.errors == 0


def test_when_nothing_can_answer_the_request_fails_and_is_recorded(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path, registered())
    with listening(scoring.app) as port:
        champion = scoring.models.serving.chains[CHAMPION]
        object.__setattr__(champion, "links", champion.links[:1])
        scoring.registered.scorers["3"].estimator.broken = True
        status, problem, headers = port.ask("POST", "/predict", ONE)
        assert (status, headers["retry-after"]) == (503, "1")
        assert problem["detail"].startswith("1 of 1 rows were answered by nobody: champion: RuntimeError.")
    (row,) = scoring.logged()
    assert (row["status"], row["score"], row["served_by"], row["model_version"]) == ("UnansweredError", None, None, "3")


def test_the_operator_switches_traffic_and_back(tmp_path: Path) -> None:
    first = {"name": ""}
    with listening(Scoring(tmp_path, registered(), begin=lambda: first["name"]).app) as port:
        assert port.predict()["served_by"] == CHAMPION
        first["name"] = "rule"
        assert port.predict()["served_by"] == "rule"
        assert port.ask("GET", "/model")[1]["begins_with"] == "rule"
        first["name"] = ""
        assert port.predict()["served_by"] == CHAMPION


def test_a_test_of_two_models_is_answered_by_arm_and_the_shadow_is_only_recorded(tmp_path: Path) -> None:
    split = Assignment("colour")
    source = registered(**{CHAMPION: "3", CHALLENGER: "7", SHADOW: "9"})
    scoring = Scoring(tmp_path, source, router=Router(split.arm, unit="user"))
    with listening(scoring.app) as port:
        users = [f"u-{number}" for number in range(30)]
        answers = [port.predict(entity=user) for user in users] + [port.predict()]
    score = {"control": 0.3, "treatment": 0.7}
    for user, answer in zip(users, answers, strict=False):
        assert (answer["variant"], answer["score"]) == (split.arm(user), pytest.approx(score[split.arm(user) or ""]))
    assert answers[-1]["variant"] == "", "nobody knows who asked"
    rows = scoring.logged()
    assert {row["variant"] for row in rows} == {"control", "treatment", None}
    assert {(row["shadow_version"], round(row["shadow_score"], 6)) for row in rows} == {("9", 0.9)}


def test_no_request_is_dropped_while_models_are_replaced_and_each_ends_on_the_one_it_began_with(
    tmp_path: Path,
) -> None:
    source = registered()
    for each in source.scorers.values():
        each.estimator.takes_s = 0.01
    scoring = Scoring(tmp_path, source, poll_s=0.02)
    ended = Event()

    def ask(worker: int) -> list[tuple[int, str, float]]:
        found = []
        while not ended.is_set():
            status, answer, _ = service.ask("POST", "/predict", ONE)
            found.append((status, answer.get("version", ""), answer.get("score", 0.0)))
        return found

    with listening(scoring.app) as service, ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, worker) for worker in range(8)]
        for version in "456789":
            time.sleep(0.15)
            source.pointers[CHAMPION] = version
        assert _within(3, lambda: service.predict()["version"] == "9")
        ended.set()
        answers = [answer for future in asking for answer in future.result()]
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} >= set("35789"), "the traffic saw most of the models"
    assert all(score == pytest.approx(0.1 * int(version)) for _, version, score in answers)
    counts = scoring.recorder.counts()
    assert (counts["stored"], counts["lost"], counts["dropped"]) == (counts["accepted"], 0, 0)
    assert _log(scoring).num_rows == counts["accepted"] >= len(answers)


def test_requests_in_flight_are_answered_and_recorded_when_the_service_ends(tmp_path: Path) -> None:
    source = registered()
    source.scorers["3"].estimator.takes_s = 0.5
    scoring = Scoring(tmp_path, source)
    with ThreadPoolExecutor(5) as pool:
        with listening(scoring.app) as port:
            asking = [pool.submit(port.predict) for _ in range(5)]
            time.sleep(0.25)
        assert {future.result()["version"] for future in asking} == {"3"}
    assert _log(scoring).num_rows == 5
    assert scoring.recorder.counts()["dropped"] == 0


def test_the_metrics_name_what_happened(scoring: Scoring, port: Port) -> None:
    port.predict()
    port.ask("POST", "/predict", {"features": {"tenure": 5e6, "plan": "x", "is_new": True, "seen_at": ROW["seen_at"]}})
    port.ask("POST", "/predict", {})
    scoring.recorder.flush()
    text = port.ask("GET", "/metrics")[1]
    for line in (
        'serving_requests_total{endpoint="/predict",status="200"} 2.0',
        'serving_requests_total{endpoint="/predict",status="422"} 1.0',
        'serving_predictions_total{served_by="champion",version="3"} 2.0',
        'serving_defaults_total{feature="tenure"} 1.0',
        'serving_circuit_state{part="champion",version="3"} 0.0',
        'recorder_records_total{outcome="stored"} 2.0',
        'model_info{alias="champion",model="churn",version="3"} 1.0',
        'model_score_ratio_count{version="3"} 2.0',
        'model_confidence_ratio_bucket{le="0.65",version="3"} 0.0',
        'model_confidence_ratio_bucket{le="0.7",version="3"} 2.0',
    ):
        assert line in text.splitlines()


def test_prometheus_finds_nothing_wrong_with_the_metrics_and_their_names_end_in_a_unit(
    scoring: Scoring, port: Port
) -> None:
    promtool = require("promtool", "/usr/bin/promtool")
    answer = port.predict({"tenure": 5e6, "plan": 'x"\n\\'})
    port.ask("POST", "/feedback", {"labels": [{"prediction_id": answer["prediction_id"], "actual": 1}]})
    port.ask("POST", "/predict", {})
    port.ask("GET", "/nothing\\here")
    scoring.registered.scorers["3"].estimator.broken = True
    port.predict()
    text = port.ask("GET", "/metrics")[1]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    kinds = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE"))
    units = {"counter": "total", "histogram": "seconds|ratio", "gauge": "rows|state|info"}
    assert kinds
    for name, kind in kinds.items():
        assert re.fullmatch(rf"(serving|recorder|model)_\w+_({units[kind]})|model_info", name), name


def test_the_documentation_has_an_example_that_works(port: Port) -> None:
    document = port.ask("GET", "/openapi.json")[1]
    example = document["components"]["schemas"]["PredictionRequest"]["examples"][0]
    assert port.ask("POST", "/predict", example)[0] == 200
    assert set(document["paths"]) == {
        "/predict", "/predict/batch", "/feedback", "/model", "/metrics", "/health", "/ready"
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"features": {"tenure": ' + b"9" * 5000 + b"}}", b"\xff\xfe", b""])
def test_a_body_made_to_break_a_parser_is_refused(port: Port, body: bytes) -> None:
    for path in ("/predict", "/predict/batch", "/feedback"):
        assert port.ask("POST", path, body)[0] in (400, 422)
    assert port.ask("POST", "/predict", ONE, content_type="text/plain")[0] == 422
    assert port.predict()["version"] == "3"


def _log(scoring: Scoring) -> Any:
    return scoring.predictions.read(Window.of_hour(MODEL, NOW))


def _within(seconds: float, is_so: Any) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False

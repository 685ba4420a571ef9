import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.evaluate.service_health import Canary, Probe, Service
from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline.stores.service_probes import probe_database, probe_service, probe_together

CANARY = Canary("usual", "/predict", {"tenure": 3}, "/predictions/0/score", expected=0.75, version="/model/version")


def probed(httpserver: HTTPServer, token: str | None = None, **asked: Any) -> Probe:
    return probe_service(
        Service("api", httpserver.url_for("/"), **asked), timeout_s=2, token=Credential(token) if token else None
    )


def test_a_service_that_is_well_tells_its_version(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health").respond_with_json({"status": "ok", "version": 7})
    probe = probed(httpserver, version="/version")
    assert (probe.problem, probe.version) == ("", "7")
    assert probe.latency_ms is not None


def test_mlflow_tells_its_version_at_an_address_of_its_own(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    httpserver.expect_request("/version").respond_with_data("3.17.2")
    probe = probed(httpserver, version_path="/version")
    assert (probe.problem, probe.version) == ("", "3.17.2")


def test_a_service_without_that_address_is_well_without_a_version(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    assert (probed(httpserver, version_path="/version").problem, probed(httpserver, version="/v").problem) == ("", "")


@pytest.mark.parametrize(
    ("answer", "asked", "problem"),
    [
        (Response(status=503), {}, "answered 503 Service Unavailable, 200 is needed"),
        (Response(status=302), {}, "answered 302 Found; no redirect is followed"),
        (Response("<html>Log in</html>"), {"expect": {"/database": "ok"}}, "answered text where JSON is needed"),
        (Response("<html>Log in</html>"), {"version": "/v", "version_needed": True}, "answered text where JSON"),
        (Response('{"database": "failing"}'), {"expect": {"/database": "ok"}}, "says 'failing' at /database, 'ok' is"),
        (Response("{}"), {"expect": {"/database": "ok"}}, "has nothing at /database"),
        (Response("{}"), {"version": "/v", "version_needed": True}, "has nothing at /v"),
    ],
)
def test_a_service_that_is_not_well_says_what_where_and_what_to_do(
    httpserver: HTTPServer, answer: Response, asked: dict[str, Any], problem: str
) -> None:
    httpserver.expect_request("/health").respond_with_response(answer)
    found = probed(httpserver, **asked).problem
    assert found.startswith(f"api at {httpserver.url_for('/health')} ")
    assert problem in found
    assert found.endswith(".")


def test_a_service_that_is_down_is_named_with_its_address() -> None:
    probe = probe_service(Service("api", "http://127.0.0.1:1"), timeout_s=2, token=None)
    assert probe.problem.startswith("api at http://127.0.0.1:1/health: no connection: Connection refused. Look")
    assert probe.latency_ms is None


def test_a_token_is_sent_and_a_missing_one_asked_for(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health", headers={"Authorization": "Bearer hunter2"}).respond_with_data("OK")
    assert probed(httpserver, token_env="API_TOKEN", token="hunter2").problem == ""
    assert "API_TOKEN is not set" in probed(httpserver, token_env="API_TOKEN").problem
    assert "hunter2" not in probed(httpserver, token_env="API_TOKEN", token="hunter2\n").problem


def test_a_canary_gives_its_output_and_the_version_that_made_it(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    answer = {"predictions": [{"score": 0.75}], "model": {"version": 7}}
    marked = {"X-Monitoring-Canary": "1"}
    httpserver.expect_request("/predict", method="POST", json={"tenure": 3}, headers=marked).respond_with_json(answer)
    (canary,) = probed(httpserver, canaries=(CANARY,)).canaries
    assert (canary.output, canary.version, canary.problem) == (0.75, "7", "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Response(status=500), "was answered 500 Internal Server Error, 200 is needed"),
        (Response("0.75"), "the answer has nothing at /predictions/0/score"),
        (Response("score: 0.75"), "was answered with text, JSON is needed"),
        (Response('{"predictions": [{"score": 0.75}]}'), "the answer has nothing at /model/version"),
        (Response('{"predictions": [{"score": [1]}], "model": {"version": 1}}'), "score leads to list"),
    ],
)
def test_a_canary_without_an_output_says_why(httpserver: HTTPServer, answer: Response, problem: str) -> None:
    httpserver.expect_request("/health").respond_with_data("OK")
    httpserver.expect_request("/predict").respond_with_response(answer)
    probe = probed(httpserver, canaries=(CANARY,))
    assert probe.problem == ""
    assert probe.canaries[0].problem.startswith("canary usual of api at http://")
    assert problem in probe.canaries[0].problem


def test_one_that_hangs_delays_nobody_and_one_that_breaks_hides_nobody(httpserver: HTTPServer) -> None:
    def slow(request: Request) -> Response:
        time.sleep(2)
        return Response("OK")

    def broken() -> Probe:
        raise KeyError("postgresql://user:hunter2@host")

    def late() -> Probe:
        time.sleep(5)
        return Probe("late")

    httpserver.expect_request("/health").respond_with_handler(slow)
    start = time.perf_counter()
    found = probe_together(
        {
            "slow": lambda: probe_service(Service("slow", httpserver.url_for("/")), timeout_s=9, token=None),
            "broken": broken,
            "well": lambda: Probe("well", 1.0),
            "late": late,
        },
        deadline_s=0.5,
    )
    assert time.perf_counter() - start < 1.5
    assert [probe.service for probe in found] == ["slow", "broken", "well", "late"]
    problems = [probe.problem for probe in found]
    assert problems[0].startswith("slow gave no answer within 0.5 s")
    assert problems[1] == "broken could not be asked (KeyError). Look at the log of this run."
    assert problems[2] == ""


def test_a_migrated_database_is_well_and_tells_its_version(state_url: str) -> None:
    probe = probe_database(state_url, timeout_s=2)
    assert probe.problem == ""
    assert probe.version.split()[0] in ("sqlite", "postgresql")
    assert probe.version.split()[1][0].isdigit()


def test_a_database_whose_tables_are_old_says_what_is_needed(state: StateDatabase, state_url: str) -> None:
    needed = state.revision()
    with state.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'state_0000'"))
    problem = probe_database(state_url, timeout_s=2).problem
    assert problem.startswith(f"database: its tables are at state_0000, {needed} is needed")


def test_a_database_without_tables_is_to_be_migrated(empty_url: str) -> None:
    problem = probe_database(empty_url, timeout_s=2).problem
    assert problem.endswith("Run monitoring-pipeline migrate.")


def test_asking_makes_no_database(tmp_path: Path) -> None:
    assert "there is no file" in probe_database(f"sqlite:///{tmp_path / 'state.db'}", timeout_s=2).problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:hunter2@127.0.0.1:1/state",
        "postgresql://reader:hunt@er2:x@host/state",
        "nothing://reader:hunter2@host/state",
        "hunter2",
    ],
)
def test_a_database_that_cannot_be_reached_is_no_reason_to_show_its_password(url: str) -> None:
    problem = probe_database(url, timeout_s=1).problem
    assert problem.startswith("database: ")
    assert "MONITORING_DATABASE_URL" in problem
    assert "hunt" not in problem

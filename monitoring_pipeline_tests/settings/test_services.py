from pathlib import Path

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.services import Services, load_services, services_file
from monitoring_pipeline_tests.pages import ROOT, blocks

FULL = """\
timeout_s: 2
max_behind: 6h
services:
  - name: churn_api
    url: http://scoring:8000
    version: /model/version
    slow_ms: 250
    token_env: SCORING_TOKEN
    canaries:
      - name: usual
        request: {tenure: 3, plan: basic}
        output: /predictions/0/score
        expected: 0.7312
        tolerance: 0.001
      - {name: flag, path: /flag, request: [1, 2], output: /churns, expected: true}
  - {name: grafana, kind: grafana, url: "https://grafana.example"}
  - {name: mlflow, kind: mlflow, url: http://mlflow:5000, severity: warning}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "services.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_services(written(tmp_path, text))
    return [str(problem).replace(f"{tmp_path}/", "") for problem in raised.value.problems]


def test_without_a_file_there_is_what_every_deployment_has(tmp_path: Path) -> None:
    services = load_services(tmp_path / "services.yaml")
    assert services == Services()
    assert set(services.limits()) == {"database", "mlflow", "pipeline"}


def test_a_file_says_where_services_are_and_what_they_should_answer(tmp_path: Path) -> None:
    services = load_services(written(tmp_path, FULL))
    api, grafana, mlflow = (service.service() for service in services.services)
    assert (api.health, api.version, api.version_needed, api.token_env) == (
        "/health",
        "/model/version",
        True,
        "SCORING_TOKEN",
    )
    usual, flag = api.canaries
    assert (usual.path, usual.request, usual.expected) == ("/predict", {"tenure": 3, "plan": "basic"}, 0.7312)
    assert (flag.path, flag.request, flag.expected) == ("/flag", [1, 2], True)
    assert (grafana.health, grafana.version, grafana.expect) == ("/api/health", "/version", {"/database": "ok"})
    assert (mlflow.health, mlflow.version_path) == ("/health", "/version")


def test_limits_are_those_of_the_kind_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    limits = load_services(written(tmp_path, FULL)).limits()
    assert limits["churn_api"].severity is Level.CRITICAL
    assert limits["churn_api"].slow_ms == 250.0
    assert limits["churn_api"].tolerances == (("usual", 0.001), ("flag", 1e-6))
    assert limits["grafana"].severity is limits["mlflow"].severity is Level.WARNING
    assert limits["pipeline"].max_behind_hours == 6.0


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    text = """\
timeout_s: soon
services:
  - name: api
    url: ftp://scoring
    slow: 3
    canaries:
      - {name: usual, request: {}, output: score, expected: 1, tolerence: 2}
  - {url: "http://x"}
"""
    found = problems(tmp_path, text)
    assert found == [
        "services.yaml:1: timeout_s: 'soon' cannot be used. Input should be a valid number.",
        "services.yaml:4: services[0].url: 'ftp://scoring' cannot be used. "
        "Write http://host:port or https://host, without a user.",
        "services.yaml:5: services[0].slow: 'slow' is not a setting. "
        "Known here: name, kind, url, health, version, expect, slow_ms, severity, token_env, canaries.",
        "services.yaml:7: services[0].canaries[0].output: 'score' cannot be used. "
        "Write a JSON pointer, such as /predictions/0/score.",
        "services.yaml:7: services[0].canaries[0].tolerence: 'tolerence' is not a setting. "
        "Known here: name, path, request, output, expected, tolerance, version.",
        "services.yaml:8: services[1].name: is missing. Add `name:`.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services: [{name: database, url: 'http://x'}]", "Two services are named database"),
        ("services: [{name: a, url: 'http://x'}, {name: a, url: 'http://y'}]", "Two services are named a"),
        ("services: [{name: a, url: 'http://x?key=1'}]", "without a user"),
        ("services: [{name: a, url: 'http://x', health: health}]", "Write a path of the service"),
        ("services: [{name: a, url: 'http://x', token_env: my-token}]", "Name an environment variable in capitals"),
        ("notifications: {chanel: x}", "'chanel' is not a setting. Known here: "),
        ("notifications: {slack: {chanel: x}}", "'chanel' is not a setting. Correct its name, or remove it."),
        ("timeout_s: 3\ntimeout_s: 4", "is there twice"),
        ("", "the file: is empty"),
        ("services: [", "services.yaml"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in "\n".join(problems(tmp_path, text))


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = "\n".join(problems(tmp_path, "services: [{name: a, url: 'http://user:hunter2@host'}]"))
    assert "looks like a secret" in found
    assert "hunter2" not in found


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"services\.yaml: the file: cannot be read: it is not UTF-8 text"):
        load_services(path)


def test_the_file_is_where_the_environment_says() -> None:
    assert services_file({}, root=Path("/srv")) == Path("/srv/services.yaml")
    assert services_file({"MONITORING_SERVICES": "conf/s.yaml"}, root=Path("/srv")) == Path("/srv/conf/s.yaml")


def test_the_file_on_the_page_of_health_checks_can_be_used(tmp_path: Path) -> None:
    (shown,) = [block for block in blocks(ROOT / "docs" / "health-checks.md") if block.language == "yaml"]
    services = load_services(written(tmp_path, shown.code))
    assert [service.name for service in services.services] == ["churn_api", "grafana"]

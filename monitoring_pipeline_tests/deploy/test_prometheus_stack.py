"""Prometheus and Alertmanager with the files of deploy/, on a real exporter and a real scoring service.

Only addresses, secrets and waiting times are not those of deploy/.
"""

import json
import os
import re
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pyarrow as pa
import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.service_health import Checked
from monitoring_pipeline.judge.triggers import ClauseOutcome, NoRetrain, RetrainDecision, episode_id
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.stages import DeliveryRules
from monitoring_pipeline.serve.routing import CHAMPION
from monitoring_pipeline.settings.deployment import Deployment as Places
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.stores.health_history import HISTORY, HealthHistory, write_health
from monitoring_pipeline.workflow.exporter import Exporter, app_of
from monitoring_pipeline_tests.binaries import require
from monitoring_pipeline_tests.deployments import MODEL, VERSION, Deployment, customers, deploying
from monitoring_pipeline_tests.grafana import DASHBOARDS, panels
from monitoring_pipeline_tests.outcomes import firing
from monitoring_pipeline_tests.pages import ROOT
from monitoring_pipeline_tests.processes import free_port, running, wait_until
from monitoring_pipeline_tests.prometheus import put, ready
from monitoring_pipeline_tests.scoring import ROW, Port, Registered, Scoring, listening, scorer
from monitoring_pipeline_tests.sinks import HttpSink, http_sink
from monitoring_pipeline_tests.traffic import hour

pytestmark = pytest.mark.slow

LAST = 24
NEW = "returns"
"""A monitor of which no hour was ever judged."""

SUBSTITUTES = {
    "$monitor": MODEL,
    "$version": ".*",
    "$window": "4h",
    "$measure": "accuracy",
    "$business": "usage_sold",
    "$__rate_interval": "10s",
    "$__range": "1h",
}
MAY_BE_EMPTY = {
    "gpu_used_ratio": "there may be no GPU here",
    "gpu_memory_used_ratio": "there may be no GPU here",
    "max(quality_volume_ratio": "a volume is compared with that of the weeks before, and there are none",
}
"""How queries begin that may rightly find nothing, and why."""


@pytest.fixture(scope="module")
def deployment(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that has something to tell under every heading of the dashboards."""
    with (
        pytest.MonkeyPatch.context() as environment,
        deploying(template, tmp_path_factory.mktemp("stack") / "home", environment) as made,
    ):
        made.watch(
            {
                "columns": {"status": "status", "latency_ms": {"total": "latency_ms"}, "served_by": "served_by"},
                "freshness": {"sources": [{"name": "billing", "column": "billed_at", "max_age": "2h"}]},
                "business": {"usage_sold": {"formula": "sum(usage) / count()"}},
            },
            {"model": NEW},
        )
        rows = customers([hour(number) for number in range(LAST + 1)])
        billed = rows["predicted_at"] - timedelta(minutes=30)
        made.log(rows.assign(status="ok", latency_ms=12.0, served_by=CHAMPION, billed_at=billed))
        made.label(rows)
        made.set_clock(hour(LAST + 1) + timedelta(minutes=40))  # the labels have come
        made.compute(0, LAST)
        record_what_happened(made)
        yield made


def record_what_happened(made: Deployment) -> None:
    """Record an incident, a retraining that was promoted and one that was not asked for, and a health check."""
    state, identity = made.monitoring.database, episode_id(MODEL, hour(2), VERSION)
    clauses = (ClauseOutcome("age", RuleState.FIRING, 1, 2, "age"),)
    for number, why_not in ((1, NoRetrain.COOLDOWN), (2, None)):
        fired, episode = why_not is None, episode_id(MODEL, hour(number), VERSION)
        state.record_decision(
            RetrainDecision(MODEL, hour(number), VERSION, fired, why_not, "", clauses, episode, hour(number + 1))
        )
    state.finish_episode(identity, EpisodeStatus.PROMOTED, {"champion": VERSION, "challenger": "2"}, hour(4))
    outcome = firing(5)
    policies = {outcome.rule: AlertPolicy()}
    state.apply_outcomes([outcome], now=hour(6), policies=policies, rules=DeliveryRules(lambda _: []))
    checked = Checked(hour(LAST), Level.OK, "answered")
    write_health(made.home / HISTORY, HealthHistory({"mlflow": (checked,)}))


class Forgetful(Scoring):
    """A service that cannot store labels."""

    def _store(self, labels: pa.Table) -> None:
        raise StoreError("the disk is full")


@dataclass(frozen=True)
class Stack:
    """Where Prometheus listens, and who hears of alerts."""

    prometheus: str
    alertmanager: str
    heard: HttpSink
    logs: list[Path]

    def ask(self, path: str, **asked: str) -> Any:
        """Return what Prometheus answers; what it does not understand fails the test."""
        address = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise AssertionError(f"{asked}: {error.read().decode()}") from None

    def finds(self, query: str, *, now: bool = False) -> bool:
        """Whether a query has a value that is a number, now or in the last half minute."""
        at = datetime.now(UTC).timestamp()
        span = {"time": str(at)} if now else {"start": str(at - 30), "end": str(at), "step": "1"}
        found = self.ask("query" if now else "query_range", query=query, **span)["result"]
        values = [value for series in found for _, value in series.get("values", [series.get("value")])]
        return any(value != "NaN" for value in values)


@pytest.fixture(scope="module")
def stack(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    programs = [require("prometheus"), require("prometheus-alertmanager", "/usr/local/bin/alertmanager")]
    folder = tmp_path_factory.mktemp("servers")
    files = {model: deployment.home / "monitors" / f"{model}.yaml" for model in (MODEL, NEW)}
    places = Places.from_environment(os.environ, root=deployment.home)
    exporter = Exporter(places, files, clock=lambda: datetime.now(UTC))
    exporter.ask_registry()
    registered = Registered({"3": scorer("3", 0.3)}, {CHAMPION: "3"})
    with ExitStack() as running_now:
        enter = running_now.enter_context
        heard, exported = enter(http_sink()), enter(listening(app_of(exporter)))
        service = enter(listening(Forgetful(folder / "log", registered, api_keys=[Credential("key")]).app))
        enter(asking(service))
        secrets = folder / "secrets"
        secrets.mkdir()
        said = {"scoring_api_key": "key", "dead_man_token": "alive", "pagerduty_routing_key": "r0ute"}
        for name, secret in (said | {"slack_webhook": f"{heard.url}/slack"}).items():
            (secrets / name).write_text(secret)
        ports = [free_port(), free_port()]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        shown = {
            "exporter:9400": f"127.0.0.1:{exported.number}",
            "scoring-service:8008": f"127.0.0.1:{service.number}",
            "localhost:9090": addresses[0],
            "alertmanager:9093": addresses[1],
            "model: flight_delays": f"model: {MODEL}",
        }
        told = {
            "route:\n  receiver": f"global:\n  pagerduty_url: {heard.url}/pagerduty\nroute:\n  receiver",
            "https://dead-man.example.org": f"{heard.url}/dead-man",
            "group_wait: 30s": "group_wait: 1s",
            "group_interval: 5m": "group_interval: 1s",
            "group_interval: 1m": "group_interval: 1s",
            "repeat_interval: 5m": "repeat_interval: 2s",
        }
        configs = [
            put(ROOT / "deploy" / "prometheus", secrets, shown) / "prometheus.yml",
            put(ROOT / "deploy" / "alertmanager", secrets, told) / "alertmanager.yml",
        ]
        # What Prometheus says before it knows of any Alertmanager is said again after that delay.
        own = [
            ["--storage.tsdb.path=tsdb", "--rules.alert.resend-delay=1s"],
            ["--storage.path=alerts", "--cluster.listen-address="],
        ]
        for program, config, address, options in zip(programs, configs, addresses, own, strict=True):
            command: list[str | Path] = [
                program,
                f"--config.file={config}",
                f"--web.listen-address={address}",
                *options,
            ]
            log = folder / f"{program.name}.log"
            enter(running(command, env=dict(os.environ), cwd=folder, log=log))
            wait_until(f"{program.name} is ready", lambda at=address: ready(f"http://{at}"), seconds=30, logs=[log])  # type: ignore[misc]
        prometheus, alertmanager = (f"http://{each}" for each in addresses)
        yield Stack(prometheus, alertmanager, heard, sorted(folder.glob("*.log")))


@contextmanager
def asking(service: Port) -> Iterator[None]:
    """Ask a service for predictions in the background, some of them with values that the model cannot use."""
    over, odd = threading.Event(), {"tenure": None, "plan": None, "is_new": None, "seen_at": None}

    def ask() -> None:
        while not over.wait(0.2):
            for features in (ROW, odd):
                service.ask("POST", "/predict", {"features": features}, x_api_key="key")
            labels = {"labels": [{"prediction_id": "p-1", "actual": 1}]}
            service.ask("POST", "/feedback", labels, x_api_key="key")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def substituted(query: str) -> str:
    for name, value in sorted(SUBSTITUTES.items(), reverse=True):
        query = query.replace(name, value)
    return query


def asked_of(dashboard: dict[str, Any]) -> dict[str, bool]:
    """Return what a dashboard asks for, and whether for the present alone."""
    of_panels = {
        substituted(target["expr"]): target["instant"] for panel in panels(dashboard) for target in panel["targets"]
    }
    return of_panels | {substituted(each["expr"]): True for each in dashboard["annotations"]["list"]}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_dashboard_finds_something(name: str, stack: Stack) -> None:
    left = asked_of(DASHBOARDS[name])

    def all_found() -> bool:
        for query in [query for query, now in left.items() if stack.finds(query, now=now)]:
            del left[query]
        return all(query.startswith(tuple(MAY_BE_EMPTY)) for query in left)

    try:
        wait_until("every query finds something", all_found, seconds=25)
    except AssertionError as error:
        pytest.fail("\n".join([str(error), "nothing is found by", *left]), pytrace=False)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_has_a_choice(name: str, stack: Stack) -> None:
    for variable in DASHBOARDS[name]["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", substituted(variable["query"]["query"]))
        assert match is not None
        values = stack.ask(f"label/{match[2]}/values", **{"match[]": match[1]})
        shown = variable["regex"].strip("/") or "(.*)"
        found = [each[1] for value in values if (each := re.fullmatch(shown, value))]
        assert SUBSTITUTES[f"${variable['name']}"] in [*found, ".*"], variable["name"]
        assert found


def test_everything_is_scraped_and_every_rule_can_be_evaluated(stack: Stack) -> None:
    def scraped() -> bool:
        targets = stack.ask("targets")["activeTargets"]
        return {each["labels"]["job"] for each in targets if each["health"] == "up"} == {
            *("monitoring-pipeline", "scoring-service", "prometheus", "alertmanager")
        }

    wait_until("all targets are up", scraped, seconds=20)
    rules = [rule for group in stack.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 30
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []


def test_somebody_is_called_once_and_the_watchdog_goes_on_barking(stack: Stack) -> None:
    def posted(path: str, word: str = "") -> list[Any]:
        return [each for each in stack.heard.received if each.path.startswith(path) and word in each.body.decode()]

    silent = f"{NEW}: no hour has been judged for"
    for path, word in (("/pagerduty", silent), ("/slack", silent)):
        wait_until(f"{path} hears of it", lambda path=path, word=word: posted(path, word), seconds=20)  # type: ignore[misc]
    wait_until("the watchdog barks", lambda: len(posted("/dead-man")) > 2, seconds=20, logs=stack.logs)

    (page,) = posted("/pagerduty", silent)
    assert (page.json["event_action"], page.json["routing_key"]) == ("trigger", "r0ute")
    (message,) = posted("/slack", silent)
    assert "docs/runbooks/stale-data.md" in message.body.decode()
    barked = posted("/dead-man")[0]
    assert barked.headers["Authorization"] == "Bearer alive"
    assert {alert["labels"]["alertname"] for alert in barked.json["alerts"]} == {"Watchdog"}
    assert posted("/pagerduty", "Watchdog") == [] == posted("/slack", "Watchdog")
    assert posted("/pagerduty", "drifted away") == [] == posted("/slack", "drifted away"), "the monitor tells of that"


def test_what_somebody_is_at_work_on_is_held_back(stack: Stack) -> None:
    """One model whose service is down, another that merely drifts while its service is slow, and two machines."""
    alerts = {
        "alertname=ScoringServiceDown severity=critical model=a": False,
        "alertname=ServingErrors severity=critical model=a": True,
        "alertname=serving_errors severity=critical model=a incident=I1": True,
        "alertname=performance_decline severity=critical model=a incident=I2": False,
        "alertname=feature_drift severity=warning model=a incident=I3": True,
        "alertname=ServingSlow severity=warning model=b": False,
        "alertname=serving_slow severity=warning model=b incident=I4": True,
        "alertname=feature_drift severity=warning model=b incident=I5": False,
        "alertname=HostDiskFull severity=critical instance=one": False,
        "alertname=HostDiskFull severity=warning instance=one": True,
        "alertname=HostDiskFull severity=warning instance=two": False,
    }
    labels = {words: dict(word.split("=") for word in words.split()) for words in alerts}
    body = json.dumps([{"labels": each} for each in labels.values()]).encode()
    address, headers = f"{stack.alertmanager}/api/v2/alerts", {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=5).close()

    def held_back() -> bool:
        with urllib.request.urlopen(address, timeout=5) as answer:
            known = {frozenset(each["labels"].items()): each["status"]["inhibitedBy"] for each in json.load(answer)}
        return {words: bool(known[frozenset(each.items())]) for words, each in labels.items()} == alerts

    wait_until("alerts are held back as they should be", held_back, seconds=10)

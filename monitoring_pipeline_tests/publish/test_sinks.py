import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.errors import DeliveryError, SettingsError
from monitoring_pipeline.publish.metrics import Families
from monitoring_pipeline.publish.sinks import MOST_METRICS, Point, points_of, push

boto3 = pytest.importorskip("boto3")
pytest.importorskip("datadog")
moto = pytest.importorskip("moto")

POINTS = [
    Point("drift_psi", (("model", "churn"), ("feature", "tenure")), 1 / 3),
    Point("slo_budget_remaining", (("model", "churn"),), -0.5),
    Point("host_cpu_used_ratio", (), 0.25),
]
REGION = "eu-west-1"
TO_CLOUDWATCH = f"cloudwatch://ML/Monitoring?region={REGION}"


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)
        yield listening


def at(agent: socket.socket) -> str:
    return f"statsd://127.0.0.1:{agent.getsockname()[1]}"


def heard(agent: socket.socket, lines: int) -> list[str]:
    """Return the lines an agent got, without the container they may say they are from."""
    found: list[str] = []
    while len(found) < lines:
        found += agent.recv(65_536).decode().splitlines()
    return [line.partition("|c:")[0] for line in found]


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of whoever runs the tests decides where anything is sent, or as whom."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "DD_DOGSTATSD_DISABLE", "DD_ENV", "DD_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def test_an_agent_hears_every_value_with_its_tags(agent: socket.socket) -> None:
    push(POINTS, at(agent))
    assert heard(agent, 3) == [
        "drift_psi:0.3333333333333333|g|#model:churn,feature:tenure",
        "slo_budget_remaining:-0.5|g|#model:churn",
        "host_cpu_used_ratio:0.25|g",
    ]


def test_a_name_that_looks_like_the_protocol_forges_no_metric(agent: socket.socket) -> None:
    push([Point("feature_mean", (("feature", "a|g\nforged:1|g|#b,c:d"),), 1.0)], at(agent))
    assert heard(agent, 1) == ["feature_mean:1.0|g|#feature:a_g_forged:1_g__b_c:d"]


def test_many_values_fill_few_packets_and_all_arrive(agent: socket.socket) -> None:
    push([Point("feature_mean", (("feature", f"f{number}"),), number) for number in range(1_000)], at(agent))
    assert {line.split("#")[1] for line in heard(agent, 1_000)} == {f"feature:f{number}" for number in range(1_000)}


def test_an_agent_is_reached_by_its_socket_file_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(str(tmp_path / "agent.socket"))
        agent.settimeout(5)
        push(POINTS, f"statsd://{tmp_path}/agent.socket")
        assert len(heard(agent, 3)) == 3


@pytest.mark.parametrize("many", [1, 1_000])
def test_a_port_nobody_listens_on_is_an_error(agent: socket.socket, many: int) -> None:
    to = at(agent)
    agent.close()
    with pytest.raises(DeliveryError, match="refused"):
        push(POINTS * many, to)


def test_an_agent_that_is_not_there_or_is_switched_off_is_an_error(
    agent: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeliveryError, match="No such file"):
        push(POINTS, f"statsd://{tmp_path}/none.socket")
    monkeypatch.setenv("DD_DOGSTATSD_DISABLE", "true")
    with pytest.raises(DeliveryError, match="nothing was sent"):
        push(POINTS, at(agent))


@pytest.mark.parametrize(
    "to", ["http://127.0.0.1:8125", "127.0.0.1:8125", "statsd://", "statsd://here:port", "cloudwatch:"]
)
def test_an_address_of_no_sink_is_refused_with_those_there_are(to: str) -> None:
    with pytest.raises(SettingsError, match=r"is no sink.*statsd://.*cloudwatch://"):
        push(POINTS, to)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        yield boto3.client("cloudwatch", region_name=REGION)


def kept(cloud: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], None]:
    pages = cloud.get_paginator("list_metrics").paginate(Namespace="ML/Monitoring")
    return {
        (metric["MetricName"], frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])): None
        for page in pages
        for metric in page["Metrics"]
    }


def bodies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the sizes of the requests to CloudWatch are added."""
    sizes: list[int] = []
    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register(
        "before-call.cloudwatch.PutMetricData", lambda params, **_: sizes.append(len(params["body"]))
    )
    return sizes


def test_cloudwatch_keeps_every_value_with_its_dimensions(cloud: Any) -> None:
    push(POINTS, TO_CLOUDWATCH)
    assert list(kept(cloud)) == [(name, frozenset(labels)) for name, labels, _ in POINTS]


def test_names_in_any_script_become_dimensions_that_cloudwatch_takes(cloud: Any) -> None:
    names = ["名前", "naïve", "line\nbreak", "  ", "x" * 2_000]
    push([Point("feature_mean", (("feature", name),), 1.0) for name in names], TO_CLOUDWATCH)
    found = {value for _, labels in kept(cloud) for _, value in labels}
    assert found == {r"\u540d\u524d", r"na\xefve", r"line\nbreak", "-", "x" * 1_024}


@pytest.mark.parametrize(("length", "most"), [(1, MOST_METRICS), (900, 999)])
def test_no_request_to_cloudwatch_is_larger_than_it_takes(
    cloud: Any, monkeypatch: pytest.MonkeyPatch, length: int, most: int
) -> None:
    sizes = bodies(monkeypatch)
    points = [Point("feature_mean", (("feature", "x" * length + str(number)),), 1.0) for number in range(2 * most + 1)]
    push(points, TO_CLOUDWATCH)
    assert len(sizes) == 3
    assert max(sizes) < 1_000_000
    assert len(kept(cloud)) == len(points)


def test_without_credentials_or_region_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeliveryError, match="region"):
        push(POINTS, "cloudwatch://Monitoring")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeliveryError, match="after 0 of 3 values: Unable to locate credentials"):
        push(POINTS, TO_CLOUDWATCH)


def test_what_cloudwatch_refuses_is_an_error_that_says_how_much_arrived(cloud: Any) -> None:
    with pytest.raises(DeliveryError, match=r"after 0 of 1 values: .*NaN"):
        push([Point("feature_mean", (), float("nan"))], TO_CLOUDWATCH)


def test_the_metrics_asked_for_are_sent_and_nothing_infinite() -> None:
    families = Families()
    families.add("feature_mean", float("inf"), feature="a")
    families.add("feature_mean", 1.0, feature="b")
    families.add("host_processes", 3.0)
    assert points_of([families]) == [Point("feature_mean", (("feature", "b"),), 1.0), Point("host_processes", (), 3.0)]
    assert points_of([families], ["host_*", "slo_*"]) == [Point("host_processes", (), 3.0)]

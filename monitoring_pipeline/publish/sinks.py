"""Where metrics are sent to by those who have no Prometheus: an agent that speaks DogStatsD, and CloudWatch.

Add a sink to `SINKS`. Keep names and values out: they belong in metrics. Credentials are found by each sink's own
library.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from monitoring_pipeline.errors import DeliveryError, Problem, SettingsError
from monitoring_pipeline.publish.metrics import Families, Labels

STATSD_PORT = 8125

MOST_METRICS, MOST_BYTES = 1_000, 900_000
"""What one request to CloudWatch may hold; its own limit is a megabyte, with what stands around the metrics."""

MOST_CHARACTERS = 1_024
"""Of the value of one dimension."""

Complaint = Callable[[str], DeliveryError]


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    labels: Labels
    value: float


def points_of(parts: Iterable[Families], only: Sequence[str] = ()) -> list[Point]:
    """Return the values of the metrics whose names are like one of `only`; of all where none is given.

    No sink takes a value that is infinite.
    """
    return [
        Point(name, labels, value)
        for families in parts
        for name, family in families.items()
        if not only or any(fnmatchcase(name, each) for each in only)
        for labels, value in family.samples.items()
        if isfinite(value)
    ]


def push(points: Sequence[Point], to: str) -> None:
    """Send values to an address; raises SettingsError where it is none, DeliveryError where not all were taken."""
    address = urlsplit(to)
    try:
        wrong = address.scheme not in SINKS or not (address.netloc or address.path) or address.port == 0
    except ValueError:
        wrong = True
    if wrong:
        fix = "Use statsd://127.0.0.1:8125, statsd:///run/agent.socket or cloudwatch://Monitoring?region=eu-west-1."
        raise SettingsError([Problem("command line", None, "--to", f"{to!r} is no sink.", fix)])

    def complaint(why: str) -> DeliveryError:
        return DeliveryError(f"{to}: {why}", retryable=True)

    try:
        SINKS[address.scheme](points, address, complaint)
    except ImportError as error:
        fix = f"Install monitoring-pipeline[{address.scheme}]."
        raise SettingsError([Problem("command line", None, "--to", f"{error}.", fix)]) from error


def _to_statsd(points: Sequence[Point], address: SplitResult, complaint: Complaint) -> None:
    import socket

    from datadog.dogstatsd.base import DogStatsd

    client = DogStatsd(
        host=address.hostname,
        port=address.port or STATSD_PORT,
        socket_path=None if address.hostname else address.path,
        socket_timeout=5,
        # Its telemetry counts what was dropped; none of it is due for sending before this is over.
        telemetry_min_flush_interval=1 << 31,
    )
    try:
        client.get_socket()  # an error here is one; later it is a line in a log, and what was to be sent is dropped
        with client:
            for name, labels, value in points:
                client.gauge(name, value, tags=[f"{label}:{text}" for label, text in labels])
        if dropped := client.packets_dropped_writer:
            raise complaint(f"{dropped} of {dropped + client.packets_sent} packets were refused. See that it listens.")
        if points and not client.packets_sent:
            raise complaint("nothing was sent. Unset DD_DOGSTATSD_DISABLE.")
        # A datagram to a port nobody listens on is refused after it was sent, where the port is on this machine.
        if error := client.get_socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "the last packet was refused")
    except OSError as error:
        raise complaint(f"{error}. See that the agent runs and listens there.") from error
    finally:
        client.close_socket()


def _to_cloudwatch(points: Sequence[Point], address: SplitResult, complaint: Complaint) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    sent = 0
    try:
        client = boto3.client("cloudwatch", region_name=dict(parse_qsl(address.query)).get("region"))
        for batch in _batches(map(_datum, points)):
            client.put_metric_data(Namespace=address.netloc + address.path, MetricData=batch)
            sent += len(batch)
    except (BotoCoreError, ClientError) as error:
        raise complaint(f"after {sent} of {len(points)} values: {error}") from error


def _datum(point: Point) -> dict[str, Any]:
    # Dimensions are printable ASCII that is not blank.
    dimensions = [
        {"Name": label, "Value": ascii(text)[1:-1].strip()[:MOST_CHARACTERS] or "-"} for label, text in point.labels
    ]
    return {"MetricName": point.name, "Dimensions": dimensions, "Value": point.value}


def _batches(data: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for datum in data:
        length = len(json.dumps(datum))
        if batch and (len(batch) == MOST_METRICS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(datum)
        size += length
    if batch:
        yield batch


SINKS: dict[str, Callable[[Sequence[Point], SplitResult, Complaint], None]] = {
    "statsd": _to_statsd,
    "cloudwatch": _to_cloudwatch,
}
"""By the scheme of their addresses, which are the names of the extras they need."""

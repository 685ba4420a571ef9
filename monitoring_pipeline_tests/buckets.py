"""A bucket that speaks S3 over real HTTP, for as long as a test lasts.

Add what a test needs to know of its requests here. Keep stores out: tests make their own.
"""

import itertools
import logging
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitoring_pipeline.stores.objects import ObjectPath, Place, place_at

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()


class Requests(logging.Handler):
    """What a server was asked: the method and the path of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage().split('"')[1].rpartition(" HTTP")[0])

    def of(self, method: str, part: str = "") -> list[str]:
        return [request for request in self.seen if request.startswith(f"{method} ") and part in request]

    @property
    def listings(self) -> list[str]:
        return self.of("GET", "list-type=2")


@dataclass(frozen=True, slots=True)
class BucketServer:
    """A server at `endpoint`, and what it has been asked."""

    endpoint: str
    requests: Requests

    def make(self, name: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")).close()


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    from moto.server import ThreadedMotoServer

    log, requests = logging.getLogger("werkzeug"), Requests()
    before = log.level, log.propagate
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(requests)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield BucketServer(f"http://{host}:{port}", requests)
    finally:
        server.stop()
        log.removeHandler(requests)
        log.setLevel(before[0])
        log.propagate = before[1]


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """Return a prefix in a new bucket; the environment leads to it."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": bucket_server.endpoint}).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    bucket_server.make(name)
    bucket_server.requests.seen.clear()
    found = place_at(f"s3://{name}/churn/data/")
    assert isinstance(found, ObjectPath)
    return found


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty folder, and an empty prefix in a bucket."""
    if request.param == "folder":
        return tmp_path
    found: ObjectPath = request.getfixturevalue("bucket")
    return found

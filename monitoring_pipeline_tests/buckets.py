"""A bucket that speaks S3 over real HTTP, for as long as a test lasts.

Add what a test needs to know of its requests here. Keep stores out: tests make their own.
"""

import itertools
import os
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from monitoring_pipeline.stores.objects import ObjectPath, Place, place_at

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()


@dataclass(slots=True)
class Requests:
    """What a server was asked: the method and the path of each request."""

    seen: list[str] = field(default_factory=list)

    def note(self, environ: Mapping[str, Any]) -> None:
        """Keep one request."""
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        self.seen.append(unquote(asked))

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
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    requests, buckets = Requests(), DomainDispatcherApplication(create_backend_app)

    # Noted here and not read from the server's log: whoever configures logging in this process may silence that.
    def noted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        requests.note(environ)
        answer: Iterable[bytes] = buckets(environ, start_response)
        return answer

    class Handler(MotoRequestHandler):
        def log_request(self, *args: object) -> None:
            pass

    server = make_server("127.0.0.1", 0, noted, threaded=True, request_handler=Handler)
    serving = Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield BucketServer(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        serving.join()


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

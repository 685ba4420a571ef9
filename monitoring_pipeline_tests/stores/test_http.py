import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from pytest_httpserver import HTTPServer

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.http import LARGEST_ANSWER, ask


@contextmanager
def serving(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the address of a server that reads a request, then does what `speak` does."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    speak(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def test_every_status_is_an_answer(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/fine").respond_with_json({"version": "7"})
    httpserver.expect_request("/broken").respond_with_data("oops", status=500)
    fine, broken = (ask(httpserver.url_for(path), timeout_s=2) for path in ("/fine", "/broken"))
    assert (fine.ok, fine.document(), fine.latency_ms > 0) == (True, {"version": "7"}, True)
    assert (broken.ok, broken.said) == (False, "500 Internal Server Error")


def test_a_body_is_posted_as_json_with_the_headers(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/", method="POST", json={"a": [1]}, headers={"X-A": "b"}).respond_with_data("ok")
    assert ask(httpserver.url_for("/"), timeout_s=2, body={"a": [1]}, headers={"X-A": "b"}).body == b"ok"


def test_a_redirect_is_not_followed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(status=302, headers={"Location": httpserver.url_for("/inside")})
    answer = ask(httpserver.url_for("/"), timeout_s=2)
    assert answer.said == "302 Found; no redirect is followed, write the address it leads to"
    assert [request.path for request, _ in httpserver.log] == ["/"]


def test_only_http_is_spoken() -> None:
    for url in ("file:///etc/hostname", "ftp://127.0.0.1/", "data:,x"):
        with pytest.raises(StoreError, match="does not start with http://"):
            ask(url, timeout_s=2)


@pytest.mark.parametrize("speak", [drip, lambda connection: time.sleep(3)], ids=["drips", "hangs"])
def test_a_slow_server_costs_no_more_than_the_limit(speak: Callable[[socket.socket], None]) -> None:
    start = time.perf_counter()
    with serving(speak) as url, pytest.raises(StoreError, match=r"no answer within 0\.4 s"):
        ask(url, timeout_s=0.4)
    assert time.perf_counter() - start < 1.5


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"])
def test_what_is_no_whole_http_answer_is_refused(said: bytes) -> None:
    with serving(lambda connection: connection.sendall(said)) as url, pytest.raises(StoreError, match="no "):
        ask(url, timeout_s=1)


def test_a_closed_port_is_no_connection() -> None:
    with pytest.raises(StoreError, match="no connection: Connection refused"):
        ask("http://127.0.0.1:1/", timeout_s=2)


def test_an_endless_answer_is_cut_off(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"x" * (3 * LARGEST_ANSWER))
    assert len(ask(httpserver.url_for("/"), timeout_s=5).body) <= LARGEST_ANSWER + 65536


def test_no_error_quotes_an_address_or_a_header() -> None:
    for url, headers in (("http://127.0.0.1:1/hunter2", {}), ("http://127.0.0.1:1/", {"Authorization": "hunter2\n"})):
        with pytest.raises(StoreError) as raised:
            ask(url, timeout_s=2, headers=headers)
        assert "hunter2" not in str(raised.value)
        assert raised.value.__suppress_context__

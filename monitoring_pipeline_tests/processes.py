"""Server processes for as long as a `with` block lasts, and waiting for what they do.

Add ways to start, ask or end a process here. Keep what a server should answer out: that belongs in the test.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

END_S = 30
"""A process that was asked to end and has not done so by then is a failure."""


def forks() -> ForkServerContext:
    """Processes that are forked from one that has loaded what they need: each of them would take a second for that.

    One list for all tests, because the first of a worker to start such a process decides.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monitoring_pipeline_tests.workers"])
    return context


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def heed_signals() -> None:
    """Undo what a shell does to the processes it starts in the background: they ignore what asks them to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def running(
    command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own; it must end when it is asked to, and leaves nothing behind."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_signals,
        )
        try:
            yield process
            process.terminate()
            assert process.wait(END_S) in (0, -signal.SIGTERM), f"ended with {process.returncode}, see {log}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(what: str, find: Callable[[], Found | None], *, seconds: float, logs: Sequence[Path] = ()) -> Found:
    """Return what `find` returns once that is true; an error of the network is a no."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if found := find():
                return found
        time.sleep(0.2)
    tails = "\n".join(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)
    raise AssertionError(f"not within {seconds:g} s: {what}\n{tails}")


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def graphql(port: int, query: str, **variables: Any) -> dict[str, Any]:
    """Return the data of the answer of a Dagster webserver."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    address = f"http://127.0.0.1:{port}/graphql"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        document = json.load(answer)
    assert "errors" not in document, document["errors"]
    data: dict[str, Any] = document["data"]
    return data

"""A real PostgreSQL for as long as a `with` block lasts.

Add what a test needs of the server itself here. Keep tables out: tests migrate their own database.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

Command = list[str | Path]


@dataclass(frozen=True)
class Server:
    """A server that can be taken away and brought back."""

    url: str
    _start: Command
    _stop: Command
    _folder: Path

    def start(self) -> None:
        # The server inherits pipes and would keep a reader of them waiting.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(self._start, check=True, cwd=self._folder, **quiet)  # type: ignore[call-overload]

    def stop(self) -> None:
        """End it as a crash would: nobody is told, nothing is finished."""
        subprocess.run(self._stop, check=True, capture_output=True, cwd=self._folder)


@contextmanager
def postgres_server(directory: Path) -> Iterator[Server]:
    """Give a server whose files live in the new folder `directory`; skip the test if there is none to be had.

    PostgreSQL refuses to run as root, so root hands it to the user postgres: every parent of `directory` must be open
    to that user.
    """
    binaries = _binaries()
    if binaries is None:
        pytest.skip("postgres: no such binary on PATH or under /usr/lib/postgresql")
    as_user = _hand_over(directory)
    port = _free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c autovacuum=off"
    data, log = directory / "data", directory / "log"
    initdb: Command = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"]
    start: Command = [binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"]
    stop: Command = [binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=directory)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    server = Server(url, [*as_user, *start], [*as_user, *stop], directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """Give the URL of a server, as `postgres_server` starts it."""
    with postgres_server(directory) as server:
        yield server.url


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return None if on_path is None else Path(on_path).resolve().parent


def _hand_over(directory: Path) -> list[str]:
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("postgres")
    os.chown(directory, account.pw_uid, account.pw_gid)
    return ["runuser", "-u", "postgres", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

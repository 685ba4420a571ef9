"""Programs for as long as a `with` block lasts: a server of ours or a throw-away PostgreSQL.

Add a way to start, ask or end a program here. Keep what is done with it out: that belongs to the demonstration.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from monitoring_pipeline.errors import MonitoringError

Found = TypeVar("Found")

POSTGRES = ("usr/lib/postgresql/*/bin/postgres",)
"""Where servers are that are not on the PATH; of several versions the last is taken."""

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PARENT_DEATH_SIGNAL = 1

END_S = 20
"""How long a program may take to end before it is ended."""


@contextmanager
def running(command: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program whose output goes to a file. Whatever ends the block ends it, and what it has started."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - programs of the demonstration
            command,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the demonstration alone, which ends the others in order
            preexec_fn=_heed_signals,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _heed_signals() -> None:
    """Undo what a shell does to programs in the background: they would ignore what asks them to end.

    On Linux they are asked, too, when whoever started them is gone without a word.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if LIBC is not None:
        LIBC.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def wait_until(
    what: str,
    find: Callable[[], Found | None],
    *,
    seconds: float,
    programs: Mapping[Path, subprocess.Popen[bytes]],
) -> Found:
    """Return what `find` returns once that is true, as long as the programs run; raises with the ends of their logs."""
    end, why = time.monotonic() + seconds, f"not within {seconds:g} s"
    while time.monotonic() < end:
        if ended := [
            f"{log.stem} ended with {each.poll()}" for log, each in programs.items() if each.poll() is not None
        ]:
            why = ", ".join(ended)
            break
        with suppress(OSError):
            if found := find():
                return found
        time.sleep(0.1)
    tails = "\n".join(f"--- {log}\n{log.read_text(errors='replace')[-2000:]}" for log in programs)
    raise MonitoringError(f"{what}: {why}. The ends of the logs:\n{tails}")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return True once somebody listens on this port of loopback; raises OSError before."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@contextmanager
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL that is made for the block and gone after it.

    It refuses to run as root, who hands it to the user postgres. Its files are outside the demonstration's folder,
    whose parents may be closed to that user.
    """
    binaries = _postgres_binaries()
    with tempfile.TemporaryDirectory(prefix="live-postgres-") as name:
        folder = Path(name)
        as_user: list[str | Path] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
            os.chown(folder, account.pw_uid, account.pw_gid)
        password, port = secrets.token_hex(16), free_port()
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)  # the folder is closed to everybody else
        data: list[str | Path] = ["-D", folder / "data"]
        made = [*as_user, binaries / "initdb", *data, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
        _run([*made, "-U", "postgres", "--no-sync", "-E", "UTF8"], folder)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        server = [*as_user, binaries / "pg_ctl", *data]
        try:
            _run([*server, "-l", folder / "log", "-w", "-o", options, "start"], folder)
            yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        finally:
            _run([*server, "-m", "immediate", "-w", "stop"], folder)


def _postgres_binaries() -> Path:
    on_path = shutil.which("postgres")
    found = [path for pattern in POSTGRES for path in sorted(Path("/").glob(pattern))]
    if on_path is not None:
        return Path(on_path).resolve().parent
    if not found:
        raise MonitoringError(
            "PostgreSQL: no postgres on the PATH or under /usr/lib/postgresql. Install it, name a server with "
            "--database postgresql://…, or keep the log in files with --log parquet."
        )
    return found[-1].parent


def _run(command: Sequence[str | Path], folder: Path) -> None:
    # The server inherits pipes, and whoever reads them would wait for its end: output goes to a file.
    with (folder / "output").open("ab+") as output:
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, check=False)  # noqa: S603 - PostgreSQL's
        if done.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")[-1000:]
            raise MonitoringError(f"PostgreSQL: {command} ended with {done.returncode}: {said}")

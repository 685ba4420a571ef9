"""Programs `python` and `monitoring-pipeline` that begin at once: they are forked from a process that has loaded all.

What a reader types takes a second or five to load what it needs, and milliseconds for what it does. Add a library here
that the documentation's commands take long to load. Keep tests of what is loaded, and when, out: they start Python.
"""

import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from monitoring_pipeline_tests.pages import environment

LIBRARIES = (
    *("pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.stats", "skops.io", "mlflow", "mlflow.sklearn"),
    *("sklearn.compose", "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing"),
    *("monitoring_pipeline.cli", "monitoring_pipeline.workflow.build", "monitoring_pipeline.workflow.rehearsal"),
)

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    asked = {{"arguments": {first} + sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    server.sendall(json.dumps(asked).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(9) or 1))
"""


@contextmanager
def preloaded_programs() -> Iterator[Path]:
    """Give a folder with the programs, for the beginning of a PATH."""
    # Not tmp_path: the address of a socket may not be long.
    with tempfile.TemporaryDirectory(prefix="preloaded-") as folder:
        programs, address = Path(folder), str(Path(folder) / "socket")
        for name, first in {"python": [], "monitoring-pipeline": ["-m", "monitoring_pipeline.cli"]}.items():
            program = programs / name
            program.write_text(CLIENT.format(python=sys.executable, address=address, first=first))
            program.chmod(0o755)
        command, env = [sys.executable, "-W", "ignore", "-m", __spec__.name, address], environment(programs)
        with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == b"ready\n"
                yield programs
            finally:
                server.kill()


def serve(address: str) -> None:
    """Fork a process for everything that is asked for; returns in it, once it has become what was asked for."""
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)  # noqa: T201 - whoever started it reads on
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    if program := os.fork():
        connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])).encode())
        os._exit(0)
    connection.close()
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    run(asked["arguments"])


def run(arguments: Sequence[str]) -> None:
    """Do what `python` does with these arguments."""
    paths = [str(Path(each).absolute()) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    what, *rest = arguments or ["-"]
    main: dict[str, Any] = {"__name__": "__main__"}
    if what == "-m":
        module, *rest = rest
        sys.argv, sys.path[:1] = [module, *rest], [str(Path.cwd()), *paths]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif what in ("-c", "-"):
        code = sys.stdin.read() if what == "-" else rest.pop(0)
        sys.argv, sys.path[:1] = [what, *rest], ["", *paths]
        exec(compile(code, "<string>", "exec"), main)
    else:
        sys.argv, sys.path[:1] = [what, *rest], [str(Path(what).absolute().parent), *paths]
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])

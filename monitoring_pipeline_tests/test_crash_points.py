import re
import signal
import subprocess
import sys
from pathlib import Path

import monitoring_pipeline
from monitoring_pipeline.crash_points import POINTS, VARIABLE

PACKAGE = Path(monitoring_pipeline.__file__).parent
CALLS = """
from monitoring_pipeline.crash_points import reached
for number in range(5):
    reached("{}")
    print(number)
"""


def calling(point: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-uc", CALLS.format(point)], env=env, capture_output=True, text=True)


def test_a_process_ends_at_the_time_it_reaches_its_point_and_at_no_other() -> None:
    here = {"PYTHONPATH": str(PACKAGE.parent)}
    for wanted, printed in (("outbox.after_send:3", "0\n1\n"), ("outbox.after_send", "")):
        found = calling("outbox.after_send", **here, **{VARIABLE: wanted})
        assert (found.returncode, found.stdout) == (-signal.SIGKILL, printed)
    for env in ({}, {VARIABLE: "outbox.after_claim"}):
        assert calling("outbox.after_send", **here, **env).returncode == 0


def test_every_point_is_reached_somewhere_and_every_call_names_one() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "crash_points.py")
    assert set(re.findall(r'reached\("([^"]+)"\)', code)) == set(POINTS)

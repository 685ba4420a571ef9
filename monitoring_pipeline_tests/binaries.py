"""Where tests find the server programs they start.

A program that is not there skips the test and names itself; with MONITORING_REQUIRE_BINARIES set, as in CI, it fails
the test instead. Keep starting and stopping the programs out: that belongs to the fixture that needs one.
"""

import os
import shutil
from pathlib import Path

import pytest

REQUIRED = "MONITORING_REQUIRE_BINARIES"


def require(name: str, *candidates: str) -> Path:
    """Return the path of a program: `name` on the PATH, else by the first of the absolute globs that finds one.

    Of several matches of one glob the last is taken: the newest version, where folders are named after versions.
    """
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    for candidate in candidates:
        runnable = [path for path in sorted(Path("/").glob(candidate.removeprefix("/"))) if os.access(path, os.X_OK)]
        if runnable:
            return runnable[-1]
    message = f"{name} is not installed: looked on the PATH and at {', '.join(candidates) or 'no other place'}"
    if os.environ.get(REQUIRED):
        pytest.fail(f"{message}, and {REQUIRED} is set", pytrace=False)
    pytest.skip(message)

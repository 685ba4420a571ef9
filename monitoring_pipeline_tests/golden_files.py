"""Comparing what was rendered with what was once looked at and found good.

Add nothing here; a golden file is added by a test that names it, run once with UPDATE_GOLDEN=1.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, rendered: str) -> None:
    """Fail unless `rendered` is the text of the golden file; UPDATE_GOLDEN=1 writes it and fails, to have it read."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(rendered, encoding="utf-8")
        pytest.fail(f"{path} was written: read it, then run again without UPDATE_GOLDEN")
    assert rendered == path.read_text(encoding="utf-8"), f"{name}: if the change is meant, run with UPDATE_GOLDEN=1"

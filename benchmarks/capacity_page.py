"""The figures of docs/capacity.md: every benchmark prints its own part and, when asked to, writes it into the page.

Add nothing but what all of them need.
"""

import os
import platform
from pathlib import Path

import numpy as np
import pyarrow as pa

PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"


def machine() -> str:
    """Return on what was measured."""
    cores = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{platform.machine()}, {cores}, numpy {np.__version__}, pyarrow {pa.__version__}"


def show(part: str, text: str, *, write: bool) -> None:
    """Print a part; put it between its marks in the page where `write` is asked for."""
    print(text)
    if write:
        begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
        before, rest = PAGE.read_text().split(begin)
        PAGE.write_text(f"{before}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")

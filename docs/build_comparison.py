"""The two tables of docs/comparison.md, taken from where their figures were measured.

Add a row here when a tool is measured. Keep measuring out: it belongs in benchmarks.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "comparison.md"
PEERS = ("ours", "Evidently", "NannyML")
COLUMNS = ("normal", "lognormal", "20 categories")


def comparison() -> str:
    """Return the page with the figures of today."""
    measured = (DOCS.parent / "benchmarks" / "README.md").read_text(encoding="utf-8")
    page = _between("peers", _peers(measured), PAGE.read_text(encoding="utf-8"))
    return _between("calibration", _calibration((DOCS / "calibration.md").read_text(encoding="utf-8")), page)


def _between(name: str, rows: list[str], page: str) -> str:
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, rest = page.split(begin)
    return before + begin + "\n".join(rows) + "\n" + end + rest.partition(end)[2]


def _cells(line: str) -> list[str]:
    """Return the cells of a row without what stands in brackets, seconds of CPU."""
    return [re.sub(r" \([\d.]+\)$", "", cell.strip()) for cell in line.strip("|").split("|")]


def _peers(text: str) -> list[str]:
    lines = text.partition("<!-- begin peers -->")[2].partition("<!-- end peers -->")[0].splitlines()
    asked = [line for line in lines if line.startswith(tuple(f"| {name}" for name in PEERS))]
    heads = ["", "load + drift, s", "times ours", "whole process, s", "times ours", "found of 7", "alarms on the rest"]
    rows = [[*cells[:5], *cells[6:8]] for cells in map(_cells, asked)]
    return _table([heads, ["---", *["--:"] * 6], *rows])


def _calibration(text: str) -> list[str]:
    """Take the days of restless columns: Evidently's defaults, and the last table of ours, that of default bands."""
    lines, rows = text.splitlines(), []
    for column in COLUMNS:
        (evidently,) = [line for line in lines if line.startswith(f"| {column} | autocorrelated, reference of a month")]
        *_, ours = [line for line in lines if line.startswith(f"| {column} | psi |")]
        shares = [re.findall(r"([\d.]+) \[", line) for line in (evidently, ours)]
        rows += [[column, size, shares[0][at], shares[1][at]] for size, at in (("1,000", 3), ("10,000", 4))]
    heads = ["column", "rows a day", "Evidently's defaults", "ours: PSI, default bands, a stated 2.40"]
    return _table([heads, ["---", *["--:"] * 3], *rows])


def _table(rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    PAGE.write_text(comparison(), encoding="utf-8")

"""The faults of docs/reliability.md, their tests, and a table of how those ended.

`python -m monitoring_pipeline_tests.fault_table` runs all of them. Add a fault to the page. Keep tests out.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
HERE = Path(__file__).parent.name
SEEDS = "12"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the page."""

    name: str
    expected: str
    invariants: str
    tests: tuple[str, ...]


def faults() -> list[Fault]:
    """Return what the page lists."""
    rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if "::test_" in line
    )
    return [
        Fault(name, expected, proves, tuple(re.findall(r"`([^`]+::test_\w+)`", tests)))
        for name, expected, proves, tests in rows
    ]


def named_as(nodeid: str) -> str:
    """Return a test as the page names it, without its parameters."""
    return nodeid.partition("[")[0].removeprefix(f"{HERE}/")


def lines(ended: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Yield the table; `ended` counts outcomes by test."""
    width = max(len(fault.name) for fault in faults())
    yield f"{'fault':{width}}  {'runs':>4}  {'invariants':14}  result"
    for fault in faults():
        found = sum((ended.get(test, Counter()) for test in fault.tests), Counter[str]())
        result = "not run" if not found else "holds" if set(found) == {"passed"} else ""
        result = result or ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
        yield f"{fault.name:{width}}  {found.total():4}  {fault.invariants:14}  {result}"


_ended: dict[str, Counter[str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what the page names, and nothing else."""
    named = {test for fault in faults() for test in fault.tests}
    others = [item for item in items if named_as(item.nodeid) not in named]
    items[:] = [item for item in items if named_as(item.nodeid) in named]
    config.hook.pytest_deselected(items=others)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count each test once, by what ended it."""
    if report.when == "call" or not report.passed:
        _ended.setdefault(named_as(report.nodeid), Counter())[report.outcome] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    terminalreporter.section("faults")
    for line in lines(_ended):
        terminalreporter.write_line(line)


if __name__ == "__main__":
    os.environ.setdefault("FAULT_SEEDS", SEEDS)
    files = sorted({f"{HERE}/{test.partition('::')[0]}" for fault in faults() for test in fault.tests})
    plugin = [f"-p{HERE}.fault_table", "-n2", "--dist=worksteal", "-q"]
    sys.exit(pytest.main([*plugin, *sys.argv[1:], *files]))

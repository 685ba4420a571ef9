"""The page on reliability names tests that exist, every test of a fault, and nothing it cannot show."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from monitoring_pipeline_tests.fault_table import HERE, ROOT, Fault, faults, lines, named_as

TESTS = ROOT / HERE
NO_FAULT = {"test_invariants.py"}
"""Tests of what the others are proved with."""


def names_in(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {entry.name for entry in body if isinstance(entry, ast.FunctionDef) and entry.name.startswith("test_")}


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_every_test_that_a_fault_names_exists(fault: Fault) -> None:
    assert fault.tests
    assert set(fault.invariants.split()) <= {f"I{number}" for number in range(1, 7)} != set()
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert name in names_in(TESTS / file), test


def test_every_file_of_faults_and_every_promise_is_on_the_page() -> None:
    named = {test.partition("::")[0].removeprefix("faults/") for fault in faults() for test in fault.tests}
    files = {path.name for path in (TESTS / "faults").glob("test_*.py")}
    assert files - named == NO_FAULT
    assert set(" ".join(fault.invariants for fault in faults()).split()) == {f"I{number}" for number in range(1, 7)}


def test_the_table_tells_what_was_run_and_what_failed() -> None:
    first, second, *_ = faults()
    ended = {first.tests[0]: Counter(passed=3), second.tests[0]: Counter(passed=1, failed=1)}
    _, one, other, never, *_ = lines(ended)
    assert one.split()[-1] == "holds"
    assert one.removeprefix(first.name).split()[0] == "3"
    assert other.endswith("1 failed, 1 passed")
    assert never.endswith("not run")
    assert named_as(f"{HERE}/faults/test_x.py::test_y[sqlite]") == "faults/test_x.py::test_y"

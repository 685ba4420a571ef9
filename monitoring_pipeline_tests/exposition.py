"""Reading Prometheus' text format back, and what its own tool says of it.

Add what tests of exported metrics share. Keep expectations out: they belong in the tests.
"""

import re
import subprocess

from monitoring_pipeline_tests.binaries import require

_LINE = re.compile(r'([a-zA-Z_]\w*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')
_MEANT = {r"\\": "\\", r"\n": "\n", r"\"": '"'}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: str) -> Samples:
    """Return the value of every series of a page; a line that is none, or one that comes twice, is an error."""
    found: Samples = {}
    for line in page.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match is not None, line
        labels = {
            name: re.sub(r"\\.", lambda each: _MEANT[each[0]], text) for name, text in _LABEL.findall(match[2] or "")
        }
        key = match[1], frozenset(labels.items())
        assert key not in found, line
        found[key] = float(match[3])
    return found


def series(page: str, name: str, **labels: str) -> dict[str, float]:
    """Return the values of one metric where it has these labels, by its other labels in alphabetical order."""
    asked = set(labels.items())
    return {
        ",".join(text for _, text in sorted(found - asked)): value
        for (metric, found), value in samples(page).items()
        if metric == name and asked <= found
    }


def assert_valid(page: str) -> None:
    """Fail on whatever `promtool check metrics` has to say."""
    command = [str(require("promtool", "/usr/bin/promtool")), "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

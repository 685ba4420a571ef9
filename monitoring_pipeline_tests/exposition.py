"""Reading a page of metrics back, and what Prometheus' own tool says of it.

Add what tests of exported metrics share. Keep expectations out: they belong in the tests.
"""

import subprocess

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from monitoring_pipeline_tests.binaries import require

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: str) -> Samples:
    """Return the value of every series of a page, in either format; one that comes twice is an error."""
    found: Samples = {}
    read = openmetrics_families if page.endswith("# EOF\n") else text_families
    for family in read(page):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, sample
            found[key] = float(sample.value)
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

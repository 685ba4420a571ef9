"""The same log, labels and references give the same files to the bit: alone, in a range, in another order, again."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline_tests.deployments import (
    HOURLY_FILES,
    MODEL,
    Deployment,
    champion,
    customers,
    deploying,
    scored,
)
from monitoring_pipeline_tests.traffic import START, hour

pytestmark = pytest.mark.slow

ROWS = tuple(kind for kind in HOURLY_FILES if kind not in ("intake", "quarantine", "quality", "verdicts"))
"""Files that say nothing of how often a row was logged."""


@dataclass(frozen=True)
class NineHours:
    """A deployment, and the files of nine hours in it as they were first computed."""

    deployment: Deployment
    files: Mapping[str, bytes]

    def changed(self) -> list[str]:
        """Return which files are not what they were."""
        again = self.deployment.files()
        return [name for name in {**self.files, **again} if again.get(name) != self.files.get(name)]


@pytest.fixture(scope="module", params=["a new champion", "back to the old one"])
def together(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NineHours]:
    """Nine hours, computed as one range: the champion changes within the fifth, and one is empty."""
    home = tmp_path_factory.mktemp("recomputed") / "home"
    with pytest.MonkeyPatch.context() as patch, deploying(template, home, patch) as deployment:
        new = deployment.add_version(customers([START]), trained_until=START)
        deployment.run("churn__reference")
        before, after = ("1", new) if request.param == "a new champion" else (new, "1")
        rows = customers([hour(number) for number in range(9) if number != 2])
        takes_over = rows["predicted_at"] >= hour(4) + HOUR / 2
        deployment.log(rows[~takes_over], version=before)
        deployment.log(rows[takes_over], version=after)
        deployment.label(rows)
        deployment.set_clock(hour(10))
        deployment.compute(0, 8)
        yield NineHours(deployment, deployment.files())


def test_recomputing_any_hour_alone_gives_bit_equal_files(together: NineHours) -> None:
    for number in range(9):
        together.deployment.compute(number, number)
        assert together.changed() == []


def test_recomputing_any_range_gives_bit_equal_files(together: NineHours) -> None:
    for first, last in ((0, 3), (3, 5), (4, 8), (7, 8)):
        together.deployment.compute(first, last)
        assert together.changed() == []


def test_recomputing_much_later_in_a_run_gives_bit_equal_files(together: NineHours) -> None:
    together.deployment.set_clock(START + timedelta(days=100))
    assert together.deployment.process(0, 8).success
    assert together.changed() == []


def of_predictions(deployment: Deployment) -> list[Verdict]:
    """All verdicts but those on the intake, which counts rows as they were logged."""
    judged = deployment.store.read_verdicts(MODEL, hour(0), hour(5)).values()
    of_rows = re.compile(
        r"quality\.(duplicate|quarantined|missing|unreadable|bad_type|infinite|oversized|out_of_bounds)_|schema\."
    )
    return [each for entries in judged for each in entries if not of_rows.match(each.signal.metric)]


def test_permuting_and_duplicating_the_log_changes_nothing_but_the_count_of_duplicates(deployment: Deployment) -> None:
    rows = customers([hour(number) for number in range(5)])
    served = scored(rows, champion()).drop(columns="actual").assign(model_version="1")
    table = pa.Table.from_pandas(served, preserve_index=False)
    deployment.log_table(table)
    deployment.label(rows)
    deployment.set_clock(hour(8))
    deployment.compute(0, 4)
    before, verdicts = deployment.files(*ROWS), of_predictions(deployment)

    for kind in (*HOURLY_FILES, "predictions", "labels"):
        shutil.rmtree(deployment.monitoring.data / kind / f"model={MODEL}")
    generator = np.random.default_rng(7)
    for _ in range(3):  # in batches that overlap, each in an order of its own
        chosen = generator.permutation(len(rows))[: len(rows) * 2 // 3]
        deployment.log_table(table.take(np.concatenate([chosen, chosen[:40]])))
        deployment.label(rows.iloc[chosen])
    deployment.log_table(table.take(np.arange(len(rows))[::-1]))
    deployment.label(rows.iloc[::-1])
    deployment.compute(0, 4)
    assert deployment.files(*ROWS) == before
    assert of_predictions(deployment) == verdicts
    assert len(verdicts) > 500

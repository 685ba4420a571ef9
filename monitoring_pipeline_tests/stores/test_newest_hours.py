import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import profile_hours
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.newest_hours import NewestHours
from monitoring_pipeline_tests import traffic
from monitoring_pipeline_tests.verdicts import MORNING, verdict

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def hourly(tmp_path: Path) -> HourlyStore:
    return HourlyStore(tmp_path)


def values(hours: NewestHours) -> list[float | None]:
    stamp = hours.stamp("churn", now=LATER)
    assert stamp is not None
    return [signal.value for signal in hours.read("churn", stamp).signals]


def psi(value: float, **more: Any) -> Verdict:
    return verdict(Level.OK, value=value, column="tenure", **more)


def test_a_model_nobody_judged_has_no_newest_hour(tmp_path: Path) -> None:
    assert NewestHours(tmp_path).stamp("churn", now=LATER) is None


def test_a_newer_hour_and_the_same_hour_written_again_are_noticed_and_an_older_one_is_not(
    tmp_path: Path, hourly: HourlyStore
) -> None:
    hours = NewestHours(tmp_path)
    hourly.write_verdicts("churn", {MORNING: [psi(0.1)]})
    first = hours.stamp("churn", now=LATER)
    assert values(hours) == [0.1]
    hourly.write_verdicts("churn", {MORNING - HOUR: [psi(0.9)]})
    assert hours.stamp("churn", now=LATER) == first
    hourly.write_verdicts("churn", {MORNING: [psi(0.2)]})
    assert hours.stamp("churn", now=LATER) != first
    assert values(hours) == [0.2]
    hourly.write_verdicts("churn", {MORNING + HOUR: [psi(0.3)]})
    assert values(hours) == [0.3]


def test_a_folder_that_has_just_changed_is_listed_again(tmp_path: Path, hourly: HourlyStore) -> None:
    hours = NewestHours(tmp_path)
    hourly.write_verdicts("churn", {MORNING: [psi(0.1)]})
    folder = tmp_path / "verdicts" / "model=churn"
    changed = folder.stat()
    just_now = datetime.fromtimestamp(changed.st_mtime, UTC)
    assert hours.stamp("churn", now=just_now) is not None
    hourly.write_verdicts("churn", {MORNING + HOUR: [psi(0.2)]})
    os.utime(folder, ns=(changed.st_atime_ns, changed.st_mtime_ns))  # within the same tick of the file system
    assert values(hours) == [0.2]


def test_only_all_traffic_against_training_is_read(tmp_path: Path, hourly: HourlyStore) -> None:
    others = [psi(0.2, segment="plan=pro"), psi(0.3, baseline="trailing_4w"), psi(0.4, metric="drift.kl")]
    budget = verdict(Level.OK, "slo.budget_remaining", value=0.5, column="availability", baseline="")
    hourly.write_verdicts("churn", {MORNING: [psi(0.1), *others, budget]})
    assert values(NewestHours(tmp_path)) == [0.1, 0.5]


def test_means_are_those_of_the_rows(tmp_path: Path, hourly: HourlyStore) -> None:
    reference = traffic.reference(traffic.log_rows(500, seed=0))
    rows = traffic.log_rows(80, seed=1, tenure=np.where(np.arange(80) % 4, np.linspace(3.0, 90.0, 80), np.nan))
    found = profile_hours(
        prepare_predictions(rows, traffic.LOG), {traffic.VERSION: reference}, [traffic.START], traffic.LOG
    )
    path = tmp_path / "references" / "model=churn" / f"{traffic.VERSION}.json"
    publish(path, json.dumps(reference_to_json(reference)).encode())
    hourly.write_profiles("churn", traffic.START, found[traffic.START])
    hourly.write_verdicts("churn", {traffic.START: []})
    hours = NewestHours(tmp_path)
    stamp = hours.stamp("churn", now=LATER)
    assert stamp is not None
    newest = hours.read("churn", stamp)
    assert newest.served == {traffic.VERSION: 80}
    expected = {(traffic.VERSION, name): np.nanmean(rows[name].to_numpy()) for name in ("tenure", "score")}
    assert newest.means == pytest.approx(expected)
    other = traffic.reference(traffic.log_rows(500, seed=2))
    publish(path, json.dumps(reference_to_json(other)).encode())
    assert NewestHours(tmp_path).read("churn", stamp).means == {}, "these bins have other centers"


def test_a_broken_file_is_named(tmp_path: Path, hourly: HourlyStore) -> None:
    hourly.write_verdicts("churn", {MORNING: [psi(0.1)]})
    (path,) = (tmp_path / "verdicts" / "model=churn").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=path.name):
        values(NewestHours(tmp_path))

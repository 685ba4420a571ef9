from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.distances import as_windows
from monitoring_pipeline.describe.profiles import Profile, rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline.describe.references import ColumnReference, UsualRanges
from monitoring_pipeline.describe.usual_ranges import SHARES, usual_range, usual_ranges
from monitoring_pipeline_tests.traffic import VERSION, log_rows, reference

HOURS, ROWS = 96, 9600


def described(values: Any, kind: ColumnKind = ColumnKind.NUMERIC) -> tuple[ColumnReference, UsualRanges]:
    rows = log_rows(ROWS, seed=1, hours=HOURS, x=values)
    against = reference(rows, [ColumnSpec("x", ColumnRole.FEATURE, kind)], time="predicted_at")
    hourly = {
        at: Profile.of(part, VERSION, against.specs) for at, part in rows_by_hour(rows, time="predicted_at").items()
    }
    return against.columns["x"], usual_ranges(against.columns, hourly, [HOUR, 24 * HOUR, 72 * HOUR])


@pytest.mark.parametrize("draw", ["normal", "lognormal", "standard_cauchy", "poisson"])
def test_outliers_are_counted_exactly_as_on_the_raw_values(draw: str) -> None:
    generator = np.random.default_rng(2)
    values = (generator.poisson(40, ROWS) if draw == "poisson" else getattr(generator, draw)(size=ROWS)).astype(float)
    entry, _ = described(values)
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 1.5 * (third - first)
    expected = {
        "outlier_share_z": np.abs(values - values.mean()) > 3 * values.std(),
        "outlier_share_iqr": (values < first - reach) | (values > third + reach),
    }
    for name, mask in expected.items():
        hits, trials = SHARES[name](entry, as_windows(entry.profile))
        assert (int(hits[0]), int(trials[0])) == (int(mask.sum()), ROWS)


def test_a_range_holds_every_stretch_of_the_reference_and_a_little_more() -> None:
    by_hour = np.repeat(np.random.default_rng(3).normal(size=HOURS), ROWS // HOURS)
    values = by_hour + np.random.default_rng(4).normal(size=ROWS)
    _, found = described(values)
    means = values.reshape(HOURS, -1).mean(axis=1)
    shifts = (means - values.mean()) / values.std(ddof=1)
    low, high = found["x"]["1h"]["mean_shift"]
    assert low == pytest.approx(min(shifts.min(), -2.39 * shifts.std()), rel=0.05)
    assert high == pytest.approx(max(shifts.max(), 2.39 * shifts.std()), rel=0.05)


def test_hours_without_any_change_are_usually_constant_where_the_reference_says_so() -> None:
    _, found = described(np.repeat(np.arange(HOURS) % 24, ROWS // HOURS).astype(float))
    assert found["x"]["1h"]["constant"] == (1.0, 1.0)
    assert found["x"]["1h"]["variance_ratio"][0] < 1e-8
    assert found["x"]["24h"]["constant"] == (0.0, 0.0)


def test_categories_of_one_hour_alone_are_new_to_the_rest() -> None:
    names = np.array(["a", "b"])[np.arange(ROWS) % 2].astype(object)
    names[200:230] = "only here"
    _, found = described(names.tolist(), ColumnKind.CATEGORICAL)
    assert found["x"]["1h"]["unseen_share"][1] == pytest.approx(0.3)


def test_a_window_has_the_range_of_its_length_or_of_the_next_shorter_one() -> None:
    _, found = described(np.random.default_rng(5).normal(size=ROWS))
    ranges = found["x"]
    assert list(ranges) == ["1h", "24h"]  # 72 hours fit once
    assert usual_range(ranges, "mean_shift", timedelta(days=3)) == ranges["24h"]["mean_shift"]
    assert usual_range(ranges, "mean_shift", 2 * HOUR) == ranges["1h"]["mean_shift"]
    assert usual_range(ranges, "distinct_ratio", HOUR) is None
    assert usual_range({}, "mean_shift", HOUR) is None


def test_a_reference_without_times_has_no_ranges() -> None:
    assert usual_ranges({}, {}, [HOUR]) == {}

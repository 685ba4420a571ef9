import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import prepare_predictions
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.profiles import ColumnProfile, Profile, rows_by_hour, rows_by_version
from monitoring_pipeline_tests.traffic import LOG, START, VERSION, column, hour, log_rows


def test_a_numeric_column_is_counted_with_its_moments_and_its_ends() -> None:
    spec = column("x", [0.0, 1.0, 2.0])
    values = pa.chunked_array([[1.0, None, 2.0], [float("inf"), 2.0, float("nan"), 7.0]])
    profile = ColumnProfile.of(values, spec)
    assert (profile.rows, profile.nulls, profile.invalid, profile.low, profile.high) == (7, 2, 1, 1.0, 7.0)
    assert profile.sums.sum() == pytest.approx((1 + 2 + 2 + 7) - 4 * 1.0)
    assert profile.squares == pytest.approx(0 + 1 + 1 + 36)
    assert profile.counts.sum() == 4


def test_the_order_of_the_rows_changes_no_bit() -> None:
    generator = np.random.default_rng(1)
    values, spec = generator.lognormal(sigma=5, size=3000), column("x", generator.lognormal(sigma=5, size=3000))
    first, second = (
        ColumnProfile.of(pa.chunked_array([part]), spec) for part in (values, generator.permutation(values))
    )
    assert first.sums.tobytes() == second.sums.tobytes()
    assert first.squares == second.squares


def test_unseen_categories_are_named_by_weight_and_then_by_name() -> None:
    spec = column("plan", ["basic"], ColumnKind.CATEGORICAL)
    profile = ColumnProfile.of(pa.chunked_array([["b", "a", "c", "c", "basic", None]]), spec)
    assert (profile.counts.tolist(), profile.nulls, profile.unseen_rows) == ([1, 0], 1, 4)
    assert profile.unseen == (("c", 2), ("a", 1), ("b", 1))


@pytest.mark.parametrize("kind", ColumnKind)
def test_a_column_that_the_rows_lack_is_null_in_every_row(kind: ColumnKind) -> None:
    spec = column("x", [START, START] if kind is ColumnKind.DATETIME else [1, 0], kind)
    profile = Profile.of(pa.table({"y": [1, 2, 3]}), VERSION, {"x": spec}).columns["x"]
    assert (profile.nulls, profile.rows) == (3, 3)


def test_rows_are_split_by_the_hour_they_were_made_in() -> None:
    rows = prepare_predictions(log_rows(50, seed=1, at=-1, hours=5), LOG)
    parts = rows_by_hour(rows, time="predicted_at")
    assert list(parts) == [hour(number) for number in range(-1, 4)]
    assert all(part.num_rows == 10 for part in parts.values())
    assert rows_by_hour(rows.slice(0, 0), time="predicted_at") == {}


def test_rows_are_split_by_version() -> None:
    rows = log_rows(3, seed=1, model_version=["10", "9", "10"])
    parts = rows_by_version(rows, version="model_version", default="?")
    assert {name: part.num_rows for name, part in parts.items()} == {"10": 2, "9": 1}
    assert rows_by_version(rows, version=None, default="?") == {"?": rows}
    assert rows_by_version(rows.slice(0, 0), version=None, default="?") == {}

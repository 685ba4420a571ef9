from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole, NumericBins
from monitoring_pipeline.describe.reference_building import (
    ColumnSpec,
    ReferencePlan,
    build_reference,
    describe_rows,
    specs_of,
)
from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, TableError
from monitoring_pipeline_tests.traffic import COMPUTED, MODEL, SPECS, START, VERSION, log_rows, reference

ROWS = log_rows(2400, seed=1, hours=72)
WITH_TIME: dict[str, Any] = {"time": "predicted_at", "windows": (HOUR, 24 * HOUR)}


def labelled(rows: pa.Table) -> pa.Table:
    actual = (np.random.default_rng(7).random(rows.num_rows) < rows["score"].to_numpy()).astype(float)
    return rows.append_column("late", pa.array(actual))


def test_a_numeric_feature_is_described_with_everything_a_person_asks_for() -> None:
    values = np.append(ROWS["tenure"].to_numpy(), [np.nan] * 600)
    rows = log_rows(3000, seed=2, tenure=values)
    entry = reference(rows).columns["tenure"]
    finite, summary = values[:2400], entry.summary
    assert (summary["n"], summary["null_rate"], summary["invalid"]) == (3000, 0.2, 0)
    for name, expected in (("mean", finite.mean()), ("std", finite.std())):
        assert summary[name] == pytest.approx(expected, rel=1e-12)
    assert (summary["min"], summary["max"]) == (finite.min(), finite.max())
    wanted = ["0.01", "0.05", "0.25", "0.50", "0.75", "0.95", "0.99"]
    assert list(summary["quantiles"]) == wanted
    assert list(summary["quantiles"].values()) == pytest.approx(np.quantile(finite, [float(q) for q in wanted]))
    assert isinstance(entry.column.bins, NumericBins)
    assert (np.diff(entry.column.bins.edges) > 0).all()
    assert len(summary["proportions"]) == 12
    assert summary["proportions"][:10] == pytest.approx([0.08] * 10, abs=0.01)
    assert summary["proportions"][10:] == [0.0, 0.2]
    assert (entry.profile.low, entry.profile.high, entry.profile.nulls) == (finite.min(), finite.max(), 600)


def test_a_categorical_feature_is_described_with_its_categories_and_counts() -> None:
    rows = log_rows(6, seed=3, plan=["b", "a", "b", None, "b", "a"])
    summary = reference(rows).columns["plan"].summary
    assert summary["categories"] == {"b": 3, "a": 2}
    assert list(summary["categories"]) == ["b", "a"]
    assert (summary["distinct"], summary["n"], summary["null_rate"]) == (2, 6, 1 / 6)
    assert summary["proportions"] == [3 / 6, 2 / 6, 0, 1 / 6]


@pytest.mark.parametrize("values", [[None] * 6, [float("nan")] * 6, [float("inf")] * 6, ["x"] * 6, [1.7e308] * 6])
def test_a_feature_without_a_usable_value_is_described_as_that(values: list[Any]) -> None:
    entry = reference(log_rows(6, seed=4, tenure=values)).columns["tenure"]
    assert "mean" not in entry.summary
    assert entry.summary["null_rate"] * 6 + entry.summary["invalid"] == 6


def test_a_reference_says_what_it_is_of_and_when_it_was_computed() -> None:
    trained = datetime(2026, 11, 1, tzinfo=UTC)
    found = reference(ROWS, trained_until=trained)
    assert (found.model, found.version, found.rows) == (MODEL, VERSION, 2400)
    assert (found.computed_at, found.trained_until) == (COMPUTED, trained)
    assert list(found.specs) == [spec.name for spec in SPECS]
    assert found.outcomes is None


def test_the_performance_of_the_version_is_its_baseline() -> None:
    found = reference(labelled(ROWS), label="late").outcomes
    assert isinstance(found, BinaryOutcomes)
    assert (found.rows, found.labelled, found.scored, found.confusion.sum()) == (2400, 2400, 2400, 2400)


def test_a_feature_may_be_called_actual_or_labelled_at() -> None:
    rows = labelled(ROWS).append_column("actual", ROWS["tenure"]).append_column("labelled_at", ROWS["plan"])
    specs = (*SPECS, ColumnSpec("actual", ColumnRole.FEATURE, ColumnKind.NUMERIC))
    assert reference(rows, specs, label="late").outcomes is not None


def test_rows_to_compare_with_are_described_as_those_of_a_model_are() -> None:
    plan = ReferencePlan((HOUR, 24 * HOUR))
    expected = reference_to_json(reference(ROWS, time="predicted_at", plan=plan))["columns"]
    found = describe_rows(ROWS, SPECS, computed_at=COMPUTED, time="predicted_at", plan=plan)
    assert reference_to_json(found)["columns"] == expected
    with pytest.raises(TableError, match="reference rows"):
        describe_rows(ROWS.drop_columns(["plan"]), SPECS, computed_at=COMPUTED)


def test_the_same_rows_give_the_same_digest_whenever_and_in_whatever_order_they_are_described() -> None:
    order = pa.array(np.random.default_rng(5).permutation(ROWS.num_rows))
    first, second = reference(ROWS, **WITH_TIME), reference(ROWS.take(order), **WITH_TIME)
    later = reference(ROWS, computed_at=START, **WITH_TIME)
    assert first.digest == second.digest == later.digest
    assert len(first.digest) == 64


@pytest.mark.parametrize("change", ["rows", "version", "specs"])
def test_other_content_gives_another_digest(change: str) -> None:
    rows = ROWS.slice(1) if change == "rows" else ROWS
    version = "4" if change == "version" else VERSION
    specs = SPECS[1:] if change == "specs" else SPECS
    found = build_reference(rows, specs, model=MODEL, version=version, computed_at=COMPUTED)
    assert found.digest != reference(ROWS).digest


def test_rows_that_cannot_be_described_are_refused_with_what_to_do() -> None:
    with pytest.raises(TableError, match="'plan' not found; it has"):
        reference(ROWS.drop_columns(["plan"]))
    with pytest.raises(TableError, match="'late' not found"):
        reference(ROWS, label="late")
    with pytest.raises(TableError, match="'at' not found"):
        reference(ROWS, time="at")
    with pytest.raises(ReferenceError, match=r"no rows\. Log the rows"):
        reference(ROWS.slice(0, 0))


def plan_segments(**more: Any) -> Reference:
    plan = ReferencePlan((HOUR, 24 * HOUR), segments=["plan"], most=2)
    return reference(labelled(ROWS), label="late", time="predicted_at", plan=plan, **more)


def test_every_segment_is_described_in_the_bins_of_the_whole() -> None:
    found = plan_segments()
    assert list(found.segments) == ["plan=basic", "plan=plus", "plan=(other)"]
    assert sum(segment.rows for segment in found.segments.values()) == found.rows == 2400
    for name, entry in found.columns.items():
        parts = [segment.columns[name] for segment in found.segments.values()]
        assert {part.column for part in parts} == {entry.column}
        assert sum(part.profile.counts for part in parts).tolist() == entry.profile.counts.tolist()  # type: ignore[union-attr]
    basic = found.segments["plan=basic"].columns
    assert basic["plan"].summary["categories"] == {"basic": found.segments["plan=basic"].rows}
    assert basic["tenure"].calibrated("psi", "24h") is not None


JOINED = specs_of("joined", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=True)


def joined(rows: pa.Table) -> pa.Table:
    """Return rows with the moment each customer joined: 36 hours before for every row."""
    return rows.append_column("joined", pc.subtract(rows["predicted_at"], pa.scalar(timedelta(hours=36))))


def test_a_date_and_time_is_described_by_its_hour_its_day_and_its_age() -> None:
    found = reference(joined(ROWS), [*SPECS, *JOINED], time="predicted_at")
    parts = [found.columns[f"joined.{part}"] for part in ("hour_of_day", "day_of_week", "age_days")]
    assert [part.column.read_from for part in parts] == ["joined"] * 3
    assert [(part.summary["null_rate"], part.summary["invalid"]) for part in parts] == [(0, 0)] * 3
    hours, days, ages = (part.summary for part in parts)
    assert (round(hours["min"], 1), round(hours["max"], 1)) == (0.0, 24.0)
    assert (days["min"], days["max"]) == (2.0, 5.0)  # from Wednesday noon to Saturday noon
    assert (ages["min"], ages["max"]) == (1.5, 1.5)


def test_rows_without_a_time_of_their_own_have_no_age() -> None:
    found = reference(joined(ROWS), [*SPECS, *JOINED])
    assert [name for name in found.columns if name.startswith("joined")] == ["joined.hour_of_day", "joined.day_of_week"]
    assert specs_of("joined", ColumnRole.FEATURE, ColumnKind.DATETIME, groups=10, aged=False) == JOINED[:2]

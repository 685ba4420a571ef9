import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole, NumericBins
from monitoring_pipeline.describe.references import (
    BlockDistances,
    ColumnSpec,
    Reference,
    build_reference,
    document_digest,
)
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
    assert found is not None
    assert (found.rows, found.labelled, found.scored, found.confusion.sum()) == (2400, 2400, 2400, 2400)


def test_a_feature_may_be_called_actual_or_labelled_at() -> None:
    rows = labelled(ROWS).append_column("actual", ROWS["tenure"]).append_column("labelled_at", ROWS["plan"])
    specs = (*SPECS, ColumnSpec("actual", ColumnRole.FEATURE, ColumnKind.NUMERIC))
    assert reference(rows, specs, label="late").outcomes is not None


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


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(reference(labelled(ROWS), label="late", **WITH_TIME).to_json()))
    return found


def test_a_reference_comes_back_from_json_with_the_same_digest() -> None:
    stored = document()
    found = Reference.from_json(stored)
    assert found.to_json() == stored
    content = {name: value for name, value in stored.items() if name != "digest"}
    assert found.digest == stored["digest"] == document_digest(content)
    assert found.columns["tenure"].calibrated("psi", "24h") is not None


def tampered(change: str) -> dict[str, Any]:
    stored = document()
    if change == "count":
        stored["columns"]["tenure"]["profile"]["counts"][7] += 1
    elif change == "calibration":
        stored["columns"]["tenure"]["calibration"]["psi"]["24h"][1] += 1.0
    elif change == "column":
        del stored["columns"]["plan"]
    elif change == "version":
        stored["version"] = "9"
    elif change == "digest":
        stored["digest"] = "0" * 64
    else:
        del stored["digest"]
    return stored


@pytest.mark.parametrize("change", ["count", "calibration", "column", "version", "digest", "no digest"])
def test_a_changed_document_is_refused(change: str) -> None:
    with pytest.raises(ReferenceError, match=r"reference of churn v\d: its content has digest .* Rebuild"):
        Reference.from_json(tampered(change))


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(ReferenceError, match="format 2, needed 1"):
        Reference.from_json(document() | {"format": 2})
    with pytest.raises(ReferenceError, match="format None"):
        Reference.from_json({})


def test_rows_that_cannot_be_described_are_refused_with_what_to_do() -> None:
    with pytest.raises(TableError, match="'plan' not found; it has"):
        reference(ROWS.drop_columns(["plan"]))
    with pytest.raises(TableError, match="'late' not found"):
        reference(ROWS, label="late")
    with pytest.raises(TableError, match="'at' not found"):
        reference(ROWS, time="at")
    with pytest.raises(ReferenceError, match=r"no rows\. Log the rows"):
        reference(ROWS.slice(0, 0))


def test_a_window_is_calibrated_when_the_reference_holds_two_blocks_of_it() -> None:
    found = reference(ROWS, time="predicted_at", windows=(HOUR, 24 * HOUR, 36 * HOUR, 48 * HOUR))
    entry = found.columns["tenure"]
    assert {metric: list(by_window) for metric, by_window in entry.calibration.items()} == {
        metric: ["1h", "24h", "36h"] for metric in ("psi", "js", "ks", "wasserstein")
    }
    assert found.columns["plan"].calibrated("ks", "24h") is None
    assert found.columns["plan"].calibrated("js", "24h") is not None
    day = entry.calibrated("psi", "24h")
    assert day is not None
    assert (day.independent, day.largest > 0) == (3.0, True)
    assert reference(ROWS).columns["tenure"].calibrated("psi", "24h") is None


def test_a_stretch_without_rows_makes_no_block() -> None:
    later = log_rows(800, seed=2, at=24 * 300, hours=24)
    gap = reference(pa.concat_tables([ROWS, later]), **WITH_TIME).columns["tenure"].calibrated("psi", "24h")
    assert gap is not None
    assert 4 <= gap.independent < 7


def test_rows_without_a_time_are_described_but_not_calibrated() -> None:
    rows = ROWS.set_column(1, "predicted_at", pa.array([None] * 2400, pa.timestamp("us", tz="UTC")))
    found = reference(rows, **WITH_TIME)
    assert found.rows == 2400
    assert found.columns["tenure"].calibration == {}


def test_a_limit_grows_with_the_probability_and_few_unlike_blocks_put_no_bound_on_it() -> None:
    blocks = BlockDistances(independent=30.0, log_mean=-3.0, log_variance=0.25, largest=0.2)
    limits = [blocks.limit(probability) for probability in (0.5, 0.9, 0.99)]
    assert limits == sorted(limits)
    assert limits[0] == pytest.approx(np.exp(-3))
    assert BlockDistances(2.0, -10.0, 100.0, 1.0).limit(0.999) == np.inf


def test_a_constant_column_is_calibrated_at_nothing() -> None:
    rows = ROWS.set_column(ROWS.column_names.index("tenure"), "tenure", pa.array([3.7] * 2400))
    blocks = reference(rows, **WITH_TIME).columns["tenure"].calibrated("psi", "24h")
    assert blocks is not None
    assert blocks.limit(0.99) < 1e-9

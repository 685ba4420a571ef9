import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import cross_val_predict

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole, FloatArray
from monitoring_pipeline.describe.loss_model import FOLDS, LEAST_ROWS, LossModel
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, build_reference
from monitoring_pipeline.describe.reference_json import reference_from_json, reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline.evaluate.estimates import EstimatePolicy, estimates_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline_tests.traffic import COMPUTED, MODEL, VERSION, column, hour

PLAN = OutcomePlan(Task.REGRESSION, LogColumns(prediction="prediction", score=None))
KINDS = {"x": ColumnKind.NUMERIC, "noise": ColumnKind.NUMERIC, "town": ColumnKind.CATEGORICAL}
START = datetime(2026, 10, 1, tzinfo=UTC)


def world(rows: int, seed: int, *, shift: float = 0.0, rude: float = 0.1, labels: bool = True) -> pa.Table:
    """Rows whose errors grow with x and are largest in one town; a shift moves x, and `rude` is the town's share."""
    random = np.random.default_rng(seed)
    x = random.normal(shift, 1.0, rows)
    town = random.choice(["Bern", "Rude", "Wien"], rows, p=[0.5, rude, 0.5 - rude])
    spread = 0.5 + np.exp(0.5 * x) + 2.0 * (town == "Rude")
    served = 10 + x
    actual = served + random.normal(0, 1, rows) * spread
    return pa.table(
        {
            "predicted_at": [START + timedelta(seconds=60 * n) for n in range(rows)],
            "x": x,
            "noise": random.normal(size=rows),
            "town": town.tolist(),
            "prediction": served,
            "actual": pa.array(actual, mask=None if labels else np.ones(rows, bool)),
            "labelled_at": pa.nulls(rows, pa.timestamp("us", tz="UTC")),
        }
    )


def residuals(rows: pa.Table) -> FloatArray:
    return np.asarray(rows["actual"].to_numpy() - rows["prediction"].to_numpy())


def learnt(rows: pa.Table, *, time: str | None = "predicted_at", **kinds: ColumnKind) -> LossModel:
    found = KINDS | {"prediction": ColumnKind.NUMERIC} | kinds
    columns = {name: column(name, rows[name].to_pylist(), kind) for name, kind in found.items()}
    model = LossModel.of(rows, columns, residuals(rows), time=time)
    assert model is not None
    return model


def reference(rows: pa.Table, **more: Any) -> Reference:
    specs = [ColumnSpec(name, ColumnRole.FEATURE, kind) for name, kind in KINDS.items()]
    specs.append(ColumnSpec("prediction", ColumnRole.PREDICTION, ColumnKind.NUMERIC))
    usual: dict[str, Any] = {"time": "predicted_at", "label": "actual", "plan": ReferencePlan(outcomes=PLAN)}
    return build_reference(rows, specs, model=MODEL, version=VERSION, computed_at=COMPUTED, **usual | more)


def estimated(rows: pa.Table, before: Reference, *, labels: bool = False) -> dict[str, Signal]:
    shown = rows if labels else rows.set_column(rows.column_names.index("actual"), "actual", pa.nulls(len(rows)))
    outcomes = {hour(0): {VERSION: PLAN.of(shown, (), before.loss_model)}}
    signals = estimates_by_version(MODEL, outcomes, {VERSION: before}, [hour(0)], EstimatePolicy((HOUR,), PLAN))
    return {signal.metric.removeprefix("estimate."): signal for signal in signals}


def test_estimates_follow_a_shift_of_the_features_that_the_level_of_the_reference_misses() -> None:
    before = reference(world(12_000, 1))
    rows = world(20_000, 2, shift=1.0, rude=0.4)
    error = residuals(rows)
    shown = {"mae": np.abs(error).mean(), "mse": np.square(error).mean(), "rmse": np.sqrt(np.square(error).mean())}
    found = estimated(rows, before)
    for name, value in shown.items():
        signal = found[name]
        assert signal.value is not None
        assert signal.baseline_value is not None
        assert abs(signal.value - value) < 0.2 * abs(signal.baseline_value - value)
        assert signal.value == pytest.approx(value, rel=0.1)
    assert (found["mae"].rows, found["mae"].unit, found["mse"].unit) == (20_000, "target", "target^2")
    assert found["error"].absence is Absence.NO_LABELS_YET
    error_signal = estimated(rows, before, labels=True)["error"]
    assert found["mae"].value is not None
    assert error_signal.value == pytest.approx(abs(shown["mae"] / found["mae"].value - 1))
    assert error_signal.detail["metric"] == "mae"


def test_without_a_shift_estimates_are_what_scikit_learn_expects_of_rows_it_has_not_seen() -> None:
    rows = world(6000, 3)
    features = np.stack([rows["x"].to_numpy(), np.array(rows["town"].to_pylist()) == "Rude"], axis=1)
    boosted = GradientBoostingRegressor(n_estimators=60, max_depth=3, random_state=0)
    unseen = cross_val_predict(boosted, features, np.abs(residuals(rows)), cv=5)
    expected = learnt(rows).expected(rows)
    ours = expected.means.mean(axis=0)[0]
    assert ours.mean() == pytest.approx(unseen.mean(), rel=0.01)
    assert np.corrcoef(ours, unseen)[0, 1] > 0.9
    truth = np.sqrt(2 / np.pi) * (0.5 + np.exp(0.5 * features[:, 0]) + 2 * features[:, 1])
    assert np.square(ours - truth).mean() < 1.2 * np.square(unseen - truth).mean()


def test_intervals_hold_what_labels_show_as_often_as_they_say_shifted_or_not() -> None:
    hits = {"mae": 0, "mse": 0}
    for seed in range(10):
        before = reference(world(2000, seed))
        for number in range(10):
            rows = world(600, 1000 + 10 * seed + number, shift=0.4 * (number % 2))
            error = residuals(rows)
            found = estimated(rows, before)
            for name, value in (("mae", np.abs(error).mean()), ("mse", np.square(error).mean())):
                low, high = found[name].low, found[name].high
                assert low is not None
                assert high is not None
                hits[name] += low < value < high
    assert all(89 <= count <= 100 for count in hits.values()), hits  # 95 are expected


def test_errors_that_features_say_nothing_of_are_expected_to_be_as_large_as_ever() -> None:
    rows = world(4000, 5)
    random = np.random.default_rng(55)
    rows = rows.set_column(rows.column_names.index("actual"), "actual", pa.array(10 + random.normal(size=4000)))
    rows = rows.set_column(rows.column_names.index("prediction"), "prediction", pa.array(np.full(4000, 10.0)))
    means = learnt(rows).expected(world(2000, 6, shift=2.0)).means.mean(axis=(0, 2))
    assert means == pytest.approx([np.sqrt(2 / np.pi), 1.0], rel=0.06)


def test_the_stored_form_is_plain_small_and_gives_the_same_bits() -> None:
    before = reference(world(20_000, 7))
    text = json.dumps(reference_to_json(before), allow_nan=False)
    again = reference_from_json(json.loads(text))
    assert again.digest == before.digest
    assert before.loss_model is not None
    assert again.loss_model is not None
    assert len(json.dumps(before.loss_model.to_json())) < 150_000
    rows = world(500, 8, shift=1.0)
    mine, theirs = (each.expected(rows) for each in (before.loss_model, again.loss_model))
    assert mine.means.tobytes() == theirs.means.tobytes()
    assert mine.variances.tobytes() == theirs.variances.tobytes()


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = world(1500, 9)
    turned = rows.take(np.random.default_rng(1).permutation(1500))
    assert reference(rows).digest == reference(turned).digest
    assert learnt(rows, time=None).to_json() == learnt(turned, time=None).to_json()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", [float("inf")]),
        ("x", [1e300]),
        ("x", ["a lot"]),
        ("x", [None]),
        ("town", ["Atlantis"]),
        ("town", [b"\xff"]),
        ("noise", ["?"]),
        ("prediction", [float("-inf")]),
        ("prediction", ["ten"]),
    ],
)
def test_a_poisoned_value_costs_its_own_row_at_most(name: str, values: list[Any]) -> None:
    model = learnt(world(2000, 10))
    rows = world(200, 11)
    kept = rows.slice(0, 199).column(name).to_pylist()
    mixed: list[Any] = [*(kept if isinstance(values[0], float | None) or name == "town" else map(str, kept)), values[0]]
    if isinstance(values[0], bytes):
        mixed = [str(value).encode() for value in kept] + values
    poisoned = rows.set_column(rows.column_names.index(name), name, pa.array(mixed))
    found, healthy = PLAN.of(poisoned, (), model), PLAN.of(rows, (), model)
    assert isinstance(found, RegressionOutcomes)
    assert isinstance(healthy, RegressionOutcomes)
    assert found.expected_rows == 200 - (name == "prediction")
    assert np.isfinite(found.expected_losses).all()
    assert found.expected_losses == pytest.approx(healthy.expected_losses, rel=0.05)
    before = model.expected(rows.slice(0, 199)).means
    assert model.expected(poisoned).means[..., :199].tobytes() == before.tobytes()


def test_poisoned_labels_and_predictions_of_the_reference_teach_nothing() -> None:
    rows = world(1000, 12)
    actual = rows["actual"].to_numpy().copy()
    actual[:3] = [np.inf, np.nan, 1e200]
    poisoned = rows.set_column(rows.column_names.index("actual"), "actual", pa.array(actual))
    assert reference(poisoned).loss_model is not None
    mine, theirs = learnt(poisoned), learnt(rows.slice(3))
    assert mine.to_json() == theirs.to_json()


def test_missing_numbers_have_an_error_of_their_own_where_the_reference_had_them() -> None:
    rows = world(6000, 13)
    random = np.random.default_rng(13)
    lost = random.random(6000) < 0.2
    x = pa.array(rows["x"].to_numpy(), mask=lost)
    actual = np.where(lost, rows["prediction"].to_numpy() + random.normal(0, 20, 6000), rows["actual"].to_numpy())
    rows = rows.set_column(rows.column_names.index("x"), "x", x)
    rows = rows.set_column(rows.column_names.index("actual"), "actual", pa.array(actual))
    means = learnt(rows).expected(rows).means.mean(axis=0)[0]
    assert means[lost].mean() == pytest.approx(np.abs(residuals(rows))[lost].mean(), rel=0.1)


def test_few_labelled_rows_or_another_task_teach_no_loss_model() -> None:
    assert reference(world(LEAST_ROWS - 1, 14)).loss_model is None
    assert reference(world(500, 14), label=None).loss_model is None
    assert reference(world(500, 14), plan=ReferencePlan()).loss_model is None
    before = reference(world(LEAST_ROWS - 1, 14))
    found = estimated(world(300, 15), before)
    assert found["error"].absence is Absence.TOO_FEW_ROWS
    assert "mae" not in found


def test_every_fold_has_its_say_on_every_row() -> None:
    expected = learnt(world(1000, 16)).expected(world(7, 17))
    assert expected.means.shape == (FOLDS, 2, 7)
    assert (expected.means[:, 1] >= np.square(expected.means[:, 0])).all()
    assert (expected.variances > 0).all()

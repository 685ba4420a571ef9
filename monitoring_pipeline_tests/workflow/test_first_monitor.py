"""The first YAML file: what is guessed of rows, what is said of the guess, and that it is right."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.first_monitor import FirstMonitor, monitor_of_rows
from monitoring_pipeline_tests.traffic import hour, log_rows

ROWS = 240


def first(rows: pa.Table, task: Task | None = None, **told: str) -> FirstMonitor:
    return monitor_of_rows(rows, model="churn", source="rows.parquet", told=told, task=task)


def read(tmp_path: Path, found: FirstMonitor) -> Monitor:
    (tmp_path / "churn.yaml").write_text(found.text())
    return load_monitor(tmp_path / "churn.yaml")


def table(**columns: Any) -> pa.Table:
    own = {"id": np.arange(ROWS), "ts": [hour(number // 10) for number in range(ROWS)]}
    own |= {} if "y_prob" in columns else {"prediction": columns.get("actual", [0, 1] * (ROWS // 2))}
    return pa.table({**own, "amount": np.linspace(0, 1e4, ROWS), "plan": ["a", "b"] * (ROWS // 2), **columns})


def test_a_log_with_the_usual_names_takes_five_lines(tmp_path: Path) -> None:
    found = first(log_rows(1500, seed=1))
    assert found.document == {
        "model": "churn",
        "start": "2026-11-20T00:00Z",
        "features": {"numeric": ["tenure"], "categorical": ["plan"]},
    }
    assert len(found.text().splitlines()) == 6
    assert found.guesses == {}
    assert read(tmp_path, found).task is Task.BINARY


def test_columns_with_other_names_are_found_and_said(tmp_path: Path) -> None:
    rows = table(y_prob=np.linspace(0, 1, ROWS), target=[0, 1] * (ROWS // 2))
    found = first(rows)
    monitor = read(tmp_path, found)
    columns = monitor.columns
    assert (columns.prediction_id, columns.predicted_at, columns.score, columns.prediction) == (
        "id",
        "ts",
        "y_prob",
        None,
    )
    assert (monitor.labels.actual, monitor.labels.labelled_at, monitor.labels.prediction_id) == ("target", "ts", "id")
    line = next(line for line in found.text().splitlines() if line.startswith("columns:"))
    assert line.endswith(
        "# by their names: prediction_id is id, predicted_at is ts, score is y_prob, actual is target; check them"
    )
    assert "as if known at once" in found.text()
    assert len(found.text().splitlines()) <= 10


def test_what_is_told_is_not_guessed() -> None:
    rows = table(y_prob=np.linspace(0, 1, ROWS), other=np.linspace(1, 0, ROWS))
    found = first(rows, score="other", prediction_id="id", predicted_at="ts")
    assert found.document["columns"]["score"] == "other"
    assert "columns" not in found.guesses
    assert found.left_out == {"y_prob": "by its name it is no input of the model"}, "a feature like it would leak"
    with pytest.raises(TableError, match=r"'skore' not found; it has 'id', 'ts'"):
        first(rows, score="skore")


@pytest.mark.parametrize(
    ("actual", "task"),
    [
        ([0, 1] * (ROWS // 2), Task.BINARY),
        ([0.0, 1.0, float("nan"), None] * (ROWS // 4), Task.BINARY),
        ([True, False] * (ROWS // 2), Task.BINARY),
        (["red", "green", "blue"] * (ROWS // 3), Task.MULTICLASS),
        ([1, 2, 3, 4] * (ROWS // 4), Task.MULTICLASS),
        (np.linspace(0, 1, ROWS), Task.REGRESSION),
        (np.arange(ROWS), Task.REGRESSION),
    ],
)
def test_the_task_is_what_the_labels_look_like(tmp_path: Path, actual: Any, task: Task) -> None:
    found = first(table(actual=actual))
    assert read(tmp_path, found).task is task
    assert set(found.document.get("classes", ())) == (set(map(str, actual)) if task is Task.MULTICLASS else set())
    asked = first(table(actual=[0, 1] * (ROWS // 2)), task=Task.REGRESSION)
    assert asked.document["task"] == "regression", "who knows better says so"


def test_probabilities_of_classes_that_sum_to_one_name_the_classes(tmp_path: Path) -> None:
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], ROWS)
    columns = {f"proba_{name}": shares[:, place] for place, name in enumerate(("red", "green", "blue"))}
    found = first(table(**columns))
    assert read(tmp_path, found).columns.probabilities == {name.removeprefix("proba_"): name for name in columns}
    assert found.document["features"]["numeric"] == ["amount"]
    unrelated = first(table(**{name: values / 2 for name, values in columns.items()}))
    assert unrelated.document["features"]["numeric"] == ["amount", *columns]


def test_what_has_no_distribution_is_left_out_and_said(tmp_path: Path) -> None:
    note = [f"text {number}" for number in range(ROWS)]
    found = first(table(note=note, tags=[[1]] * ROWS, empty=pa.nulls(ROWS), flag=[True, False] * (ROWS // 2)))
    assert list(found.left_out) == ["note", "tags", "empty"]
    assert '# left out: "note", nearly every value is another' in found.text()
    assert found.document["features"] == {"numeric": ["amount"], "categorical": ["plan"], "boolean": ["flag"]}
    read(tmp_path, found)


def test_names_that_mean_something_in_yaml_are_still_names(tmp_path: Path) -> None:
    odd = ["null", "yes", "a: b", "#x", "1.5", "ü, [x]", " padded ", "long " * 30]
    found = first(table(**{name: np.linspace(0, 9, ROWS) for name in odd}))
    assert read(tmp_path, found).features.numeric == ("amount", *odd)


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ("id", r"the id of a prediction \(--id\)"),
        ("ts", r"the time of a prediction \(--time\)"),
        ("prediction", r"the score \(--score\) or what was predicted \(--prediction\)"),
    ],
)
def test_rows_without_an_id_a_time_or_a_prediction_are_refused_with_what_there_is(drop: str, said: str) -> None:
    with pytest.raises(TableError, match=f"no column is {said}; it has"):
        first(table().drop_columns([drop]))


def test_rows_that_are_none_or_have_no_features_are_refused() -> None:
    with pytest.raises(TableError, match="no rows"):
        first(table().slice(0, 0))
    with pytest.raises(TableError, match="no column is left for a feature"):
        first(table().drop_columns(["amount", "plan"]))


def test_columns_as_data_frames_store_them_are_read(tmp_path: Path) -> None:
    rows = table(actual=pa.array(["red", "blue"] * (ROWS // 2)).dictionary_encode())
    coded = pa.array(["a", "b", None] * (ROWS // 3)).dictionary_encode()
    price = pa.array([Decimal("1.50"), Decimal("2.00")] * (ROWS // 2))
    found = first(rows.append_column("coded", coded).append_column("price", price))
    monitor = read(tmp_path, found)
    assert monitor.classes == ("blue", "red")
    assert monitor.features.categorical == ("plan", "coded")
    assert monitor.features.numeric == ("amount", "price")


@pytest.mark.parametrize(
    ("hours_apart", "rows", "windows", "least"),
    [(0.02, 1500, ("1h", "24h", "7d"), 1000), (0.1, 2000, ("1h", "7d"), 1000), (1, 400, ("1h", "7d"), 100)],
)
def test_few_rows_a_day_are_looked_at_by_the_week(
    tmp_path: Path, hours_apart: float, rows: int, windows: tuple[str, ...], least: int
) -> None:
    times = [hour(0) + timedelta(hours=hours_apart * number) for number in range(rows)]
    found = first(
        pa.table({"id": np.arange(rows), "ts": times, "prediction": [0, 1] * (rows // 2), "x": np.arange(rows)})
    )
    monitor = read(tmp_path, found)
    assert (monitor.windows, monitor.drift.min_rows) == (windows, least)
    assert ("rows a day are few" in found.text()) == (windows == ("1h", "7d"))

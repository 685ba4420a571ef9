from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError, TableError
from monitoring_pipeline.retrain.training import (
    TooFewRowsError,
    TrainingPlan,
    TrainingSet,
    cross_fitted_scores,
    frame_digest,
    load_trainer,
    split_training_set,
)

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLAN = TrainingPlan(window=timedelta(days=10), holdout=timedelta(days=2), minimum_rows=50)
BOUNDARY = pd.Timestamp(AS_OF - PLAN.holdout)


def predictions(rows: int = 2000, *, seed: int = 1, days: float = 20, until: datetime = AS_OF) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    moments = pd.Timestamp(until) - pd.to_timedelta(np.linspace(days, 1e-6, rows), unit="D")
    frame = pd.DataFrame({"x": generator.normal(size=rows), "at": moments.as_unit("us"), "ignored": "…"})
    frame["actual"] = (generator.random(rows) < 1 / (1 + np.exp(-frame["x"]))).astype(float)
    frame.loc[generator.random(rows) < 0.1, "actual"] = np.nan
    return frame.sample(frac=1, random_state=seed)


def split(frame: pd.DataFrame, **more: Any) -> TrainingSet:
    return split_training_set(frame, **{"features": ["x"], "time": "at", "as_of": AS_OF, "plan": PLAN, **more})


def test_the_hold_out_is_the_newest_stretch_and_nothing_of_it_is_trained_on() -> None:
    frame = predictions()
    found = split(frame)
    assert found.training["at"].max() < BOUNDARY <= found.holdout["at"].min()
    assert found.training["at"].min() >= BOUNDARY - PLAN.window
    assert found.holdout["at"].max() < pd.Timestamp(AS_OF)
    known = frame[frame["actual"].notna()]
    assert len(found.holdout) == (known["at"] >= BOUNDARY).sum()
    assert len(found.training) == ((known["at"] < BOUNDARY) & (known["at"] >= BOUNDARY - PLAN.window)).sum()
    for part in (found.training, found.holdout):
        assert list(part.columns) == ["x", "at", "actual"]
        assert part["at"].is_monotonic_increasing
        assert part["actual"].isin([0, 1]).all()


def test_a_row_at_the_boundary_is_held_out_and_one_at_the_end_is_neither() -> None:
    frame = predictions()
    edge = frame.head(2).assign(at=[BOUNDARY, pd.Timestamp(AS_OF)], x=[123.0, 456.0], actual=[1.0, 1.0])
    found = split(pd.concat([frame, edge]))
    assert 123.0 in found.holdout["x"].to_numpy()
    assert 123.0 not in found.training["x"].to_numpy()
    assert 456.0 not in np.concatenate([found.holdout["x"], found.training["x"]])


def test_the_order_of_the_rows_changes_nothing() -> None:
    frame = predictions()
    first, second = split(frame), split(frame.sample(frac=1, random_state=9))
    assert first.digest == second.digest
    pd.testing.assert_frame_equal(first.training, second.training)


def test_what_the_champion_already_knows_comes_before_the_window_and_never_from_the_hold_out() -> None:
    older = predictions(3000, seed=2, days=40).assign(x=99.0)
    found = split(predictions(), older=older)
    mixed = found.training[found.training["x"] == 99.0]
    recent = found.training[found.training["x"] != 99.0]
    assert len(mixed) > 0
    assert mixed["at"].max() < recent["at"].min()
    assert 99.0 not in found.holdout["x"].to_numpy()
    assert found.training["at"].max() < BOUNDARY


def test_where_nothing_recent_is_labelled_the_older_rows_still_stop_at_the_hold_out() -> None:
    frame = predictions()
    frame.loc[frame["at"] < BOUNDARY, "actual"] = np.nan
    found = split(frame, older=predictions(3000, seed=2, days=40))
    assert found.training["at"].max() < BOUNDARY


def one_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(actual=frame["actual"].where(frame["at"] < BOUNDARY, 1.0))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            predictions(60),
            r"training rows as of 2026-11-20 12:00Z: \d+ rows of 2 class\(es\), needed 50 of both",
        ),
        (predictions(until=AS_OF - timedelta(days=3)), r"hold-out rows .*: 0 rows of 0 class\(es\), needed 2"),
        (one_class(predictions()), r"hold-out rows .* of 1 class\(es\)"),
        (predictions().assign(actual=np.nan), r"training rows .*: 0 rows .* Wait for more labels"),
        (predictions().assign(actual="late"), r"training rows .*: 0 rows"),
        (predictions().iloc[:0], "no prediction was logged"),
        (pd.DataFrame(), "no prediction was logged"),
    ],
)
def test_too_little_to_train_or_to_judge_on_is_said_with_numbers(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(TooFewRowsError, match=words):
        split(frame)


def test_a_feature_that_was_not_logged_is_named() -> None:
    with pytest.raises(TableError, match=r"'plan' not found; it has 'x', 'at'"):
        split(predictions(), features=["x", "plan"])


def test_the_digest_tells_content_columns_and_the_place_of_the_split() -> None:
    frame = predictions(100).reset_index(drop=True)
    whole = frame_digest([frame.head(60), frame.tail(40)])
    assert whole == frame_digest([frame.head(60).copy(), frame.tail(40).reset_index(drop=True)])
    others = [
        [frame.head(61), frame.tail(39)],
        [frame],
        [frame.head(60), frame.tail(40).assign(x=0.0)],
        [frame.head(60).rename(columns={"x": "y"}), frame.tail(40)],
    ]
    assert whole not in {frame_digest(other) for other in others}


def test_a_trainer_is_found_by_its_name() -> None:
    assert load_trainer("examples.flight_delays.model:fit").__name__ == "fit"


@pytest.mark.parametrize(
    "name", ["", "nowhere", "nowhere:fit", "json", "json:nothing", "json:__name__", ".json:loads", ":fit"]
)
def test_a_name_that_is_no_trainer_says_how_to_name_one(name: str) -> None:
    with pytest.raises(MonitoringError, match=r"trainer '.*': .* as package\.module:function"):
        load_trainer(name)


class Remembering:
    """A model that scores rows it was fitted on 1 and all others 0."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.seen = set(rows["x"])

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        assert list(rows.columns) == ["x"]
        scores = rows["x"].isin(self.seen).to_numpy(dtype=float)
        return np.column_stack([1 - scores, scores])


@pytest.mark.parametrize("index", [None, [7] * 100])
def test_no_row_is_scored_by_a_model_that_has_seen_it(index: list[int] | None) -> None:
    frame = pd.DataFrame({"x": np.arange(100.0), "actual": [0.0, 1.0] * 50}, index=index)
    fitted: list[int] = []

    def trainer(rows: pd.DataFrame) -> Remembering:
        fitted.append(len(rows))
        return Remembering(rows)

    scores = cross_fitted_scores(frame, trainer, features=["x"])
    assert scores.tolist() == [0.0] * 100
    assert fitted == [66, 67, 67]


def test_a_block_that_holds_all_of_one_class_is_said() -> None:
    frame = pd.DataFrame({"x": np.arange(9.0), "actual": [1.0] * 3 + [0.0] * 6})
    with pytest.raises(TooFewRowsError, match="without one of 3 blocks in time one class is left"):
        cross_fitted_scores(frame, Remembering, features=["x"])


def test_a_regressor_learns_from_every_outcome_that_is_a_finite_number() -> None:
    frame = predictions()
    amounts = frame.assign(actual=frame["actual"] * 0.5 - 3.0).astype({"actual": object})
    recent = amounts.index[(amounts["at"] < BOUNDARY) & (amounts["at"] >= BOUNDARY - PLAN.window)]
    amounts.loc[recent[:5], "actual"] = [np.inf, -np.inf, np.nan, "many", None]
    found = split(amounts, task=Task.REGRESSION)
    assert set(found.training["actual"]) | set(found.holdout["actual"]) == {-3.0, -2.5}
    usable = pd.to_numeric(amounts.loc[recent, "actual"], errors="coerce").abs() < np.inf
    assert len(found.training) == usable.sum()
    with pytest.raises(TooFewRowsError, match=r"0 rows of 0 class\(es\)"):
        split(amounts)


def test_outcomes_that_are_all_the_same_teach_a_regressor_nothing() -> None:
    with pytest.raises(TooFewRowsError, match=r"rows of 1 outcome\(s\), needed 50 of at least two"):
        split(predictions().assign(actual=2.0), task=Task.REGRESSION)


class Averaging:
    """A regressor that predicts the mean of what it was fitted on."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.mean = rows["actual"].mean()

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        assert list(rows.columns) == ["x"]
        return np.full(len(rows), self.mean)


def test_a_block_of_values_is_predicted_by_a_regressor_fitted_without_it() -> None:
    frame = pd.DataFrame({"x": np.arange(6.0), "actual": [1.0, 1.0, 1.0, 1.0, 4.0, 4.0]})
    found = cross_fitted_scores(frame, Averaging, features=["x"], task=Task.REGRESSION)
    assert found.tolist() == [2.5, 2.5, 2.5, 2.5, 1.0, 1.0]

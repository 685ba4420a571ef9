from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.retrain.refit import (
    TrainerError,
    balanced_weights,
    cross_fitted_scores,
    fitter,
    load_trainer,
    scores_of,
)
from monitoring_pipeline.retrain.training import TooFewRowsError


def rows(count: int = 4000, *, seed: int = 1, offset: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    return pd.DataFrame({"x": x, "actual": (generator.random(count) < 1 / (1 + np.exp(-2 * x - offset))).astype(float)})


binary = partial(fitter, features=["x"], task=Task.BINARY, balanced=False)


def test_a_trainer_is_found_by_its_name() -> None:
    assert load_trainer("examples.flight_delays.model:fit").__name__ == "fit"


@pytest.mark.parametrize(
    "name", ["", "nowhere", "nowhere:fit", "json", "json:nothing", "json:__name__", ".json:loads", ":fit"]
)
def test_a_name_that_is_no_trainer_says_how_to_name_one(name: str) -> None:
    with pytest.raises(MonitoringError, match=r"trainer '.*': .* as package\.module:function"):
        load_trainer(name)


def test_a_refit_keeps_what_the_estimator_was_set_to_and_forgets_what_it_knew() -> None:
    champion = make_pipeline(StandardScaler(), LogisticRegression(C=3.0)).fit(rows()[["x"]], 1 - rows()["actual"])
    before = champion.predict_proba(rows()[["x"]])
    found = binary("refit", champion=champion)(rows())
    assert found[-1].C == 3.0
    assert found[-1].coef_[0, 0] > 1 > -1 > champion[-1].coef_[0, 0]
    assert np.array_equal(champion.predict_proba(rows()[["x"]]), before), "the champion itself goes on as it is"


def test_a_recalibration_keeps_the_ranking_and_mends_the_probabilities() -> None:
    champion = LogisticRegression().fit(rows()[["x"]], rows()["actual"])
    recent, later = rows(seed=2, offset=-2.0), rows(seed=3, offset=-2.0)  # what used to come true every second time
    found = binary("recalibrate", champion=champion)(recent)
    old, new = (model.predict_proba(later[["x"]])[:, 1] for model in (champion, found))
    truth = later["actual"].to_numpy()
    assert roc_auc_score(truth, new) == roc_auc_score(truth, old)
    assert log_loss(truth, old) - log_loss(truth, new) > 0.2
    assert new.mean() == pytest.approx(truth.mean(), abs=0.02)


@pytest.mark.parametrize("trainer", ["refit", "recalibrate"])
def test_nothing_is_put_upon_an_earlier_recalibration(trainer: str) -> None:
    champion = LogisticRegression().fit(rows()[["x"]], rows()["actual"])
    once = binary("recalibrate", champion=champion)(rows(seed=2))
    again = binary(trainer, champion=once)(rows(seed=3))
    inner = again.estimator.estimator if trainer == "recalibrate" else again
    assert isinstance(again, CalibratedClassifierCV) == (trainer == "recalibrate")
    assert isinstance(inner, LogisticRegression)
    assert (inner.coef_ == champion.coef_).all() == (trainer == "recalibrate")


def test_balanced_classes_weigh_the_same_in_total_and_rows_one_on_average() -> None:
    weights = balanced_weights([0, 0, 0, 1])
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_weights_reach_a_trainer_that_takes_them_and_the_last_step_of_a_champion() -> None:
    rare = rows(offset=-3.0)
    for trainer, champion in (
        ("monitoring_pipeline_tests.trainers:average", None),
        ("refit", make_pipeline(StandardScaler(), DummyClassifier(strategy="prior")).fit(rare[["x"]], rare["actual"])),
    ):
        found = binary(trainer, champion=champion, balanced=True)(rare)
        assert found.predict_proba(rare[["x"]])[0] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("trainer", "champion", "task", "words"),
    [
        ("monitoring_pipeline_tests.trainers:raising", None, Task.BINARY, "takes no sample_weight"),
        ("refit", KNeighborsClassifier(), Task.BINARY, "KNeighborsClassifier takes no weights"),
        ("refit", LinearRegression(), Task.REGRESSION, "a regressor has no classes"),
    ],
)
def test_weights_that_nobody_would_heed_are_refused(trainer: str, champion: Any, task: Task, words: str) -> None:
    with pytest.raises(TrainerError, match=words):
        fitter(trainer, features=["x"], task=task, balanced=True, champion=champion)(rows(100))


class Broken:
    def __init__(self, found: Any) -> None:
        self.found = found

    def predict_proba(self, rows: pd.DataFrame) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("junk", "task", "words"),
    [
        (None, Task.BINARY, "returned a NoneType, needed a fitted classifier with predict_proba"),
        ("a model", Task.REGRESSION, "returned a str, needed a fitted regressor"),
        (LogisticRegression, Task.BINARY, "returned the class LogisticRegression"),
        (LinearRegression(), Task.BINARY, "returned a LinearRegression, needed a fitted classifier"),
        (Broken(np.full((3, 2), np.nan)), Task.BINARY, r"gave \(3, 2\) values, 6 of them not finite; needed \(3, 2\)"),
        (Broken(np.zeros((3, 3))), Task.BINARY, r"gave \(3, 3\) values"),
    ],
)
def test_what_predicts_nothing_is_no_model(junk: Any, task: Task, words: str) -> None:
    with pytest.raises(TrainerError, match=words):
        scores_of(junk, rows(3)[["x"]], task)


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

    def fit(rows: pd.DataFrame) -> Remembering:
        fitted.append(len(rows))
        return Remembering(rows)

    scores = cross_fitted_scores(frame, fit, features=["x"])
    assert scores.tolist() == [0.0] * 100
    assert fitted == [66, 67, 67]


def test_a_block_that_holds_all_of_one_class_is_said() -> None:
    frame = pd.DataFrame({"x": np.arange(9.0), "actual": [1.0] * 3 + [0.0] * 6})
    with pytest.raises(TooFewRowsError, match="without one of 3 blocks in time one class is left"):
        cross_fitted_scores(frame, Remembering, features=["x"])


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

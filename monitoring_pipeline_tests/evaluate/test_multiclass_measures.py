from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.describe.outcome_plan import OutcomePlan, outcome_from_json
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.measures import Measure
from monitoring_pipeline.evaluate.multiclass_measures import multiclass_measures
from monitoring_pipeline.stats.classification import roc_auc_error_bound

CLASSES = ("blue", "green", "red")
PLAN = OutcomePlan(Task.MULTICLASS, LogColumns(probabilities={name: f"p_{name}" for name in CLASSES}), classes=CLASSES)


def rows(size: int, seed: int) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[Any]]:
    """Truth, probabilities that are calibrated, and served classes."""
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet([2.0, 1.0, 0.5], size)
    truth = (generator.random((size, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    names = np.array(CLASSES)
    return names[truth], scores, names[scores.argmax(axis=1)]


def table(truth: Any, scores: Any, served: Any) -> pa.Table:
    columns = {f"p_{name}": pa.array(scores[:, at]) for at, name in enumerate(CLASSES)}
    known = pa.nulls(len(truth), pa.timestamp("us", tz="UTC"))
    return pa.table(columns | {"actual": list(truth), "prediction": list(served), "labelled_at": known})


def outcome(*parts: Any) -> MulticlassOutcomes:
    found = PLAN.of(table(*parts))
    assert isinstance(found, MulticlassOutcomes)
    return found


def measures(total: MulticlassOutcomes, **costs: Any) -> dict[tuple[str, str], Measure]:
    return {(each.name, each.part): each for each in multiclass_measures(total, costs)}


def test_the_numbers_are_those_of_scikit_learn_on_the_raw_rows() -> None:
    parts = [rows(size, seed) for seed, size in enumerate((700, 5, 900))]
    truth, scores, served = (np.concatenate(column) for column in zip(*parts, strict=True))
    first, second, third = (outcome(*part) for part in parts)
    found = measures(first.merge(second).merge(third))
    indicator = truth[:, None] == np.array(CLASSES)
    exact = {
        "accuracy": sk.accuracy_score(truth, served),
        "log_loss": sk.log_loss(truth, scores, labels=list(CLASSES)),
        "brier": np.square(scores - indicator).sum(axis=1).mean(),
        "precision": sk.precision_score(truth, served, average="macro"),
        "recall": sk.recall_score(truth, served, average="macro"),
        "f1": sk.f1_score(truth, served, average="macro"),
        "f1_weighted": sk.f1_score(truth, served, average="weighted"),
        "precision_weighted": sk.precision_score(truth, served, average="weighted"),
    }
    for name, expected in exact.items():
        assert found[name, ""].value == pytest.approx(expected, rel=1e-9), name
    each = sk.precision_recall_fscore_support(truth, served, labels=list(CLASSES))
    for at, name in enumerate(CLASSES):
        for metric, values in zip(("precision", "recall", "f1"), each, strict=False):
            assert found[metric, f"class={name}"].value == pytest.approx(values[at], rel=1e-9)
        assert found["positive_rate", f"class={name}"].value == indicator[:, at].mean()
    total = outcome(truth, scores, served)
    bound = max(float(roc_auc_error_bound(total.positives[name], total.negatives[name])) for name in CLASSES)
    for average, suffix in (("macro", ""), ("weighted", "_weighted")):
        expected = sk.roc_auc_score(truth, scores, multi_class="ovr", average=average, labels=list(CLASSES))
        assert found[f"roc_auc{suffix}", ""].value == pytest.approx(expected, abs=bound + 1e-12)
    assert bound < 0.004


def test_intervals_of_averages_hold_the_truth_about_as_often_as_they_say() -> None:
    everything = measures(outcome(*rows(200_000, 99)))
    names = ("f1", "precision", "recall", "f1_weighted", "accuracy", "roc_auc")
    hits = dict.fromkeys(names, 0)
    for seed in range(150):
        found = measures(outcome(*rows(400, seed)))
        for name in names:
            hits[name] += found[name, ""].low <= everything[name, ""].value <= found[name, ""].high
    assert all(134 <= hits[name] <= 149 for name in names[:-1]), hits  # 142 are expected at 95 %
    assert hits["roc_auc"] >= 134  # of the average it is wider: as if all classes erred together


def test_a_class_that_was_never_served_has_a_precision_of_zero_in_the_average_and_none_of_its_own() -> None:
    found = measures(outcome(["red", "blue"], np.array([[0.9, 0.05, 0.05]] * 2), ["blue", "blue"]))
    assert found["precision", ""].value == 0.25
    assert np.isnan(found["precision", "class=red"].value)
    assert found["recall", "class=red"].value == 0


def test_an_unknown_class_is_unusable_as_a_label_and_in_no_cell_as_a_prediction() -> None:
    found = outcome(["red", "purple", None], np.array([[0.2, 0.3, 0.5]] * 3), ["green", "red", "purple"])
    assert (found.rows, found.labelled, found.unusable) == (3, 1, 1)
    assert found.confusion == {"red": {"green": 1}}


@pytest.mark.parametrize("poison", [np.nan, -0.1, 1.5, np.inf])
def test_one_bad_probability_costs_the_scores_of_its_row_alone(poison: float) -> None:
    truth, scores, served = rows(50, 1)
    clean = outcome(truth[1:], scores[1:], served[1:])
    scores[0, 1] = poison
    found = outcome(truth, scores, served)
    assert (found.scored, found.labelled) == (49, 50)
    assert found.losses.tolist() == clean.losses.tolist()


def test_without_a_served_class_the_most_probable_one_counts() -> None:
    truth, scores, served = rows(80, 2)
    assert (
        outcome(truth, scores, served).confusion
        == PLAN.of(table(truth, scores, served).drop(["prediction"])).to_json()["confusion"]
    )


def test_what_a_mistake_costs_depends_on_both_classes() -> None:
    found = outcome(["red", "red", "blue", "blue"], np.full((4, 3), 1 / 3), ["red", "blue", "red", "blue"])
    cost = measures(found, red={"blue": 10.0}, blue={"red": 2.0})["cost", ""]
    assert (cost.value, cost.rows, cost.unit) == (3.0, 4, "cost")
    assert cost.low < 3 < cost.high


def test_rows_without_labels_count_among_the_probabilities_shown() -> None:
    _, scores, served = rows(60, 3)
    found = outcome([None] * 60, scores, served)
    assert found.labelled == 0
    assert sum(int(bins["red"].sum()) for bins in found.shown.values()) == 60
    stored = outcome_from_json(found.to_json())
    assert isinstance(stored, MulticlassOutcomes)
    assert stored.shown["blue"]["red"].tolist() == found.shown["blue"]["red"].tolist()

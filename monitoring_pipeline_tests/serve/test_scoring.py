import pickle
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import RegistryError, TableError
from monitoring_pipeline.serve.scoring import load_scorer
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
ROWS = pd.DataFrame({"distance": np.linspace(100.0, 2500.0, 200), "temp": np.tile([40.0, np.nan], 100)})
LATE = (ROWS["distance"] > 1200).astype(int)


class Registered:
    """Models registered in one store, each as version 1 of a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.uri = new_mlflow_store(folder)
        self.files = folder / "artifacts"
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        mlflow.create_experiment("scoring", artifact_location=self.files.as_uri())
        mlflow.set_experiment("scoring")

    def add(self, name: str, model: Any, rows: pd.DataFrame = ROWS, **how: Any) -> Path:
        """Register a fitted model and return its folder."""
        settings = {"signature": infer_signature(rows), "serialization_format": "skops", "pip_requirements": []}
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(model, name="model", registered_model_name=name, **{**settings, **how})
        return self.files / "models" / str(logged.model_id) / "artifacts"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    return Registered(tmp_path_factory.mktemp("scoring"))


@pytest.fixture(scope="module")
def trees(registered: Registered) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(ROWS, LATE)
    registered.add("trees", model, skops_trusted_types=[TREES])
    return model


def test_a_scorer_gives_what_the_model_gave_before_it_was_saved(
    registered: Registered, trees: HistGradientBoostingClassifier
) -> None:
    scorer = load_scorer(registered.uri, "trees", 1, [TREES])
    assert (scorer.model, scorer.version, scorer.features) == ("trees", "1", ("distance", "temp"))
    assert np.array_equal(scorer.score(ROWS), trees.predict_proba(ROWS)[:, 1])


def test_other_columns_and_their_order_do_not_matter(
    registered: Registered, trees: HistGradientBoostingClassifier
) -> None:
    scorer = load_scorer(registered.uri, "trees", "1", [TREES])
    served = ROWS.assign(carrier="AA")[["temp", "carrier", "distance"]]
    assert np.array_equal(scorer.score(served), scorer.score(ROWS))


def test_a_missing_column_is_named_and_no_rows_give_no_scores(
    registered: Registered, trees: HistGradientBoostingClassifier
) -> None:
    scorer = load_scorer(registered.uri, "trees", 1, [TREES])
    with pytest.raises(TableError, match=r"rows for trees v1: .*'temp' not found"):
        scorer.score(ROWS[["distance"]])
    assert scorer.score(ROWS.head(0)).shape == (0,)


def test_the_trust_list_in_the_models_own_files_does_not_count(
    registered: Registered, trees: HistGradientBoostingClassifier
) -> None:
    with pytest.raises(RegistryError, match=f"trees v1 contains {TREES}: not on the trust list"):
        load_scorer(registered.uri, "trees", 1, [])


@pytest.mark.filterwarnings("ignore:Saving scikit-learn models in the pickle")
def test_a_pickled_model_is_refused(registered: Registered) -> None:
    model = LogisticRegression().fit(ROWS[["distance"]], LATE)
    registered.add("pickled", model, ROWS[["distance"]], serialization_format="pickle")
    with pytest.raises(RegistryError, match="pickled v1 is saved as 'pickle', need 'skops'"):
        load_scorer(registered.uri, "pickled", 1, [])


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_passed_off_as_skops_is_never_unpickled(registered: Registered, tmp_path: Path) -> None:
    folder = registered.add("forged", LogisticRegression().fit(ROWS[["distance"]], LATE), ROWS[["distance"]])
    mark = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    (folder / "model.skops").write_bytes(bomb)
    with pytest.raises(RegistryError, match=r"forged v1: model\.skops is not a skops file"):
        load_scorer(registered.uri, "forged", 1, [])
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()


def test_a_model_without_probabilities_of_two_classes_is_refused(registered: Registered) -> None:
    registered.add("line", LinearRegression().fit(ROWS[["distance"]], LATE), ROWS[["distance"]])
    with pytest.raises(RegistryError, match="line v1 is a LinearRegression, need a binary classifier"):
        load_scorer(registered.uri, "line", 1, [])


def test_a_regressor_gives_the_values_it_predicts_and_a_classifier_is_none(
    registered: Registered, trees: HistGradientBoostingClassifier
) -> None:
    rows = ROWS[["distance"]]
    model = LinearRegression().fit(rows, rows["distance"] * 2 + 1)
    registered.add("amount", model, rows)
    scorer = load_scorer(registered.uri, "amount", 1, [], task=Task.REGRESSION)
    assert scorer.score(rows) == pytest.approx(rows["distance"] * 2 + 1)
    assert scorer.score(rows.head(0)).shape == (0,)
    with pytest.raises(RegistryError, match="trees v1 is a HistGradientBoostingClassifier, need a regressor"):
        load_scorer(registered.uri, "trees", 1, [TREES], task=Task.REGRESSION)


def test_a_model_without_signature_is_refused(registered: Registered) -> None:
    model = LogisticRegression().fit(ROWS[["distance"]], LATE)
    registered.add("unsigned", model, signature=False)
    with pytest.raises(RegistryError, match="unsigned v1 has no signature"):
        load_scorer(registered.uri, "unsigned", 1, [])


def test_a_version_that_is_not_registered_is_named(registered: Registered) -> None:
    with pytest.raises(RegistryError, match="nothing v1 cannot be fetched"):
        load_scorer(registered.uri, "nothing", 1, [])

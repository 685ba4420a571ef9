import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.attributions import Importances
from monitoring_pipeline.serve import importance
from monitoring_pipeline.serve.importance import ImportanceRequest, main, measure_importance
from monitoring_pipeline_tests.serve.test_scoring import TREES, Registered

MINUTE = timedelta(minutes=1)
needs_shap = pytest.mark.skipif(find_spec("shap") is None, reason="the extra package shap is not installed")
old_imports = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def made_rows(rows: int = 2000) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "usage": generator.standard_normal(rows),
            "tenure": generator.standard_normal(rows),
            "noise": generator.standard_normal(rows),
            "plan": generator.choice(["basic", "plus"], rows),
        }
    )
    odds = 3 * frame["usage"] + frame["tenure"] + (frame["plan"] == "plus")
    return frame.assign(actual=(odds + generator.logistic(size=rows) > 0).astype(int), amount=odds)


ROWS = made_rows()
FEATURES = ROWS.drop(columns=["actual", "amount"])
GAPS = pd.DataFrame({"usage": ROWS["usage"].where(ROWS.index % 3 > 0), "visits": (ROWS.index % 7).astype(float)})


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    store = Registered(tmp_path_factory.mktemp("importance"))
    numbers = ["usage", "tenure", "noise"]
    encoded = make_column_transformer((OneHotEncoder(), ["plan"]), ("passthrough", numbers))
    store.add("churn", make_pipeline(encoded, LogisticRegression()).fit(FEATURES, ROWS["actual"]), FEATURES)
    store.add("amount", LinearRegression().fit(FEATURES[numbers], ROWS["amount"]), FEATURES[numbers])
    trees = HistGradientBoostingClassifier(max_iter=5).fit(GAPS, ROWS["actual"])
    store.add("trees", trees, GAPS, skops_trusted_types=[TREES])
    return store


@pytest.fixture
def request_(registered: Registered) -> ImportanceRequest:
    return ImportanceRequest(registered.uri, "churn", "1", (), label="actual", repeats=5)


def measured(request: ImportanceRequest, rows: pd.DataFrame | pa.Table, folder: Path) -> dict[str, Any]:
    """Return what the process would write, without a process."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows)
    pq.write_table(table, folder / "rows.parquet")
    (folder / "request.json").write_text(json.dumps(asdict(request) | {"rows": str(folder / "rows.parquet")}))
    main(folder / "request.json", folder / "result.json")
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


def means(document: Mapping[str, Any], way: str) -> dict[str, float]:
    found = Importances.from_json(document[way])
    return dict(zip(found.features, found.values.mean(axis=1).tolist(), strict=True))


def test_a_process_of_its_own_measures_output_and_loss(request_: ImportanceRequest) -> None:
    found = measure_importance(pa.Table.from_pandas(ROWS), request_, timeout=MINUTE)
    assert not isinstance(found, str), found
    assert set(found) == {"output", "loss"}
    for each in found.values():
        assert each.features == tuple(FEATURES.columns)
        assert each.values.shape == (4, 5)
        shares, errors = each.shares()
        assert [each.features[place] for place in np.argsort(-shares)] == ["usage", "tenure", "plan", "noise"]
        assert errors.max() < 0.1


def test_importances_are_those_of_scikit_learn_within_their_noise(
    request_: ImportanceRequest, registered: Registered, tmp_path: Path
) -> None:
    from sklearn.inspection import permutation_importance

    from monitoring_pipeline.serve.scoring import load_scorer

    document = measured(request_, ROWS, tmp_path)
    scorer = load_scorer(registered.uri, "churn", 1, [])
    before = scorer.score(FEATURES)

    def moved(_: Any, rows: pd.DataFrame, __: Any) -> float:
        return -float(np.abs(scorer.score(rows) - before).mean())

    scorings: dict[str, Any] = {"output": moved, "loss": "neg_log_loss"}
    for way, scoring in scorings.items():
        theirs = permutation_importance(
            scorer.estimator, FEATURES, ROWS["actual"], scoring=scoring, n_repeats=5, random_state=1
        )
        ours = Importances.from_json(document[way]).values
        error = np.hypot(ours.std(axis=1), theirs.importances_std) + 1e-4
        assert (np.abs(ours.mean(axis=1) - theirs.importances_mean) < 3 * error).all()


def test_repeats_differ_as_samples_of_that_many_rows_do(request_: ImportanceRequest, tmp_path: Path) -> None:
    samples = [made_rows(200).sample(frac=1, replace=True, random_state=seed) for seed in range(8)]
    each = [measured(replace(request_, repeats=2), rows, tmp_path) for rows in samples]
    between = np.std([means(document, "output")["usage"] for document in each], ddof=1)
    within = Importances.from_json(measured(replace(request_, repeats=30), samples[0], tmp_path)["output"])
    assert 0.5 < within.values.std(axis=1, ddof=1)[0] / between < 2.0


def test_a_regression_is_measured_by_its_value_and_squared_error(request_: ImportanceRequest, tmp_path: Path) -> None:
    request = replace(request_, model_name="amount", task=Task.REGRESSION, label="amount")
    document = measured(request, ROWS, tmp_path)
    # Shuffling a standard normal input moves the output by weight times the mean distance of two such, 2 / sqrt(pi).
    assert means(document, "output")["usage"] == pytest.approx(3 * 2 / np.sqrt(np.pi), rel=0.1)
    assert means(document, "loss")["usage"] == pytest.approx(9 * 2, rel=0.15)


@needs_shap
@old_imports
def test_shap_values_of_a_linear_model_are_its_weights_times_the_distance_from_the_background(
    request_: ImportanceRequest, tmp_path: Path
) -> None:
    request = replace(request_, model_name="amount", task=Task.REGRESSION, methods=("shap",), repeats=10)
    found = means(measured(request, ROWS, tmp_path), "shap")
    # |x - mean of the background| of a standard normal: sqrt(2 / pi), a little more for the background's own noise.
    expected = np.sqrt(2 / np.pi * (1 + 1 / 20))
    assert found == {
        "usage": pytest.approx(3 * expected, rel=0.15),
        "tenure": pytest.approx(expected, rel=0.15),
        "noise": pytest.approx(0.0, abs=0.1),
    }


@needs_shap
@old_imports
def test_shap_values_cover_categories(request_: ImportanceRequest, tmp_path: Path) -> None:
    found = means(measured(replace(request_, methods=("shap",), repeats=2), ROWS, tmp_path), "shap")
    assert sorted(found, key=lambda name: -found[name]) == ["usage", "tenure", "plan", "noise"]


@needs_shap
@old_imports
def test_shap_values_cover_missing_values(request_: ImportanceRequest, tmp_path: Path) -> None:
    request = replace(request_, model_name="trees", methods=("shap",), trusted_types=(TREES,), repeats=2)
    found = means(measured(request, GAPS, tmp_path), "shap")
    assert sorted(found, key=lambda name: -found[name]) == ["usage", "visits"]


def test_without_enough_labels_only_the_output_is_measured(request_: ImportanceRequest, tmp_path: Path) -> None:
    few = ROWS.assign(actual=pd.Series([1.0] * 50 + [None] * (len(ROWS) - 50)))
    assert set(measured(request_, few, tmp_path)) == {"output"}
    assert set(measured(request_, FEATURES, tmp_path)) == {"output"}


def test_labels_may_be_written_as_booleans_or_text(request_: ImportanceRequest, tmp_path: Path) -> None:
    plain = measured(request_, ROWS, tmp_path)
    for labels in (ROWS["actual"] == 1, ROWS["actual"].astype(str), ROWS["actual"].astype(float)):
        assert measured(request_, ROWS.assign(actual=labels), tmp_path) == plain


def test_more_rows_than_allowed_are_drawn_by_the_seed(request_: ImportanceRequest, tmp_path: Path) -> None:
    request = replace(request_, max_rows=400)
    first = measured(request, ROWS, tmp_path)
    assert Importances.from_json(first["output"]).rows == 400
    assert measured(request, ROWS, tmp_path) == first
    assert measured(replace(request, seed=1), ROWS, tmp_path) != first


def test_columns_logged_in_another_type_are_read_as_the_models(request_: ImportanceRequest) -> None:
    table = pa.Table.from_pandas(ROWS, preserve_index=False)
    texts = pa.array([str(value) for value in ROWS["usage"]])
    logged = table.set_column(0, "usage", texts).set_column(3, "plan", table["plan"].dictionary_encode())
    read = importance._in_types(logged, table.schema)
    assert read["usage"].to_pylist() == table["usage"].to_pylist()
    assert read["plan"].to_pylist() == table["plan"].to_pylist()


def test_a_model_with_types_that_nobody_trusts_is_refused_in_words(request_: ImportanceRequest, tmp_path: Path) -> None:
    found = measured(replace(request_, model_name="trees"), GAPS, tmp_path)
    assert found["failure"].startswith(f"trees v1 contains {TREES}: not on the trust list")


def test_what_the_model_raises_and_a_missing_column_are_reasons(request_: ImportanceRequest, tmp_path: Path) -> None:
    broken = measured(request_, ROWS.assign(usage=np.inf), tmp_path)
    assert broken["failure"].startswith("the model failed: ValueError: Input X contains infinity")
    missing = measured(request_, ROWS.drop(columns="usage"), tmp_path)
    assert "column(s) 'usage' not found" in missing["failure"]


def test_a_process_that_takes_too_long_is_ended_and_said_so(request_: ImportanceRequest) -> None:
    found = measure_importance(pa.Table.from_pandas(ROWS), request_, timeout=timedelta(milliseconds=50))
    assert found == "not done within 0:00:00.050000 (attributions.timeout)"


def test_a_process_that_is_killed_is_a_reason_and_nothing_more(
    request_: ImportanceRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killer = tmp_path / "python"
    killer.write_text("#!/bin/sh\necho out of memory >&2\nkill -9 $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(killer))
    found = measure_importance(pa.Table.from_pandas(ROWS), request_, timeout=MINUTE)
    assert found == f"the process ended with {-signal.SIGKILL}: out of memory"

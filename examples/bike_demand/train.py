"""Train the first version of the demonstration model and register it, ready to be monitored.

    python -m examples.bike_demand.train --tracking-uri sqlite:///mlflow.db --artifacts mlruns

Add here what a training script of your own would do. Keep the model itself out: it is in model.py, whose `fit`
the monitor calls again when it retrains.
"""

import argparse
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.bike_demand.model import BIKES, FEATURES, NAME, TRUSTED_TYPES, bikes_between, fit
from monitoring_pipeline.stores.mlflow_reference import log_reference

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TRAINED_FROM = datetime(2011, 1, 1, tzinfo=UTC)
TRAINED_UNTIL = datetime(2011, 6, 1, tzinfo=UTC)
DEPLOYED_AT = datetime(2011, 7, 1, tzinfo=UTC)  # June, in between, is the reference
REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")


def train_first_version(tracking_uri: str, *, artifacts: Path | None = None) -> str:
    """Train on January to May, predict June, register the version as champion and return its number.

    `artifacts` is the folder for the files of a new experiment, when a database and not a server is tracking.
    """
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.models import infer_signature

    training, june = bikes_between(TRAINED_FROM, TRAINED_UNTIL), bikes_between(TRAINED_UNTIL, DEPLOYED_AT)
    features = list(FEATURES)
    model = fit(training)
    prediction = model.predict(june[features])

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    if artifacts is not None and mlflow.get_experiment_by_name(NAME) is None:
        mlflow.create_experiment(NAME, artifact_location=artifacts.resolve().as_uri())
    mlflow.set_experiment(NAME)
    with mlflow.start_run(run_name="first version"):
        rows = training[[*features, "actual"]]
        # The rows themselves are not copied: they are in the repository, in the file of this digest.
        digest = sha256(BIKES.read_bytes()).hexdigest()[:16]
        mlflow.log_input(from_pandas(rows, name="bikes_2011_01_05", targets="actual", digest=digest), "training")
        mlflow.log_params({key: value for key, value in model["trees"].get_params().items() if value is not None})
        mlflow.log_metrics(out_of_sample(june["actual"], prediction))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=NAME,
            signature=infer_signature(rows[features], prediction),
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
    version = str(logged.registered_model_version)

    log_reference(
        june.assign(predicted_at=june["hour_start"], prediction=prediction),
        model_name=NAME,
        version=version,
        features=features,
        time="predicted_at",
        prediction="prediction",
        label="actual",
        importances=importances(model, june),
        tracking_uri=tracking_uri,
    )
    client = mlflow.MlflowClient()
    for key, moment in (("deployed_at", DEPLOYED_AT), ("trained_until", TRAINED_UNTIL)):
        client.set_model_version_tag(NAME, version, key, moment.isoformat())
    # Last: whoever sees the alias finds everything else in place.
    client.set_registered_model_alias(NAME, "champion", version)
    return version


def importances(model: Any, rows: "pd.DataFrame") -> dict[str, float]:
    """Return how many bikers an hour the model is further off when a feature is shuffled."""
    from sklearn.inspection import permutation_importance

    features = list(FEATURES)
    found = permutation_importance(
        model, rows[features], rows["actual"], scoring="neg_mean_absolute_error", n_repeats=5, random_state=0
    )
    return {name: max(float(loss), 0.0) for name, loss in zip(features, found.importances_mean, strict=True)}


def out_of_sample(actual: "pd.Series", prediction: "NDArray[np.float64]") -> dict[str, float]:
    """Return mean absolute error, root mean squared error and the share of variance explained."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "reference_mae": float(mean_absolute_error(actual, prediction)),
        "reference_rmse": float(root_mean_squared_error(actual, prediction)),
        "reference_r2": float(r2_score(actual, prediction)),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Train and register the bike demand model.")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--artifacts", type=Path, default=None)
    arguments = parser.parse_args()
    version = train_first_version(arguments.tracking_uri, artifacts=arguments.artifacts)
    print(f"{NAME} v{version} is registered at {arguments.tracking_uri} and is its champion.")


if __name__ == "__main__":
    main()

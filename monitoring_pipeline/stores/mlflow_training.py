"""A trained challenger becomes a registered model version with everything the monitor needs to know of it.

Add here what is logged with a version this pipeline trained. Keep fitting out: it belongs to the monitor's trainer.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

from monitoring_pipeline.stores.mlflow_reference import log_reference

if TYPE_CHECKING:
    import pandas as pd

REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
"""Named, because MLflow's own inference of requirements runs the model in a fresh process for ten seconds."""


def register_challenger(
    tracking_uri: str,
    *,
    model_name: str,
    estimator: Any,
    trusted_types: Sequence[str],
    features: Sequence[str],
    reference_rows: "pd.DataFrame",
    time: str,
    score: str | None,
    prediction: str,
    label: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Log an estimator in the skops format, register it, log its reference rows and tags; return its version."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    experiment = _experiment_of(client, model_name)
    with mlflow.start_run(run_name="challenger", experiment_id=experiment):
        mlflow.log_params(dict(parameters))
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            registered_model_name=model_name,
            signature=infer_signature(reference_rows[list(features)], reference_rows[score or prediction].to_numpy()),
            serialization_format="skops",
            skops_trusted_types=list(trusted_types),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
    version = str(logged.registered_model_version)
    log_reference(
        reference_rows,
        model_name=model_name,
        version=version,
        features=features,
        time=time,
        score=score,
        prediction=prediction,
        label=label,
        tracking_uri=tracking_uri,
    )
    for key, value in tags.items():
        client.set_model_version_tag(model_name, version, key, value)
    return version


def _experiment_of(client: Any, model_name: str) -> str:
    """Return the experiment of the model's newest version: a challenger belongs beside what it challenges."""
    quoted = model_name.replace("'", "''")
    newest = max(client.search_model_versions(f"name = '{quoted}'"), key=lambda version: int(version.version))
    return str(client.get_run(newest.run_id).info.experiment_id)

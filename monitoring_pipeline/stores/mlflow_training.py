"""A trained challenger becomes a registered model version with everything the monitor needs to know of it.

Add here what is logged with a version this pipeline trained. Keep fitting out: it belongs to the monitor's trainer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring_pipeline.serve.artifacts import mlflow_client
from monitoring_pipeline.serve.trusted import CALIBRATION
from monitoring_pipeline.stores.mlflow_reference import FOLDER, log_reference

if TYPE_CHECKING:
    import pandas as pd

REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
"""Named, because MLflow's own inference of requirements runs the model in a fresh process for ten seconds."""

TRAINING_SET = f"{FOLDER}/training_set.json"

MOST_PARAMETERS = 80
"""Of an estimator that are logged: MLflow takes a hundred at a time."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Where a training set comes from (`facts`, with its digest), where its rows are, and the types of its columns."""

    facts: Mapping[str, Any]
    rows: Path
    types: Mapping[str, str]


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
    record: TrainingRecord,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Log an estimator in the skops format with what it was trained on, register it, log its reference rows and tags.

    Returns its version.
    """
    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    client = mlflow_client(tracking_uri)
    experiment = _experiment_of(client, model_name)
    with mlflow.start_run(run_name="challenger", experiment_id=experiment, tags=dict(tags)) as run:
        mlflow.log_params({**_plain_parameters(estimator), **parameters})
        mlflow.log_dict(dict(record.facts), TRAINING_SET)
        client.log_inputs(run.info.run_id, [_dataset(record, model_name)])
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            registered_model_name=model_name,
            signature=infer_signature(reference_rows[list(features)], reference_rows[score or prediction].to_numpy()),
            serialization_format="skops",
            skops_trusted_types=[*CALIBRATION, *trusted_types],
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


def _plain_parameters(estimator: Any) -> dict[str, object]:
    """Return what the estimator was set to, as far as it is a number or a word."""
    found = {f"model.{name}": value for name, value in estimator.get_params().items() if isinstance(value, _PLAIN)}
    return dict(sorted(found.items())[:MOST_PARAMETERS])


_PLAIN = (bool, int, float, str)


def _dataset(record: TrainingRecord, model_name: str) -> Any:
    """Return the training set as an input of the run; its source is where its rows were handed over."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    types = [{"name": name, "type": kind} for name, kind in record.types.items()]
    return DatasetInput(
        Dataset(
            name=f"{model_name} training set",
            digest=str(record.facts["digest"])[:36],  # as many characters as MLflow keeps
            source_type="local",
            source=json.dumps({"uri": record.rows.as_uri()}),
            schema=json.dumps({"columns": types}),
            profile=json.dumps({"num_rows": record.facts["training_rows"]}),
        ),
        [InputTag("mlflow.data.context", "training")],
    )


def _experiment_of(client: Any, model_name: str) -> str:
    """Return the experiment of the model's newest version: a challenger belongs beside what it challenges."""
    quote = '"' if "'" in model_name else "'"  # MLflow's filters know no escape, but either kind
    found = client.search_model_versions(f"name = {quote}{model_name}{quote}")
    newest = max(found, key=lambda version: int(version.version))
    return str(client.get_run(newest.run_id).info.experiment_id)

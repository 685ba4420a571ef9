"""`log_reference`: the one call that makes a registered model version ready to be monitored.

Add here what a training script must hand over. Keep profiles out: the monitor builds them from these rows.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.errors import RegistryError, TableError
from monitoring_pipeline.serve.artifacts import mlflow_client

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "monitoring"
REFERENCE_ROWS = f"{FOLDER}/reference_rows.parquet"
REFERENCE_COLUMNS = f"{FOLDER}/reference_columns.json"


def log_reference(
    rows: "pd.DataFrame",
    *,
    model_name: str,
    version: str | int,
    features: Sequence[str],
    time: str,
    score: str | None = None,
    prediction: str | None = None,
    label: str | None = None,
    importances: Mapping[str, float] | None = None,
    tracking_uri: str | None = None,
) -> None:
    """Log the rows a model version is compared with, and what each column means, as artifacts of its run.

    Give rows the model was not fitted on, with the scores it gave them: on its own training rows every model looks
    better than it will ever be in service.

    Parameters
    ----------
    rows
        One row per prediction. Other columns than those named below are left out.
    model_name, version
        The registered version the rows belong to.
    features
        The columns the model is served with, at least one.
    time
        When each row was, or would have been, predicted: a date and time with its time zone.
    score, prediction, label
        The model's score, the class or value it predicted, and what came true (missing where it never was known).
    importances
        How much each feature matters to the model, in any unit, such as scikit-learn's permutation importance; a drift
        of what matters weighs more in the verdict on all features. Without it all weigh the same.
    tracking_uri
        Where the version is registered; by default wherever the script's MLflow points to.

    Raises
    ------
    TableError
        A column is missing, is used twice, or the times have no zone; there are no rows; or an importance is of no
        feature or not a number.
    RegistryError
        There is no such version, or its run cannot be written to.
    """
    table = reference_table(
        rows,
        columns=[*features, time, *(each for each in (score, prediction, label) if each is not None)],
        time=time,
        name=f"reference rows of {model_name} v{version}",
    )
    if not features:
        raise TableError(f"reference rows of {model_name} v{version}: no features named, at least one is needed.")
    known = {name: float(value) for name, value in (importances or {}).items()}
    if wrong := sorted(name for name, value in known.items() if name not in features or not math.isfinite(value)):
        raise TableError(
            f"reference rows of {model_name} v{version}: the importance of {', '.join(map(repr, wrong))} is of no "
            "feature, or not a number. Give a finite number for features only."
        )
    roles = {
        "features": list(features),
        "time": time,
        "score": score,
        "prediction": prediction,
        "label": label,
        "importances": known,
    }

    from mlflow import get_tracking_uri
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
        pq.write_table(table, Path(private) / Path(REFERENCE_ROWS).name, compression="zstd")
        (Path(private) / Path(REFERENCE_COLUMNS).name).write_text(json.dumps(roles, indent=2), "utf-8")
        try:
            client = mlflow_client(tracking_uri or get_tracking_uri())
            run_id = client.get_model_version(model_name, str(version)).run_id
            if not run_id:
                raise RegistryError(
                    f"{model_name} v{version} has no run to keep its reference with. Register it from a run."
                )
            client.log_artifacts(run_id, private, FOLDER)
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"reference of {model_name} v{version} not logged: {str(error).rstrip('.')}. "
                "Register the version first, from a run that can be written to."
            ) from error


def reference_table(rows: "pd.DataFrame", *, columns: Sequence[str], time: str, name: str) -> pa.Table:
    """Return the named columns as a table whose times are UTC, or raise a TableError."""
    present = [str(column) for column in rows.columns]
    if missing := [column for column in columns if column not in present]:
        raise TableError.missing_columns(name, missing, present)
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise TableError(
            f"{name}: column(s) {', '.join(map(repr, twice))} named for two uses. "
            "A feature is never also the time, the score, the prediction or the label."
        )
    if rows.empty:
        raise TableError(f"{name}: no rows. Give the rows the model was evaluated on.")
    try:
        table = pa.Table.from_pandas(rows[list(columns)], preserve_index=False).replace_schema_metadata(None)
    except pa.ArrowException as error:
        raise TableError(f"{name}: a column mixes types: {error}. Give each column one type.") from error
    moments = table.column(time)
    if not (pa.types.is_timestamp(moments.type) and moments.type.tz):
        raise TableError(
            f"{name}: column {time!r} has type {moments.type}, need a timestamp with a time zone. "
            f"Convert it, for example rows[{time!r}].dt.tz_localize('UTC')."
        )
    if moments.null_count:
        raise TableError(f"{name}: column {time!r} is missing in {moments.null_count} row(s). Leave those rows out.")
    types = {pa.large_string(): pa.string(), moments.type: pa.timestamp("us", tz="UTC")}
    schema = pa.schema([field.with_type(types.get(field.type, field.type)) for field in table.schema])
    return table.cast(schema, safe=False)

"""Loading a registered model and scoring rows with it.

Add a way to score here. Keep other formats than skops out: they run code from the file they are loaded from.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import RegistryError, TableError
from monitoring_pipeline.serve.artifacts import description, fetching, model_artifacts
from monitoring_pipeline.serve.trusted import load_trusted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scorer:
    """A loaded binary classifier or regressor with the columns its signature names."""

    model: str
    version: str
    features: tuple[str, ...]
    estimator: Any  # scikit-learn publishes no types
    task: Task = Task.BINARY

    def score(self, rows: "pd.DataFrame") -> "NDArray[np.float64]":
        """Return the probability of the positive class, the second one, or the value predicted for each row.

        Columns that are no features are ignored.
        """
        if missing := [name for name in self.features if name not in rows.columns]:
            raise TableError.missing_columns(f"rows for {self.model} v{self.version}", missing, list(rows.columns))
        if rows.empty:
            return np.empty(0)
        known = rows[list(self.features)]
        if self.task is Task.REGRESSION:
            return np.asarray(self.estimator.predict(known), dtype=np.float64)
        return np.asarray(self.estimator.predict_proba(known)[:, 1], dtype=np.float64)


def load_scorer(
    tracking_uri: str,
    model_name: str,
    version: str | int,
    trusted_types: Sequence[str],
    *,
    task: Task = Task.BINARY,
) -> Scorer:
    """Load a version that was saved in the skops format, allowing only skops' own safe types and `trusted_types`.

    MLflow's loader takes the list of trusted types from the model's own files, where whoever wrote the model could
    put anything; so only the download is MLflow's.
    """
    name = f"{model_name} v{version}"
    with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
        with fetching(f"{tracking_uri}: {name} cannot be fetched", "See that it exists."):
            folder = model_artifacts(tracking_uri, model_name, version).copy("", Path(private))
            saved = description(folder / "MLmodel", name)
        flavor = saved.flavors.get("sklearn", {})
        if flavor.get("serialization_format") != "skops":
            raise RegistryError(
                f"{name} is saved as {flavor.get('serialization_format', 'another kind of model')!r}, need 'skops'. "
                "Log it with mlflow.sklearn.log_model(…, serialization_format='skops')."
            )
        # The name only: a path written into the model's files could lead out of the folder.
        estimator = load_trusted(folder / Path(str(flavor.get("pickled_model"))).name, trusted_types, name)
    if not _serves(estimator, task):
        needed = "regressor" if task is Task.REGRESSION else "binary classifier with probabilities"
        raise RegistryError(f"{name} is a {type(estimator).__name__}, need a {needed}.")
    schema = saved.signature.inputs if saved.signature else None
    if schema is None or not schema.has_input_names():
        raise RegistryError(f"{name} has no signature, so its columns are unknown. Log it with one: infer_signature().")
    return Scorer(model_name, str(version), tuple(schema.input_names()), estimator, task)


def _serves(estimator: Any, task: Task) -> bool:
    from sklearn.base import is_regressor

    if task is Task.REGRESSION:
        return bool(is_regressor(estimator))
    return len(getattr(estimator, "classes_", ())) == 2 and hasattr(estimator, "predict_proba")

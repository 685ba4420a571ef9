"""The columns a registered model asks for, by its signature.

Add what else is read from a model's description here. Keep the model itself out: nothing here loads it.
"""

import tempfile
from pathlib import Path

from monitoring_pipeline.serve.artifacts import DESCRIPTION_BYTES, description, fetching, model_artifacts


def signature_types(tracking_uri: str, model_name: str, version: str | int) -> dict[str, str]:
    """Return the inputs of a version's signature: the name of the type of every column, in MLflow's words.

    The types of columns that may be missing begin with `optional `. Without a signature, or with one that names no
    columns, there are none.
    """
    where, cure = f"{tracking_uri}: the signature of {model_name} v{version}", "See that the version exists."
    with tempfile.TemporaryDirectory(prefix="monitoring-") as private, fetching(f"{where} cannot be fetched", cure):
        # The description only: models can be large, and what is not on disk cannot be loaded by mistake.
        artifacts = model_artifacts(tracking_uri, model_name, version, max_bytes=DESCRIPTION_BYTES)
        signature = description(artifacts.copy("MLmodel", Path(private)), where).signature
    schema = signature.inputs if signature else None
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return {}
    return {
        column.name: ("" if column.required else "optional ") + str(getattr(column.type, "name", column.type))
        for column in schema.inputs
    }

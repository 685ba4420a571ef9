"""The columns a registered model asks for, by its signature.

Add what else is read from a model's description here. Keep the model itself out: nothing here loads it.
"""

import tempfile

from monitoring_pipeline.errors import RegistryError


def signature_types(tracking_uri: str, model_name: str, version: str | int) -> dict[str, str]:
    """Return the inputs of a version's signature: the name of the type of every column, in MLflow's words.

    The types of columns that may be missing begin with `optional `. Without a signature, or with one that names no
    columns, there are none.
    """
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
        try:
            client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            folder = client.get_model_version_download_uri(model_name, str(version))
            # The description only: models can be large, and what is not on disk cannot be loaded by mistake.
            file = download_artifacts(f"{folder.rstrip('/')}/MLmodel", dst_path=private, tracking_uri=tracking_uri)
            signature = Model.load(file).signature
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"{tracking_uri}: the signature of {model_name} v{version} cannot be fetched: "
                f"{str(error).rstrip('.')}. See that the version exists."
            ) from error
    schema = signature.inputs if signature else None
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return {}
    return {
        column.name: ("" if column.required else "optional ") + str(getattr(column.type, "name", column.type))
        for column in schema.inputs
    }

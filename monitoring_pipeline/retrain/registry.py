"""What this package asks of a model registry: versions, aliases, tags, and documents kept with a version.

Add a method here when a stage needs it of every registry. Keep MLflow out: it belongs in stores/mlflow_registry.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version of a model, as it stood when it was read."""

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created_at: datetime


class ModelRegistry(Protocol):
    """A registry of model versions. What is not there is a RegistryError that says what to do."""

    def versions(self, model_name: str) -> list[ModelVersion]:
        """Return every version of the model, oldest first; none at all is an error."""
        ...

    def version(self, model_name: str, version_or_alias: str | int) -> ModelVersion:
        """Return one version, named by its number or by an alias that points to it."""
        ...

    def set_alias(self, model_name: str, alias: str, version: str | int, *, expected: str | None) -> None:
        """Point the alias to a version, unless it no longer points to `expected` (None: to nothing)."""
        ...

    def set_tags(self, model_name: str, version: str | int, tags: Mapping[str, str]) -> None:
        """Set these tags on a version; other tags stay."""
        ...

    def read_json(self, version: ModelVersion, path: str) -> object:
        """Return a JSON document kept with the version."""
        ...

    def write_json(self, version: ModelVersion, path: str, document: object) -> None:
        """Keep a JSON document with the version, replacing one of the same path."""
        ...

    def write_text(self, version: ModelVersion, path: str, text: str) -> None:
        """Keep a text with the version, replacing one of the same path."""
        ...

    def model_bytes(self, version: ModelVersion) -> int:
        """Return how many bytes the files of the version's model have."""
        ...

    def read_parquet(self, version: ModelVersion, path: str) -> pa.Table:
        """Return a Parquet table kept with the version."""
        ...

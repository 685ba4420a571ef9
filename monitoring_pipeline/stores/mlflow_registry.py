"""The model registry on MLflow: versions, aliases, tags, and the documents kept with a version's run.

Add a method here when `retrain/registry.py` asks for one. Keep models out: nothing in this file deserialises one,
serve/scoring.py does, under a trust list.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.registry import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion


TOLD = frozenset({"MLmodel", "requirements.txt", "conda.yaml"})
"""Files of a model that differ between any two versions, or hold what its requirements say."""


@dataclass(frozen=True, slots=True)
class MlflowRegistry:
    """The registry behind an MLflow tracking URI. Documents above `max_bytes` are not downloaded."""

    tracking_uri: str
    max_bytes: int = 256 * 2**20

    def versions(self, model_name: str) -> list[ModelVersion]:
        with self._asking(f"the versions of {model_name!r}", "Register the model, or correct its name or the URI."):
            # The search returns versions without their aliases; the model itself knows them.
            aliases = self._client().get_registered_model(model_name).aliases
            # MLflow's filters know no escape, but either kind of quote.
            quote = '"' if "'" in model_name else "'"
            found = self._client().search_model_versions(f"name = {quote}{model_name}{quote}", max_results=10_000)
        records = [_record(version, aliases) for version in found]
        if not records:
            raise RegistryError(f"{self.tracking_uri}: model {model_name!r} has no version. Train and register one.")
        return sorted(records, key=lambda record: int(record.version))

    def version(self, model_name: str, version_or_alias: str | int) -> ModelVersion:
        name = str(version_or_alias)
        kind, cure = (
            ("version", "Pick one of its versions.")
            if name.isdigit()
            else ("alias", f"Point it to a version: MlflowClient().set_registered_model_alias(…, {name!r}, …).")
        )
        with self._asking(f"{kind} {name!r} of model {model_name!r}", cure):
            aliases = self._client().get_registered_model(model_name).aliases
            number = (
                name if name.isdigit() else str(self._client().get_model_version_by_alias(model_name, name).version)
            )
            return _record(self._client().get_model_version(model_name, number), aliases)

    def set_alias(self, model_name: str, alias: str, version: str | int, *, expected: str | None) -> None:
        """Point the alias to a version, unless it no longer points to `expected` (None: to nothing).

        MLflow has no compare-and-set: two callers within the same few milliseconds can both pass the check.
        """
        target = self.version(model_name, version)
        with self._asking(f"the aliases of {model_name!r}", "See that the model is registered."):
            pointer = self._client().get_registered_model(model_name).aliases.get(alias)
        found = None if pointer is None else str(pointer)
        if found != expected:
            raise RegistryError(
                f"{self.tracking_uri}: alias {alias!r} of model {model_name!r} points to "
                f"{_version_or_nothing(found)}, expected {_version_or_nothing(expected)}: it was moved meanwhile. "
                "Nothing was changed; decide again from the present state."
            )
        with self._asking(f"moving alias {alias!r} of model {model_name!r}", "See the registry's log."):
            self._client().set_registered_model_alias(model_name, alias, target.version)

    def set_tags(self, model_name: str, version: str | int, tags: Mapping[str, str]) -> None:
        with self._asking(f"tagging {model_name} v{version}", "See that the version still exists."):
            for key, value in tags.items():
                self._client().set_model_version_tag(model_name, str(version), key, value)

    def read_json(self, version: ModelVersion, path: str) -> object:
        with self.download(version, path) as file:
            try:
                document: object = json.loads(file.read_text("utf-8"))
            except ValueError as error:
                raise self._unreadable(version, path, "JSON", error) from error
        return document

    def write_json(self, version: ModelVersion, path: str, document: object) -> None:
        self.write_text(version, path, json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False))

    def write_text(self, version: ModelVersion, path: str, text: str) -> None:
        with self._asking(f"{path} of {version.name} v{version.version}", "See that its run can be written to."):
            self._client().log_text(version.run_id, text, path)

    def model_bytes(self, version: ModelVersion) -> int:
        with self._asking(f"the size of {version.name} v{version.version}", "See that its model is still there."):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            place = self._client().get_model_version_download_uri(version.name, version.version)
            return _bytes_of(get_artifact_repository(place, tracking_uri=self.tracking_uri), None)

    def read_parquet(self, version: ModelVersion, path: str) -> pa.Table:
        with self.download(version, path) as file:
            try:
                return pq.read_table(file, memory_map=False)
            except pa.ArrowException as error:
                raise self._unreadable(version, path, "Parquet", error) from error

    def contents(self, version: ModelVersion) -> dict[str, dict[str, str]]:
        """Return what a version is made of: requirements, the parameters of its run, and digests of the model's files.

        Of a model above `max_bytes` nothing but the parameters is read.
        """
        what, cure = f"contents of {version.name} v{version.version}", "See that its run and its model are still there."
        with self._asking(what, cure), tempfile.TemporaryDirectory(prefix="monitoring-") as private:
            from mlflow.artifacts import download_artifacts, list_artifacts

            parameters = dict(self._client().get_run(version.run_id).data.params)
            folder = self._client().get_model_version_download_uri(version.name, version.version)
            files: dict[str, bytes] = {}
            if sum(each.file_size or 0 for each in list_artifacts(folder)) <= self.max_bytes:
                local = Path(download_artifacts(folder, dst_path=private, tracking_uri=self.tracking_uri))
                files = {path.name: path.read_bytes() for path in local.rglob("*") if path.is_file()}
            lines = files.get("requirements.txt", b"").decode().split()
            return {
                "requirements": {name: number for name, _, number in (line.partition("==") for line in lines)},
                "configuration": parameters,
                "artifact": {name: sha256(found).hexdigest()[:12] for name, found in files.items() if name not in TOLD},
            }

    @contextmanager
    def download(self, version: ModelVersion, path: str) -> Iterator[Path]:
        """Lend a copy of one artifact of the version's run, in a private folder that goes when the block ends."""
        what = f"artifact {path} of {version.name} v{version.version}"
        cure = "Log it with the version; reference rows are logged by log_reference(...) in the training script."
        with self._asking(what, cure):
            folder = path.rpartition("/")[0] or None
            sizes = {each.path: each.file_size for each in self._client().list_artifacts(version.run_id, folder)}
        if path not in sizes:
            raise RegistryError(f"{self.tracking_uri}: {what} not found in run {version.run_id}. {cure}")
        if (size := sizes[path] or 0) > self.max_bytes:
            raise RegistryError(
                f"{self.tracking_uri}: {what} has {size:,} bytes, at most {self.max_bytes:,} are read. Log fewer rows."
            )
        with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
            with self._asking(what, cure):
                copy = self._client().download_artifacts(version.run_id, path, private)
            yield Path(copy)

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @contextmanager
    def _asking(self, what: str, cure: str) -> Iterator[None]:
        """Turn what MLflow raises into a RegistryError that says what was asked and what to do."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{self.tracking_uri}: {what}: {str(error).rstrip('.')}. {cure}") from error

    def _unreadable(self, version: ModelVersion, path: str, kind: str, error: Exception) -> RegistryError:
        return RegistryError(
            f"{self.tracking_uri}: artifact {path} of {version.name} v{version.version} is not {kind}: {error}. "
            "Log it again."
        )


def _bytes_of(artifacts: Any, path: str | None) -> int:
    files = artifacts.list_artifacts(path)
    return sum(_bytes_of(artifacts, each.path) if each.is_dir else each.file_size or 0 for each in files)


def _record(version: "MlflowModelVersion", aliases: Mapping[str, str | int]) -> ModelVersion:
    # MLflow gives versions and alias targets as int on a database and as str over HTTP.
    number = str(version.version)
    return ModelVersion(
        name=version.name,
        version=number,
        run_id=version.run_id or "",
        aliases=tuple(sorted(alias for alias, target in aliases.items() if str(target) == number)),
        tags={key: str(value) for key, value in version.tags.items()},
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
    )


def _version_or_nothing(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"

"""The model registry on MLflow: versions, aliases, tags, and the documents kept with a version's run.

Add a method here when `retrain/registry.py` asks for one. Keep models out: nothing in this file deserialises one,
serve/scoring.py does, under a trust list.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.registry import ModelVersion
from monitoring_pipeline.serve.artifacts import fetching, mlflow_client, model_artifacts, run_artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion


TOLD = frozenset({"MLmodel", "requirements.txt", "conda.yaml"})
"""Files of a model that differ between any two versions, or hold what its requirements say."""

UNPACKED = 16
"""How many times as large a table may be in memory as the largest file that is read."""


@dataclass(frozen=True, slots=True)
class MlflowRegistry:
    """The registry behind an MLflow tracking URI. Documents above `max_bytes` are not downloaded."""

    tracking_uri: str = field(repr=False)  # it may hold a password
    max_bytes: int = 256 * 2**20

    def versions(self, model_name: str) -> list[ModelVersion]:
        with self._asking(f"the versions of {model_name!r}", "Register the model, or correct its name or the URI."):
            # The search returns versions without their aliases; the model itself knows them.
            client = self._client()
            aliases = client.get_registered_model(model_name).aliases
            # MLflow's filters know no escape, but either kind of quote.
            quote = '"' if "'" in model_name else "'"
            found = client.search_model_versions(f"name = {quote}{model_name}{quote}", max_results=10_000)
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
            client = self._client()
            aliases = client.get_registered_model(model_name).aliases
            number = name if name.isdigit() else str(client.get_model_version_by_alias(model_name, name).version)
            return _record(client.get_model_version(model_name, number), aliases)

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
            client = self._client()
            for key, value in tags.items():
                client.set_model_version_tag(model_name, str(version), key, value)

    def read_json(self, version: ModelVersion, path: str) -> object:
        with self.download(version, path) as file:
            try:
                document: object = json.loads(file.read_text("utf-8"))
            except (ValueError, RecursionError) as error:
                raise self._unreadable(version, path, "JSON", error) from error
        return document

    def write_json(self, version: ModelVersion, path: str, document: object) -> None:
        self.write_text(version, path, json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False))

    def write_text(self, version: ModelVersion, path: str, text: str) -> None:
        with self._asking(f"{path} of {version.name} v{version.version}", "See that its run can be written to."):
            self._client().log_text(version.run_id, text, path)

    def model_bytes(self, version: ModelVersion) -> int:
        with self._asking(f"the size of {version.name} v{version.version}", "See that its model is still there."):
            return sum(model_artifacts(self.tracking_uri, version.name, version.version).sizes().values())

    def read_parquet(self, version: ModelVersion, path: str) -> pa.Table:
        with self.download(version, path) as file:
            try:
                with pq.ParquetFile(file, memory_map=False) as table:
                    return self._unpacked(table)
            except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
                raise self._unreadable(version, path, "Parquet", error) from error

    def _unpacked(self, table: pq.ParquetFile) -> pa.Table:
        # A small file may say the same long value a million times.
        batches, size = [], 0
        for batch in table.iter_batches():
            batches.append(batch)
            size += batch.nbytes
            if size > UNPACKED * self.max_bytes:
                raise ValueError(f"it unpacks to more than {UNPACKED * self.max_bytes:,} bytes")
        return pa.Table.from_batches(batches, table.schema_arrow)

    def contents(self, version: ModelVersion) -> dict[str, dict[str, str]]:
        """Return what a version is made of: requirements, the parameters of its run, and digests of the model's files.

        Of a model above `max_bytes` nothing but the parameters is read.
        """
        what, cure = f"contents of {version.name} v{version.version}", "See that its run and its model are still there."
        with self._asking(what, cure), tempfile.TemporaryDirectory(prefix="monitoring-") as private:
            parameters = dict(self._client().get_run(version.run_id).data.params)
            artifacts = model_artifacts(self.tracking_uri, version.name, version.version, max_bytes=self.max_bytes)
            if not (sizes := artifacts.sizes()):
                raise RegistryError(f"{self.tracking_uri}: {what}: its model has no files. {cure}")
            files: dict[str, bytes] = {}
            if sum(sizes.values()) <= self.max_bytes:
                local = artifacts.copy("", Path(private))
                files = {path.name: path.read_bytes() for path in local.rglob("*") if path.is_file()}
            lines = files.get("requirements.txt", b"").decode(errors="replace").split()
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
        with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
            with self._asking(what, cure):
                artifacts = run_artifacts(self.tracking_uri, version.run_id, what, max_bytes=self.max_bytes)
                if path not in artifacts.sizes(path.rpartition("/")[0]):
                    raise RegistryError(f"{self.tracking_uri}: {what} not found in run {version.run_id}. {cure}")
                copy = artifacts.copy(path, Path(private))
            yield copy

    def _client(self) -> "MlflowClient":
        return mlflow_client(self.tracking_uri)

    @contextmanager
    def _asking(self, what: str, cure: str) -> Iterator[None]:
        """Turn what MLflow raises into a RegistryError that says what was asked and what to do."""
        with fetching(f"{self.tracking_uri}: {what}", cure):
            yield

    def _unreadable(self, version: ModelVersion, path: str, kind: str, error: Exception) -> RegistryError:
        return RegistryError(
            f"{self.tracking_uri}: artifact {path} of {version.name} v{version.version} is not {kind}: {error}. "
            "Log it again."
        )


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

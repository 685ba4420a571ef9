"""Artifacts of a model registry: where they may be, how large they may be, and copies of them in a private folder.

Whoever may register a model says what its files are called and where they are; none of that is taken on trust. Add here
what has to hold of every download. Keep reading files out: it belongs to those who know what a file is.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from monitoring_pipeline.errors import RegistryError, RegistryUnreachableError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import Model

STORAGE = ("s3", "gs", "wasbs")
"""Kinds of storage whose servers are found by this process' own settings, and not by an address in the registry."""

MOST_BYTES = 2 * 2**30
MOST_FILES = 1000
MOST_FOLDERS = 10
"""How deep folders may lie in one another."""

DESCRIPTION_BYTES = 2**20

NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
"""What MLflow answers where something does not exist; whatever else it answers may be another answer tomorrow."""

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Unless the environment says otherwise. By itself the client waits for minutes: longer than a sensor may take.

A database that is asked without a server has as many seconds to let one in.
"""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The files at one place of a registry, which was allowed; `max_bytes` is what is read of them at a time."""

    name: str
    repository: Any  # MLflow publishes no types for it
    max_bytes: int = MOST_BYTES

    def sizes(self, path: str = "") -> dict[str, int]:
        """Return the size of every file below a folder, by its path from the place."""
        found: dict[str, int] = {}
        for file, size in self._below(path, MOST_FOLDERS):
            found[file] = size
            if len(found) > MOST_FILES:
                raise RegistryError(f"{self.name} has more than {MOST_FILES:,} files. Log fewer of them.")
        return found

    def _below(self, path: str, deep: int) -> Iterator[tuple[str, int]]:
        if deep == 0:
            raise RegistryError(f"{self.name}: folders lie more than {MOST_FOLDERS} deep in one another. Log it again.")
        for each in self.repository.list_artifacts(path or None):
            if each.is_dir:
                yield from self._below(each.path, deep - 1)
            else:
                yield each.path, each.file_size or 0

    def copy(self, path: str, folder: Path) -> Path:
        """Copy a file, or all files where the path is empty, into a folder of the caller's; returns where it is."""
        listed = self.sizes(path) if not path else {path: self.sizes(path.rpartition("/")[0]).get(path, 0)}
        self._check(f"{self.name}: {path}" if path else self.name, sum(listed.values()))
        copy = Path(self.repository.download_artifacts(path, str(folder)))
        # What a registry lists need not be what it hands out.
        files = [copy] if copy.is_file() else [each for each in copy.rglob("*") if not each.is_dir()]
        if any(each.is_symlink() or folder.resolve() not in each.resolve().parents for each in files):
            raise RegistryError(f"{self.name}: {path} leads out of the registry. Log it again.")
        self._check(f"{self.name}: {path}" if path else self.name, sum(each.stat().st_size for each in files))
        return copy

    def _check(self, what: str, size: int) -> None:
        if size > self.max_bytes:
            raise RegistryError(f"{what} has {size:,} bytes, at most {self.max_bytes:,} are read. Log less.")


def model_artifacts(tracking_uri: str, model: str, version: str | int, *, max_bytes: int = MOST_BYTES) -> Artifacts:
    """Return the files of a registered version; raises what MLflow raises, and RegistryError where they may not be."""
    client = mlflow_client(tracking_uri)
    place = client.get_model_version_download_uri(model, str(version))
    run = client.get_model_version(model, str(version)).run_id
    return _artifacts(tracking_uri, f"{model} v{version}", place, run, max_bytes)


def run_artifacts(tracking_uri: str, run_id: str, name: str, *, max_bytes: int = MOST_BYTES) -> Artifacts:
    """Return the files of a run, as `model_artifacts` does."""
    place = mlflow_client(tracking_uri).get_run(run_id).info.artifact_uri
    return _artifacts(tracking_uri, name, place, run_id, max_bytes)


def description(file: Path, name: str) -> "Model":
    """Return what an MLmodel file says of a model; whatever is wrong with it is a RegistryError."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from yaml import YAMLError

    if file.stat().st_size > DESCRIPTION_BYTES:
        raise RegistryError(f"{name}: MLmodel has more than {DESCRIPTION_BYTES:,} bytes. Log the model again.")
    try:
        found = Model.load(file)
        if not isinstance(found.flavors, dict) or not all(isinstance(each, dict) for each in found.flavors.values()):
            raise TypeError("its flavors are no mappings")
    except (MlflowException, YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RegistryError(f"{name}: MLmodel cannot be read: {one_cause(error)}. Log the model again.") from None
    return found


def one_cause(error: Exception) -> str:
    """Return the beginning of what an error says, as one line."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


@contextmanager
def fetching(what: str, cure: str) -> Iterator[None]:
    """Turn what MLflow raises into a RegistryError. What it is raised from is dropped: it may hold an address."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        gone = isinstance(error, FileNotFoundError) or getattr(error, "error_code", "") in NOT_THERE
        kind = RegistryError if gone else RegistryUnreachableError
        raise kind(f"{what}: {' '.join(str(error).split()).rstrip('.')}. {cure}") from None


def mlflow_client(tracking_uri: str) -> "MlflowClient":
    """Return MLflow's client of a server or a database; raises ConnectionError where that database does not answer.

    All are made here: MLflow itself tries for minutes to reach either.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - MLflow's client is told in no other way
    if urlsplit(tracking_uri).scheme.partition("+")[0] in ("postgresql", "mysql"):
        import sqlalchemy as sa

        patience = {"connect_timeout": int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])}  # noqa: TID251 - as above
        try:
            sa.create_engine(tracking_uri, poolclass=sa.NullPool, connect_args=patience).connect().close()
        except sa.exc.OperationalError as error:
            raise ConnectionError(str(error.orig)) from None
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _artifacts(tracking_uri: str, name: str, place: str, run: str | None, max_bytes: int) -> Artifacts:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Not by a models:/ address: MLflow resolves those through settings of the process, whatever is passed.
    scheme, server = urlsplit(place).scheme, urlsplit(tracking_uri)
    if scheme in ("", "file"):
        allowed = server.scheme not in ("http", "https") and _belongs(tracking_uri, place, run)
    elif scheme == "mlflow-artifacts":
        allowed = urlsplit(place).netloc in ("", server.netloc)
    else:
        allowed = scheme in STORAGE
    if not allowed:
        raise RegistryError(
            f"{name}: its files are at {place!r:.200}, which is not opened: files are read through the MLflow server, "
            f"from {', '.join(STORAGE)}, and, where MLflow is on this machine, from the folder of the run's experiment."
        )
    return Artifacts(name, get_artifact_repository(place, tracking_uri=tracking_uri), max_bytes)


def _belongs(tracking_uri: str, place: str, run: str | None) -> bool:
    from mlflow.utils import file_utils

    path_of: Callable[[str], str] = file_utils.local_file_uri_to_path
    if not run:
        return False
    client = mlflow_client(tracking_uri)
    home = client.get_experiment(client.get_run(run).info.experiment_id).artifact_location
    if urlsplit(home).scheme not in ("", "file"):
        return False
    inside, folder = (Path(path_of(each)).resolve() for each in (place, home))
    return inside.is_relative_to(folder)

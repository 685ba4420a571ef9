"""References: kept with their model version in the registry, copied to a folder for the hourly runs.

With the copy an hour needs neither the registry nor its client.
Add a place references come from here. Keep what they contain out: it belongs in describe.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast
from urllib.parse import quote

from monitoring_pipeline.describe.blocks import Calibration, calibration_from_json, calibration_to_json
from monitoring_pipeline.describe.reference_json import reference_from_json, reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, RegistryError, RegistryUnreachableError
from monitoring_pipeline.evaluate.attributions import Importances, Measured
from monitoring_pipeline.retrain.registry import ModelRegistry
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.objects import Place, names
from monitoring_pipeline.stores.parquet import model_folder

ARTIFACT = "monitoring/reference.json"


class ReferenceStore:
    """References by model and version."""

    def __init__(self, root: Place, registry: ModelRegistry) -> None:
        self._root = root
        self._registry = registry

    def load(self, model: str, version: str) -> Reference | None:
        """Return the reference of a version as `fetch` does, and None also where the registry does not answer."""
        try:
            return self.fetch(model, version)
        except RegistryUnreachableError:
            return None

    def fetch(self, model: str, version: str) -> Reference | None:
        """Return the reference of a version, from the folder or else from the registry; None when it has none.

        A damaged copy is fetched again. Raises RegistryUnreachableError, or ReferenceError where all there is of it is
        damaged.
        """
        path, damage = self._path(model, version), None
        if path.exists():
            try:
                return _of(_document(path), model, version)
            except ReferenceError as error:
                damage = error
        try:
            document = self._registry.read_json(self._registry.version(model, version), ARTIFACT)
        except RegistryUnreachableError:
            raise
        except RegistryError as error:
            if damage is not None:
                raise damage from error
            return None
        reference = _of(document, model, version)
        self._copy(reference)
        return reference

    def any_of(self, model: str) -> bool:
        """Return whether the folder holds a reference of any version, without asking the registry."""
        return any(name.endswith(".json") for name in names(model_folder(self._root, "references", model)))

    def save(self, reference: Reference) -> None:
        """Store a reference with its version; the folder gets its copy last."""
        document = reference_to_json(reference)
        version = self._registry.version(reference.model, reference.version)
        # Not write_json, which sorts keys: hours are written in the order of the columns, wherever it was read from.
        self._registry.write_text(version, ARTIFACT, json.dumps(document, allow_nan=False))
        self._registry.set_tags(reference.model, reference.version, {"reference_digest": reference.digest})
        self._copy(reference)

    def calibration(self, reference: Reference, of: str, compute: Callable[[], Calibration]) -> Calibration:
        """Return what was learnt from a reference's rows beyond its profile, learning it the first time.

        `of` names what is learnt and how: with other settings it is another calibration.
        """
        path = self._learnt("calibrations", reference, of)
        if path.exists():
            return calibration_from_json(_document(path))
        learnt = compute()
        publish(path, json.dumps(calibration_to_json(learnt)).encode())
        return learnt

    def importances(self, reference: Reference, of: str, measure: Callable[[], Measured]) -> Measured:
        """Return how much features matter on a reference's rows, measuring it the first time; a failure is not kept.

        `of` names what is measured and how, as in `calibration`.
        """
        path = self._learnt("importances", reference, of)
        if path.exists():
            return {way: Importances.from_json(found) for way, found in _document(path).items()}
        measured = measure()
        if not isinstance(measured, str):
            publish(path, json.dumps({way: found.to_json() for way, found in measured.items()}).encode())
        return measured

    def _learnt(self, kind: str, reference: Reference, of: str) -> Place:
        name = sha256(f"{reference.digest} {of}".encode()).hexdigest()[:16]
        return model_folder(self._root, kind, reference.model) / f"{name}.json"

    def _copy(self, reference: Reference) -> None:
        content = json.dumps(reference_to_json(reference)).encode()
        publish(self._path(reference.model, reference.version), content)

    def _path(self, model: str, version: str) -> Place:
        return model_folder(self._root, "references", model) / f"{quote(version, safe='')}.json"


def _of(document: object, model: str, version: str) -> Reference:
    found = reference_from_json(document) if isinstance(document, dict) else None
    if found is None or (found.model, found.version) != (model, version):
        named = "no reference" if found is None else f"that of {found.model} v{found.version}"
        raise ReferenceError(f"reference of {model} v{version}: what is kept under its name is {named}. Rebuild it.")
    return found


def _document(path: Place) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except ValueError as error:
        raise ReferenceError(
            f"{path}: not JSON ({error}). Remove it: it is a copy, and is fetched from the registry again."
        ) from error

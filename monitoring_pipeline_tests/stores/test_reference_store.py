import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.describe.reference_json import reference_to_json
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, RegistryError
from monitoring_pipeline.evaluate.attributions import Importances, Measured
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.reference_store import ARTIFACT, ReferenceStore
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store
from monitoring_pipeline_tests.traffic import MODEL, log_rows, reference


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> MlflowRegistry:
    folder = tmp_path_factory.mktemp("references")
    uri = new_mlflow_store(folder)
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("churn", artifact_location=(folder / "artifacts").as_uri())
    client.create_registered_model(MODEL)
    for _ in range(5):
        run = client.create_run(experiment)
        client.create_model_version(MODEL, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
        client.set_terminated(run.info.run_id)
    return MlflowRegistry(uri)


def of_version(version: str, seed: int = 1) -> Reference:
    return reference(log_rows(300, seed=seed), version=version)


def stored(registry: MlflowRegistry, version: str) -> Mapping[str, Any]:
    document = registry.read_json(registry.version(MODEL, version), ARTIFACT)
    assert isinstance(document, dict)
    return document


def test_a_saved_reference_is_kept_with_its_version_and_tagged_with_its_digest(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    saved = of_version("1")
    ReferenceStore(tmp_path, registry).save(saved)
    assert stored(registry, "1") == reference_to_json(saved)
    assert registry.version(MODEL, "1").tags["reference_digest"] == saved.digest
    loaded = ReferenceStore(tmp_path, registry).load(MODEL, "1")
    assert loaded is not None
    assert reference_to_json(loaded) == reference_to_json(saved)


def test_a_machine_without_the_copy_fetches_it_once_and_then_needs_no_registry(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    saved = of_version("2")
    ReferenceStore(tmp_path / "one", registry).save(saved)
    assert ReferenceStore(tmp_path / "other", registry).load(MODEL, "2") is not None
    unreachable = MlflowRegistry(f"sqlite:///{tmp_path}/no/such/folder.db")
    loaded = ReferenceStore(tmp_path / "other", unreachable).load(MODEL, "2")
    assert loaded is not None
    assert loaded.digest == saved.digest


def test_a_version_without_a_reference_has_none(registry: MlflowRegistry, tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path, registry)
    assert store.load(MODEL, "3") is None
    assert store.load(MODEL, "99") is None
    assert store.load(MODEL, "unversioned") is None


def test_a_reference_is_not_saved_with_a_version_that_does_not_exist(registry: MlflowRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="99"):
        ReferenceStore(tmp_path, registry).save(of_version("99"))
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("damage", ["tampered", "not JSON"])
def test_a_damaged_copy_is_fetched_again_and_refused_where_there_is_no_other(
    damage: str, registry: MlflowRegistry, tmp_path: Path
) -> None:
    store = ReferenceStore(tmp_path, registry)
    store.save(of_version("4"))
    (copy,) = tmp_path.rglob("*.json")
    whole = copy.read_text()
    damaged = json.dumps(json.loads(whole) | {"rows": 7}) if damage == "tampered" else "{"
    copy.write_text(damaged)
    assert store.load(MODEL, "4") is not None
    assert copy.read_text() == whole
    copy.with_name("3.json").write_text(damaged)
    with pytest.raises(ReferenceError, match=r"Rebuild|Remove it"):
        store.load(MODEL, "3")


def test_saving_again_replaces_the_reference(registry: MlflowRegistry, tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path, registry)
    for seed in (1, 2):
        store.save(of_version("5", seed))
    newest = of_version("5", 2).digest
    assert stored(registry, "5")["digest"] == newest
    loaded = store.load(MODEL, "5")
    assert loaded is not None
    assert loaded.digest == newest


def test_importances_are_measured_once_for_each_way_of_measuring_and_a_failure_again(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    store, known, asked = ReferenceStore(tmp_path, registry), of_version("1"), []
    found = {"output": Importances(("tenure", "plan"), np.array([[0.3, 0.1], [0.0, np.nan]]), 300)}

    def measure(answer: Measured) -> Measured:
        asked.append(answer)
        return answer

    for how, answer in (("a", "not done"), ("a", found), ("a", "not done"), ("b", "not done")):
        measured = store.importances(known, how, partial(measure, answer))
    assert asked == ["not done", found, "not done"], "kept of the way that was measured"
    assert measured == "not done"
    again = store.importances(known, "a", partial(measure, "not done"))
    assert not isinstance(again, str)
    assert again["output"].to_json()["features"] == ["tenure", "plan"]
    np.testing.assert_array_equal(again["output"].values, found["output"].values)

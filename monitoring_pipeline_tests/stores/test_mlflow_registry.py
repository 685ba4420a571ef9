from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.registry import ModelRegistry
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

MODEL = "o'hare delays"


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with eleven versions of one model, each with a run."""
    folder = tmp_path_factory.mktemp("registry")
    uri = new_mlflow_store(folder)
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("delays", artifact_location=(folder / "artifacts").as_uri())
    client.create_registered_model(MODEL)
    for _ in range(11):
        run = client.create_run(experiment)
        client.create_model_version(MODEL, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
        client.set_terminated(run.info.run_id)
    client.set_registered_model_alias(MODEL, "champion", "2")
    return uri


@pytest.fixture
def registry(tracking_uri: str) -> ModelRegistry:
    return MlflowRegistry(tracking_uri)


def test_a_version_is_found_by_its_number_and_by_its_alias(registry: ModelRegistry) -> None:
    found = registry.version(MODEL, "champion")
    assert (found.name, found.version, found.aliases) == (MODEL, "2", ("champion",))
    assert registry.version(MODEL, 2) == registry.version(MODEL, "2") == found


def test_a_version_says_when_it_was_created_in_utc(registry: ModelRegistry) -> None:
    created = registry.version(MODEL, 1).created_at
    assert created.tzinfo is UTC
    assert abs((datetime.now(UTC) - created).total_seconds()) < 600


def test_versions_come_oldest_first_with_their_aliases(registry: ModelRegistry) -> None:
    versions = registry.versions(MODEL)
    assert [each.version for each in versions] == [str(number) for number in range(1, 12)]
    assert versions[1].aliases == ("champion",)
    assert versions[0].aliases == ()


@pytest.mark.parametrize(
    ("model", "wanted", "words"),
    [
        ("nobody", "1", "'nobody'"),
        (MODEL, "99", "version '99'"),
        (MODEL, "shadow", "set_registered_model_alias"),
    ],
)
def test_what_is_not_there_is_named_with_what_to_do(
    registry: ModelRegistry, model: str, wanted: str, words: str
) -> None:
    with pytest.raises(RegistryError, match=words):
        registry.version(model, wanted)


def test_a_model_without_versions_is_an_error(registry: ModelRegistry, tracking_uri: str) -> None:
    MlflowClient(tracking_uri, tracking_uri).create_registered_model("untrained")
    with pytest.raises(RegistryError, match="Train and register one"):
        registry.versions("untrained")
    with pytest.raises(RegistryError, match="nobody"):
        registry.versions("nobody")


def test_an_alias_moves_when_it_points_where_the_caller_believes(registry: ModelRegistry) -> None:
    registry.set_alias(MODEL, "moving", 3, expected=None)
    registry.set_alias(MODEL, "moving", "4", expected="3")
    assert registry.version(MODEL, "moving").version == "4"


def test_an_alias_that_was_moved_meanwhile_stays_where_it_is(registry: ModelRegistry) -> None:
    registry.set_alias(MODEL, "contested", 5, expected=None)
    for stale in (None, "3"):
        with pytest.raises(RegistryError, match=r"points to version 5, expected .* Nothing was changed"):
            registry.set_alias(MODEL, "contested", 6, expected=stale)
    assert registry.version(MODEL, "contested").version == "5"


def test_an_alias_that_vanished_is_not_set_anew(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="points to no version, expected version 1"):
        registry.set_alias(MODEL, "vanished", 2, expected="1")


def test_an_alias_never_points_to_a_version_that_does_not_exist(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="version '99'"):
        registry.set_alias(MODEL, "lost", 99, expected=None)
    with pytest.raises(RegistryError, match="alias 'lost'"):
        registry.version(MODEL, "lost")


def test_tags_are_added_to_those_there(registry: ModelRegistry) -> None:
    registry.set_tags(MODEL, 7, {"deployed_at": "2013-04-01", "note": "first"})
    registry.set_tags(MODEL, "7", {"note": "second"})
    assert registry.version(MODEL, 7).tags == {"deployed_at": "2013-04-01", "note": "second"}
    with pytest.raises(RegistryError, match=r"tagging .* v99"):
        registry.set_tags(MODEL, 99, {"note": "none"})


def test_a_document_is_read_back_and_replaced(registry: ModelRegistry) -> None:
    version = registry.version(MODEL, 8)
    documents: list[dict[str, object]] = [{"bins": [0.5, 1e300], "name": "Zürich"}, {"bins": []}]
    for document in documents:
        registry.write_json(version, "monitoring/reference.json", document)
        assert registry.read_json(version, "monitoring/reference.json") == document


def test_a_text_is_kept_as_it_is_and_replaced(registry: MlflowRegistry) -> None:
    version = registry.version(MODEL, 7)
    for text in ("# Zürich\n", "| a | b |\n"):
        registry.write_text(version, "evaluation.md", text)
        with registry.download(version, "evaluation.md") as file:
            assert file.read_text("utf-8") == text


def test_a_document_holds_no_number_that_json_does_not_know(registry: ModelRegistry) -> None:
    version = registry.version(MODEL, 8)
    with pytest.raises(ValueError, match="JSON compliant"):
        registry.write_json(version, "monitoring/numbers.json", {"mean": float("nan")})
    with pytest.raises(RegistryError, match="not found"):
        registry.read_json(version, "monitoring/numbers.json")


def test_a_missing_document_says_who_writes_it(registry: ModelRegistry) -> None:
    for path in ("monitoring/reference_rows.parquet", "nowhere.json"):
        with pytest.raises(RegistryError, match=rf"{path} of .* v1 not found .* log_reference"):
            registry.read_parquet(registry.version(MODEL, 1), path)


def test_a_table_is_read_back(registry: ModelRegistry, tracking_uri: str, tmp_path: Path) -> None:
    version = registry.version(MODEL, 9)
    table = pa.table({"score": [0.25, None], "carrier": ["AA", "B6"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    MlflowClient(tracking_uri).log_artifact(version.run_id, str(tmp_path / "rows.parquet"), "monitoring")
    assert registry.read_parquet(version, "monitoring/rows.parquet").equals(table)


def test_a_file_of_another_kind_is_refused(registry: ModelRegistry, tracking_uri: str) -> None:
    version = registry.version(MODEL, 10)
    MlflowClient(tracking_uri).log_text(version.run_id, "neither", "broken")
    with pytest.raises(RegistryError, match=r"broken of .* v10 is not Parquet"):
        registry.read_parquet(version, "broken")
    with pytest.raises(RegistryError, match=r"broken of .* v10 is not JSON"):
        registry.read_json(version, "broken")


def test_a_document_above_the_limit_is_not_downloaded(tracking_uri: str) -> None:
    registry = MlflowRegistry(tracking_uri, max_bytes=20)
    version = registry.version(MODEL, 11)
    registry.write_json(version, "large.json", "x" * 19)
    with pytest.raises(RegistryError, match="has 21 bytes, at most 20 are read"):
        registry.read_json(version, "large.json")


def test_a_downloaded_file_is_private_and_goes_when_the_block_ends(tracking_uri: str) -> None:
    registry = MlflowRegistry(tracking_uri)
    version = registry.version(MODEL, 1)
    registry.write_json(version, "kept.json", 1)
    with registry.download(version, "kept.json") as copy:
        copy.write_text("2")
        assert copy.parent.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    assert registry.read_json(version, "kept.json") == 1


def test_what_a_version_is_made_of_is_its_requirements_parameters_and_files(tracking_uri: str) -> None:
    client, versions = MlflowClient(tracking_uri, tracking_uri), []
    (experiment,) = (each for each in client.search_experiments() if each.name == "delays")
    for name, files in {
        "small": {"requirements.txt": "scikit-learn==1.7.0\nskops", "MLmodel": "uuid: 7", "model.skops": "weights"},
        "none": {},
    }.items():
        run = client.create_run(experiment.experiment_id)
        client.log_param(run.info.run_id, "depth", "3")
        for file, text in files.items():
            client.log_text(run.info.run_id, text, f"model/{file}")
        client.create_registered_model(name)
        client.create_model_version(name, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
        versions.append(MlflowRegistry(tracking_uri).version(name, 1))
    small, none = versions
    assert MlflowRegistry(tracking_uri).contents(small) == {
        "requirements": {"scikit-learn": "1.7.0", "skops": ""},
        "configuration": {"depth": "3"},
        "artifact": {"model.skops": sha256(b"weights").hexdigest()[:12]},
    }
    client.log_text(small.run_id, "1234", "model/code/more.py")
    assert MlflowRegistry(tracking_uri).model_bytes(small) == len("scikit-learn==1.7.0\nskopsuuid: 7weights1234")
    assert MlflowRegistry(tracking_uri).model_bytes(none) == 0
    too_large = MlflowRegistry(tracking_uri, max_bytes=10).contents(small)
    assert too_large == {"requirements": {}, "configuration": {"depth": "3"}, "artifact": {}}
    with pytest.raises(RegistryError, match="contents of none v1"):
        MlflowRegistry(tracking_uri).contents(none)

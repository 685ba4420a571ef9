"""What is in a registry is never run, never read from elsewhere, and never larger than it may be."""

import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pytest_httpserver import HTTPServer

from monitoring_pipeline.errors import MonitoringError, RegistryError
from monitoring_pipeline.serve import trusted
from monitoring_pipeline.serve.artifacts import MOST_FILES, Artifacts, model_artifacts
from monitoring_pipeline.serve.scoring import load_scorer
from monitoring_pipeline.serve.trusted import load_trusted
from monitoring_pipeline.stores.mlflow_reference import REFERENCE_COLUMNS
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.mlflow_signature import signature_types
from monitoring_pipeline.workflow.model_assets import materialise_references
from monitoring_pipeline.workflow.scoring_service import scoring_service
from monitoring_pipeline_tests.deployments import ASKED, MODEL, Deployment
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store
from monitoring_pipeline_tests.security import traps
from monitoring_pipeline_tests.traffic import START, hour

PATHS = {"passwd": "root:x:0:0", "MLmodel": traps.plain_description()}


class Registry:
    """A real registry with one run; a test registers what it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = new_mlflow_store(folder)
        self.client = MlflowClient(self.uri, self.uri)
        self.experiment = self.client.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
        self.run = self.client.create_run(self.experiment).info
        self.files: Path = folder / "artifacts" / self.run.run_id / "artifacts"

    def register(self, name: str, *, source: str = "", run_id: str | None = None) -> Path:
        """Register a version of a new model, and return the folder of its files."""
        self.client.create_registered_model(name)
        folder = self.files / name
        folder.mkdir(parents=True)
        self.client.create_model_version(name, source or f"{self.run.artifact_uri}/{name}", run_id or self.run.run_id)
        return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("hostile-registry"))


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What a trap leaves behind; nothing may have by the end of a test."""
    path = tmp_path / "exploded"
    yield path
    assert not path.exists(), "something from the registry was run"


def test_the_traps_work(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    pickle.loads(traps.pickled(mark))
    assert mark.exists()
    mark.unlink()
    import skops.io

    traps.skops_file(tmp_path / "model.skops", mark)
    skops.io.load(tmp_path / "model.skops", trusted=skops.io.get_untrusted_types(file=tmp_path / "model.skops"))
    assert mark.exists()


@pytest.mark.slow
def test_a_trapped_model_is_watched_scored_and_retrained_without_anything_of_it_being_run(
    deployment: Deployment, mark: Path
) -> None:
    refit = {"trainer": "refit", "minimum_labelled_rows": 500}
    aged = [{"name": "age", "condition": {"metric": "model.age_days", "above": 1}}]
    retraining = ASKED["retraining"] | refit | {"triggers": aged}
    deployment.watch({"retraining": retraining, "attributions": {"enabled": True, "trusted_types": []}})
    (model,) = (deployment.home / "artifacts").rglob("MLmodel")
    traps.set_traps(model.parent, mark)
    deployment.serve(0, 23)
    deployment.set_clock(hour(25))

    materialise_references(deployment.monitoring, deployment.monitor)
    assert deployment.process(0, 23).success
    daily = deployment.run(f"{MODEL}__daily", partition_key=f"{START:%Y-%m-%d}")
    assert daily.success, "what cannot be measured is said, not raised"

    (request,) = deployment.tick(f"{MODEL}__retraining").run_requests
    result = deployment.run(f"{MODEL}__retraining", tags=request.tags, raise_on_error=False)
    failures = [str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure]
    assert len(failures) == 1
    assert "MLmodel cannot be read" in failures[0], "refitting starts from the champion, and there was none to load"

    with pytest.raises(MonitoringError, match="MLmodel cannot be read"):
        scoring_service(deployment.monitor, deployment.monitoring.deployment, clock=lambda: hour(25))


@pytest.mark.parametrize("saved_as", ["skops", "pickle", "cloudpickle"])
@pytest.mark.parametrize("file", ["model.pkl", "../../../model.pkl", "/etc/passwd", "..", ""])
def test_no_model_is_loaded_that_is_not_a_skops_file_of_trusted_types(
    registry: Registry, mark: Path, saved_as: str, file: str
) -> None:
    name = f"{saved_as} {file.replace('/', '-') or 'none'}"
    folder = registry.register(name)
    traps.set_traps(folder, mark)
    (folder / "MLmodel").write_text(traps.plain_description(saved_as, repr(file)))
    with pytest.raises(RegistryError, match=r"is saved as|is not a skops file"):
        load_scorer(registry.uri, name, 1, [])


@pytest.mark.parametrize("write", [traps.skops_file, traps.forged_skops_file])
def test_a_forged_skops_file_is_refused(tmp_path: Path, mark: Path, write: Any) -> None:
    write(tmp_path / "model.skops", mark)
    with pytest.raises(RegistryError, match=r"not on the trust list|is not a skops file"):
        load_trusted(tmp_path / "model.skops", [], "churn v1")


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted, "MOST_UNPACKED", 2**20)
    traps.bomb(tmp_path / "model.skops", 2**24)
    assert (tmp_path / "model.skops").stat().st_size < 2**17
    with pytest.raises(RegistryError, match="unpacks to 16,777,216 bytes, at most 1,048,576 are loaded"):
        load_trusted(tmp_path / "model.skops", [], "churn v1")


@pytest.mark.parametrize(
    "text",
    [
        *("", "- a list", "42", "flavors: 3", "flavors: {sklearn: text}", "signature: {inputs: 'no json'}"),
        *(
            'signature: {inputs: \'[{"type": "nonsense"}]\'}',
            "unknown_field: 1",
            "a: &a [*a]",
            "\x00",
            "é: [",
            "{" * 999,
        ),
        *("signature: {inputs: '[1]'}", "flavors: {}\nsignature: {inputs: '" + "[" * 99999 + "'}"),
        "a: &a [x,x]\n"
        + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]" for n in range(20)),
    ],
)
def test_a_description_that_is_none_is_an_error_that_says_so(registry: Registry, text: str) -> None:
    name = f"described {abs(hash(text))}"
    (registry.register(name) / "MLmodel").write_text(text)
    said = list[str]()
    reads: tuple[Callable[[], object], ...] = (
        lambda: load_scorer(registry.uri, name, 1, []),
        lambda: signature_types(registry.uri, name, 1),
    )
    for read in reads:
        try:
            read()
        except RegistryError as error:
            said.append(str(error))
    assert said, "at least there is no model to load"
    assert max(map(len, said)) < 800


def test_a_description_that_builds_objects_builds_none(registry: Registry, mark: Path) -> None:
    traps.set_traps(registry.register("trapped"), mark)
    with pytest.raises(RegistryError, match="MLmodel cannot be read"):
        signature_types(registry.uri, "trapped", 1)
    contents = MlflowRegistry(registry.uri).contents(MlflowRegistry(registry.uri).version("trapped", 1))
    assert "model.pkl" in contents["artifact"], "named by its digest, and not opened"


def outside(registry: Registry, name: str) -> Path:
    folder = registry.folder / "elsewhere" / name
    folder.mkdir(parents=True)
    for file, text in PATHS.items():
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "{}", "file://{}/../{name}"])
def test_a_model_outside_the_folder_of_its_experiment_is_not_read(registry: Registry, form: str) -> None:
    name = f"outside {abs(hash(form))}"
    place = form.format(outside(registry, name), name=name)
    with suppress(MlflowException):  # which may refuse to register it
        registry.register(name, source=place)
        version = MlflowRegistry(registry.uri).version(name, 1)
        read: tuple[Callable[[], object], ...] = (
            lambda: load_scorer(registry.uri, name, 1, []),
            lambda: signature_types(registry.uri, name, 1),
            lambda: MlflowRegistry(registry.uri).model_bytes(version),
            lambda: MlflowRegistry(registry.uri).contents(version),
        )
        for each in read:
            with pytest.raises(RegistryError, match=r"which is not opened|Invalid"):
                each()


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}/x", "mlflow-artifacts://127.0.0.1:{port}/x", "ftp://127.0.0.1:{port}/x"]
)
def test_no_server_is_asked_that_the_registry_names(registry: Registry, httpserver: HTTPServer, place: str) -> None:
    name = f"server {place.partition(':')[0]}"
    registry.register(name)
    with closing(sqlite3.connect(registry.uri.removeprefix("sqlite:///"))) as database, database:
        column = "UPDATE model_versions SET source = ?, storage_location = ? WHERE name = ?"
        database.execute(column, (place.format(port=httpserver.port),) * 2 + (name,))
    with pytest.raises(RegistryError, match="which is not opened"):
        load_scorer(registry.uri, name, 1, [])
    assert httpserver.log == []


def test_a_registry_behind_a_server_names_no_file_of_this_machine(registry: Registry, httpserver: HTTPServer) -> None:
    place = (registry.folder / "artifacts").as_uri()
    version = {"name": "churn", "version": "1", "run_id": "r", "creation_timestamp": 1}
    at = "/api/2.0/mlflow/model-versions"
    httpserver.expect_request(f"{at}/get-download-uri").respond_with_json({"artifact_uri": place})
    httpserver.expect_request(f"{at}/get").respond_with_json({"model_version": version})
    known = {"registered_model": {"name": "churn"}}
    httpserver.expect_request("/api/2.0/mlflow/registered-models/get").respond_with_json(known)
    with pytest.raises(RegistryError, match="which is not opened"):
        load_scorer(httpserver.url_for("").rstrip("/"), "churn", 1, [])


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_out_of_the_registry_leads_nowhere(registry: Registry, kind: str, tmp_path: Path) -> None:
    name = f"linked {kind}"
    secret = outside(registry, name)
    folder = registry.register(name)
    if kind == "file":
        (folder / "MLmodel").symlink_to(secret / "MLmodel")
        (folder / "passwd").symlink_to(secret / "passwd")
    else:
        folder.rmdir()
        folder.symlink_to(secret)
    with pytest.raises(RegistryError):
        load_scorer(registry.uri, name, 1, [])
    with pytest.raises(RegistryError):
        signature_types(registry.uri, name, 1)
    with pytest.raises(RegistryError):
        MlflowRegistry(registry.uri).contents(MlflowRegistry(registry.uri).version(name, 1))


def test_a_folder_that_leads_back_into_itself_comes_to_an_end(registry: Registry) -> None:
    folder = registry.register("loop")
    (folder / "again").symlink_to(folder)
    (folder / "weights").write_text("1")
    with pytest.raises(RegistryError, match="deep in one another"):
        model_artifacts(registry.uri, "loop", 1).sizes()


@pytest.mark.parametrize(
    "path", ["../escape.json", "/etc/passwd", "a/../../escape.json", "monitoring/..%2f..%2fescape"]
)
def test_no_path_leads_out_of_a_run(registry: Registry, path: str) -> None:
    (registry.files.parent / "escape.json").write_text("{}")
    registry.files.mkdir(exist_ok=True, parents=True)
    version = MlflowRegistry(registry.uri).version("trapped", 1)
    with pytest.raises(RegistryError):
        MlflowRegistry(registry.uri).read_json(version, path)


class Listing:
    """A repository that lists one thing and hands out another (`mlflow.store.artifact`)."""

    def __init__(self, *listed: tuple[str, bool, int], hands_out: bytes = b"", link: Path | None = None) -> None:
        self.listed, self.hands_out, self.link = listed, hands_out, link

    def list_artifacts(self, path: str | None) -> list[Any]:
        from mlflow.entities import FileInfo

        return [FileInfo(*each) for each in self.listed]

    def download_artifacts(self, path: str, folder: str) -> str:
        made = Path(folder) / "file"
        made.symlink_to(self.link) if self.link else made.write_bytes(self.hands_out)
        return str(made)


def test_a_repository_that_hands_out_more_than_it_lists_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="model: file has 100 bytes, at most 10 are read"):
        Artifacts("model", Listing(("file", False, 1), hands_out=b"x" * 100), 10).copy("file", tmp_path)
    (tmp_path / "file").unlink()
    with pytest.raises(RegistryError, match="model: file leads out of the registry"):
        Artifacts("model", Listing(("file", False, 1), link=Path("/etc/hostname")), 10**6).copy("file", tmp_path)


def test_more_files_than_a_model_has_are_not_counted_to_the_end() -> None:
    many = Listing(*((f"file {number}", False, 1) for number in range(MOST_FILES + 1)))
    with pytest.raises(RegistryError, match="more than 1,000 files"):
        Artifacts("model", many).sizes()
    with pytest.raises(RegistryError, match="10 deep in one another"):
        Artifacts("model", Listing(("folder", True, 0))).sizes()


def test_a_table_that_says_one_long_value_a_million_times_is_not_unpacked(registry: Registry, tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 2_000])
    pq.write_table(pa.table({"a": column.cast(pa.string())}), tmp_path / "rows.parquet", compression="zstd")
    assert (tmp_path / "rows.parquet").stat().st_size < 50_000
    registry.client.log_artifact(registry.run.run_id, str(tmp_path / "rows.parquet"), "wide")
    small = MlflowRegistry(registry.uri, max_bytes=50_000)
    with pytest.raises(RegistryError, match="unpacks to more than 800,000 bytes"):
        small.read_parquet(small.version("trapped", 1), "wide/rows.parquet")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "nan", "\x00"])
def test_a_document_that_is_no_json_is_an_error_that_says_so(registry: Registry, text: str) -> None:
    registry.client.log_text(registry.run.run_id, text, "documents/d.json")
    store = MlflowRegistry(registry.uri)
    with pytest.raises(RegistryError, match="is not JSON"):
        store.read_json(store.version("trapped", 1), "documents/d.json")


@pytest.mark.parametrize(
    "roles",
    [
        *({}, [], None, {"time": None}, {"time": ["predicted_at"]}, {"time": "no such column"}),
        *({"time": "predicted_at", "score": {}}, {"time": "predicted_at", "importances": {"usage": "much"}}),
        *({"time": "predicted_at", "importances": [1]}, {"time": "usage"}, {"time": "predicted_at", "label": 7}),
    ],
)
def test_roles_that_make_no_sense_are_an_error_that_says_so(deployment: Deployment, roles: Any) -> None:
    registry = deployment.monitoring.registry
    registry.write_json(registry.version(MODEL, "champion"), REFERENCE_COLUMNS, roles)
    with pytest.raises(MonitoringError, match="churn v1"):
        materialise_references(deployment.monitoring, deployment.monitor)


def test_a_tag_that_is_no_moment_is_an_error_that_says_so(deployment: Deployment) -> None:
    deployment.monitoring.registry.set_tags(MODEL, "1", {"trained_until": "<script>"})
    with pytest.raises(MonitoringError, match=r"churn v1.*trained_until"):
        materialise_references(deployment.monitoring, deployment.monitor)

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline_tests.pages import ROOT, blocks

PAGE = ROOT / "docs" / "kubernetes.md"
FILES = {block.file: block.code for block in blocks(PAGE) if block.language == "yaml" and block.file}
LAUNCHER = YAML(typ="safe").load(FILES.pop("run_launcher.yaml"))["run_launcher"]
OBJECTS = [made for text in FILES.values() for made in YAML(typ="safe").load_all(text)]
WORKLOADS = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] in ("Deployment", "StatefulSet", "Job")}
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
IMAGE = (ROOT / "deploy" / "Dockerfile").read_text()
CREATED = set(re.findall(r"kubectl create (?:configmap|secret generic) ([\w-]+)", PAGE.read_text()))
MADE = CREATED | {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "ConfigMap"}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (only,) = pod(WORKLOADS[name])["containers"]
    return dict(only)


def values(node: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, however deep."""
    if isinstance(node, dict):
        yield from ([node[key]] if key in node else [])
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from values(part, key)


def test_every_object_says_what_it_is_and_no_two_are_the_same() -> None:
    known = {
        "apps/v1": {"Deployment", "StatefulSet"},
        "batch/v1": {"Job"},
        "rbac.authorization.k8s.io/v1": {"Role", "RoleBinding"},
        "v1": {"ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount"},
    }
    assert [each for each in OBJECTS if each["kind"] not in known[each["apiVersion"]]] == []
    names = [(each["kind"], each["metadata"]["name"]) for each in OBJECTS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_runs_what_the_service_of_that_name_runs_in_the_compose_file(name: str) -> None:
    image = json.loads(IMAGE.rpartition("CMD ")[2])
    ours = SERVICES[name].get("command", SERVICES[name]["image"] if name == "postgres" else image)
    assert container(name).get("command", container(name)["image"]) == ours


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"migrate"}))
def test_a_container_is_asked_for_its_health_as_in_the_compose_file(name: str) -> None:
    probe = container(name).get("readinessProbe") or container(name)["livenessProbe"]
    kind, *command = SERVICES[name]["healthcheck"]["test"]
    asked = command if kind == "CMD" else ["sh", "-c", command[0].replace("$$", "$")]
    assert probe["exec"]["command"] == asked


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_has_the_variables_of_its_service_with_the_same_values(name: str) -> None:
    own, plain, of_secret = container(name), dict[str, str](), set[str]()
    if "envFrom" in own:
        (shared,) = [each["data"] for each in OBJECTS if each["kind"] == "ConfigMap"]
        plain, of_secret = dict(shared), set(re.findall(r"--from-literal=(\w+)=", PAGE.read_text()))
    plain |= {each["name"]: each["value"] for each in own.get("env", []) if "value" in each}
    of_secret |= {each["name"] for each in own.get("env", []) if "valueFrom" in each}
    asked: dict[str, str] = SERVICES[name]["environment"]
    assert {key for key, value in asked.items() if "${" not in value and plain.get(key) != value} == set()
    assert {key for key, value in asked.items() if ":?" in value} <= of_secret


def test_everything_that_is_referred_to_is_made_by_the_page() -> None:
    claims = {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "PersistentVolumeClaim"}
    assert set(values([*OBJECTS, LAUNCHER], "claimName")) <= claims
    kinds = ("configMap", "configMapRef", "secretRef", "secretKeyRef")
    mapped = [each["name"] for kind in kinds for each in values(OBJECTS, kind)]
    config = LAUNCHER["config"]
    mapped += [*config["env_config_maps"], *config["env_secrets"], config["instance_config_map"]]
    assert set(mapped) <= MADE
    accounts = {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "ServiceAccount"}
    assert {*values(OBJECTS, "serviceAccountName"), config["service_account_name"]} == accounts
    applied = re.findall(r"-f ([\w-]+\.yaml)", PAGE.read_text())
    assert set(applied) == set(FILES)


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_a_container_mounts_its_pod_has(name: str) -> None:
    volumes = {each["name"] for each in pod(WORKLOADS[name]).get("volumes", [])}
    volumes |= {each["metadata"]["name"] for each in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
    assert {each["name"] for each in container(name).get("volumeMounts", [])} == volumes


def test_a_run_sees_what_the_code_location_sees() -> None:
    config, code = LAUNCHER["config"], container("code-location")
    # The launcher mounts the instance itself.
    assert config["volume_mounts"] == [each for each in code["volumeMounts"] if each["name"] != "instance"]
    volumes = pod(WORKLOADS["code-location"])["volumes"]
    assert config["volumes"] == [each for each in volumes if each["name"] != "instance"]
    sources = [next(iter(source.values()))["name"] for source in code["envFrom"]]
    assert [*config["env_config_maps"], *config["env_secrets"]] == sources
    assert config["dagster_home"] == re.search(r"DAGSTER_HOME=(\S+)", IMAGE)[1]  # type: ignore[index]  # it has one
    (named,) = [each["value"] for each in code["env"] if each["name"] == "DAGSTER_CURRENT_IMAGE"]
    assert named == code["image"]


def test_a_service_reaches_a_port_that_its_pods_open() -> None:
    for service in (each for each in OBJECTS if each["kind"] == "Service"):
        app = service["spec"]["selector"]["app"]
        assert WORKLOADS[app]["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
        assert WORKLOADS[app]["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
        ports = [port["containerPort"] for port in container(app)["ports"]]
        assert [port["targetPort"] for port in service["spec"]["ports"]] == ports


def test_nothing_of_ours_runs_as_root_or_without_a_limit_of_memory() -> None:
    user = int(re.search(r"^USER (\d+)$", IMAGE, flags=re.M)[1])  # type: ignore[index]  # it has one
    for name in WORKLOADS:
        assert "memory" in container(name)["resources"]["limits"], name
        if name != "postgres":
            assert pod(WORKLOADS[name])["securityContext"] == {"runAsNonRoot": True, "runAsUser": user, "fsGroup": user}


def test_the_launcher_is_of_the_release_of_dagster() -> None:
    (launcher,) = re.findall(r"dagster-k8s==(\S+)", PAGE.read_text())
    assert f"dagster-postgres=={launcher}\n" in (ROOT / "constraints.txt").read_text()


def test_the_instance_of_the_page_is_dagsters_yaml_with_a_launcher() -> None:
    instance = YAML(typ="safe").load(ROOT / "dagster.yaml")
    assert "run_launcher" not in instance
    assert LAUNCHER["class"] == "K8sRunLauncher"

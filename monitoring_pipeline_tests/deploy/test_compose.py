import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TOOLS = Path(sysconfig.get_path("scripts"))

ONE_SHOT = {"migrate"}  # ends when it is done, so there is nothing to ask after its health


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


COMPOSE = read(COMPOSE_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True, check=False)


def variables_of(text: str) -> dict[str, list[str]]:
    """Return what follows the name in every ${NAME...} of a text, by name."""
    found: dict[str, list[str]] = {}
    for name, rest in re.findall(r"\$\{(\w+)([^}]*)\}", text):
        found.setdefault(name, []).append(rest)
    return found


def example_variables() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def copied_paths(dockerfile: str) -> list[str]:
    """Return the sources of every COPY from the build context."""
    copies = [shlex.split(line)[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    from_context = [words for words in copies if not any(word.startswith("--from=") for word in words)]
    return [word for words in from_context for word in words[:-1] if not word.startswith("--")]


def test_the_compose_file_follows_the_compose_specification() -> None:
    checked = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE))
    assert checked.returncode == 0, checked.stdout


def test_a_mistyped_key_is_not_the_compose_specification(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE_FILE.read_text().replace("ports:", "prots:"))
    assert run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(broken)).returncode == 1


def test_the_dockerfile_passes_its_linter() -> None:
    checked = run("hadolint", str(DOCKERFILE))
    assert checked.returncode == 0, checked.stdout


def test_every_file_the_stack_mounts_or_builds_from_exists() -> None:
    mounts = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith(".")]
    files += [service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service]
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])


def test_every_file_the_image_copies_exists_and_reaches_the_builder() -> None:
    copied = copied_paths(DOCKERFILE.read_text())
    let_through = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert [path for path in copied if not {path, Path(path).parts[0]} & let_through] == []


def test_every_variable_is_explained_in_the_example_environment_and_no_other() -> None:
    assert set(variables_of(COMPOSE_FILE.read_text())) == set(example_variables())


def test_no_secret_has_a_default() -> None:
    for name, uses in variables_of(COMPOSE_FILE.read_text()).items():
        if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
            assert example_variables()[name] == ""
            assert all(use.startswith(":?") or use == ":-" for use in uses), f"{name} has a default: {uses}"
    assert all(use.startswith(":?") for use in variables_of(COMPOSE_FILE.read_text())["POSTGRES_PASSWORD"])


def test_no_address_holds_a_password() -> None:
    assert re.findall(r"://[^\s/@]*:[^\s/@]*@", COMPOSE_FILE.read_text()) == []


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_limited_restarted_and_asked_after_its_health(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert service["restart"] == ("on-failure:3" if name in ONE_SHOT else "unless-stopped")
    assert ("healthcheck" in service) is (name not in ONE_SHOT)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_it_needs_to_be_ready(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
        assert how["condition"] == expected


def test_the_instance_and_the_workspace_read_variables_that_every_dagster_service_has() -> None:
    asked = set(re.findall(r"env: (\w+)", (ROOT / "dagster.yaml").read_text() + (ROOT / "workspace.yaml").read_text()))
    assert "DAGSTER_POSTGRES_PASSWORD" in asked
    for name in ("migrate", "code-location", "webserver", "daemon"):
        assert asked <= set(SERVICES[name]["environment"]), name


def test_the_workspace_leads_to_the_code_location() -> None:
    (location,) = read(ROOT / "workspace.yaml")["load_from"]
    environment = SERVICES["webserver"]["environment"]
    assert location["grpc_server"]["location_name"] == "monitoring_pipeline"
    assert environment["DAGSTER_CODE_LOCATION_HOST"] in SERVICES
    assert f'"--port", "{environment["DAGSTER_CODE_LOCATION_PORT"]}"' in DOCKERFILE.read_text()


def test_the_databases_the_services_name_are_created() -> None:
    created = set(re.findall(r"CREATE DATABASE (\w+)", (ROOT / "deploy/postgres/create-databases.sql").read_text()))
    created.add(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    used = set(re.findall(r"@postgres:5432/(\w+)", COMPOSE_FILE.read_text()))
    used.add(SERVICES["daemon"]["environment"]["DAGSTER_POSTGRES_DB"])
    assert used == created

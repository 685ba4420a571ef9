import ast
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monitoring_pipeline"
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "monitoring_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_tree_keeps_its_import_contracts() -> None:
    checked = lint_imports(ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("stats/planted.py", "import monitoring_pipeline.judge.rules", "Data runs down the list of verbs"),
        ("notify/planted.py", "import monitoring_pipeline.retrain", "Data runs down the list of verbs"),
        ("judge/planted.py", "import dagster", "Only workflow"),
        ("evaluate/planted.py", "def load():\n    import mlflow", "What measures and decides"),
        ("judge/planted.py", "import time", "What measures and decides"),
        ("stats/planted.py", "import pyarrow", "Statistics know arrays"),
        ("planted.py", "", "Data runs down the list of verbs"),
    ],
)
def test_a_planted_violation_breaks_its_contract(
    copied_package: Path, module: str, statement: str, contract: str
) -> None:
    (copied_package / "monitoring_pipeline" / module).write_text(f"{statement}\n")
    checked = lint_imports(copied_package)
    assert checked.returncode == 1
    assert re.search(rf"{contract}[^\n]*(\n[^\n]+)? BROKEN", checked.stdout), checked.stdout


def test_no_module_postpones_its_annotations() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    postponing = [
        path.relative_to(ROOT)
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert modules
    assert postponing == []


def test_the_locked_versions_name_no_place_to_fetch_from() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.!+]+( ; [\w .'<>=!()]+)?", line)] == []


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ]", requirement)[0]).lower() for requirement in asked}
    locked = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names - {project["name"]} - locked == set()

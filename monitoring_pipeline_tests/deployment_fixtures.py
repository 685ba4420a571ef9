"""A deployment for every test that asks for one, made from a template once per session."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring_pipeline_tests.deployments import Deployment, deploying, make_template


@pytest.fixture(autouse=True)
def _quiet_dagster() -> Iterator[None]:
    """Dagster prints every event it also stores."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # In the folder all tests of a session share: two conftests take these fixtures, and one template serves both.
    folder = tmp_path_factory.getbasetemp() / "deployment-template"
    if not folder.exists():
        make_template(folder)
    return folder


@pytest.fixture
def deployment(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with deploying(template, tmp_path / "home", monkeypatch) as made:
        yield made

"""The deployment these tests work on, and the programs a reader uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring_pipeline_tests.deployment_fixtures import template  # noqa: F401 - a fixture
from monitoring_pipeline_tests.preloaded import preloaded_programs


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    with preloaded_programs() as found:
        yield found

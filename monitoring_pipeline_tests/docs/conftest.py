"""The deployment these tests work on."""

from monitoring_pipeline_tests.deployment_fixtures import template  # noqa: F401 - a fixture

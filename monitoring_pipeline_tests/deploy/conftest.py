"""The deployment some of these tests work on."""

from monitoring_pipeline_tests.deployment_fixtures import _quiet_dagster, template  # noqa: F401 - fixtures

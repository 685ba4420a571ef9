"""The deployment these tests work on."""

from monitoring_pipeline_tests.deployment_fixtures import _quiet_dagster, deployment, template  # noqa: F401 - fixtures

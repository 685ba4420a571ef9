"""The state databases that faults are tried on, as the tests of the stores have them; and a whole deployment."""

from monitoring_pipeline_tests.deployment_fixtures import _quiet_dagster, deployment, template  # noqa: F401 - fixtures
from monitoring_pipeline_tests.stores.conftest import (  # noqa: F401 - fixtures
    migrated_postgres,
    migrated_sqlite,
    postgres_only,
    postgres_url,
    state,
    state_url,
)

"""The state databases that faults are tried on, as the tests of the stores have them."""

from monitoring_pipeline_tests.stores.conftest import (  # noqa: F401 - fixtures
    migrated_postgres,
    migrated_sqlite,
    postgres_only,
    postgres_url,
    state,
    state_url,
)

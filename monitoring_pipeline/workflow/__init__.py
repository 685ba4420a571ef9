"""The Dagster layer: when things happen, never what happens."""

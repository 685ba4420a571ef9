"""`python -m monitoring_pipeline.cli` is the command `monitoring-pipeline`."""

from monitoring_pipeline.cli import app

app()

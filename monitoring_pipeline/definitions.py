"""The Dagster code location: the definitions of every monitor in the deployment's folder.

Nothing else belongs here; assembly is in workflow.build.
"""

import os
from pathlib import Path

import dagster as dg

from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.workflow.build import build_definitions


def deployment_definitions() -> dg.Definitions:
    """Return the definitions of the deployment the environment describes."""
    deployment = Deployment.from_environment(os.environ, root=Path.cwd())  # noqa: TID251 - Dagster calls no function of ours with it
    monitors = load_monitors(deployment.monitors_directory)
    return build_definitions(monitors, root=str(Path.cwd()), sensor_seconds=deployment.sensor_seconds)


defs = deployment_definitions()

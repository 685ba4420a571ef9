"""What the steps of one retraining share: the tags of its run, and the folder where they hand over their files.

Add here what more than one step needs. Keep what a step does out.
"""

from pathlib import Path

import dagster as dg

from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.resources import Monitoring

EPISODE_TAG = "monitoring/episode"
REASON_TAG = "monitoring/reason"


def episode_folder(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> Path:
    """Return the folder where the steps of one retraining hand over their files."""
    folder = monitoring.data / "retraining" / monitor.model / first_run_id(context)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def first_run_id(context: dg.AssetExecutionContext) -> str:
    """Return the id of the run, or of the one it was started again from: the retry goes on with its files."""
    return context.run.root_run_id or context.run.run_id

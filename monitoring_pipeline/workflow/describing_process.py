"""The process that describes hours apart from their run: `python -m monitoring_pipeline.workflow.describing_process`.

Dagster Pipes tells it which hours of which model, and takes what it says of them back. Add what it reports here. Keep
describing out: it is `Stages.describe`.
"""

import resource
from datetime import datetime
from time import perf_counter

from dagster_pipes import PipesContext, open_dagster_pipes

from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.workflow.engines import readings_of
from monitoring_pipeline.workflow.resources import Monitoring


def main() -> None:
    """Describe what is asked for, or say what is wrong."""
    with open_dagster_pipes() as pipes:
        try:
            describe(pipes)
        except MonitoringError as error:
            pipes.report_custom_message(str(error))


def describe(pipes: PipesContext) -> None:
    """Describe the hours, and report how long it took and the most memory it needed."""
    model, hours = pipes.get_extra("model"), [datetime.fromisoformat(hour) for hour in pipes.get_extra("hours")]
    monitoring, began = Monitoring(root=pipes.get_extra("root")), perf_counter()
    monitors = {monitor.model: monitor for monitor in load_monitors(monitoring.deployment.monitors_directory)}
    if (monitor := monitors.get(model)) is None:
        fix = "A monitor that is not in a file cannot have the engine process."
        raise MonitoringError(f"{monitoring.deployment.monitors_directory}: no file watches {model}. {fix}")
    monitoring.stages(monitor).describe(hours, readings=readings_of(monitoring, monitor, hours))
    facts = {
        "described_in_seconds": round(perf_counter() - began, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }
    pipes.report_asset_materialization(asset_key=f"{model}/serving_profile", metadata=facts)


if __name__ == "__main__":
    main()

"""The command that serves the metrics of a deployment to Prometheus.

Keep what is exported out: it belongs in publish.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import app, deployment_here, plain_errors
from monitoring_pipeline.cli.serve import LOOPBACK


@app.command()
def metrics_exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9400,
) -> None:
    """Serve what the stores hold of all monitors at /metrics, for Prometheus to scrape."""
    import uvicorn

    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.exporter import app_of, exporter_at

    with plain_errors():
        deployment = deployment_here()
        models = [monitor.registry_name for monitor in load_monitors(deployment.monitors_directory)]
        exporter = exporter_at(deployment, models, clock=lambda: datetime.now(UTC))  # noqa: TID251 - age of files
        exporter.page()  # the first one reads all there is: nobody should wait for it
        hosts = LOOPBACK if host in LOOPBACK else ("*",)
        uvicorn.run(app_of(exporter, hosts=hosts), host=host, port=port, workers=1, log_level="warning")

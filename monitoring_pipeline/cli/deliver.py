"""The command that delivers what waits in the outbox, for as long as it runs: a dispatcher that needs no orchestrator.

Keep how and to whom it is sent out: that belongs in notify and workflow.
"""

import logging
import signal
import threading
from typing import Annotated
from uuid import uuid4

import typer

from monitoring_pipeline.cli.base import app, deployment_here, plain_errors


@app.command()
def deliver(
    every: Annotated[float | None, typer.Option(min=1, help="Look again after so many seconds, until stopped.")] = None,
) -> None:
    """Send what waits in the outbox, and tell the next level of incidents that nobody has taken on.

    As many of these may run at once as you like, beside Dagster's own job: each message belongs to one of them.
    """
    from monitoring_pipeline.evaluate.heartbeats import DISPATCHER
    from monitoring_pipeline.publish.comparison_table import printable
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.alerting import deliver_waiting, keep_up_with_all
    from monitoring_pipeline.workflow.heartbeats import beat
    from monitoring_pipeline.workflow.resources import Monitoring

    stop, said = threading.Event(), list[str]()
    if every is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    with plain_errors():
        monitors = {each.model: each for each in load_monitors(deployment_here().monitors_directory)}
        monitoring, worker = Monitoring(), f"deliver {uuid4()}"
        while not stop.is_set():
            for text in keep_up_with_all(monitoring, monitors):
                typer.echo(printable(text))
            counts, warnings = deliver_waiting(monitoring, monitors, worker=worker)
            if every is None or any(counts.values()):
                typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
            for warning in set(warnings).difference(said):  # once, not at every look
                typer.echo(printable(warning), err=True)
            said = warnings
            if every is None:
                return
            beat(monitoring, DISPATCHER, logging.getLogger(__name__))
            stop.wait(every)

"""Commands about a deployment: its demonstration, its settings, its database, what its telemetry weighs.

Add a command here when it is about the pipeline rather than about files or incidents.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError, StoreError, without_password

if TYPE_CHECKING:
    from monitoring_pipeline.settings.monitor import Monitor

from monitoring_pipeline.cli.base import Answer, Format, app, deployment_here, plain_errors, print_json, protection_here


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path(".monitoring/demo"),
    step: Annotated[str | None, typer.Option(help="Hours replayed between two rounds of the sensors.")] = None,
    monitor: Annotated[str, typer.Option(help="Which demonstration: a folder of examples/.")] = "flight_delays",
) -> None:
    """Train, serve, watch and retrain a model on real data, in a clone of the repository."""
    with plain_errors():
        known = sorted(path.parent.name for path in Path("examples").glob("*/demo.py"))
        if monitor not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            where = Path.cwd() / "examples"
            raise MonitoringError(f"demo: {where} has no {monitor!r}, {there}. Run it in a clone of the repository.")
        from monitoring_pipeline.capture.windows import window_length

        try:
            pace = {} if step is None else {"step": window_length(step)}
        except ValueError as error:
            raise SettingsError([Problem("command line", None, "--step", f"{error}.", "")]) from error
        sys.path.insert(0, str(Path.cwd()))
        import_module(f"examples.{monitor}.demo").run_demo(home, **pace)


@app.command()
def check_config(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="YAML files or folders of them; MONITORING_MONITORS if none is given.")
    ] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Name every mistake in the monitors' settings with its file and line, or list what they say."""
    from monitoring_pipeline.settings.load import load_files, monitor_files

    with plain_errors():
        if paths:
            nested = [monitor_files(path) if path.is_dir() else [path] for path in paths]
        else:
            nested = [monitor_files(deployment_here().monitors_directory)]
        files = list(dict.fromkeys(file for some in nested for file in some))
        try:
            monitors = load_files(files)
            for monitor in monitors:
                protection_here(monitor)
        except SettingsError as error:
            if format_ is Format.JSON:
                print_json({"monitors": [], "problems": list(map(asdict, error.problems))})
            raise
    if format_ is Format.JSON:
        found = [_facts(file, monitor) for file, monitor in zip(files, monitors, strict=True)]
        print_json({"monitors": found, "problems": []})
        return
    for file, monitor in zip(files, monitors, strict=True):
        typer.echo("\n".join(_described(file, monitor)))


def _facts(file: Path, monitor: "Monitor") -> dict[str, Any]:
    return {
        "model": monitor.model,
        "file": str(file),
        "features": len(monitor.features.kinds()),
        "windows": list(monitor.windows),
        "rules": [rule.name for rule in monitor.alert_rules()],
        "triggers": [trigger.name for trigger in monitor.trigger_policy().triggers],
        "warnings": _warnings(monitor),
    }


def _warnings(monitor: "Monitor") -> list[str]:
    from monitoring_pipeline.settings.escalation import responder_warnings

    return list(responder_warnings(monitor.on_call, monitor.escalation))


def _described(file: Path, monitor: "Monitor") -> Iterator[str]:
    rules, policy, routing = monitor.alert_rules(), monitor.trigger_policy(), monitor.notifications.routing()
    yield f"{monitor.model} ({file}): {len(monitor.features.kinds())} features, windows {', '.join(monitor.windows)}"
    for rule in rules:
        severity = " or ".join(level for level, _ in reversed(rule.bands))
        yield f"  rule {rule.name}: {severity} after {rule.patience}, resolved after {rule.resolve_after}"
    if not rules:
        yield "  no rules: nothing alerts"
    names = ", ".join(trigger.name for trigger in policy.triggers)
    action = monitor.trainer or "only recorded"
    yield f"  retraining when {policy.clauses_needed} of {len(policy.triggers)} hold ({names}): {action}"
    for severity in ("warning", "critical"):
        yield f"  {severity}: {', '.join(routing.channels_for(severity)) or 'no channel'}"
    for warning in _warnings(monitor):
        yield f"  warning: {warning}"


@app.command()
def migrate(format_: Answer = Format.TABLE) -> None:
    """Bring the state database (MONITORING_DATABASE_URL) up to date, and the schemas of logs in PostgreSQL."""
    from sqlalchemy.exc import ArgumentError

    from monitoring_pipeline.stores.database import StateDatabase

    with plain_errors():
        url = deployment_here().database_url
        try:
            database = StateDatabase(url)
        except (ArgumentError, ImportError, ValueError):  # not quoted: what is no address may be a password
            fix = "Write sqlite:///<file> or postgresql://<user>@<host>/<database>."
            found = "is not the URL of a database that is known here."
            raise SettingsError([Problem("environment", None, "MONITORING_DATABASE_URL", found, fix)]) from None
        try:
            database.migrate()
            _make_logs()
            name, revision = without_password(url), database.revision()
            if format_ is Format.JSON:
                print_json({"database": name, "revision": revision})
            else:
                typer.echo(f"{name} is at {revision}")
        except OSError as error:
            problem = f"state database {without_password(url)}: {error.strerror}"
            raise StoreError(f"{problem}. Check the path and its permissions.") from error
        finally:
            database.close()


def _make_logs() -> None:
    """Make what logs in PostgreSQL need before somebody who may only write to them does."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.workflow.logs import make_tables

    directory = deployment_here().monitors_directory
    for monitor in load_monitors(directory) if any(directory.glob("*.y*ml")) else []:
        make_tables(monitor, os.environ.get)  # noqa: TID251 - where the addresses of logs are


@app.command()
def telemetry(
    requests: Annotated[float, typer.Option(help="Requests per second.", min=0)],
    series: Annotated[int, typer.Option(help="Time series of all instances.", min=0)],
    log_lines: Annotated[float, typer.Option(help="Log lines per request.", min=0)] = 1.0,
    scrape: Annotated[float, typer.Option(help="Seconds between two readings of a series.", min=1)] = 15.0,
    traces: Annotated[float, typer.Option(help="Share of the requests that are traced.", min=0, max=1)] = 0.001,
    predictions: Annotated[float, typer.Option(help="Share of the predictions that are kept.", min=0, max=1)] = 0.01,
    format_: Answer = Format.TABLE,
) -> None:
    """Estimate what metrics, logs, traces and sampled predictions weigh a day, and in store."""
    from monitoring_pipeline.evaluate.telemetry import TIERS, TelemetryRates, telemetry_volume

    volume = telemetry_volume(
        TelemetryRates(
            requests_per_s=requests,
            metric_series=series,
            log_lines_per_request=log_lines,
            scrape_s=scrape,
            trace_share=traces,
            prediction_share=predictions,
        )
    )
    if format_ is Format.JSON:
        print_json({"gb_a_day": volume.daily, "gb_kept": volume.stored})
        return
    for kind, size in volume.daily.items():
        typer.echo(f"{kind:12} {size:10.3f} GB a day")
    for tier, size in volume.stored.items():
        typer.echo(f"{tier:12} {size:10.1f} GB kept, until an age of {TIERS[tier]} days")

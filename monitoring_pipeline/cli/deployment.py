"""Commands about a deployment: its demonstration, settings, database and needs, and what is kept in it how long.

Add a command here when it is about the pipeline rather than about files or incidents. Keep checks and removals out:
they belong in workflow and stores.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.cli.base import (
    REACHED,
    Answer,
    Format,
    answer,
    command,
    deployment_here,
    now_here,
    print_json,
    print_records,
    print_table,
    protection_here,
)
from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError, StoreError, without_password

if TYPE_CHECKING:
    from monitoring_pipeline.settings.monitor import Monitor


@command
def demo(
    home: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path(".monitoring/demo"),
    step: Annotated[str | None, typer.Option(help="Hours replayed between two rounds of the sensors.")] = None,
    monitor: Annotated[str, typer.Option(help="Which demonstration: a folder of examples/.")] = "flight_delays",
) -> None:
    """Train, serve, watch and retrain a model on real data, in a clone of the repository."""
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


@command
def check_config(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="YAML files or folders of them; MONITORING_MONITORS if none is given.")
    ] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Name every mistake in the monitors' settings with its file and line, or list what they say."""
    from monitoring_pipeline.settings.load import load_files, monitor_files

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


@command
def migrate(format_: Answer = Format.TABLE) -> None:
    """Bring the state database (MONITORING_DATABASE_URL) up to date, and the schemas of logs in PostgreSQL."""
    from sqlalchemy.exc import ArgumentError

    from monitoring_pipeline.stores.database import StateDatabase

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
        answer(format_, {"database": name, "revision": revision}, f"{name} is at {revision}")
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


@command
def doctor(
    send_test: Annotated[bool, typer.Option("--send-test", help="Send a test message to every channel.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Check that all a deployment needs is there, answers and fits together; exits with 1 where it does not."""
    from monitoring_pipeline.workflow.doctor import examine
    from monitoring_pipeline.workflow.examination import Outcome, Surroundings

    around = Surroundings(
        deployment_here(),
        os.environ,  # noqa: TID251 - a command line reads its environment
        now_here(),
        clock=lambda: datetime.now(UTC),  # noqa: TID251 - what other machines' clocks are held against
        send_test=send_test,
    )
    found = examine(around)
    counts = Counter(each.outcome for each in found)
    if format_ is Format.JSON:
        print_json({"summary": {each.value: counts[each] for each in Outcome}, "checks": list(map(asdict, found))})
    else:
        heads = ("check", "is", "found", "needed", "what to do")
        print_table(heads, [(each.what, each.outcome.value, each.found, each.needed, each.fix) for each in found])
        typer.echo(", ".join(f"{counts[each]} {each.value}" for each in Outcome))
    if counts[Outcome.FAILED]:
        raise typer.Exit(REACHED)


@command
def storage(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed, and how large it is.")
    ] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Make daily files of old hourly ones and remove what has expired, as the schedule every_night does."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.stores.objects import place_at
    from monitoring_pipeline.stores.parquet import expired
    from monitoring_pipeline.workflow.resources import Monitoring
    from monitoring_pipeline.workflow.storage import tidy

    deployment, now, here = deployment_here(), now_here(), Monitoring().data
    place, rows, said = place_at(deployment.data_address), [], []
    for monitor in load_monitors(deployment.monitors_directory):
        done = tidy(monitor, place, now, here=here, dry_run=dry_run)
        said.append(f"{monitor.model}: {done.files_saved} files fewer, {done.bytes:,} bytes of expired data")
        removed = {each.kind: each for each in done.removed}
        before = expired(place, monitor.registry_name) | {each.kind: each.before for each in done.removed}
        for kind, moment in sorted(before.items()):
            files, size = (removed[kind].files, removed[kind].bytes) if kind in removed else (0, 0)
            rows.append([monitor.model, kind, f"{moment:%Y-%m-%d}", str(files), str(size)])
    if format_ is Format.TABLE:
        typer.echo("\n".join(said))
    print_records(format_, ["monitor", "kind", "expired before", "files", "bytes"], rows, "Nothing has expired.")


@command
def forget(
    monitor: Annotated[Path, typer.Option("--monitor", help="The monitor's YAML file.")],
    column: Annotated[str, typer.Option("--column", help="Column of the log that names the subject: customer_id.")],
    value_file: Annotated[
        Path, typer.Option("--value-file", help="File with a value on each line; - reads standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and remove nothing.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """Remove all rows about somebody: predictions, labels, samples, quarantine, training sets and pages made of them.

    Values are read from a file, as a command line is seen by others. Exits with 1 where rows are left.
    """
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.forgetting import Places
    from monitoring_pipeline.workflow.forgetting import forget as forgotten

    values = _values(value_file)
    watched, deployment = load_monitor(monitor), deployment_here()
    secret = os.environ.get  # noqa: TID251 - addresses of logs and the key are there
    found = forgotten(watched, Places.of(deployment), secret, column=column, values=values, dry=dry_run)
    if format_ is Format.JSON:
        print_json({"dry_run": dry_run, "places": list(map(asdict, found))})
    else:
        print_table(
            ["place", "found" if dry_run else "removed", "left"],
            [_row(each.place, each.count, each.left) for each in found],
        )
    if any(each.left for each in found):
        raise typer.Exit(REACHED)


def _row(place: str, count: int, left: str) -> list[str]:
    return [place, str(0 if left else count), f"{count}: {left}" if left else ""]


def _values(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            [Problem("command line", None, "--value-file", f"{file}: {why}.", "Name a file with a value on each line.")]
        ) from error
    if not (values := [line.strip() for line in text.splitlines() if line.strip()]):
        fix = "Write a value on each line."
        raise SettingsError([Problem("command line", None, "--value-file", f"{file} is empty.", fix)])
    return values

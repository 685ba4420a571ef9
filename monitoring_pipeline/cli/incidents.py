"""Commands about incidents: look at them, act on them, replay their rules; and the webhook for other programs.

Add a command here when a person on call wants it. Keep out what it does to an incident: that belongs in notify.
"""

import getpass
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.cli.base import FILE_WIDTH, Format, app, deployment_here, plain_errors
from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError

if TYPE_CHECKING:
    from monitoring_pipeline.notify.incidents import Incident
    from monitoring_pipeline.notify.replay import Replay
    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.settings.sections import Notifications
    from monitoring_pipeline.stores.database import StateDatabase

WEBHOOK_SECRET = "MONITORING_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

SHOWN = 20
"""Incidents of a replay that a table shows."""


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user that has no name
        raise typer.BadParameter("nobody is logged in here: say who you are.", param_hint="--by") from None


Identity = Annotated[str, typer.Argument(help="The incident, as `incidents` shows it; its beginning is enough.")]
By = Annotated[str, typer.Option("--by", help="Who does it.", default_factory=_me)]
Text = Annotated[str, typer.Option("--text", help="What there is to say about it.")]
At = Annotated[str | None, typer.Option("--at", help="When it was, if earlier than now: 2026-11-21T18:00Z.")]
Answer = Annotated[Format, typer.Option("--format", help="For a person or for a program.")]


@app.command()
def incidents(
    model: Annotated[str | None, typer.Option(help="Only those of one model.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """List the incidents that are open, the gravest first."""
    from monitoring_pipeline.notify.alerts import Status
    from monitoring_pipeline.notify.replay import worst_of

    with plain_errors(), _database() as database:
        found = database.incidents(model, None if every else Status.OPEN)
    found.sort(key=lambda each: (each.status is Status.RESOLVED, each.sev, each.first_hour))
    if format_ is Format.JSON:
        _print_json([_record(each) for each in found])
    elif not found:
        typer.echo("no incidents" if every else "no open incidents")
    else:
        _print_table(
            ("incident", "sev", "kind", "since", "status", "taken on by", "rules", "worst at last"),
            [
                (
                    *(each.id, f"SEV-{each.sev}", each.kind.value, f"{each.first_hour:%m-%d %H:%M}Z"),
                    *(
                        each.status.value,
                        each.acknowledged_by or "nobody",
                        ", ".join(each.rules),
                        worst_of(each) or each.reason,
                    ),
                )
                for each in found
            ],
        )
        for sev, count in sorted(_late(found).items()):
            typer.echo(f"SEV-{sev}: {count} not taken on in time", err=True)


def _late(found: "Sequence[Incident]") -> Mapping[int, int]:
    """Return how many of those that people were told of were not taken on in time, by SEV."""
    from monitoring_pipeline.notify.escalation import RESPONSE_TARGETS, late_responses
    from monitoring_pipeline.workflow.telling import facts_of

    told = (facts_of(each, each.announced_at) for each in found if each.announced_at is not None)
    return late_responses(told, RESPONSE_TARGETS, _now())


@app.command()
def incident(identity: Identity, format_: Answer = Format.TABLE) -> None:
    """Show one incident: what is bad, the likely causes, and all that happened since."""
    from monitoring_pipeline.notify.alerts import Step
    from monitoring_pipeline.notify.messages import message_of

    with plain_errors(), _database() as database:
        found = _named(database, identity)
        events = database.incident_events(found.id)
    if format_ is Format.JSON:
        _print_json(_record(found) | {"timeline": [_plain(event) for event in events]})
        return
    typer.echo(message_of(found, Step.RESOLVED if found.resolved_at else Step.OPENED).text())
    spans = {
        "seen": found.time_to_detect,
        "taken on": found.time_to_acknowledge,
        "mitigated": found.time_to_mitigate if found.mitigated_at else None,
        "resolved": found.time_to_resolve,
    }
    told = (f"{name} after {str(span).partition('.')[0]}" for name, span in spans.items() if span is not None)
    typer.echo(f"{', '.join(told)}\n")
    lines = [
        (f"{event.at:%Y-%m-%d %H:%M}Z", f"{event.hour:%m-%d %H:%M}Z", event.step.value, event.author, event.why)
        for event in events
        if event.step is not Step.UPDATED
    ]
    _print_table(("on record", "hour", "what", "by", "why"), lines)


@app.command()
def ack(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """Take an incident on: nobody else is called any more."""
    _act({"kind": "acknowledge", "incident_id": identity, "author": by, "text": text}, format_)


@app.command()
def triage(
    identity: Identity,
    by: By,
    sev: Annotated[int | None, typer.Option(help="1, people are hurt now, to 4.", min=1, max=4)] = None,
    kind: Annotated[str | None, typer.Option(help="system, data, model or integration.")] = None,
    text: Text = "",
    format_: Answer = Format.TABLE,
) -> None:
    """Say how grave an incident is, and whose it is."""
    fields = {"sev": sev, "kind": kind}
    _act({"kind": "triage", "incident_id": identity, "author": by, "text": text, "fields": fields}, format_)


@app.command()
def mitigate(identity: Identity, by: By, text: Text, at: At = None, format_: Answer = Format.TABLE) -> None:
    """Say that the harm has been stopped, and how."""
    _act({"kind": "mitigate", "incident_id": identity, "author": by, "text": text, "at": at}, format_)


@app.command()
def note(identity: Identity, by: By, text: Text, at: At = None, format_: Answer = Format.TABLE) -> None:
    """Put something on the timeline of an incident."""
    _act({"kind": "note", "incident_id": identity, "author": by, "text": text, "at": at}, format_)


@app.command()
def resolve(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """End an incident; if its rules go on firing, it comes back."""
    _act({"kind": "resolve", "incident_id": identity, "author": by, "text": text}, format_)


@app.command()
def reopen(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """Open an incident again."""
    _act({"kind": "reopen", "incident_id": identity, "author": by, "text": text}, format_)


@app.command()
def report_incident(
    model: Annotated[str, typer.Argument(help="The model it is about.")],
    by: By,
    text: Text,
    severity: Annotated[str, typer.Option(help="warning or critical.")] = "warning",
    kind: Annotated[str | None, typer.Option(help="system, data, model or integration.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whom the messages name.")] = None,
    at: At = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Open an incident that no rule saw: a complaint, a finding in the logs."""
    fields = {"model": model, "severity": severity, "kind": kind, "owner": owner}
    _act({"kind": "open", "author": by, "text": text, "at": at, "fields": fields}, format_)


@app.command()
def silence(
    matchers: Annotated[str, typer.Argument(help="What is meant: 'model=churn, rule=~drift.*'.")],
    until: Annotated[str, typer.Option(help="When it ends: 2h, or 2026-11-21T18:00Z.")],
    by: By,
    text: Text,
    format_: Answer = Format.TABLE,
) -> None:
    """Tell nobody about incidents that match, until a moment; they are still on record."""
    _act({"kind": "silence", "author": by, "text": text, "fields": {"matchers": matchers, "until": until}}, format_)


@app.command()
def unsilence(
    identity: Annotated[str, typer.Argument(help="The silence, as `silences` shows it.")],
    by: By,
    format_: Answer = Format.TABLE,
) -> None:
    """End a silence early."""
    _act({"kind": "unsilence", "author": by, "fields": {"silence": identity}}, format_)


@app.command()
def silences(format_: Answer = Format.TABLE) -> None:
    """List the silences that hold."""
    with plain_errors(), _database() as database:
        found = database.silences(now=_now())
    rows = [
        (each.id, ", ".join(each.as_texts()), f"{each.ends_at:%Y-%m-%d %H:%M}Z", each.author, each.comment)
        for each in found
    ]
    heads = ("silence", "matches", "until", "by", "why")
    if format_ is Format.JSON:
        _print_json([dict(zip(heads, row, strict=True)) for row in rows])
    elif rows:
        _print_table(heads, rows)
    else:
        typer.echo("no silences")


@app.command()
def outbox(
    revive: Annotated[bool, typer.Option("--revive", help="Send what was given up on its way again.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Those that were sent, too.")] = False,
    format_: Answer = Format.TABLE,
) -> None:
    """List the messages that wait or were given up."""
    from monitoring_pipeline.stores.outbox_store import Posted

    with plain_errors(), _database() as database:
        revived = database.revive_dead(now=_now()) if revive else None
        found = [
            each for each in database.notifications() if every or each.status not in (Posted.SENT, Posted.OVERTAKEN)
        ]
    if revived is not None:
        typer.echo(f"{revived} message(s) are on their way again", err=format_ is Format.JSON)
    heads = ("channel", "status", "attempts", "sent or next", "message", "last error")
    rows = [
        (
            *(each.channel, each.status.value, str(each.attempts)),
            f"{each.sent_at or each.next_attempt_at:%Y-%m-%d %H:%M}Z",
            *(each.message.title, each.last_error or ""),
        )
        for each in found
    ]
    if format_ is Format.JSON:
        _print_json([dict(zip(heads, row, strict=True)) for row in rows])
    elif rows:
        _print_table(heads, rows)
    else:
        typer.echo("nobody was told of anything" if every else "nothing waits, nothing was given up")


@app.command()
def post_mortem(
    identity: Identity,
    by: By,
    output: Annotated[Path | None, typer.Option(help="New file to write; standard output without it.")] = None,
) -> None:
    """Draft the post-mortem of an incident from its record, in Markdown; what the record lacks is asked."""
    from monitoring_pipeline.notify.postmortem import post_mortem as drafted
    from monitoring_pipeline.workflow.incident_facts import facts_on_record

    with plain_errors(), _database() as database:
        found = _named(database, identity)
        deployment = deployment_here()
        text = drafted(facts_on_record(database, deployment, found))
        if output is None:
            typer.echo(text, nl=False)
            return
        try:
            with output.open("x", encoding="utf-8") as file:  # what people wrote into an earlier draft stays
                file.write(text)
        except OSError as error:
            raise MonitoringError(f"{output}: {error.strerror}. Name a file that is not there yet.") from error
    _act({"kind": "post_mortem", "incident_id": found.id, "author": by, "text": str(output)}, Format.TABLE)


@app.command()
def replay_rules(
    monitor: Annotated[Path, typer.Option(help="The monitor's YAML file, with the rules to try.")],
    start: Annotated[datetime | None, typer.Option("--from", help="First hour, such as 2026-04-01.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="The hour to stop before.")] = None,
    against: Annotated[list[Path] | None, typer.Option(help="Another YAML file with rules to compare.")] = None,
    limit: Annotated[list[str] | None, typer.Option(help="Other limits to try: RULE=0.1,0.2.")] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Replay a monitor's rules over stored signals: what they would have sent, when, and how early."""
    from monitoring_pipeline.settings.load import load_monitor
    from monitoring_pipeline.workflow.rule_replay import Candidate, replay_stored

    with plain_errors():
        files = [Candidate.of(load_monitor(path), str(path)) for path in [monitor, *(against or [])]]
        tried = [files[0].with_limit(rule, value) for each in limit or [] for rule, value in _limits(each)]
        candidates = [*files, *tried]
        found = replay_stored(candidates, deployment_here(), start=_utc(start), end=_utc(end))
    if format_ is Format.JSON:
        _print_json({each.name: replay.as_record() for each, replay in zip(candidates, found, strict=True)})
        return
    span = f"{found[0].first_hour:%Y-%m-%d %H:%M}Z to {found[0].last_hour:%Y-%m-%d %H:%M}Z"
    typer.echo(f"{files[0].monitor.registry_name}, {span}, {found[0].hours} hours")
    rows = [
        (each.name, *map(str, (len(of.incidents), len(of.told), of.pages, of.duplicates_avoided)))
        for each, of in zip(candidates, found, strict=True)
    ]
    _print_table(("rules", "incidents", "messages", "pages", "repetitions spared"), rows)
    for each, of in zip(files, found, strict=False):
        typer.echo(f"\n{each.name}")
        _print_replay(of)


def _limits(asked: str) -> Iterator[tuple[str, float]]:
    rule, _, values = asked.partition("=")
    try:
        for value in values.split(","):
            yield rule, float(value)
    except ValueError:
        fix = "Write a rule and numbers: --limit feature_drift=0.1,0.25."
        raise SettingsError([Problem("--limit", None, asked, "cannot be used.", fix)]) from None


def _print_replay(found: "Replay") -> None:
    """Print what every rule did, in which weeks, and the incidents that came of it."""
    from monitoring_pipeline.notify.replay import worst_of

    heads = ("rule", "hours firing", "hours unknown", "alerts", "messages", "pages", "first alert")
    numbers = ("hours_firing", "hours_unknown", "alerts", "messages", "pages")
    rows = [
        (rule.rule, *(str(getattr(rule, name)) for name in numbers), _minute(rule.first_at) or "never")
        for rule in found.rules
    ]
    _print_table(heads, rows)
    weeks = sorted({week for rule in found.rules for week in rule.by_week})
    if not weeks:
        return
    alerts = [
        (week, ", ".join(f"{rule.rule} {rule.by_week[week]}" for rule in found.rules if week in rule.by_week))
        for week in weeks
    ]
    typer.echo()
    _print_table(("week", "alerts"), alerts)
    typer.echo()
    incidents = [
        (
            *(_minute(each.first_hour), _minute(each.opened_at), _minute(each.resolved_at) or "open"),
            *(each.severity.value, ", ".join(each.rules), worst_of(each)),
        )
        for each in found.incidents[:SHOWN]
    ]
    _print_table(("began", "on record", "over", "severity", "rules", "worst at last"), incidents)
    if (more := len(found.incidents) - SHOWN) > 0:
        typer.echo(f"and {more} more: --format json has them all")


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"


@app.command()
def incident_webhook(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8009,
    secret_env: Annotated[str, typer.Option(help="Variable with the signing secret.")] = WEBHOOK_SECRET,
) -> None:
    """Serve signed requests of other programs that act on incidents."""
    with plain_errors():
        secret = os.environ.get(secret_env, "")  # noqa: TID251 - a command line reads its environment
        if not secret:
            fix = "Make one: echo whsec_$(openssl rand -base64 32)"
            raise SettingsError([Problem("environment", None, secret_env, "is not set.", fix)])
        import uvicorn

        from monitoring_pipeline.stores.database import SignedRequests
        from monitoring_pipeline.workflow.incident_webhook import app_of
        from monitoring_pipeline.workflow.telling import carry_out

        monitors, services = _whom_to_tell()
        with _database() as database:
            try:
                served = app_of(
                    lambda action: carry_out(database, monitors, action, services=services),
                    secret,
                    clock=_now,
                    replays=SignedRequests(database),
                )
            except ValueError as error:
                raise SettingsError(
                    [Problem("environment", None, secret_env, "cannot be used.", f"{error}.")]
                ) from None
            uvicorn.run(served, host=host, port=port, workers=1, log_level="warning")


def _act(said: Mapping[str, Any], format_: Format) -> None:
    """Do what a person asks, and say how things stand."""
    from monitoring_pipeline.notify.actions import parse_action
    from monitoring_pipeline.publish.comparison_table import printable
    from monitoring_pipeline.workflow.telling import carry_out

    fields = {name: value for name, value in said.get("fields", {}).items() if value is not None}
    said = {name: value for name, value in said.items() if value is not None} | {"fields": fields}
    with plain_errors(), _database() as database:
        if "incident_id" in said:
            said = {**said, "incident_id": _named(database, said["incident_id"]).id}
        action = parse_action(said, now=_now())
        try:
            monitors, services = _whom_to_tell()
        except SettingsError as error:
            if action.kind == "open":
                raise
            # A mistake in a file must not keep anybody from taking on what is happening now.
            typer.echo("\n".join(map(printable, str(error).splitlines())), err=True)
            typer.echo("Until that is corrected only the console hears of it.", err=True)
            monitors, services = [], None
        done = carry_out(database, monitors, action, services=services)
    if format_ is Format.JSON:
        _print_json(done)
    else:
        typer.echo(", ".join(f"{name}: {value}" for name, value in done.items()))


def _whom_to_tell() -> "tuple[list[Monitor], Notifications | None]":
    """Return the monitors, and who hears of the health checks."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.settings.services import load_services, services_file

    services = services_file(os.environ, root=Path())  # noqa: TID251 - a command line reads its environment
    return load_monitors(deployment_here().monitors_directory), load_services(services).notifications


@contextmanager
def _database() -> "Iterator[StateDatabase]":
    from monitoring_pipeline.stores.database import StateDatabase

    database = StateDatabase(deployment_here().database_url)
    try:
        yield database
    finally:
        database.close()


def _named(database: "StateDatabase", beginning: str) -> "Incident":
    """Return the incident whose id begins so; of several only one that is open, or an error names them."""
    from monitoring_pipeline.notify.actions import IncidentNotFoundError
    from monitoring_pipeline.notify.alerts import Status

    if not beginning:
        raise MonitoringError("the incident has no name: `monitoring-pipeline incidents` lists them")
    found = [each for each in database.incidents() if each.id.startswith(beginning)]
    exact = [each for each in found if each.id == beginning]
    standing = [each for each in found if each.status is Status.OPEN]
    for choice in (exact, found, standing):
        if len(choice) == 1:
            return choice[0]
    if not found:
        raise IncidentNotFoundError(
            f"there is no incident {beginning!r}: `monitoring-pipeline incidents --all` lists them"
        )
    several = ", ".join(each.id for each in (standing or found)[:5])
    raise MonitoringError(f"{beginning!r} could be any of {several}: write more of it")


def _now() -> datetime:
    """Return the deployment's moment: that of a replay where one has set the clock."""
    clock = deployment_here().clock_file
    if clock is not None and clock.exists():
        return datetime.fromisoformat(clock.read_text().strip()).astimezone(UTC)
    return datetime.now(UTC)  # noqa: TID251 - what a person does, they do now


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _record(found: "Incident") -> dict[str, Any]:
    spans = ("time_to_detect", "time_to_acknowledge", "time_to_mitigate", "time_to_resolve")
    lengths = {name: span.total_seconds() if (span := getattr(found, name)) is not None else None for name in spans}
    return _plain(found) | {f"{name}_s": value for name, value in lengths.items()}


def _plain(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(record).items()}


def _print_json(value: object) -> None:
    from monitoring_pipeline.notify.alerts import json_ready

    typer.echo(json.dumps(json_ready(value), indent=2, allow_nan=False, default=str))


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from monitoring_pipeline.publish.comparison_table import printable

    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console = Console()
    console.width = console.width if console.is_terminal else FILE_WIDTH
    console.print(table)

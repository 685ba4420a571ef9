"""Commands that act on incidents, from taking one on to its post-mortem; and the webhook for other programs.

Add a command here when a person on call does something. Keep what it does to an incident out: that belongs in notify.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.cli.base import (
    Answer,
    By,
    Format,
    answer,
    command,
    database_here,
    deployment_here,
    listen,
    now_here,
)
from monitoring_pipeline.cli.incidents import Identity, incident_named
from monitoring_pipeline.errors import MonitoringError, Problem, SettingsError
from monitoring_pipeline.serve.guard import LOOPBACK

if TYPE_CHECKING:
    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.settings.sections import Notifications

WEBHOOK_SECRET = "MONITORING_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

Text = Annotated[str, typer.Option("--text", help="What there is to say about it.")]
At = Annotated[str | None, typer.Option("--at", help="When it was, if earlier than now: 2026-11-21T18:00Z.")]


@command
def ack(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """Take an incident on: nobody else is called any more."""
    _act({"kind": "acknowledge", "incident_id": identity, "author": by, "text": text}, format_)


@command
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


@command
def mitigate(identity: Identity, by: By, text: Text, at: At = None, format_: Answer = Format.TABLE) -> None:
    """Say that the harm has been stopped, and how."""
    _act({"kind": "mitigate", "incident_id": identity, "author": by, "text": text, "at": at}, format_)


@command
def note(identity: Identity, by: By, text: Text, at: At = None, format_: Answer = Format.TABLE) -> None:
    """Put something on the timeline of an incident."""
    _act({"kind": "note", "incident_id": identity, "author": by, "text": text, "at": at}, format_)


@command
def resolve(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """End an incident; if its rules go on firing, it comes back."""
    _act({"kind": "resolve", "incident_id": identity, "author": by, "text": text}, format_)


@command
def reopen(identity: Identity, by: By, text: Text = "", format_: Answer = Format.TABLE) -> None:
    """Open an incident again."""
    _act({"kind": "reopen", "incident_id": identity, "author": by, "text": text}, format_)


@command
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


@command
def silence(
    matchers: Annotated[str, typer.Argument(help="What is meant: 'model=churn, rule=~drift.*'.")],
    until: Annotated[str, typer.Option(help="When it ends: 2h, or 2026-11-21T18:00Z.")],
    by: By,
    text: Text,
    format_: Answer = Format.TABLE,
) -> None:
    """Tell nobody about incidents that match, until a moment; they are still on record."""
    _act({"kind": "silence", "author": by, "text": text, "fields": {"matchers": matchers, "until": until}}, format_)


@command
def unsilence(
    identity: Annotated[str, typer.Argument(help="The silence, as `silences` shows it.")],
    by: By,
    format_: Answer = Format.TABLE,
) -> None:
    """End a silence early."""
    _act({"kind": "unsilence", "author": by, "fields": {"silence": identity}}, format_)


@command
def post_mortem(
    identity: Identity,
    by: By,
    output: Annotated[Path | None, typer.Option(help="New file to write; standard output without it.")] = None,
) -> None:
    """Draft the post-mortem of an incident from its record, in Markdown; what the record lacks is asked."""
    from monitoring_pipeline.notify.postmortem import post_mortem as drafted
    from monitoring_pipeline.workflow.incident_facts import facts_on_record

    with database_here() as database:
        found = incident_named(database, identity)
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


@command
def incident_webhook(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8009,
    secret_env: Annotated[str, typer.Option(help="Variable with the signing secret.")] = WEBHOOK_SECRET,
) -> None:
    """Serve signed requests of other programs that act on incidents."""
    secret = Credential(os.environ.get(secret_env, ""))  # noqa: TID251 - a command line reads its environment
    if not secret:
        fix = "Make one: echo whsec_$(openssl rand -base64 32)"
        raise SettingsError([Problem("environment", None, secret_env, "is not set.", fix)])

    from monitoring_pipeline.stores.database import SignedRequests
    from monitoring_pipeline.workflow.incident_webhook import app_of
    from monitoring_pipeline.workflow.telling import carry_out

    monitors, services = _whom_to_tell()
    with database_here() as database:
        try:
            served = app_of(
                lambda action: carry_out(database, monitors, action, services=services),
                secret,
                clock=now_here,
                replays=SignedRequests(database),
                hosts=LOOPBACK if host in LOOPBACK else (),
            )
        except ValueError as error:
            raise SettingsError([Problem("environment", None, secret_env, "cannot be used.", f"{error}.")]) from None
        listen(served, host, port, log_level="warning")


def _act(said: Mapping[str, Any], format_: Format) -> None:
    """Do what a person asks, and say how things stand."""
    from monitoring_pipeline.notify.actions import parse_action
    from monitoring_pipeline.publish.comparison_table import printable
    from monitoring_pipeline.workflow.telling import carry_out

    fields = {name: value for name, value in said.get("fields", {}).items() if value is not None}
    said = {name: value for name, value in said.items() if value is not None} | {"fields": fields}
    with database_here() as database:
        if "incident_id" in said:
            said = {**said, "incident_id": incident_named(database, said["incident_id"]).id}
        action = parse_action(said, now=now_here())
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
    answer(format_, done, printable(", ".join(f"{name}: {value}" for name, value in done.items())))


def _whom_to_tell() -> "tuple[list[Monitor], Notifications | None]":
    """Return the monitors, and who hears of the health checks."""
    from monitoring_pipeline.settings.load import load_monitors
    from monitoring_pipeline.settings.services import load_services, services_file

    services = services_file(os.environ, root=Path())  # noqa: TID251 - a command line reads its environment
    return load_monitors(deployment_here().monitors_directory), load_services(services).notifications

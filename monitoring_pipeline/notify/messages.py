"""The Message: what people are told about a step of an incident, before any channel gives it a form.

Add a sentence about what to do next to NEXT_STEPS. Keep markup and limits of a channel out: they belong in channels.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring_pipeline.notify.alerts import Status, Step
from monitoring_pipeline.notify.incidents import Incident

LONGEST_TEXT = 500
"""Characters kept of any one string that comes from data: enough for a reason, too little to bury the rest."""

MOST_BINS = 5
MOST_OTHERS = 4
MOST_CAUSES = 3

NEXT_STEPS: Mapping[str, str] = {
    "drift": "Compare the top bins with what changed upstream. Check performance first: drift alone costs nothing.",
    "performance": "Read the drift and quality reports of the same hours, then decide between rollback and retraining.",
    "quality": "Ask the owner of the source what changed, and keep these rows out of the next training set.",
    "operations": "Look at deployments and load of the scoring service in the hours before this one.",
}
DEFAULT_NEXT_STEP = "Open the report of this hour and follow the runbook."
RESOLVED_NEXT_STEP = "Nothing urgent. Note the cause while it is fresh."


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends. Every string is one line without control characters, whatever the data held.

    `step` is what happened to the incident, `fingerprint` the same for every incident of its leading rule, `causes` are
    ranked, `to` names the contacts of whoever is on call, where somebody is.
    """

    title: str
    severity: str
    status: str
    model: str
    facts: tuple[tuple[str, str], ...]
    top_bins: tuple[str, ...]
    reason: str
    next_step: str
    runbook: str
    hour: str
    incident_id: str
    step: str = "opened"
    fingerprint: str = ""
    started_at: str = ""  # ISO 8601, UTC
    causes: tuple[str, ...] = ()
    owner: str = ""
    to: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # label, address

    def text(self) -> str:
        """Return the message as plain text."""
        width = max((len(name) for name, _ in self.facts), default=0)
        lines = [self.title, *(f"  {name:<{width}}  {value}" for name, value in self.facts)]
        if self.causes:
            lines += ["  Likely causes", *(f"    {line}" for line in self.causes)]
        if self.top_bins:
            lines += ["  Top bins", *(f"    {line}" for line in self.top_bins)]
        lines += [f"  {name}: {value}" for name, value in self.closing()]
        return "\n".join(lines) + "\n"

    def closing(self) -> list[tuple[str, str]]:
        """Return the sentences at the end, those that say something."""
        told = {"Why": self.reason, "Next": self.next_step, "Owner": self.owner, "For": ", ".join(self.to)}
        told |= {"Runbook": self.runbook, **dict(self.links), "Incident": self.incident_id}
        return [(name, value) for name, value in told.items() if value]

    def as_record(self) -> dict[str, object]:
        """Return a JSON-ready record; `from_record` is its inverse."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "Message":
        """Return the message `as_record` was made from, also after a trip through JSON."""
        values: dict[str, Any] = {}
        for key, value in record.items():
            if key not in cls.__slots__:
                continue  # of a later version: what is left is still worth reading
            if key in ("facts", "links"):
                values[key] = tuple((str(pair[0]), str(pair[1])) for pair in map(items_of, items_of(value)))
            elif key in ("top_bins", "causes", "to"):
                values[key] = tuple(map(str, items_of(value)))
            else:
                values[key] = str(value)
        return cls(**values)


def message_of(
    incident: Incident, step: Step, *, to: tuple[str, ...] = (), links: tuple[tuple[str, str], ...] = ()
) -> Message:
    """Return the message that tells people of `step`; `to` and `links` are shown as they are."""
    worst: Mapping[str, object] = incident.evidence_summary[0] if incident.evidence_summary else {}
    resolved = incident.status is Status.RESOLVED
    report = str(worst.get("metric", "")).partition(".")[0]
    return Message(
        title=one_line(f"{_headline(incident, step)}: {incident.model}: {incident.rule}"),
        severity=incident.severity.value,
        status=incident.status.value,
        model=one_line(incident.model),
        facts=tuple((name, one_line(value)) for name, value in _facts(incident, worst)),
        top_bins=() if resolved else tuple(map(one_line, _bin_lines(worst.get("bins", ())))),
        reason=one_line(incident.reason),
        next_step=one_line(RESOLVED_NEXT_STEP if resolved else _next_step(incident, report)),
        runbook=one_line(incident.runbook),
        hour=_hour(incident.last_hour),
        incident_id=one_line(incident.id),
        step=step.value,
        fingerprint=one_line(incident.fingerprint),
        started_at=incident.first_hour.isoformat(),
        causes=() if resolved else tuple(map(_cause, incident.causes[:MOST_CAUSES])),
        owner=one_line(incident.owner),
        to=to,
        links=links,
    )


def undelivered(message: Message, channel: str, error: str) -> Message:
    """Return the message that tells one channel that another one did not take `message`."""
    return replace(
        message,
        title=one_line(f"Not delivered to {channel}: {message.title}"),
        reason=one_line(f"{channel} did not take it: {error}"),
        next_step=f"Mend {one_line(channel)}, then send what was given up again: monitoring-pipeline outbox --revive.",
        step="undelivered",
    )


def one_line(text: object) -> str:
    """Return `text` fit for a message: one line, no control or invisible characters, at most LONGEST_TEXT long.

    A category is whatever a caller of the model sent: without this it could forge further lines, or steer a terminal.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def number(value: object) -> str:
    """Return a number with four significant digits; a missing one is a dash."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return "–" if value is None else str(value)


_HEADLINES = {
    Step.WORSENED: "{severity}, worse than before",
    Step.REOPENED: "{severity}, again",
    Step.ESCALATED: "{severity}, not taken on yet",
    Step.ACKNOWLEDGED: "Taken on by {person}",
    Step.RESOLVED: "Resolved",
}


def _headline(incident: Incident, step: Step) -> str:
    form = _HEADLINES.get(step, "{severity}")
    return form.format(severity=incident.severity.value.capitalize(), person=incident.acknowledged_by)


def _next_step(incident: Incident, report: str) -> str:
    """Return what the likeliest cause asks for; without one, what its report asks for."""
    actions = items_of(incident.causes[0].get("actions")) if incident.causes else []
    return str(actions[0]) if actions else NEXT_STEPS.get(report, DEFAULT_NEXT_STEP)


def _cause(record: Mapping[str, object]) -> str:
    """Return a cause with how sure it is and what speaks for it."""
    evidence = "; ".join(map(str, items_of(record.get("evidence"))[:2]))
    return one_line(f"{record.get('name')} ({share(record.get('confidence'))}): {evidence}")


def _facts(incident: Incident, worst: Mapping[str, object]) -> list[tuple[str, str]]:
    facts = [("Model", incident.model), ("Since", _hour(incident.first_hour)), ("Hour", _hour(incident.last_hour))]
    facts.append(("Kind", f"SEV-{incident.sev}, {incident.kind.value}"))
    if len(incident.rules) > 1:
        facts.append(("Rules", ", ".join(incident.rules)))
    if incident.status is Status.RESOLVED:
        lasted = incident.time_to_resolve
        return [*facts, ("Lasted", duration(lasted) if lasted else "–"), ("Was", incident.severity.value)]
    if not worst:
        return facts
    facts += [
        ("Metric", _place(worst)),
        ("Value", number(worst.get("value"))),
        ("Threshold", f"{number(worst.get('threshold'))} ({worst.get('threshold_origin') or 'none'})"),
    ]
    others = incident.evidence_summary[1:]
    if others:
        named = "; ".join(f"{_place(other)} {number(other.get('value'))}" for other in others[:MOST_OTHERS])
        more = f"; and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
        facts.append(("Also", named + more))
    return facts


def _place(evidence: Mapping[str, object]) -> str:
    parts = [evidence.get("metric"), evidence.get("column"), evidence.get("segment"), evidence.get("window")]
    return " · ".join(str(part) for part in parts if part)


def _bin_lines(bins: object) -> list[str]:
    """Return one line for each of the bins that moved most: its share before and now, and what it adds to the value."""
    lines = []
    for record in items_of(bins)[:MOST_BINS]:
        if isinstance(record, Mapping):
            shares = f"{share(record.get('reference'))} → {share(record.get('current'))}"
            lines.append(f"{record.get('bin')}: {shares} (adds {number(record.get('contribution'))})")
    return lines


def share(value: object, digits: int = 1) -> str:
    """Return a share as a percentage; a missing one is a dash."""
    return f"{value:.{digits}%}" if isinstance(value, int | float) else "–"


def items_of(value: object) -> list[object]:
    """Return the parts of what may be a list, of anything else none."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def duration(length: timedelta, digits: int = 0) -> str:
    """Return a length of time in minutes, hours or days."""
    minutes = round(length.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.{digits}f} h" if minutes < 2880 else f"{minutes / 1440:.{digits}f} d"


def _hour(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}"

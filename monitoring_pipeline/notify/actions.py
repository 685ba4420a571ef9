"""What people do: the Action, and how it is read from a command line or a webhook.

Add a kind to ActionKind and say in FORMS what it needs. Keep out what an action does: it belongs in incidents and
silences.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.errors import ActionError
from monitoring_pipeline.notify.silences import Silence, parse_matchers, parse_until, silence_of, written

LONGEST: Mapping[str, int] = {"text": 500, "matchers": 500, "incident_id": 500}
"""Characters of what may be longer than a name; messages show no more of any text."""

LONGEST_NAME = 200

SOUGHT = ("incident_id", "model", "silence", "matchers")
"""What names something that is there already, and so stays as it was said: a model's name may hold any character."""

OLDEST = timedelta(days=30)
"""How far back somebody may say that something was done."""


class IncidentNotFoundError(ActionError):
    """There is no incident, or silence, of that name."""


class ActionKind(StrEnum):
    """What somebody does."""

    ACKNOWLEDGE = "acknowledge"
    TRIAGE = "triage"
    MITIGATE = "mitigate"
    NOTE = "note"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    SILENCE = "silence"
    UNSILENCE = "unsilence"
    OPEN = "open"
    POST_MORTEM = "post_mortem"


@dataclass(frozen=True, slots=True)
class Action:
    """What one person did, when, and in their words; but for what is `SOUGHT`, every string is one line."""

    kind: ActionKind
    incident_id: str  # empty where there is none: open, silence and unsilence
    author: str
    at: datetime
    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    said_at: datetime | None = None  # when it was put on record, if later


@dataclass(frozen=True, slots=True)
class Form:
    """What an action needs and may have; what is neither `incident_id`, `text` nor `at` stands under `fields`."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


FORMS: Mapping[ActionKind, Form] = {
    ActionKind.ACKNOWLEDGE: Form(("incident_id",), ("text",)),
    ActionKind.TRIAGE: Form(("incident_id",), ("sev", "kind", "text")),
    ActionKind.MITIGATE: Form(("incident_id", "text"), ("at",)),
    ActionKind.NOTE: Form(("incident_id", "text"), ("at",)),
    ActionKind.RESOLVE: Form(("incident_id",), ("text",)),
    ActionKind.REOPEN: Form(("incident_id",), ("text",)),
    ActionKind.SILENCE: Form(("matchers", "until", "text")),
    ActionKind.UNSILENCE: Form(("silence",), ("text",)),
    ActionKind.OPEN: Form(("model", "severity", "text"), ("kind", "owner", "runbook", "at")),
    ActionKind.POST_MORTEM: Form(("incident_id",), ("text",)),
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "sev": ("1", "2", "3", "4"),
    "kind": ("system", "data", "model", "integration"),
    "severity": ("warning", "critical"),
}


def parse_action(said: Mapping[str, object], *, now: datetime) -> Action:
    """Return the action that plain data describes; raises ActionError with everything that is wrong with it.

    `{"kind": "triage", "incident_id": "…", "author": "ana", "text": "…", "fields": {"sev": 2, "kind": "data"}}`. Only
    what was done earlier than it is said has an `at`.
    """
    if said.get("kind") not in list(ActionKind):
        raise ActionError(f"kind: found {_shown(said.get('kind'))}, needed one of {', '.join(ActionKind)}")
    kind = ActionKind(str(said["kind"]))
    form, given, problems = FORMS[kind], *_flat(said)
    for name in given:
        if name not in ("author", *form.needs, *form.may):
            takes = ", ".join((*form.needs, *form.may))
            problems.append(f"{name}: found {_shown(given[name])}, needed nothing: {kind} takes author, {takes}")
    read: dict[str, str] = {}
    for name in ("author", *form.needs, *form.may):
        if given.get(name) in (None, ""):
            if name not in form.may:
                problems.append(f"{name}: found nothing, needed {_needed(name)}")
            continue
        try:
            read[name] = _read(name, given[name], now)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if kind is ActionKind.TRIAGE and not {"sev", "kind"} & given.keys():
        problems.append("fields: found neither sev nor kind, needed at least one of them")
    if problems:
        raise ActionError(f"{kind}: " + "; ".join(problems))
    at = datetime.fromisoformat(read["at"]) if "at" in read else now
    rest = {name: text for name, text in read.items() if name not in ("incident_id", "author", "at", "text")}
    action = Action(kind, read.get("incident_id", ""), read["author"], at, read.get("text", ""), rest, said_at=now)
    if kind is ActionKind.SILENCE:
        silence_asked(action, id="new")
    return action


def silence_asked(action: Action, *, id: str) -> Silence:  # noqa: A002 - the name of the field
    """Return the silence an action asks for; raises ActionError when it is over or too long."""
    asked = action.fields
    try:
        return silence_of(
            id, asked["matchers"], until=asked["until"], author=action.author, comment=action.text, now=action.at
        )
    except ValueError as error:
        raise ActionError(f"{action.kind}: {error}") from None


def _flat(said: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return everything that was said by its name, and what is wrong with its shape."""
    given = {name: value for name, value in said.items() if name not in ("kind", "fields")}
    extra = said.get("fields") or {}
    if not isinstance(extra, Mapping):
        return given, [f"fields: found {_shown(extra)}, needed names with values"]
    beside = {"incident_id", "author", "at", "text"}
    misplaced = [f"{name}: found under fields, needed beside them" for name in extra if name in beside]
    misplaced += [f"{name}: found beside fields, needed under them" for name in given if name not in beside]
    return {**given, **extra}, misplaced


def _read(name: str, value: object, now: datetime) -> str:
    """Return what stands under a name in its one form; raises ValueError with what was found and is needed."""
    if name in CHOICES:
        chosen = str(value) if name == "sev" else value
        if chosen not in CHOICES[name]:
            raise ValueError(f"found {_shown(value)}, needed {_needed(name)}")
        return str(chosen)
    text = _bounded(name, value)
    if name == "matchers":
        return written(parse_matchers(text))
    if name == "until":
        return parse_until(text, now).isoformat()
    if name == "at":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or not now - OLDEST <= moment <= now:
            raise ValueError(f"found {_shown(value)}, needed {_needed(name)}")
        return moment.astimezone(UTC).isoformat()
    return text


def _bounded(name: str, value: object) -> str:
    """Return text as one line; one that is too long is refused rather than cut, as somebody meant its end too."""
    from monitoring_pipeline.notify.messages import one_line  # at the top they would import each other

    if not isinstance(value, str):
        raise ValueError(f"found {_shown(value)}, needed text")
    if len(value) > (longest := LONGEST.get(name, LONGEST_NAME)):
        raise ValueError(f"found {len(value)} characters, needed at most {longest}")
    if not (line := one_line(value)):
        raise ValueError("found only blanks, needed words")
    return value if name in SOUGHT else line


def _needed(name: str) -> str:
    if name in CHOICES:
        return f"one of {', '.join(CHOICES[name])}"
    words = {
        "author": "who you are",
        "text": "a sentence",
        "at": f"a time with its zone, not in the future and within {OLDEST.days} days, such as 2026-03-09T18:00Z",
        "matchers": 'what is to be silent, such as model=churn, rule=~"drift.*"',
        "until": "a length (4h) or a time (2026-03-09T18:00Z)",
        "incident_id": "the id that every message ends with",
    }
    return words.get(name, "a name")


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.60}"

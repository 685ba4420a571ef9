"""The post-mortem of an incident, drafted from what is on record: Markdown, with questions where the record is silent.

Add a section to `SECTIONS`, something that made it worse to `_factors`. Keep looking things up out: facts arrive
together. Nothing here is guessed: what no record tells is asked of people.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring_pipeline.notify.alerts import Alert, Status, Step
from monitoring_pipeline.notify.incidents import Incident, Kind
from monitoring_pipeline.notify.messages import duration, items_of, number, one_line, share

QUESTION = "**Question:** "
"""What the record does not tell, and a person has to."""

MOST_MOVED = 3
"""Columns whose bins are shown."""

LONG = timedelta(hours=24)
"""Trouble that nobody saw for longer than that was hard to see."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    at: datetime
    hour: datetime
    what: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """How well one version did over the incident, with the interval, and on its reference where that is known."""

    version: str
    metric: str
    value: float
    low: float | None
    high: float | None
    expected: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is on record about an incident and its time.

    `end` is until when predictions were harmed, as far as is known: `rows_served`, `labelled` and `scores` are of the
    hours up to it. `reasons` are those for which each rule fired first, `evidence` the verdicts of the incident, each
    as bad as it was. `messages` counts by channel and by what became of them: sent, pending, dead.
    """

    incident: Incident
    timeline: Sequence[Line]
    end: datetime
    alerts: Sequence[Alert] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    evidence: Sequence[Mapping[str, object]] = ()
    messages: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rows_served: Mapping[str, int] = field(default_factory=dict)
    labelled: int = 0
    scores: Sequence[Score] = ()
    retrainings: Sequence[str] = ()
    diagnoses: Sequence[str] = ()


def post_mortem(facts: Facts) -> str:
    """Return the draft; every string from data is shown as text, none of it as markup."""
    incident = facts.incident
    sections = [line for name, section in SECTIONS.items() for line in ("", f"## {name}", "", *section(facts))]
    asked = sum(line.count(QUESTION) for line in sections)
    return "\n".join(
        [
            f"# Post-mortem: {_plain(incident.model)}, {_plain(incident.rule)}, {incident.first_hour:%Y-%m-%d}",
            "",
            f"Drafted from the record. What it does not tell is asked: {asked} questions. All times are UTC.",
            *sections,
            "",
        ]
    )


def _summary(facts: Facts) -> Iterable[str]:
    incident = facts.incident
    seen = f"{_moment(incident.opened_at)}, {duration(incident.time_to_detect, 1)} after it began"
    if not facts.alerts:
        seen += ", by a person"
    yield from _table(
        ("", ""),
        [
            ("Incident", incident.id),
            ("Severity", f"SEV-{incident.sev} ({incident.severity.value}), {incident.kind.value}"),
            ("Began", _moment(incident.first_hour)),
            ("Detected", seen),
            ("Taken on", _after(incident.acknowledged_at, incident.time_to_acknowledge, incident.acknowledged_by)),
            ("Mitigated", _after(incident.mitigated_at, incident.time_to_mitigate)),
            ("Resolved", _after(incident.resolved_at, incident.time_to_resolve)),
            ("Owner", incident.owner or "nobody is named"),
        ],
    )
    yield f"\n{_plain(facts.reasons.get(incident.rule, incident.reason))}"
    if incident.acknowledged_at is None:
        yield f"\n{QUESTION}nobody acknowledged it. Who dealt with it, and since when?"
    if incident.status is Status.OPEN:
        yield f"\n{QUESTION}it is still open. What is left to do before this can be written?"
    elif incident.mitigated_at is None:
        yield f"\n{QUESTION}no mitigation is on record. What ended it?"


def _impact(facts: Facts) -> Iterable[str]:
    span = f"{_moment(facts.incident.first_hour)} to {_moment(facts.end)}"
    if served := facts.rows_served:
        versions = ", ".join(f"{count:,} by version {_plain(version)}" for version, count in sorted(served.items()))
        yield f"From {span}: {sum(served.values()):,} predictions ({versions}), {facts.labelled:,} with labels."
    else:
        yield f"{QUESTION}how many predictions were served from {span}? None are on record."
    for score in facts.scores:
        if score.metric == "accuracy":
            wrong = f"{score.rows * (1 - score.value):,.0f} of {score.rows:,} labelled predictions were wrong"
            usual = "" if score.expected is None else f"; {score.rows * (1 - score.expected):,.0f} as in its reference"
            yield f"\nVersion {_plain(score.version)}: {wrong}{usual}."
    if facts.scores:
        yield ""
        yield from _table(
            ("Version", "Metric", "Meanwhile", "95 % interval", "Reference", "Rows"),
            [
                (
                    *(each.version, each.metric, number(each.value)),
                    "–" if each.low is None else f"{number(each.low)} to {number(each.high)}",
                    *(number(each.expected), f"{each.rows:,}"),
                )
                for each in facts.scores
            ],
        )
    else:
        yield f"\n{QUESTION}how well did it predict meanwhile? No labels are on record."
    yield f"\n{QUESTION}who was hurt, and how much did it cost? Were decisions taken that have to be undone?"


def _timeline(facts: Facts) -> Iterable[str]:
    shown = [line for line in facts.timeline if line.what != Step.UPDATED.value]
    yield from _table(
        ("When", "Hour looked at", "What", "By", "Why"),
        [
            (_moment(each.at), _moment(each.hour), _words(each.what), each.who, _words(each.why))
            for each in sorted(shown, key=lambda line: line.at)  # what is said later may have been done before
        ],
    )
    going_on = len(facts.timeline) - len(shown)
    if going_on:
        yield f"\n{going_on} more evaluations of its rules, in which it went on."
    if facts.messages:
        told = (f"{count} {status} on {name}" for (name, status), count in sorted(facts.messages.items()))
        yield f"\nMessages: {_plain(', '.join(told))}."
    else:
        yield f"\n{QUESTION}this system told nobody. Is that right for such an incident?"


def _causes(facts: Facts) -> Iterable[str]:
    causes = facts.incident.causes
    if not causes:
        yield f"None was found in the record.\n\n{QUESTION}what was the root cause? What changed that let it happen?"
        return
    yield "As ranked from the record:\n"
    for place, cause in enumerate(causes, 1):
        yield f"{place}. {_plain(cause.get('name'))} ({share(cause.get('confidence'), 0)} sure)"
        yield from (f"   - {_plain(sentence)}" for sentence in items_of(cause.get("evidence")))
    yield f"\n{QUESTION}is the first of these the root cause? What changed that let it happen?"


def _contributing(facts: Facts) -> Iterable[str]:
    if len(facts.alerts) > 1:
        yield "What fired together:\n"
        yield from _table(
            ("Rule", "Severity", "Since", "Why"),
            [
                (each.rule, each.severity.value, _moment(each.since), facts.reasons.get(each.rule, each.reason))
                for each in facts.alerts
            ],
        )
        yield ""
    yield from (f"- {_plain(factor)}" for factor, _ in _factors(facts))
    yield f"- {QUESTION}which check upstream should have stopped it?"


def _learning(facts: Facts) -> Iterable[str]:
    yield "### Data\n"
    if facts.evidence:
        yield from _table(
            ("Metric", "Column", "Segment", "Window", "At worst", "Threshold", "From", "Hour"),
            [
                (
                    *(each[name] or "" for name in ("metric", "column", "segment", "window")),
                    *(number(each["value"]), number(each["threshold"]), each["threshold_origin"], each["hour"]),
                )
                for each in facts.evidence
            ],
        )
    else:
        yield f"{QUESTION}what did the data look like? No evidence is on record."
    moved = list(_moved(facts.evidence))
    yield from ["", *moved] if moved else []
    yield "\n### Model\n"
    yield from (f"- {_plain(sentence)}" for sentence in facts.diagnoses)
    yield from (f"- Retraining {_plain(sentence)}" for sentence in facts.retrainings)
    if not facts.retrainings:
        yield "- No retraining was decided on meanwhile."
    yield f"- {QUESTION}would the tests of the model, or of its features, have caught the same inputs?"


def _moved(evidence: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the bins that moved most, of the first few columns that have any."""
    columns: set[object] = set()
    for each in evidence:
        bins = [record for record in items_of(each.get("bins")) if isinstance(record, Mapping)]
        if not bins or each["column"] in columns or len(columns) == MOST_MOVED:
            continue
        columns.add(each["column"])
        shares = (
            f"{_plain(record.get('bin'))} {share(record.get('reference'))} → {share(record.get('current'))}"
            for record in bins[:MOST_MOVED]
        )
        yield f"- {_plain(each['column'])}: {'; '.join(shares)}"


def _factors(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield what is on record that made it worse, or may yet, and what to do about each."""
    incident, lines, late = facts.incident, facts.timeline, facts.incident.time_to_detect
    span = f"{_moment(incident.first_hour)} to {_moment(facts.end)}"
    if not facts.alerts:
        yield "No rule saw it: a person reported it.", "Write a rule that would have, and try it: replay-rules"
    if late > LONG:
        yield f"It took {duration(late, 1)} to see it.", "See it sooner: try other limits with replay-rules"
    if incident.acknowledged_at is None:
        yield "Nobody took it on.", "Find out why nobody took it on"
    if escalated := sum(line.what == Step.ESCALATED.value for line in lines):
        why = "Find out why whoever was told first did not answer, or could not help"
        yield f"It was escalated {_times(escalated)}.", why
    if silenced := [line.why for line in lines if (line.what, line.who) == (Step.WITHHELD.value, "silence")]:
        said = f"A message was withheld {_times(len(silenced))}; {silenced[0]}"
        yield said, "Look at whether the silence hid more than it was meant to"
    if again := incident.times_reopened:
        yield f"It came back {_times(again)} after it had ended.", "Find out what was not mended the first time"
    if len(facts.rows_served) > 1:
        yield f"{len(facts.rows_served)} versions served meanwhile.", "Compare the versions over these hours"
    if count := len(facts.retrainings):
        said = f"A retraining was decided on {_times(count)} meanwhile."
        yield said, f"Check that no version learnt from the rows of {span}"
    if incident.kind in (Kind.DATA, Kind.INTEGRATION):
        said = "The rows of this time are in the log, where the next training set will find them."
        yield said, f"Keep the rows of {span} out of training sets, or repair them"
    for (name, status), count in facts.messages.items():
        if status == "dead":
            yield f"Messages given up on {name}: {count}.", f"Mend {name}, then: outbox --revive"


def _actions(facts: Facts) -> Iterable[str]:
    likely = [str(action) for cause in facts.incident.causes[:2] for action in items_of(cause.get("actions"))]
    wanted = dict.fromkeys([*likely, *(action for _, action in _factors(facts))])
    rows = [(action, facts.incident.owner or "?", "?") for action in wanted] or [("?", "?", "?")]
    yield from _table(("Action", "Owner", "Due"), rows)
    yield f"\n{QUESTION}who does each of these, until when, and what is missing?"


def _lessons(_facts: Facts) -> Iterable[str]:
    yield f"- {QUESTION}what went well?"
    yield f"- {QUESTION}what went badly?"
    yield f"- {QUESTION}where was it luck?"


SECTIONS: Mapping[str, Callable[[Facts], Iterable[str]]] = {
    "Summary": _summary,
    "Impact": _impact,
    "Timeline": _timeline,
    "Root causes": _causes,
    "Contributing factors": _contributing,
    "What the data and the model did": _learning,
    "Action items": _actions,
    "Lessons learned": _lessons,
}


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(_plain(cell) for cell in row)} |"


def _plain(value: object) -> str:
    """Return text that Markdown shows as it is: a category may look like a link, a table, a heading or HTML.

    An underscore within a word means nothing and stays readable; an address must not become a link by itself.
    """
    text = one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|#~!]|(?<!\w)_|_(?!\w)|(?<=\w):(?=//)|(?<=www)\.)", r"\\\1", text, flags=re.IGNORECASE)
    return re.sub(r"^([-+=]|\d+(?=[.)](\s|$)))", lambda start: _at_a_start(start[0]), text)


def _at_a_start(text: str) -> str:
    """Return what would begin a list, or underline a heading, without that meaning."""
    return f"{text}\\" if text.isdecimal() else f"\\{text}"


def _words(name: str) -> str:
    """Return a reason as words; a sentence is one already."""
    return name.replace("_", " ") if re.fullmatch(r"[a-z_]+", name) else name


def _after(moment: datetime | None, length: timedelta | None, who: str = "") -> str:
    if moment is None or length is None:
        return "not on record"
    return f"{_moment(moment)}, after {duration(length, 1)}" + (f", by {who}" if who else "")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

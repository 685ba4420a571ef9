"""The status of a monitor as of a moment: fine, degraded, critical or unknown, since when and why.

Add here what changes how a monitor is said to be. Keep stores out, and how a status is shown.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level

STALE_AFTER = timedelta(hours=3)
"""How long ago the newest judged hour may have ended: a run that comes late, or is repeated once, takes less."""

WORDS = {Level.OK: "fine", Level.WARNING: "degraded", Level.CRITICAL: "critical", Level.UNKNOWN: "unknown"}


class Trouble(Protocol):
    """What a status looks at of an open incident."""

    @property
    def id(self) -> str: ...
    @property
    def severity(self) -> Level: ...
    @property
    def sev(self) -> int: ...
    @property
    def first_hour(self) -> datetime: ...
    @property
    def reason(self) -> str: ...
    @property
    def rules(self) -> Collection[str]: ...


@dataclass(frozen=True, slots=True)
class Status:
    """How a monitor is. `since` is None where no hour was ever judged; what is fine is so at least since then.

    `last_hour` is the start of the newest judged hour; it `is_stale` when a newer one should be there.
    """

    level: Level
    since: datetime | None
    because: str
    last_hour: datetime | None
    is_stale: bool

    @property
    def word(self) -> str:
        """The level as people say it."""
        return WORDS[self.level]

    @property
    def sentence(self) -> str:
        """Status, since when, and why: `degraded since 2026-04-21 10:00Z: ...`."""
        since = "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M}Z"
        return f"{self.word}{since}: {self.because}"


def status_of(
    outcomes: Mapping[datetime, Sequence[RuleOutcome]],
    *,
    now: datetime,
    incidents: Iterable[Trouble] = (),
    informative: Collection[str] = (),
    end: datetime | None = None,
    stale_after: timedelta = STALE_AFTER,
) -> Status:
    """Return how a monitor is at `now`, from what its rules said of the hours before and the incidents open by then.

    `outcomes` holds every judged hour of a lookback, also those without a rule. Of each rule counts what it said last
    when it knew anything: a night without traffic ends nothing. Rules that are `informative` say nothing of the model.
    A status that is old is never fine, and what was bad stays so. After `end` no newer hour is expected.
    """
    hours = sorted(hour for hour in outcomes if hour + HOUR <= now)
    if not hours:
        return Status(Level.UNKNOWN, None, "no hour has been judged yet", None, is_stale=True)
    last = hours[-1]
    is_stale = min(now, end or now) - (last + HOUR) > stale_after
    told = {
        outcome.rule: [each for hour in hours for each in outcomes[hour] if each.rule == outcome.rule]
        for outcome in outcomes[last]
        if outcome.rule not in informative
    }
    incidents = [each for each in incidents if each.rules and each.sev < 4]
    found = sorted(_bad(told, incidents), key=lambda each: (-each[0].rank, each[1]))
    if found:
        (level, since, because), others = found[0], len(found) - 1
        more = f" (and {others} more)" if others else ""
        late = f"; nothing has been judged since {last + HOUR:%Y-%m-%d %H:%M}Z" if is_stale else ""
        return Status(level, since, because + more + late, last, is_stale)
    level, since, because = _not_bad(told, hours)
    if is_stale:
        because = f"nothing has been judged since; it was {WORDS[level]} then, {because}"
        level, since = Level.UNKNOWN, last + HOUR
    return Status(level, since, because, last, is_stale)


def _bad(
    told: Mapping[str, Sequence[RuleOutcome]], incidents: Sequence[Trouble]
) -> Iterator[tuple[Level, datetime, str]]:
    for rule, each in told.items():
        run = _firing(each)
        if run:
            began = [incident.first_hour for incident in incidents if rule in incident.rules]
            since = min([*began, *(outcome.since for outcome in run)])
            yield run[0].severity, since, f"rule {rule}: {run[0].reason}"
    for incident in incidents:
        if not set(incident.rules) & set(told):  # what a person reported, or a rule that is gone left open
            yield incident.severity, incident.first_hour, f"incident {incident.id}: {incident.reason}"


def _firing(told: Sequence[RuleOutcome]) -> list[RuleOutcome]:
    """Return the outcomes of a rule back to where it began to fire, newest first; none where it does not fire now."""
    run: list[RuleOutcome] = []
    for outcome in reversed(told):
        if outcome.state is RuleState.FIRING:
            run.append(outcome)
        elif outcome.state is not RuleState.UNKNOWN:
            break
    return run


def _not_bad(told: Mapping[str, Sequence[RuleOutcome]], hours: Sequence[datetime]) -> tuple[Level, datetime, str]:
    if not told:
        return Level.UNKNOWN, hours[0], "it has no rules that could tell"
    blind = [each[-1] for each in told.values() if all(outcome.state is RuleState.UNKNOWN for outcome in each)]
    why = f"{blind[0].rule} ({blind[0].reason})" if blind else ""
    if len(blind) == len(told):
        return Level.UNKNOWN, hours[0], f"none of its {len(told)} rules knows anything, such as {why}"
    fired = [outcome.hour for each in told.values() for outcome in each if outcome.state is RuleState.FIRING]
    known = f"none of its {len(told)} rules fires"
    unknown = f", {len(blind)} of them know nothing, such as {why}" if blind else ""
    return Level.OK, max(fired) + HOUR if fired else hours[0], known + unknown

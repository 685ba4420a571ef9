"""Alert rules: a condition on verdicts that must hold for several evaluations, and what it then means.

Add a kind of rule by adding a condition to `conditions`. Keep incidents and messages out: they belong in notify.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.conditions import Condition, ConditionOutcome, Truth, evaluate_each
from monitoring_pipeline.judge.verdicts import Level, Verdict


class RuleState(StrEnum):
    """What a rule says of one hour. UNKNOWN neither raises nor clears an alarm."""

    FIRING = "firing"  # breached for as many known evaluations as the rule asks
    PENDING = "pending"  # breached, but not yet long enough
    QUIET = "quiet"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule says of one evaluated hour of one model, with the verdicts that made it."""

    rule: str
    model: str
    hour: datetime  # start of the hour the evaluation belongs to
    state: RuleState
    severity: Level  # WARNING or CRITICAL: what an incident opened by this rule would carry
    reason: str
    evidence: tuple[Verdict, ...] = ()  # breaching verdicts, worst first
    runbook: str = ""

    @property
    def fingerprint(self) -> str:
        """Identity of the incident this outcome belongs to."""
        return f"{self.model}/{self.rule}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must hold for `for_` known evaluations; `cooldown` and `resolve_after` shape its incident."""

    name: str
    condition: Condition
    for_: int = 1
    severity: Level = Level.WARNING
    cooldown: timedelta = timedelta(hours=12)
    resolve_after: int = 3
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Streak:
    """How a condition stands at the newest of several hours: its state and its unbroken run of known, true hours."""

    state: RuleState
    length: int
    newest: ConditionOutcome


def lookback_hours(for_: int) -> int:
    """Return how far back a run of `for_` known hours may reach over unknown ones, the newest hour included.

    A day at least: a model that is used by day must be able to add up evaluations of two days.
    """
    return max(24, 4 * for_)


def streak(outcomes: Iterable[ConditionOutcome], *, for_: int) -> Streak:
    """Return how a condition stands, from its outcomes hour by hour, newest first; unknown hours are skipped."""
    earlier = iter(outcomes)
    newest = next(earlier)
    if newest.state is not Truth.TRUE:
        state = RuleState.UNKNOWN if newest.state is Truth.UNKNOWN else RuleState.QUIET
        return Streak(state, 0, newest)
    length = 1
    while length < for_ and (outcome := next(earlier, None)) is not None and outcome.state is not Truth.FALSE:
        length += outcome.state is Truth.TRUE
    return Streak(RuleState.FIRING if length >= for_ else RuleState.PENDING, length, newest)


class ConditionHistory:
    """Outcomes of several conditions by hour, each hour looked at once, and only when it is asked for."""

    def __init__(
        self,
        conditions: Iterable[Condition],
        verdicts_by_hour: Mapping[datetime, Sequence[Verdict]],
        roles: Mapping[str, str] | None,
    ) -> None:
        self._conditions = list(dict.fromkeys(conditions))
        self._verdicts = verdicts_by_hour
        self._roles = roles
        self._known: dict[datetime, dict[Condition, ConditionOutcome]] = {}

    def at(self, condition: Condition, hour: datetime) -> ConditionOutcome:
        """Return what `condition` says of one hour; an hour without verdicts is unknown."""
        if hour not in self._known:
            outcomes = evaluate_each(self._conditions, self._verdicts.get(hour, ()), roles=self._roles)
            self._known[hour] = dict(zip(self._conditions, outcomes, strict=True))
        return self._known[hour][condition]

    def streak(self, condition: Condition, hour: datetime, *, for_: int) -> Streak:
        """Return how `condition` stands at `hour`, looking back no further than `lookback_hours`."""
        hours = (hour - back * HOUR for back in range(lookback_hours(for_)))
        return streak((self.at(condition, earlier) for earlier in hours), for_=for_)


def evaluate_rule(
    rule: Rule,
    history: Sequence[tuple[datetime, Sequence[Verdict]]],
    *,
    model: str,
    roles: Mapping[str, str] | None = None,
) -> RuleOutcome:
    """Return what `rule` says of the last hour of `history`, from the verdicts of that hour and those before it."""
    return evaluate_rules([rule], dict(history), [history[-1][0]], model=model, roles=roles)[0]


def evaluate_rules(
    rules: Sequence[Rule],
    verdicts_by_hour: Mapping[datetime, Sequence[Verdict]],
    hours: Iterable[datetime],
    *,
    model: str,
    roles: Mapping[str, str] | None = None,
) -> list[RuleOutcome]:
    """Return what every rule says of every one of `hours`, hour by hour.

    Nothing is remembered between calls: the same verdicts give the same outcomes. `verdicts_by_hour` must reach
    `lookback_hours` of the longest rule before the first hour, or that rule may be PENDING where it should fire.
    """
    history = ConditionHistory((rule.condition for rule in rules), verdicts_by_hour, roles)
    return [_outcome(rule, model, hour, history) for hour in hours for rule in rules]


def _outcome(rule: Rule, model: str, hour: datetime, history: ConditionHistory) -> RuleOutcome:
    found = history.streak(rule.condition, hour, for_=rule.for_)
    reason = found.newest.reason
    if found.length:
        reason += f" ({found.length} of the {rule.for_} evaluations in a row it takes)"
    evidence = tuple(sorted(found.newest.evidence, key=_worst_first))
    return RuleOutcome(rule.name, model, hour, found.state, rule.severity, reason, evidence, rule.runbook)


def _worst_first(verdict: Verdict) -> tuple[int, float, str]:
    """Sort key: the level, then how many times over its threshold, then the column so that ties keep an order."""
    value, threshold = verdict.signal.value or 0.0, verdict.threshold or 0.0
    ratio = value / threshold if threshold > 0 and value > 0 else 1.0
    return -verdict.level.rank, -max(ratio, 1 / ratio), verdict.signal.column

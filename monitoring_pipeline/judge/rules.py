"""Alert rules: a condition on verdicts that must hold for several evaluations, and what it then means.

Add a kind of rule by adding a condition to `conditions`. Keep incidents and messages out: they belong in notify.

Nothing is remembered from hour to hour. How long a rule has been breached, and whether it fired and has not cleared, is
read anew from the verdicts of a bounded lookback, oldest hour first, starting from "not firing". That is the same as
handing a state from hour to hour, (verdicts, state) -> (outcome, state), with a state that forgets what is older than
the lookback: the state is a function of the verdicts of those hours, so keeping it would store twice what is stored. An
hour computed alone, in a range or again after labels came late then gives the same outcome, and a lost or half-written
state cannot exist. The price: without a breach a rule is held by its second limit for no longer than the lookback.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.condition_outcomes import ConditionOutcome, Truth, evaluate_each
from monitoring_pipeline.judge.conditions import Condition, WhyNot, holding, metrics_of
from monitoring_pipeline.judge.verdicts import Level, Verdict


class RuleState(StrEnum):
    """What a rule says of one hour. UNKNOWN neither raises nor clears an alarm."""

    FIRING = "firing"  # breached for as many known evaluations as the rule asks, or not back beyond its second limit
    PENDING = "pending"  # breached, but not yet long enough
    QUIET = "quiet"
    UNKNOWN = "unknown"


_THE_HOUR = datetime.max.replace(tzinfo=UTC)
"""Stands for the evaluated hour, which a default cannot name."""


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule says of one evaluated hour of one model, with the verdicts that made it.

    `severity` is that of the worst band that has held for long enough. `since` is the first hour of the present run of
    breaches, as far as the lookback shows, and the hour itself where there is none. `why` is None when it fires.
    """

    rule: str
    model: str
    hour: datetime  # start of the hour the evaluation belongs to
    state: RuleState
    severity: Level  # WARNING or CRITICAL: what an incident opened by this rule would carry
    reason: str
    evidence: tuple[Verdict, ...] = ()  # breaching verdicts, worst first
    runbook: str = ""
    owner: str = ""
    since: datetime = _THE_HOUR
    why: WhyNot | None = None

    def __post_init__(self) -> None:
        if self.since == _THE_HOUR:
            object.__setattr__(self, "since", self.hour)

    @property
    def fingerprint(self) -> str:
        """Identity of the incident this outcome belongs to."""
        return f"{self.model}/{self.rule}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must hold for `for_` known evaluations: in a row, or among the last `of` of them.

    `critical` is the condition of the critical band, where a rule of severity WARNING has one; what is critical is
    no warning besides. `resolve_after` and `cooldown` shape the incident: how many quiet evaluations end it, and how
    long after that there is no new one; a critical one may follow after `critical_cooldown`, where that is given.
    """

    name: str
    condition: Condition
    for_: int = 1
    severity: Level = Level.WARNING
    cooldown: timedelta = timedelta(hours=12)
    resolve_after: int = 3
    runbook: str = ""
    owner: str = ""
    of: int | None = None
    critical: Condition | None = None
    critical_cooldown: timedelta | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.for_ <= (self.of or self.for_):
            raise ValueError(f"{self.name}: {self.for_} breaches of {self.of or self.for_} evaluations never add up")

    @property
    def bands(self) -> tuple[tuple[Level, Condition], ...]:
        """The conditions by the severity they have, worst first."""
        worse = () if self.critical is None else ((Level.CRITICAL, self.critical),)
        return (*worse, (self.severity, self.condition))

    @property
    def metrics(self) -> frozenset[str]:
        """What the rule looks at."""
        return frozenset(metric for _, condition in self.bands for metric in metrics_of(condition))

    @property
    def lookback(self) -> int:
        """How many hours the rule looks at, the evaluated one included."""
        return lookback_hours(self.for_, self.of)

    @property
    def patience(self) -> str:
        """How long it waits, in words."""
        return f"{self.for_} in a row" if self.of in (None, self.for_) else f"{self.for_} of {self.of}"

    def cooldown_of(self, severity: Level) -> timedelta:
        """Return for how long after an incident there is no new one of this severity."""
        own = self.critical_cooldown if severity is Level.CRITICAL else None
        return self.cooldown if own is None else own


@dataclass(frozen=True, slots=True)
class Streak:
    """How a condition stands at the newest of several hours.

    `length` counts the breaches of its present run, up to those it takes, and is 0 where only its second limit keeps it
    firing; `since` is the first hour of that run. `newest` is what the condition says, or what keeps it from clearing.
    """

    state: RuleState
    length: int
    newest: ConditionOutcome
    since: datetime
    why: WhyNot | None


def lookback_hours(for_: int, of: int | None = None) -> int:
    """Return how far back a run of `for_` known hours may reach over unknown ones, the newest hour included.

    A day at least: a model that is used by day must be able to add up evaluations of two days.
    """
    return max(24, 4 * (of or for_))


def streak(
    hours: Sequence[tuple[datetime, ConditionOutcome, ConditionOutcome]], *, for_: int, of: int | None = None
) -> Streak:
    """Return how a condition stands in the last of `hours`, oldest first; unknown hours are skipped.

    An hour comes with what the condition says, and with what `holding` makes of it, the same where nothing holds it.
    """
    last: deque[tuple[datetime, ConditionOutcome]] = deque(maxlen=of or for_)
    spare = (of or for_) - for_
    run: list[tuple[datetime, ConditionOutcome]] = []
    firing, was_firing, since = False, False, hours[-1][0]
    for hour, outcome, held in hours:
        was_firing = firing
        if outcome.state is not Truth.UNKNOWN:
            last.append((hour, outcome))
            run = _run(last, spare)
        firing = len(run) >= for_ or (was_firing and held.state is not Truth.FALSE)
        if run and not (firing and was_firing):
            since = run[0][0]
    hour, outcome, held = hours[-1]
    known = outcome.state is not Truth.UNKNOWN
    if firing and known and len(run) >= for_:
        return Streak(RuleState.FIRING, for_, run[-1][1], since, None)
    if firing and held.state is Truth.TRUE:
        return Streak(RuleState.FIRING, 0, held, since, None)
    if firing or not known:
        unknown = held if known else outcome
        return Streak(RuleState.UNKNOWN, 0, unknown, hour, unknown.why)
    if outcome.state is Truth.TRUE:
        return Streak(RuleState.PENDING, len(run), outcome, since, WhyNot.NOT_LONG_ENOUGH)
    cleared = was_firing and (spare > 0 or held is not outcome)
    return Streak(RuleState.QUIET, 0, outcome, hour, WhyNot.CLEARED if cleared else WhyNot.CONDITION_FALSE)


def _run(last: Sequence[tuple[datetime, ConditionOutcome]], spare: int) -> list[tuple[datetime, ConditionOutcome]]:
    """Return the breaches among the last known evaluations, up to one false evaluation more than can be spared."""
    run: list[tuple[datetime, ConditionOutcome]] = []
    for entry in reversed(last):
        if entry[1].state is Truth.TRUE:
            run.insert(0, entry)
        elif spare == 0:
            break
        else:
            spare -= 1
    return run


class ConditionHistory:
    """Outcomes of several conditions by hour, each hour looked at once, and only when it is asked for."""

    def __init__(
        self,
        conditions: Iterable[Condition],
        verdicts_by_hour: Mapping[datetime, Sequence[Verdict]],
        roles: Mapping[str, str] | None,
    ) -> None:
        self._holding = {condition: holding(condition) for condition in conditions}
        self._conditions = list(dict.fromkeys([*self._holding, *self._holding.values()]))
        self._places = {condition: place for place, condition in enumerate(self._conditions)}
        self._verdicts = verdicts_by_hour
        self._roles = roles
        self._known: dict[datetime, list[ConditionOutcome]] = {}

    def streak(self, condition: Condition, hour: datetime, *, for_: int, of: int | None = None) -> Streak:
        """Return how `condition` stands at `hour`, looking back no further than `lookback_hours`."""
        place, held = self._places[condition], self._places[self._holding[condition]]
        back = lookback_hours(for_, of)
        if place == held and of in (None, for_) and self._at(hour)[place].state is not Truth.TRUE:
            back = 1  # the hours before cannot change what this one says
        hours = [hour - step * HOUR for step in reversed(range(back))]
        return streak([(at, self._at(at)[place], self._at(at)[held]) for at in hours], for_=for_, of=of)

    def _at(self, hour: datetime) -> list[ConditionOutcome]:
        if hour not in self._known:
            self._known[hour] = evaluate_each(self._conditions, self._verdicts.get(hour, ()), roles=self._roles)
        return self._known[hour]


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

    `verdicts_by_hour` must reach the longest `lookback` of a rule before the first hour, or that rule may be PENDING
    where it should fire.
    """
    conditions = (condition for rule in rules for _, condition in rule.bands)
    history = ConditionHistory(conditions, verdicts_by_hour, roles)
    return [_outcome(rule, model, hour, history) for hour in hours for rule in rules]


def never_known(outcomes: Iterable[RuleOutcome]) -> list[RuleOutcome]:
    """Return the newest outcome of every rule that none of `outcomes` knows anything of: as things are, it is blind."""
    newest: dict[str, RuleOutcome] = {}
    known = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.hour):
        newest[outcome.fingerprint] = outcome
        if outcome.state is not RuleState.UNKNOWN:
            known.add(outcome.fingerprint)
    return [outcome for name, outcome in newest.items() if name not in known]


_BREACHED = (RuleState.PENDING, RuleState.FIRING)

_ORDER = (RuleState.QUIET, RuleState.UNKNOWN, *_BREACHED)
"""What an outcome says where bands differ: the last of these."""


def _outcome(rule: Rule, model: str, hour: datetime, history: ConditionHistory) -> RuleOutcome:
    bands = [(level, history.streak(condition, hour, for_=rule.for_, of=rule.of)) for level, condition in rule.bands]
    # The worse of two breaches, but the plainer of two that are none.
    severity, found = max(
        bands, key=lambda band: (_ORDER.index(band[1].state), band[0].rank * (1 if band[1].state in _BREACHED else -1))
    )
    reason = found.newest.reason
    if found.length:
        taken = "evaluations in a row it takes" if rule.of in (None, rule.for_) else f"breaches in {rule.of} it takes"
        reason += f" ({found.length} of the {rule.for_} {taken})"
    elif found.state is RuleState.FIRING:
        reason += " (it fired, and clears only beyond this limit)"
    return RuleOutcome(
        rule.name,
        model,
        hour,
        found.state,
        severity,
        reason,
        tuple(sorted(found.newest.evidence, key=_worst_first)),
        rule.runbook,
        rule.owner,
        min(band.since for _, band in bands if band.state in _BREACHED or band is found),
        found.why,
    )


def _worst_first(verdict: Verdict) -> tuple[int, float, str]:
    """Sort key: the level, then how many times over its threshold, then the column so that ties keep an order."""
    value, threshold = verdict.signal.value or 0.0, verdict.threshold or 0.0
    ratio = value / threshold if threshold > 0 and value > 0 else 1.0
    return -verdict.level.rank, -max(ratio, 1 / ratio), verdict.signal.column

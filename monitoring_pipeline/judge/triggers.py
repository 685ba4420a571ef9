"""Retraining triggers: clauses on verdicts, combined into one recorded decision per evaluated hour.

Add a reason not to retrain to `NoRetrain` and its check to `_objection`. Keep training and promotion out: they belong
in retrain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.condition_outcomes import Truth, count_true
from monitoring_pipeline.judge.conditions import Condition
from monitoring_pipeline.judge.rules import ConditionHistory, RuleState
from monitoring_pipeline.judge.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Trigger:
    """One clause of the decision: a condition that must hold for `for_` known evaluations."""

    name: str
    condition: Condition
    for_: int = 1


@dataclass(frozen=True, slots=True)
class TriggerPolicy:
    """How clauses add up to a retraining, and what holds one back although they do.

    `at_least` counts only in the mode of that name. `cooldown` is the least time between two episodes. After
    `give_up_after` challengers in a row that were not promoted a person is asked, and one more is trained when
    `try_again_after` has passed since the last: what was no use in spring may be of use in summer.
    """

    triggers: tuple[Trigger, ...]
    mode: Literal["any", "all", "at_least"] = "at_least"
    at_least: int = 2
    minimum_labelled_rows: int = 5000
    cooldown: timedelta = timedelta(days=7)
    daily_cap: int = 1
    give_up_after: int = 3
    try_again_after: timedelta = timedelta(days=28)

    def __post_init__(self) -> None:
        if not 1 <= self.clauses_needed <= len(self.triggers):
            raise ValueError(
                f"a policy that needs {self.clauses_needed} of {len(self.triggers)} triggers cannot decide"
            )

    @property
    def clauses_needed(self) -> int:
        return {"any": 1, "all": len(self.triggers), "at_least": self.at_least}[self.mode]


@dataclass(frozen=True, slots=True)
class ClauseOutcome:
    """How one trigger stood, with the value that decided it and the number it was held against."""

    name: str
    state: RuleState
    value: float | None
    threshold: float | None
    reason: str


class NoRetrain(StrEnum):
    """Why a decision did not fire."""

    NOT_ENOUGH_CLAUSES = "not_enough_clauses"
    UNKNOWN = "unknown"  # what is not known could still decide it
    EPISODE_OPEN = "episode_open"  # an earlier retraining has not ended
    GIVEN_UP = "given_up"  # too many challengers in a row came to nothing: a person is asked instead
    COOLDOWN = "cooldown"
    DAILY_CAP = "daily_cap"
    TOO_FEW_LABELS = "too_few_labels"


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """Whether one evaluated hour asks for a retraining, with everything that made it so."""

    model: str
    hour: datetime
    version: str
    fired: bool
    reason: NoRetrain | None  # None when it fired
    explanation: str
    clauses: tuple[ClauseOutcome, ...]
    episode_id: str
    decided_at: datetime


def episode_id(model: str, hour: datetime, version: str) -> str:
    """Return the identity of the retraining an hour may ask for: the same however often it is decided."""
    return f"{model}:{hour:%Y-%m-%dT%HZ}:v{version}"


def decide(
    policy: TriggerPolicy,
    verdicts_by_hour: Mapping[datetime, Sequence[Verdict]],
    *,
    model: str,
    hour: datetime,
    version: str,
    labelled_rows: int,
    last_episode_opened: datetime | None,
    episodes_last_day: int,
    episode_open: bool,
    now: datetime,
    turned_down: int = 0,
    roles: Mapping[str, str] | None = None,
) -> RetrainDecision:
    """Return the decision of `hour` about the model `version`.

    Times are compared at the end of the hour, not at `now`, so that a replay decides as the live system did:
    `last_episode_opened` is the end of the hour that opened the last episode. `now` only dates the record.
    `turned_down` counts the challengers in a row that were not promoted.
    """
    history = ConditionHistory((trigger.condition for trigger in policy.triggers), verdicts_by_hour, roles)
    clauses = tuple(_clause(trigger, hour, history) for trigger in policy.triggers)
    reason, explanation = _objection(
        policy, clauses, hour + HOUR, labelled_rows, last_episode_opened, episodes_last_day, episode_open, turned_down
    )
    identity = episode_id(model, hour, version)
    return RetrainDecision(model, hour, version, reason is None, reason, explanation, clauses, identity, now)


def _clause(trigger: Trigger, hour: datetime, history: ConditionHistory) -> ClauseOutcome:
    found = history.streak(trigger.condition, hour, for_=trigger.for_)
    reason = found.newest.reason
    if found.length and trigger.for_ > 1:
        reason += f" ({found.length} of the {trigger.for_} evaluations in a row it takes)"
    return ClauseOutcome(trigger.name, found.state, found.newest.value, found.newest.threshold, reason)


_TRUTH = {
    RuleState.FIRING: Truth.TRUE,
    RuleState.PENDING: Truth.FALSE,
    RuleState.QUIET: Truth.FALSE,
    RuleState.UNKNOWN: Truth.UNKNOWN,
}


def _objection(
    policy: TriggerPolicy,
    clauses: Sequence[ClauseOutcome],
    moment: datetime,
    labelled_rows: int,
    last_episode_opened: datetime | None,
    episodes_last_day: int,
    episode_open: bool,
    turned_down: int,
) -> tuple[NoRetrain | None, str]:
    """Return the first reason not to retrain, or None, and the decision in words."""
    met = [clause.name for clause in clauses if clause.state is RuleState.FIRING]
    count = f"{len(met)} of {len(clauses)} clauses hold ({', '.join(met) or 'none'}), {policy.clauses_needed} needed"
    combined = count_true((_TRUTH[clause.state] for clause in clauses), at_least=policy.clauses_needed)
    if combined is Truth.FALSE:
        return NoRetrain.NOT_ENOUGH_CLAUSES, count
    if combined is Truth.UNKNOWN:
        unknown = ", ".join(clause.name for clause in clauses if clause.state is RuleState.UNKNOWN)
        return NoRetrain.UNKNOWN, f"{count}; not known: {unknown}"
    if episode_open:
        return NoRetrain.EPISODE_OPEN, f"{count}; an earlier retraining is still open"
    passed = timedelta.max if last_episode_opened is None else moment - last_episode_opened
    if turned_down >= policy.give_up_after and passed < policy.try_again_after:
        return NoRetrain.GIVEN_UP, f"{count}; {turned_down} challengers in a row were not promoted: a person is asked"
    if passed < policy.cooldown:
        return NoRetrain.COOLDOWN, f"{count}; the last one opened at {last_episode_opened:%Y-%m-%d %H:%M}Z"
    if episodes_last_day >= policy.daily_cap:
        return NoRetrain.DAILY_CAP, f"{count}; {episodes_last_day} in the last day, at most {policy.daily_cap} allowed"
    if labelled_rows < policy.minimum_labelled_rows:
        needed = policy.minimum_labelled_rows
        return NoRetrain.TOO_FEW_LABELS, f"{count}; {labelled_rows} labelled rows to train on, {needed} needed"
    return None, count

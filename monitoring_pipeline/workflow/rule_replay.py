"""Rules of a monitor replayed over the signals a deployment has stored; no orchestrator needed.

Add another way to vary rules here. Keep out what a replay counts: that belongs in notify.replay.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import Problem, SettingsError, StoreError
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.conditions import All, Any, AtLeast, Condition, Not, SignalCondition
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE, PRIMARY
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.rules import Rule, RuleOutcome, evaluate_rules
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.notify.alerts import AlertPolicy
from monitoring_pipeline.notify.replay import Replay, replay
from monitoring_pipeline.settings.checks import BUDGETS
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.logs import ParquetLog
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.signal_tables import signals_of
from monitoring_pipeline.workflow.stages import REPORTS, Stages, stages_at

AT_ONCE = 168
"""Hours of signals in memory: a year of them must not be."""

LIMITS = ("above", "below", "above_baseline", "below_baseline", "p_below")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Rules to replay, and the monitor that says how signals are judged and what belongs to one incident."""

    name: str
    monitor: Monitor
    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, monitor: Monitor, name: str) -> "Candidate":
        """Return the rules of a monitor as they are."""
        return cls(name, monitor, monitor.alert_rules())

    def with_limit(self, rule: str, limit: float) -> "Candidate":
        """Return the same with another limit where the condition of `rule` has one."""
        changed = {each.name: each for each in self.rules}
        if rule not in changed:
            raise _problem(self.name, rule, "is no rule here.", f"Name one of {', '.join(changed)}.")
        if not any(_limit_of(signal) for signal in _signals(changed[rule].condition)):
            fix = (
                "Change what decides levels (drift.false_alarms_per_month, drift.bands, performance.baseline, limits) "
                "in a copy of the file, and name that with --against."
            )
            raise _problem(self.name, rule, "has no limit of its own, it goes by levels.", fix)
        try:
            changed[rule] = replace(changed[rule], condition=_limited(changed[rule].condition, limit))
        except ValueError as error:
            raise _problem(self.name, rule, f"{error}.", "Ask for another limit.") from error
        return Candidate(f"{self.name}, {rule} at {limit:g}", self.monitor, tuple(changed.values()))


def replay_stored(
    candidates: Sequence[Candidate],
    deployment: Deployment,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Replay]:
    """Return what each candidate, all of one model, would have led to in the stored hours of [start, end)."""
    models = {candidate.monitor.registry_name for candidate in candidates}
    if len(models) > 1:
        raise _problem(
            candidates[-1].name, "model", f"{' and '.join(sorted(models))} are two.", "Compare rules of one."
        )
    for candidate in candidates:
        if not candidate.rules:
            raise _problem(
                candidate.name, "rules", "there is none.", "Name some, or leave `rules:` out for the default."
            )
    # Nothing is read of the log: wherever it is, it need not be reached.
    monitors = [candidate.monitor.model_copy(update={"log": ParquetLog()}) for candidate in candidates]
    every = [stages_at(monitor, deployment, lambda _: None) for monitor in monitors]
    judged = every[0].hourly.hours("verdicts", every[0].model)
    asked = [hour for hour in judged if (start is None or hour >= start) and (end is None or hour < end)]
    if not asked:
        stored = f"{judged[0]:%Y-%m-%d %H:%M}Z to {judged[-1]:%Y-%m-%d %H:%M}Z" if judged else "none"
        raise StoreError(
            f"{deployment.state_directory}: no judged hours of {every[0].model} from {start or 'the first'} to "
            f"{end or 'the last'}; there are: {stored}. Ask for others, run a backfill, or check MONITORING_HOME."
        )
    outcomes: list[list[RuleOutcome]] = [[] for _ in candidates]
    for hours, verdicts in _judged(candidates, every, [hour for hour in judged if hour <= asked[-1]], asked[0]):
        for candidate, stages, known, found in zip(candidates, every, verdicts, outcomes, strict=True):
            found += evaluate_rules(candidate.rules, stages.served_verdicts(known), hours, model=stages.model)
    return [
        replay(
            found,
            {rule.name: AlertPolicy(rule.resolve_after, rule.cooldown, rule.critical_cooldown) for rule in each.rules},
            each.monitor.grouping(),
        )
        for each, found in zip(candidates, outcomes, strict=True)
    ]


def _judged(
    candidates: Sequence[Candidate], every: Sequence[Stages], hours: Sequence[datetime], start: datetime
) -> Iterator[tuple[list[datetime], list[dict[datetime, list[Verdict]]]]]:
    """Yield stretches of the hours from `start` on, with what each candidate's rules look at there and before.

    Signals are read once for all of them, and judged once for those that judge alike.
    """
    rules = [rule for candidate in candidates for rule in candidate.rules]
    reach = max((rule.lookback for rule in rules), default=1) * HOUR
    wanted = {(signal.metric, signal.window) for rule in rules for _, part in rule.bands for signal in _signals(part)}
    needed = wanted | {(PRIMARY, window) for metric, window in wanted if metric == DRIFTED_SHARE}
    budgets = BUDGETS.keys() & {metric for metric, _ in wanted}
    references: dict[str, Reference] = {}
    known: list[dict[datetime, list[Verdict]]] = [{} for _ in candidates]
    hours = [hour for hour in hours if hour > start - reach]
    for first in range(0, len(hours), AT_ONCE):
        part = hours[first : first + AT_ONCE]
        signals = _stored_signals(every[0], part, needed)
        for version in {signal.version for signal in signals} - references.keys():
            if (reference := every[0].references.load(every[0].model, version)) is not None:
                references[version] = reference
        # Judged by another monitor's promises, they would be other budgets: of those the stored verdicts are taken.
        span = part[0], part[-1] + HOUR
        kept = every[0].hourly.read_verdicts(every[0].model, *span, budgets) if budgets else {}
        alike: list[tuple[object, dict[datetime, list[Verdict]]]] = []
        for place, candidate in enumerate(candidates):
            policy = candidate.monitor.judging_policy()
            found = next((verdicts for other, verdicts in alike if other == policy), None)
            if found is None:
                found = defaultdict(list, {hour: list(kept.get(hour, ())) for hour in part})
                for verdict in judge_signals(signals, references, policy):
                    if (verdict.signal.metric, verdict.signal.window) in wanted:
                        found[verdict.signal.window_end - HOUR].append(verdict)
                alike.append((policy, found))
            known[place] = {hour: each for hour, each in known[place].items() if hour > part[0] - reach} | found
        yield [hour for hour in part if hour >= start], known


def _stored_signals(stages: Stages, hours: Sequence[datetime], needed: set[tuple[str, str]]) -> list[Signal]:
    """Return the signals of these metrics and windows: what is judged together has one of either."""
    keys = pa.array(sorted("|".join(pair) for pair in needed), pa.string())
    stored = (stages.hourly.read(kind, stages.model, hours[0], hours[-1] + HOUR) for kind in REPORTS)
    # Details are most of a file, and nothing is judged by them.
    tables = [table.drop_columns(["detail"]) for part in stored for table in part.values()]
    if not tables:
        return []
    rows = pa.concat_tables(tables, promote_options="permissive")
    rows = rows.filter(pc.is_in(pc.binary_join_element_wise(rows["metric"], rows["window"], "|"), keys))
    rows = rows.append_column("detail", pa.nulls(rows.num_rows, pa.string()))
    return signals_of(rows)


def _signals(condition: Condition) -> Iterator[SignalCondition]:
    """Yield the conditions on signals that a condition is made of."""
    match condition:
        case SignalCondition():
            yield condition
        case Not(of):
            yield from _signals(of)
        case All(of) | Any(of) | AtLeast(_, of):
            for part in of:
                yield from _signals(part)


def _limit_of(signal: SignalCondition) -> str | None:
    return next((name for name in LIMITS if getattr(signal, name) is not None), None)


def _limited(condition: Condition, limit: float) -> Condition:
    """Return a condition with another limit wherever it has one."""
    match condition:
        case SignalCondition():
            name = _limit_of(condition)
            return condition if name is None else replace(condition, **{name: limit})  # type: ignore[arg-type]  # all are numbers
        case Not(of):
            return replace(condition, of=_limited(of, limit))
        case AtLeast(k, of):
            return AtLeast(k, tuple(_limited(part, limit) for part in of))
        case All(of) | Any(of):
            return type(condition)(tuple(_limited(part, limit) for part in of))


def _problem(file: str, where: str, message: str, fix: str) -> SettingsError:
    return SettingsError([Problem(file, None, where, message, fix)])

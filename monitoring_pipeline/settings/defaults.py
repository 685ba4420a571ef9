"""The alert rules and retraining triggers of a monitor whose YAML names none.

Add a default rule here, with the runbook page it links. Keep thresholds out: they belong in `judge`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from glob import escape

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.judge.conditions import All, Any, Condition, Not, SignalCondition
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.thresholds import LOWER_IS_BETTER
from monitoring_pipeline.judge.triggers import Trigger
from monitoring_pipeline.judge.verdicts import Level


def default_window(windows: Sequence[str]) -> str:
    """Return the window the default rules watch: a day where there is one, else the shortest beyond the hour.

    An hour is too restless to wake anybody: it is a different population at nine and at three.
    """
    longer = sorted((name for name in windows if window_length(name) > HOUR), key=window_length)
    return "24h" if "24h" in windows else longer[0] if longer else windows[0]


def long_window(windows: Sequence[str]) -> str:
    """Return the window that tells a bad model from one bad day: a week where there is one, else the longest."""
    return "7d" if "7d" in windows else max(windows, key=window_length)


def quiet_hours(window: str) -> int:
    """Return after how many hours without trouble what a window measures has ended: a bad day has good hours."""
    return min(max(round(window_length(window) / HOUR), 3), 24)


FAR_BELOW, FAR_ABOVE = 0.3, 0.5
"""Shares of its baseline by which a day's performance is so much worse that nobody waits for the week to show it."""

WATCHED: Mapping[Task, tuple[str, ...]] = {
    # Not F1: where few are predicted positive it jumps from day to day, and its baseline with the base rate.
    Task.BINARY: ("accuracy", "roc_auc"),
    Task.MULTICLASS: ("accuracy", "f1"),
    Task.REGRESSION: ("mae",),
    Task.RANKING: ("ndcg_at_k", "ctr"),
}
"""Performance metrics by which a model has declined or not."""


def watched_metrics(task: Task, *, score: str | None, prediction: str | None) -> tuple[str, ...]:
    """Return the metrics that a model with these columns has."""
    has = {"accuracy": prediction is not None, "roc_auc": score is not None}
    return tuple(name for name in WATCHED[task] if task is not Task.BINARY or has[name])


def default_rules(
    *,
    window: str,
    long: str,
    features: Sequence[str],
    score: str | None,
    prediction: str | None,
    task: Task = Task.BINARY,
    logged: frozenset[str] = frozenset(),
    business: Sequence[str] = (),
    promised: Collection[str] = (),
    owner: str = "",
) -> tuple[Rule, ...]:
    """Return the rules on drift, performance, quality and serving: drift alone warns, a page needs more.

    What is bad in `window` warns; performance pages unless the `long` one is known to be fine. `logged` names what else
    a monitor knows of its requests: a rule on what nobody measures would be unknown for ever. `business` are the
    metrics of formulas that have limits, `promised` the objectives that a budget is kept of.
    """
    drift = _feature_drift(window, features)
    watched = [f"performance.{name}" for name in watched_metrics(task, score=score, prediction=prediction)]
    worse = _any(*watched, *business, window=window, level=Level.WARNING)
    rules = [
        _rule(
            "feature_drift",
            drift,
            "feature-drift",
            for_=3,
            critical=All((drift, worse)),
            critical_cooldown=4,
            resolve_after=quiet_hours(window),
        ),
        _performance_decline(watched, window, long),
        *([] if score is None else [_score_drift(window, score)]),
        *([_by_level("business_decline", business, window, "business-metric-drop", for_=3)] if business else []),
        *_broken_inputs(),
        *(rule for needed, rule in _serving(window) if needed in logged or not needed),
        *(rule for name, page in BUDGETS.items() if name in promised for rule in _budget(name, page)),
    ]
    return tuple(replace(rule, owner=owner) for rule in rules)


def _broken_inputs() -> tuple[Rule, ...]:
    """Return the rules on inputs that are wrong rather than different: they are known within the hour."""
    changed = _any("skew.changed_meaning", "skew.missing", "skew.retyped", "schema.missing_columns")
    missing = _any("quality.null_rate", "quality.required_null_rate")
    lost = SignalCondition("quality.volume_ratio", "1h", column="", level=Level.CRITICAL)
    bad = _any("quality.quarantined_rate", "quality.invalid_rate", level=Level.WARNING)
    page = Level.CRITICAL
    return (
        _rule("feature_changed_meaning", changed, "feature-drift", cooldown=6, severity=page),
        _rule("data_missing", missing, "feature-drift", cooldown=6, severity=page),
        _rule("traffic_lost", lost, "stale-data", for_=2, cooldown=1, severity=page),
        _rule("bad_rows", bad, "feature-drift", for_=3),
    )


def _serving(window: str) -> tuple[tuple[str, Rule], ...]:
    """Return the rules on serving, on labels that stop and on features that give them away, by what must be logged."""
    slow = _any("operations.latency_p95", "operations.latency_p99", level=Level.WARNING)
    # Known once a day, and the same for all hours of the next. None on slices: with hundreds of them searched, two days
    # of three have one that is worse than it was.
    leaks = SignalCondition("attribution.leakage", "24h", level=Level.CRITICAL)
    silent = SignalCondition("labels.feedback_ratio", window, column="", level=Level.CRITICAL)
    return (
        ("status", _by_level("serving_errors", ["operations.error_rate"], "1h", "error-rate", for_=2, cooldown=1)),
        ("latency", _rule("serving_slow", slow, "high-latency", for_=3, cooldown=0.25)),
        ("sources", _rule("features_stale", _any("freshness.critical_share"), "stale-data", for_=2, cooldown=1)),
        ("", _rule("labels_stopped", silent, "low-accuracy", for_=3)),
        ("", _rule("feature_leaks", leaks, "low-accuracy", cooldown=24, resolve_after=24)),
    )


def _performance_decline(watched: Sequence[str], window: str, long: str) -> Rule:
    """Return the rule that warns of a bad day, and pages unless the week is known to be fine, or the day is far off."""
    good_week = Not(_any(*watched, window=long, level=Level.WARNING))
    bad_day = _any(*watched, window=window)
    far = [
        SignalCondition(metric, window, above_baseline=FAR_ABOVE)
        if metric.removeprefix("performance.") in LOWER_IS_BETTER
        else SignalCondition(metric, window, below_baseline=FAR_BELOW)
        for metric in watched
    ]
    return _rule(
        "performance_decline",
        _any(*watched, window=window, level=Level.WARNING),
        "low-accuracy",
        for_=5,
        cooldown=1,
        critical=Any((bad_day if long == window else All((bad_day, Not(good_week, or_unknown=True))), *far)),
        resolve_after=quiet_hours(window),
    )


BUDGETS: Mapping[str, str] = {
    "availability": "error-rate",
    "latency_p99": "high-latency",
    "fallback": "error-rate",
    "freshness": "stale-data",
}
"""Objectives whose budget alarms by itself, with their runbooks; the others have rules or triggers of their own."""


def _budget(name: str, page: str) -> tuple[Rule, Rule]:
    """Return the rules on a budget: it burns, which cannot wait, or it shrinks.

    One pair for each objective: one that is not known must not keep the incident of another open.
    """

    def burning(level: Level, *windows: str) -> Condition:
        return Any(tuple(SignalCondition("slo.burn_rate", window, name, level=level) for window in windows))

    fast, slow = burning(Level.CRITICAL, "1h", "6h"), burning(Level.WARNING, "24h", "3d")
    return (
        _rule(f"{name}_budget_burns", fast, page, cooldown=1, severity=Level.CRITICAL),
        _rule(f"{name}_budget_shrinks", slow, page, cooldown=12),
    )


def _rule(
    name: str,
    condition: Condition,
    page: str,
    *,
    for_: int = 1,
    cooldown: float = 12,
    severity: Level = Level.WARNING,
    critical: Condition | None = None,
    critical_cooldown: float | None = None,
    resolve_after: int = 3,
) -> Rule:
    """Return a rule with its cooldowns in hours and its runbook by the name of the page."""
    return Rule(
        name,
        condition,
        for_,
        severity,
        timedelta(hours=cooldown),
        resolve_after,
        f"docs/runbooks/{page}.md",
        critical=critical,
        critical_cooldown=None if critical_cooldown is None else timedelta(hours=critical_cooldown),
    )


def _by_level(name: str, metrics: Sequence[str], window: str, page: str, *, for_: int, cooldown: float = 12) -> Rule:
    """Return a rule as severe as the level that one of the metrics has reached for long enough."""
    warning, critical = (_any(*metrics, window=window, level=level) for level in (Level.WARNING, Level.CRITICAL))
    return _rule(name, warning, page, for_=for_, cooldown=cooldown, critical=critical)


def _any(*metrics: str, window: str = "1h", level: Level = Level.CRITICAL) -> Condition:
    return Any(tuple(SignalCondition(metric, window, level=level) for metric in metrics))


def default_triggers(
    *, window: str, features: Sequence[str], prediction: str | None, task: Task = Task.BINARY
) -> tuple[Trigger, ...]:
    """Return the four clauses of retraining: performance, drift, age and new labels."""
    metric = f"performance.{WATCHED[task][0]}"
    if task is Task.BINARY:
        metric = "performance.roc_auc" if prediction is None else "performance.f1"
    worse = (
        SignalCondition(metric, window, level=Level.WARNING)  # what is below a baseline is good news of an error
        if task is Task.REGRESSION
        else SignalCondition(metric, window, below_baseline=0.05)
    )
    return (
        Trigger("performance", worse, 3),
        Trigger("drift", _feature_drift(window, features, above=0.2), 5),
        Trigger("age", SignalCondition("model.age_days", "1h", column="", above=30)),
        Trigger("new_labels", SignalCondition("model.new_labelled_rows", "1h", column="", above=10_000)),
    )


def _feature_drift(window: str, features: Sequence[str], *, above: float | None = None) -> Condition:
    return SignalCondition("drift.psi", window, column=tuple(map(escape, features)), level=Level.WARNING, above=above)


def _score_drift(window: str, score: str) -> Rule:
    condition = SignalCondition("drift.psi", window, column=escape(score), level=Level.WARNING, above=0.15)
    return _rule("score_drift", condition, "prediction-drift", for_=3, cooldown=6, resolve_after=quiet_hours(window))

"""The alert rules and retraining triggers of a monitor whose YAML names none.

Add a default rule here, with the runbook page it links. Keep thresholds out: they belong in `judge`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from glob import escape

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.judge.conditions import All, Any, Condition, SignalCondition
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.triggers import Trigger
from monitoring_pipeline.judge.verdicts import Level


def default_window(windows: Sequence[str]) -> str:
    """Return the window the default rules watch: a day where there is one, else the shortest beyond the hour.

    An hour is too restless to wake anybody: it is a different population at nine and at three.
    """
    longer = sorted((name for name in windows if window_length(name) > HOUR), key=window_length)
    return "24h" if "24h" in windows else longer[0] if longer else windows[0]


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
    features: Sequence[str],
    score: str | None,
    prediction: str | None,
    task: Task = Task.BINARY,
    logged: frozenset[str] = frozenset(),
) -> tuple[Rule, ...]:
    """Return the rules on drift, performance, quality and serving: drift alone warns, a page needs more.

    `logged` names what else a monitor knows of its requests: `status`, `latency`, `sources`. A rule on what nobody logs
    would be unknown for ever.
    """
    drift = _feature_drift(window, features)
    watched = watched_metrics(task, score=score, prediction=prediction)
    declined = _performance(watched, window, Level.WARNING)
    dropped = Any((_performance(watched, window, Level.CRITICAL), All((declined, drift))))
    score_drift = () if score is None else (_score_drift(window, score),)
    return (
        Rule("feature_drift", drift, 3, Level.WARNING, timedelta(hours=12), 3, "docs/runbooks/feature-drift.md"),
        *score_drift,
        Rule("performance_decline", declined, 5, Level.WARNING, timedelta(hours=1), 3, "docs/runbooks/low-accuracy.md"),
        Rule("performance_drop", dropped, 5, Level.CRITICAL, timedelta(hours=1), 3, "docs/runbooks/low-accuracy.md"),
        *_broken_inputs(),
        *(rule for needed, rule in _serving(window) if needed in logged or not needed),
    )


def _broken_inputs() -> tuple[Rule, ...]:
    """Return the rules on inputs that are wrong rather than different: they are known within the hour."""
    changed = _any("skew.changed_meaning", "skew.missing", "skew.retyped", "schema.missing_columns")
    missing = _any("quality.null_rate", "quality.required_null_rate")
    lost = SignalCondition("quality.volume_ratio", "1h", column="", level=Level.CRITICAL)
    bad = _any("quality.quarantined_rate", "quality.invalid_rate", level=Level.WARNING)
    hours, page = timedelta(hours=6), "docs/runbooks/feature-drift.md"
    return (
        Rule("feature_changed_meaning", changed, 1, Level.CRITICAL, hours, 3, page),
        Rule("data_missing", missing, 1, Level.CRITICAL, hours, 3, page),
        Rule("traffic_lost", lost, 1, Level.CRITICAL, timedelta(hours=1), 1, "docs/runbooks/stale-data.md"),
        Rule("bad_rows", bad, 3, Level.WARNING, 2 * hours, 3, page),
    )


def _serving(window: str) -> tuple[tuple[str, Rule], ...]:
    """Return the rules on how requests are served and on whether labels still come, by what must be logged."""
    errors, hour = SignalCondition("operations.error_rate", "1h", column="", level=Level.CRITICAL), timedelta(hours=1)
    slow = _any("operations.latency_p95", "operations.latency_p99", level=Level.WARNING)
    stale = _any("freshness.critical_share")
    silent = SignalCondition("labels.feedback_ratio", window, column="", level=Level.CRITICAL)
    return (
        ("status", Rule("serving_errors", errors, 2, Level.CRITICAL, hour, 3, "docs/runbooks/error-rate.md")),
        ("latency", Rule("serving_slow", slow, 3, Level.WARNING, hour / 4, 3, "docs/runbooks/high-latency.md")),
        ("sources", Rule("features_stale", stale, 2, Level.WARNING, hour, 3, "docs/runbooks/stale-data.md")),
        ("", Rule("labels_stopped", silent, 3, Level.WARNING, 12 * hour, 3, "docs/runbooks/low-accuracy.md")),
    )


def _any(*metrics: str, level: Level = Level.CRITICAL) -> Condition:
    return Any(tuple(SignalCondition(metric, "1h", level=level) for metric in metrics))


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
    return Rule("score_drift", condition, 3, Level.WARNING, timedelta(hours=6), 3, "docs/runbooks/prediction-drift.md")


def _performance(watched: Sequence[str], window: str, level: Level) -> Condition:
    return Any(tuple(SignalCondition(f"performance.{name}", window, level=level) for name in watched))

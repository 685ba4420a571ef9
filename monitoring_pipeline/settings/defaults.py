"""The alert rules and retraining triggers of a monitor whose YAML names none.

Add a default rule here, with the runbook page it links. Keep thresholds out: they belong in `judge.thresholds`.
"""

from collections.abc import Sequence
from datetime import timedelta
from glob import escape

from monitoring_pipeline.capture.windows import HOUR, window_length
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


def default_rules(
    *, window: str, features: Sequence[str], score: str | None, prediction: str | None
) -> tuple[Rule, ...]:
    """Return the rules on drift and performance: drift alone warns, a page needs a breach of performance."""
    drift = _feature_drift(window, features)
    # Not F1: where few are predicted positive it jumps from day to day, and its baseline with the base rate.
    watched = ("accuracy",) * (prediction is not None) + ("roc_auc",) * (score is not None)
    declined = _performance(watched, window, Level.WARNING)
    dropped = Any((_performance(watched, window, Level.CRITICAL), All((declined, drift))))
    score_drift = () if score is None else (_score_drift(window, score),)
    return (
        Rule("feature_drift", drift, 3, Level.WARNING, timedelta(hours=12), 3, "docs/runbooks/feature-drift.md"),
        *score_drift,
        Rule("performance_decline", declined, 5, Level.WARNING, timedelta(hours=1), 3, "docs/runbooks/low-accuracy.md"),
        Rule("performance_drop", dropped, 5, Level.CRITICAL, timedelta(hours=1), 3, "docs/runbooks/low-accuracy.md"),
    )


def default_triggers(*, window: str, features: Sequence[str], prediction: str | None) -> tuple[Trigger, ...]:
    """Return the four clauses of retraining: performance, drift, age and new labels."""
    metric = "performance.roc_auc" if prediction is None else "performance.f1"
    return (
        Trigger("performance", SignalCondition(metric, window, below_baseline=0.05), 3),
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

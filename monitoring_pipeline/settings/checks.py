"""What checks of a monitor's YAML have to know: the metrics there are, and what plain data says of columns and signals.

Add a metric here, or another way to read plain data. What has the wrong type is passed over: it has a problem of its
own. Keep checks out: those of rules and triggers belong in `condition_checks`, all others in `section_checks`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, NamedTuple

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import window_length, window_name
from monitoring_pipeline.describe import distances
from monitoring_pipeline.evaluate.attributions import COMPARED, WAYS
from monitoring_pipeline.evaluate.exact import TESTS as EXACT_TESTS
from monitoring_pipeline.evaluate.multivariate import MultivariatePolicy
from monitoring_pipeline.evaluate.predictive_power import NAMES as PREDICTIVE_POWER
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.judge.thresholds import CONTROL, HIGHER_IS_BETTER, LOWER_IS_BETTER, TEXTBOOK
from monitoring_pipeline.settings.conditions import parse_duration
from monitoring_pipeline.settings.documents import Path
from monitoring_pipeline.settings.sections import Features, Labels

PERFORMANCE = HIGHER_IS_BETTER | LOWER_IS_BETTER

TOGETHER = frozenset(f"multivariate.{name}" for name in MultivariatePolicy().metrics)

ATTRIBUTIONS = frozenset(f"{way}{name}" for way in WAYS.values() for name in ("importance", "change", *COMPARED))

SLICES = frozenset({"performance.worst_slice", "performance.slice_worsened"})
"""Metrics of the slices a search has found, each a segment of its own."""

DAILY_METRICS = frozenset(
    {*TOGETHER, *EXACT_TESTS, *ATTRIBUTIONS, *PREDICTIVE_POWER, *SLICES, "performance.slices_found"}
)
"""Metrics of the sample of a day; conditions see them at every hour of the next one."""

BUDGETS: Mapping[str, frozenset[str]] = {
    "slo.budget_remaining": frozenset({"28d"}),
    "slo.burn_rate": frozenset({"1h", "6h", "24h", "3d"}),
}
"""Metrics of objectives, over windows of their own."""

WITH_LEVELS = frozenset(
    {*TEXTBOOK, *CONTROL, *LIMITS, *TOGETHER, DRIFTED_SHARE, "performance.slice_worsened", *BUDGETS}
    | {f"performance.{name}" for name in PERFORMANCE}
)
"""Metrics that are judged, so that a condition can ask for their level."""

ESTIMATED = (
    *("accuracy", "precision", "recall", "f1", "f1_weighted", "precision_weighted", "roc_auc", "average_precision"),
    *("log_loss", "brier", "positive_rate", "mae", "mse", "rmse"),
)
INFORMATIVE = ("bias", "residual_std", "mean_actual", "mean_prediction", "requests", "item_coverage")
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")
OPERATIONS = (*("requests", "throughput", "peak_throughput", "latency_p50", "fallback_share", "batch_utilisation"),)

REPORTED = frozenset(
    f"{report}.{name}"
    for report, names in {
        "experiment": ("information", "split_p_value", "difference", "lift", "latency_p99", "error_rate"),
        "shadow": (
            *("coverage", "agreement", "kappa", "score_shift", "psi", "ks", "rank_correlation", "drift"),
            *("roc_auc_gain", "log_loss_gain", "mae_gain"),
        ),
    }.items()
    for name in names
)
"""Metrics of two versions side by side. Rules look at the one that serves, so these are reports and no conditions."""

METRICS = frozenset(
    {
        *WITH_LEVELS,
        *REPORTED,
        *DAILY_METRICS,
        *(f"drift.{name}" for name in distances.METRICS),
        *(f"estimate.{name}" for name in ESTIMATED),
        *(f"labels.{name}" for name in ("delay_p50", "delay_p95", "feedback_rate", "repeated_share")),
        *(f"fairness.{name}{kind}" for name in RATES for kind in ("", "_ratio", "_difference")),
        "fairness.equalized_odds_difference",
        "fairness.calibration_gap",
        *(f"operations.{name}" for name in OPERATIONS),
        *(f"freshness.{name}" for name in ("fresh_share", "age_p50", "age_p95", "age_ratio")),
        *(f"quality.{name}_rate" for name in ("bad_type", "infinite", "oversized")),
        "schema.extra_columns",
        "skew.distance",
        "concept.rate_gap",
        *(f"performance.{name}" for name in INFORMATIVE),
        "performance.positive_rate",
        "performance.mean_score",
        "performance.label_coverage",
        "slo.compliance",
        "model.age_days",
        "model.new_labelled_rows",
    }
)
"""Every metric there is; a condition can name all but those that are only reported."""


class Finding(NamedTuple):
    """One thing wrong, and where."""

    path: Path
    message: str
    fix: str


Data = dict[str, Any]

Check = Callable[[Data], Iterator[Finding]]


def section_of(data: Data, *keys: str) -> Data:
    """Return the mapping under some keys, empty where there is none."""
    found: object = data
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def items_of(data: Data, key: str) -> list[tuple[int, Data]]:
    """Return the mappings of a list, with their places."""
    value = data.get(key)
    return [(i, item) for i, item in enumerate(value) if isinstance(item, dict)] if isinstance(value, list) else []


def texts_of(value: object) -> list[tuple[int, str]]:
    """Return the texts of a list, with their places."""
    return [(i, item) for i, item in enumerate(value) if isinstance(item, str)] if isinstance(value, list) else []


def duration_of(section: Data, key: str, default: object) -> timedelta | None:
    """Return a duration, None where something else stands."""
    try:
        return parse_duration(section.get(key, default))
    except ValueError:
        return None


def number_of(section: Data, key: str, default: float) -> float:
    """Return a number, NaN where something else stands."""
    value = section.get(key, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def window_of(name: object) -> str | None:
    """Return the one name of the length of a window, None where it is none."""
    try:
        return window_name(window_length(name)) if isinstance(name, str) else None
    except ValueError:
        return None


def features_of(data: Data) -> Iterator[tuple[Path, str]]:
    """Yield every feature with its place."""
    features = section_of(data, "features")
    for kind in Features.model_fields:
        for index, name in texts_of(features.get(kind)):
            yield ("features", kind, index), name


def roles_of(data: Data) -> dict[str, str]:
    """Return which role a column of the logs has, by column name."""
    columns, labels = section_of(data, "columns"), section_of(data, "labels")
    roles: dict[str, str] = {}
    for entry in fields(LogColumns):
        named = columns.get(entry.name, entry.default)
        for name in named.values() if isinstance(named, dict) else [named]:
            if isinstance(name, str):
                roles[name] = f"columns.{entry.name}"
    actual = labels.get("actual", Labels().actual)
    return roles | ({actual: "labels.actual"} if isinstance(actual, str) else {})


def clauses_of(data: Data) -> Iterator[tuple[Path, Data]]:
    """Yield every rule and trigger."""
    for index, rule in items_of(data, "rules"):
        yield ("rules", index), rule
    for index, trigger in items_of(section_of(data, "retraining"), "triggers"):
        yield ("retraining", "triggers", index), trigger


def conditions_of(data: Data) -> Iterator[tuple[Path, Data]]:
    """Yield every condition of every rule and trigger, and every condition inside it."""
    for path, clause in clauses_of(data):
        for key in ("condition", "critical"):
            yield from _nested(clause.get(key), (*path, key))


def signals_of(data: Data) -> Iterator[tuple[Path, Data]]:
    """Yield every signal of every rule and trigger, however deep."""
    return ((path, condition) for path, condition in conditions_of(data) if "metric" in condition)


def _nested(condition: object, path: Path) -> Iterator[tuple[Path, Data]]:
    """Yield a condition and every condition inside it."""
    if isinstance(condition, dict):
        yield path, condition
        for key in ("all", "any", "of"):
            for index, part in items_of(condition, key):
                yield from _nested(part, (*path, key, index))
        yield from _nested(condition.get("not"), (*path, "not"))

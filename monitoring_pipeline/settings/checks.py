"""Checks of a monitor's YAML that need more than one key: names that must agree, and numbers that must be in order.

Add a check as a function of the plain data that yields findings, and name it in `CHECKS`. They read plain data, not a
Monitor, so that they still speak when other parts of the file are wrong; what has the wrong type they pass over.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import window_length, window_name
from monitoring_pipeline.describe import distances
from monitoring_pipeline.describe.columns import datetime_parts
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.attributions import COMPARED, WAYS
from monitoring_pipeline.evaluate.drift import DEFAULT_METRICS
from monitoring_pipeline.evaluate.exact import TESTS as EXACT_TESTS
from monitoring_pipeline.evaluate.gains import METRICS as GATE_METRICS
from monitoring_pipeline.evaluate.lifecycle import AGE
from monitoring_pipeline.evaluate.multivariate import MultivariatePolicy
from monitoring_pipeline.evaluate.predictive_power import NAMES as PREDICTIVE_POWER
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.judge.thresholds import CONTROL, HIGHER_IS_BETTER, LOWER_IS_BETTER, TEXTBOOK
from monitoring_pipeline.settings.channels import CHANNEL_NAMES
from monitoring_pipeline.settings.conditions import FORMS, LAST_PREDICTIONS, parse_duration
from monitoring_pipeline.settings.defaults import default_triggers
from monitoring_pipeline.settings.documents import Path, looks_secret, strings
from monitoring_pipeline.settings.escalation import unknown_names
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.objectives import Objectives
from monitoring_pipeline.settings.retraining import Retraining
from monitoring_pipeline.settings.sections import (
    BaselineShares,
    Drift,
    Features,
    Labels,
    Period,
    SameHours,
    Trailing,
)

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


def choices(wrong: str, known: Iterable[str]) -> str:
    """Return the fix for a name nobody knows: the nearest one, and all there are."""
    names = sorted(known)
    near = get_close_matches(wrong, names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return f"{guess}Known here: {', '.join(names)}."


def _section(data: Data, *keys: str) -> Data:
    found: object = data
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _items(data: Data, key: str) -> list[tuple[int, Data]]:
    value = data.get(key)
    return [(i, item) for i, item in enumerate(value) if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[tuple[int, str]]:
    return [(i, item) for i, item in enumerate(value) if isinstance(item, str)] if isinstance(value, list) else []


def _duration(section: Data, key: str, default: object) -> timedelta | None:
    try:
        return parse_duration(section.get(key, default))
    except ValueError:
        return None


def _number(section: Data, key: str, default: float) -> float:
    value = section.get(key, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _window(name: object) -> str | None:
    try:
        return window_name(window_length(name)) if isinstance(name, str) else None
    except ValueError:
        return None


def _clauses(data: Data) -> Iterator[tuple[Path, Data]]:
    """Yield every rule and trigger."""
    for index, rule in _items(data, "rules"):
        yield ("rules", index), rule
    for index, trigger in _items(_section(data, "retraining"), "triggers"):
        yield ("retraining", "triggers", index), trigger


def _conditions(data: Data) -> Iterator[tuple[Path, object]]:
    for path, clause in _clauses(data):
        for key in ("condition", "critical"):
            yield (*path, key), clause.get(key)


def _signals(condition: object, path: Path) -> Iterator[tuple[Path, Data]]:
    """Yield every signal of a condition, however deep."""
    if not isinstance(condition, dict):
        return
    if "metric" in condition:
        yield path, condition
    for key in ("all", "any", "of"):
        for index, part in _items(condition, key):
            yield from _signals(part, (*path, key, index))
    yield from _signals(condition.get("not"), (*path, "not"))


def _all_signals(data: Data) -> Iterator[tuple[Path, Data]]:
    for path, condition in _conditions(data):
        yield from _signals(condition, path)


def _feature_names(data: Data) -> Iterator[tuple[Path, str]]:
    features = _section(data, "features")
    for kind in Features.model_fields:
        for index, name in _texts(features.get(kind)):
            yield ("features", kind, index), name


def _role_columns(data: Data) -> dict[str, str]:
    """Return which role a column of the logs has, by column name."""
    columns, labels = _section(data, "columns"), _section(data, "labels")
    roles: dict[str, str] = {}
    for entry in fields(LogColumns):
        named = columns.get(entry.name, entry.default)
        for name in named.values() if isinstance(named, dict) else [named]:
            if isinstance(name, str):
                roles[name] = f"columns.{entry.name}"
    actual = labels.get("actual", Labels().actual)
    return roles | ({actual: "labels.actual"} if isinstance(actual, str) else {})


def _watched_columns(data: Data) -> frozenset[str]:
    """Return the columns signals speak of, stages and sources among them; "" stands for the whole model."""
    served = {name for name, role in _role_columns(data).items() if role in ("columns.score", "columns.prediction")}
    features = {
        each
        for path, name in _feature_names(data)
        for each in ([part for part, _ in datetime_parts(name, aged=True)] if path[1] == "datetime" else [name])
    }
    stages = _section(data, "columns", "latency_ms")
    sources = [name for _, source in _items(_section(data, "freshness"), "sources") if (name := source.get("name"))]
    groups = [name for _, name in _texts(_section(data, "fairness").get("attributes"))]
    pairs = [f"{first} & {second}" for first, second in combinations(groups, 2)]
    promised = Objectives.model_fields
    return frozenset({"", *served, *features, *stages, *map(str, sources), *groups, *pairs, *promised})


def features_are_named_once(data: Data) -> Iterator[Finding]:
    """Every feature is in one list, and is not what the model says or what comes true."""
    seen: dict[str, Path] = {}
    roles = _role_columns(data)
    for path, name in _feature_names(data):
        if name in seen:
            yield Finding(path, f"feature {name!r} is already in {seen[name][1]}.", "Keep it in one list.")
        elif name in roles:
            fix = "A model is not monitored on its own output or label: remove the feature, or correct the role."
            yield Finding(path, f"feature {name!r} is also the column of {roles[name]}.", fix)
        seen.setdefault(name, path)


def something_is_monitored(data: Data) -> Iterator[Finding]:
    """There are inputs and outputs to monitor."""
    features = data.get("features")
    if isinstance(features, dict) and not any(features.get(kind) for kind in Features.model_fields):
        yield Finding(("features",), "names no feature.", "List the model's inputs under numeric or categorical.")
    columns = data.get("columns")
    if isinstance(columns, dict) and columns.get("score", "") is None and columns.get("prediction", "") is None:
        fix = "Log the score, the prediction or both."
        yield Finding(("columns",), "has neither a score nor a prediction: nothing can be judged.", fix)


def signals_exist(data: Data) -> Iterator[Finding]:
    """Conditions speak of metrics, windows, roles and columns that this monitor has."""
    windows = data.get("windows", list(Monitor.model_fields["windows"].default))
    aliases = [alias for _, alias in _texts(data.get("aliases", list(Monitor.model_fields["aliases"].default)))]
    known = {window for _, name in _texts(windows) if (window := _window(name))}
    columns, drift = _watched_columns(data), _section(data, "drift")
    measured = {f"drift.{name}" for _, name in _texts(drift.get("metrics", list(DEFAULT_METRICS)))}
    business, limits = _section(data, "business"), _section(data, "limits")
    judged = (name for name, form in business.items() if isinstance(form, dict) and {"above", "below"} & form.keys())
    banded = {*WITH_LEVELS, *limits, *(f"business.{name}" for name in judged)}
    banded |= {f"drift.{name}" for name in _section(drift, "bands")}
    metrics = METRICS - REPORTED | {f"business.{name}" for name in business}
    last, baselines = f"last_{drift.get('last_predictions')}", _baselines(drift)
    for path, signal in _all_signals(data):
        metric, window, role = signal.get("metric"), _window(signal.get("window", "1h")), signal.get("role")
        if isinstance(metric, str) and metric in REPORTED:
            message = f"{metric} is of two versions side by side, and rules look at the one that serves."
            yield Finding((*path, "metric"), message, "Watch the check of the daily report instead.")
        elif isinstance(metric, str) and metric not in metrics:
            yield Finding((*path, "metric"), f"no metric is called {metric!r}.", choices(metric, metrics))
        elif isinstance(metric, str) and metric.startswith("drift.") and metric not in {*measured, DRIFTED_SHARE}:
            yield Finding((*path, "metric"), f"{metric} is not measured.", "Add it to drift.metrics.")
        elif isinstance(metric, str) and metric not in banded and signal.get("level") is not None:
            fix = "Use above or below instead, or give it a band."
            yield Finding((*path, "level"), f"{metric} has no band, so it is always ok.", fix)
        if LAST_PREDICTIONS.fullmatch(str(signal.get("window"))) and signal["window"] != last:
            fix = "Set drift.last_predictions to that number."
            yield Finding((*path, "window"), f"{signal['window']} is not among this monitor's windows.", fix)
        if isinstance(baseline := signal.get("baseline"), str) and baseline not in baselines:
            fix = choices(baseline, baselines)
            yield Finding((*path, "baseline"), f"{baseline!r} is not among this monitor's baselines.", fix)
        if str(metric).startswith("model.") or metric in CONTROL:
            if window not in ("1h", None):
                yield Finding((*path, "window"), f"{metric} is known hour by hour, not over {window}.", "Write 1h.")
        elif str(metric).startswith("slo."):
            own = BUDGETS.get(str(metric), frozenset({"28d"}))
            if window not in {*own, None}:
                fix = f"Use one of {', '.join(sorted(own, key=window_length))}."
                yield Finding((*path, "window"), f"{metric} is not known over {window}.", fix)
        elif metric in DAILY_METRICS:
            if window not in ("24h", None):
                message = f"{metric} is measured on the sample of a day, not over {window}."
                yield Finding((*path, "window"), message, "Write 24h.")
        elif window is not None and known and window not in known:
            fix = f"Use one of {', '.join(sorted(known, key=window_length))}, or add {window} to windows."
            yield Finding((*path, "window"), f"{window} is not among this monitor's windows.", fix)
        if isinstance(role, str) and role not in aliases:
            yield Finding((*path, "role"), f"{role!r} is not among this monitor's aliases.", choices(role, aliases))
        column = signal.get("column")
        for pattern in [column] if isinstance(column, str) else [name for _, name in _texts(column)]:
            if not any(fnmatchcase(name, pattern) for name in columns):
                fix = choices(pattern, columns - {""})
                yield Finding((*path, "column"), f"{pattern!r} matches no column that is watched.", fix)


def _baselines(drift: Data) -> set[str]:
    """Return the names of what drift is measured against."""
    names = {TRAINING}
    for _, form in _items(drift, "baselines"):
        try:
            names.add(TypeAdapter(Trailing | SameHours | Period).validate_python(form).baseline().name)
        except ValidationError:
            continue  # said where the form itself is checked
    return names


def limits_are_of_metrics(data: Data) -> Iterator[Finding]:
    """Limits are given to metrics that are judged by limits."""
    known = {*LIMITS, "operations.throughput", *(f"business.{name}" for name in _section(data, "business"))}
    for name in _section(data, "limits"):
        if name not in known:
            yield Finding(("limits", name), f"{name!r} is not judged by limits.", choices(name, known))


def classes_are_named(data: Data) -> Iterator[Finding]:
    """A model of several classes says which; a list says what its items are part of."""
    columns = _section(data, "columns")
    if data.get("task") == "multiclass_classification" and not (data.get("classes") or columns.get("probabilities")):
        fix = "Name the column of each class under columns.probabilities, or list the classes under classes."
        yield Finding(("task",), "has classes without names.", fix)
    if data.get("task") == "ranking" and not (columns.get("request") and columns.get("item")):
        fix = "Name the columns that say which list an item was part of, and which item it was."
        yield Finding(("columns",), "lack request or item, without which there are no lists.", fix)


def segments_exist(data: Data) -> Iterator[Finding]:
    """Traffic is cut along features that have categories."""
    features = _section(data, "features")
    known = [name for kind in ("categorical", "boolean") for _, name in _texts(features.get(kind))]
    for index, name in _texts(_section(data, "segments").get("columns")):
        if name not in known:
            path: Path = ("segments", "columns", index)
            yield Finding(path, f"{name!r} is not a categorical or boolean feature.", choices(name, known))


def parts_of_traffic_are_measured(data: Data) -> Iterator[Finding]:
    """Conditions on a segment, a baseline or the last predictions speak of what is measured of it."""
    drift = _section(data, "drift")
    columns = [name for _, name in _texts(_section(data, "segments").get("columns"))]
    measured = {f"drift.{name}" for _, name in _texts(drift.get("segment_metrics", list(Drift().segment_metrics)))}
    for path, signal in _all_signals(data):
        segment, metric = str(signal.get("segment") or ""), signal.get("metric")
        if metric in SLICES:
            if not segment:
                message = f"{metric} is measured of slices, each a segment of its own."
                yield Finding((*path, "metric"), message, "Add segment: '*', or a pattern such as 'carrier=*'.")
        elif segment and not any(fnmatchcase(name, segment.partition("=")[0]) for name in columns):
            fix = "Name its column in segments.columns, and write the segment as column=value."
            yield Finding((*path, "segment"), f"{segment!r} matches no segment.", fix)
        elif segment and metric not in measured:
            fix = "Use a metric of drift.segment_metrics, or add it there."
            yield Finding((*path, "segment"), f"{metric} is not measured per segment.", fix)
        asked = {
            "segment": bool(segment),
            "baseline": signal.get("baseline", TRAINING) != TRAINING,
            "window": LAST_PREDICTIONS.fullmatch(str(signal.get("window"))) is not None,
        }
        together = [key for key, special in asked.items() if special]
        if len(together) > 1:
            message = f"{together[0]} and {together[1]} are not measured together."
            yield Finding((*path, together[0]), message, "Ask for one of the two.")


def names_are_unique(data: Data) -> Iterator[Finding]:
    """Rules have their own names, since an incident is known by its rule's; triggers too."""
    seen: dict[tuple[str | int, object], int] = {}
    for path, clause in _clauses(data):
        name, index = clause.get("name"), int(path[-1])
        first = seen.setdefault((path[0], name), index)
        if isinstance(name, str) and first != index:
            yield Finding((*path, "name"), f"{name!r} is the name of entry {first} too.", "Give each its own name.")


def people_are_known(data: Data) -> Iterator[Finding]:
    """Whoever is named in a schedule or a level stands under on_call."""
    for path, kind, name, known in unknown_names(data):
        yield Finding(path, f"{name!r} is not under on_call.{kind}.", choices(name, known))


def windows_are_named_once(data: Data) -> Iterator[Finding]:
    """No window is computed twice under two names."""
    seen = set()
    for index, name in _texts(data.get("windows")):
        if (window := _window(name)) in seen:
            yield Finding(("windows", index), f"{name} is the same length as an earlier one.", "Remove it.")
        seen.add(window)


def enough_parts_to_choose_from(data: Data) -> Iterator[Finding]:
    """What asks for k of n can be true."""
    retraining = _section(data, "retraining")
    triggers = retraining.get("triggers")
    count = (
        len(triggers)
        if isinstance(triggers, list)
        else len(default_triggers(window="24h", features=("any",), prediction=None))
    )
    wanted = _number(retraining, "at_least", Retraining().at_least)
    if retraining.get("mode", Retraining().mode) == "at_least" and wanted > count > 0:
        fix = f"Ask for at most {count}, or add triggers."
        yield Finding(("retraining", "at_least"), f"asks for {wanted} of {count} triggers: it would never fire.", fix)
    for path, condition in _conditions(data):
        for place, part in _nested(condition, path):
            parts = part.get("of")
            if isinstance(parts, list) and _number(part, "at_least", math.nan) > len(parts):
                message = f"asks for {part['at_least']} of {len(parts)} parts: it is never true."
                yield Finding((*place, "at_least"), message, f"Ask for at most {len(parts)}.")


def _nested(condition: object, path: Path) -> Iterator[tuple[Path, Data]]:
    """Yield a condition and every condition inside it."""
    if isinstance(condition, dict):
        yield path, condition
        for key in ("all", "any", "of"):
            for index, part in _items(condition, key):
                yield from _nested(part, (*path, key, index))
        yield from _nested(condition.get("not"), (*path, "not"))


def challengers_can_be_judged(data: Data) -> Iterator[Finding]:
    """A retraining ends at a gate that knows the task, and compares what the task has."""
    retraining = _section(data, "retraining")
    metrics = GATE_METRICS.get(Task(task)) if (task := data.get("task", Task.BINARY)) in {*Task} else ()
    if metrics is None and retraining.get("trainer") not in (None, "none"):
        fix = "Set it to none: decisions are recorded, and whatever trains the model can read them."
        yield Finding(("retraining", "trainer"), f"there is no gate for {task}.", fix)
    if metrics and "metric" in retraining and retraining["metric"] not in metrics:
        fix = choices(str(retraining["metric"]), metrics)
        yield Finding(("retraining", "metric"), f"a challenger of {task} is not compared by it.", fix)


def drift_alone_pages_nobody(data: Data) -> Iterator[Finding]:
    """A critical rule needs more than changed inputs."""
    fix = "Make it a warning, or combine it under `all` with a performance metric."
    for index, rule in _items(data, "rules"):
        alone = [] if rule.get("severity") not in ("critical", "by_level") else [("severity", rule.get("condition"))]
        for key, condition in [*alone, ("critical", rule.get("critical"))]:
            if _true_by_drift_alone(condition):
                yield Finding(("rules", index, key), "drift alone may be harmless and must not page.", fix)


def _true_by_drift_alone(condition: object) -> bool:
    """Whether a condition can hold while nothing but the inputs is known to have changed."""
    if not isinstance(condition, dict) or not any(tag[1:-1] in condition for tag in FORMS if tag != "<signal>"):
        reports = ("drift.", "multivariate.", "exact.")
        return isinstance(condition, dict) and str(condition.get("metric")).startswith(reports)
    if "not" in condition:
        return True  # that performance is fine is no breach
    parts = [_true_by_drift_alone(part) for key in ("all", "any", "of") for _, part in _items(condition, key)]
    needed = 1 if "any" in condition else len(parts) if "all" in condition else _number(condition, "at_least", math.inf)
    return bool(parts) and sum(parts) >= needed


def numbers_are_in_order(data: Data) -> Iterator[Finding]:
    """Warnings come before critical levels, and lengths fit into each other."""
    retraining, performance = (_section(data, key) for key in ("retraining", "performance"))
    holdout = _duration(retraining, "holdout", Retraining().holdout)
    training = _duration(retraining, "training_window", Retraining().training_window)
    if holdout and training and holdout >= training:
        fix = "Shorten holdout or lengthen training_window."
        yield Finding(("retraining", "holdout"), "leaves nothing of retraining.training_window to train on.", fix)
    baseline = _section(performance, "baseline")
    if _number(baseline, "warning", BaselineShares().warning) > _number(
        baseline, "critical", BaselineShares().critical
    ):
        fix = "Let warning be the smaller share."
        yield Finding(("performance", "baseline"), "is critical before it warns.", fix)
    places = [("drift", "bands", key) for key in _section(data, "drift", "bands")]
    places += [("performance", "floors", key) for key in _section(performance, "floors")]
    for place in places:
        band, direction = _section(data, *place), "below" if place[-1] in HIGHER_IS_BETTER else "above"
        step = _number(band, "critical", math.nan) - _number(band, "warning", math.nan)
        if step < 0 if direction == "above" else step > 0:
            fix = f"The further {direction}, the worse: swap the two."
            yield Finding(place, "is critical before it warns.", fix)


def routes_lead_somewhere(data: Data) -> Iterator[Finding]:
    """Every channel that a route or an escalation leads to is described."""
    notifications = _section(data, "notifications")
    routes = _section(notifications, "routes").items()
    told: list[tuple[Path, object]] = [(("notifications", "routes", severity), names) for severity, names in routes]
    for index, level in _items(_section(data, "escalation"), "levels"):
        told.append((("escalation", "levels", index, "channels"), level.get("channels")))
    for place, names in told:
        for index, name in _texts(names):
            if name not in CHANNEL_NAMES and place[0] == "escalation":
                yield Finding((*place, index), f"no channel is called {name!r}.", choices(name, CHANNEL_NAMES))
            elif name in CHANNEL_NAMES and name != "console" and notifications.get(name) is None:
                fix = f"Add notifications.{name}, or leave it out here."
                yield Finding((*place, index), f"no {name} channel is described.", fix)


def promises_are_measured(data: Data) -> Iterator[Finding]:
    """What is promised by name can be told from the log, or it would never be broken."""
    promised, columns = _section(data, "objectives"), _section(data, "columns")
    stages = _section(columns, "latency_ms")
    triggers = _section(data, "retraining").get("triggers")
    ages = (signal.get("metric") == AGE for path, signal in _all_signals(data) if path[0] == "retraining")
    needed = {
        "availability": (columns.get("status"), "Name the column with the status of a request in columns.status"),
        "latency_p99": (stages, "Name the columns with latencies in columns.latency_ms"),
        "fallback": (columns.get("served_by"), "Name the column that says who answered in columns.served_by"),
        "freshness": (_section(data, "freshness").get("sources"), "Describe the sources in freshness.sources"),
        "model_age": (
            triggers is None or any(ages) or _section(promised, "model_age").get("below_days"),
            "Say how old it may be in below_days",
        ),
        "fairness": (_section(data, "fairness").get("attributes"), "Name the attributes in fairness.attributes"),
    }
    for name, (there, fix) in needed.items():
        if isinstance(promised.get(name), dict) and not there:
            yield Finding(
                ("objectives", name), "is promised, and nothing measures it.", f"{fix}, or leave it out here."
            )
    stage, metric = _section(promised, "latency_p99").get("stage"), _section(promised, "performance").get("metric")
    if isinstance(stage, str) and stages and stage not in stages:
        place: Path = ("objectives", "latency_p99", "stage")
        yield Finding(place, f"{stage!r} is not under columns.latency_ms.", choices(stage, stages))
    if isinstance(metric, str) and metric not in PERFORMANCE:
        place = ("objectives", "performance", "metric")
        yield Finding(place, f"{metric!r} is no metric of performance that is judged.", choices(metric, PERFORMANCE))


def secrets_stay_outside(data: Data) -> Iterator[Finding]:
    """No token, key or password stands in the file."""
    for path, text in strings(data):
        if looks_secret(text):
            fix = "Put it in an environment variable, name that variable here (token_env), and revoke the secret."
            yield Finding(path, "holds a secret, and this file is not a safe place for one.", fix)


def personal_data_is_not_needed(data: Data) -> Iterator[Finding]:
    """What is dropped or hashed is of no use to whatever needs it as it is."""
    asked, roles = _section(data, "privacy"), _role_columns(data)
    kinds = {name: path[1] for path, name in _feature_names(data)}
    as_it_is = {role for role in roles.values() if role.removeprefix("columns.") not in _NAMES}
    learnt = _section(data, "retraining").get("trainer", "refit") != "none"
    measured = _section(data, "attributions").get("enabled") is True
    texts = (text for path, text in strings(data) if path[0] in _LOOK_AT_ROWS)
    watched = {*roles, *(name for text in texts for name in (text, *re.findall(r"\w+", text)))}
    seen: dict[str, str] = {}
    for way in ("hash", "drop", "redact_categories"):
        for index, name in _texts(asked.get(way)):
            place: Path = ("privacy", way, index)
            if name in seen:
                yield Finding(place, f"{name!r} is already under {seen[name]}.", "Keep it in one list.")
            elif way == "drop" and name in watched:
                yield Finding(place, f"{name!r} is watched, so it cannot be dropped.", "Hash it, or watch it no more.")
            elif name in kinds and kinds[name] != "categorical":
                fix = "Only names can be digests: drop it and watch it no more, or let it be."
                yield Finding(place, f"{name!r} is a {kinds[name]} feature.", fix)
            elif roles.get(name) in as_it_is or (way == "redact_categories" and name in roles):
                fix = "Ids and entities can be hashed; times, outputs and labels are needed as they are."
                yield Finding(place, f"{name!r} is the column of {roles[name]}.", fix)
            elif way == "hash" and name in kinds and learnt:
                fix = "Put it under redact_categories, or set retraining.trainer to none."
                yield Finding(place, f"{name!r} is a feature, and challengers would learn digests of it.", fix)
            elif name in kinds and measured:
                fix = "Set attributions.enabled to false: the model would be shown digests."
                yield Finding(place, f"{name!r} is a feature whose importance is measured.", fix)
            seen.setdefault(name, way)


def databases_see_rows_as_they_are(data: Data) -> Iterator[Finding]:
    """A database describes the rows it has, and no others."""
    if _section(data, "engine").get("kind") != "sql":
        return
    if _section(data, "log").get("kind") != "sql":
        yield Finding(("engine", "kind"), "sql counts in the table of a log of kind sql.", "Name it under log.")
    for way in ("hash", "drop", "redact_categories"):
        if _texts(_section(data, "privacy").get(way)):
            fix = "Choose engine: {kind: local}, or name a view without these values under log."
            yield Finding(("privacy", way), "cannot be kept by a database that describes its rows itself.", fix)


_NAMES = frozenset({"prediction_id", "entity", "request", "item"})
"""Roles of columns whose values are only compared with each other."""


_LOOK_AT_ROWS = frozenset({"features", "segments", "fairness", "freshness", "business", "experiments", "slices"})
"""Sections whose texts are names of columns, or formulas of them."""


Check = Callable[[Data], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    something_is_monitored,
    features_are_named_once,
    windows_are_named_once,
    classes_are_named,
    limits_are_of_metrics,
    signals_exist,
    segments_exist,
    parts_of_traffic_are_measured,
    names_are_unique,
    enough_parts_to_choose_from,
    challengers_can_be_judged,
    drift_alone_pages_nobody,
    numbers_are_in_order,
    people_are_known,
    routes_lead_somewhere,
    promises_are_measured,
    personal_data_is_not_needed,
    databases_see_rows_as_they_are,
    secrets_stay_outside,
)

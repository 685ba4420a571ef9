"""Checks of rules and triggers: the signals their conditions name exist, and what they ask for can be true.

Add a check as a function of the plain data that yields findings, and name it in `CHECKS`. They read plain data, not a
Monitor, so that they still speak when other parts of the file are wrong. Keep checks of other sections out: they belong
in `section_checks`.
"""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import combinations

from pydantic import TypeAdapter, ValidationError

from monitoring_pipeline.capture.windows import window_length
from monitoring_pipeline.describe.columns import datetime_parts
from monitoring_pipeline.evaluate.drift import DEFAULT_METRICS
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.thresholds import CONTROL
from monitoring_pipeline.settings.checks import (
    BUDGETS,
    DAILY_METRICS,
    METRICS,
    REPORTED,
    SLICES,
    WITH_LEVELS,
    Check,
    Data,
    Finding,
    clauses_of,
    conditions_of,
    features_of,
    items_of,
    number_of,
    roles_of,
    section_of,
    signals_of,
    texts_of,
    window_of,
)
from monitoring_pipeline.settings.conditions import FORMS, LAST_PREDICTIONS, choices
from monitoring_pipeline.settings.defaults import default_triggers
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.objectives import Objectives
from monitoring_pipeline.settings.retraining import Retraining
from monitoring_pipeline.settings.sections import Drift, Period, SameHours, Trailing


def signals_exist(data: Data) -> Iterator[Finding]:
    """Conditions speak of metrics, windows, roles and columns that this monitor has."""
    windows = data.get("windows", list(Monitor.model_fields["windows"].default))
    aliases = [alias for _, alias in texts_of(data.get("aliases", list(Monitor.model_fields["aliases"].default)))]
    known = {window for _, name in texts_of(windows) if (window := window_of(name))}
    columns, drift = _watched_columns(data), section_of(data, "drift")
    measured = {f"drift.{name}" for _, name in texts_of(drift.get("metrics", list(DEFAULT_METRICS)))}
    business, limits = section_of(data, "business"), section_of(data, "limits")
    judged = (name for name, form in business.items() if isinstance(form, dict) and {"above", "below"} & form.keys())
    banded = {*WITH_LEVELS, *limits, *(f"business.{name}" for name in judged)}
    banded |= {f"drift.{name}" for name in section_of(drift, "bands")}
    metrics = METRICS - REPORTED | {f"business.{name}" for name in business}
    last, baselines = f"last_{drift.get('last_predictions')}", _baselines(drift)
    for path, signal in signals_of(data):
        metric, window, role = signal.get("metric"), window_of(signal.get("window", "1h")), signal.get("role")
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
        for pattern in [column] if isinstance(column, str) else [name for _, name in texts_of(column)]:
            if not any(fnmatchcase(name, pattern) for name in columns):
                fix = choices(pattern, columns - {""})
                yield Finding((*path, "column"), f"{pattern!r} matches no column that is watched.", fix)


def _baselines(drift: Data) -> set[str]:
    """Return the names of what drift is measured against."""
    names = {TRAINING}
    for _, form in items_of(drift, "baselines"):
        try:
            names.add(TypeAdapter(Trailing | SameHours | Period).validate_python(form).baseline().name)
        except ValidationError:
            continue  # said where the form itself is checked
    return names


def _watched_columns(data: Data) -> frozenset[str]:
    """Return the columns signals speak of, stages and sources among them; "" stands for the whole model."""
    served = {name for name, role in roles_of(data).items() if role in ("columns.score", "columns.prediction")}
    features = {
        each
        for path, name in features_of(data)
        for each in ([part for part, _ in datetime_parts(name, aged=True)] if path[1] == "datetime" else [name])
    }
    stages = section_of(data, "columns", "latency_ms")
    sources = [name for _, source in items_of(section_of(data, "freshness"), "sources") if (name := source.get("name"))]
    groups = [name for _, name in texts_of(section_of(data, "fairness").get("attributes"))]
    pairs = [f"{first} & {second}" for first, second in combinations(groups, 2)]
    promised = Objectives.model_fields
    return frozenset({"", *served, *features, *stages, *map(str, sources), *groups, *pairs, *promised})


def parts_of_traffic_are_measured(data: Data) -> Iterator[Finding]:
    """Conditions on a segment, a baseline or the last predictions speak of what is measured of it."""
    drift = section_of(data, "drift")
    columns = [name for _, name in texts_of(section_of(data, "segments").get("columns"))]
    measured = {f"drift.{name}" for _, name in texts_of(drift.get("segment_metrics", list(Drift().segment_metrics)))}
    for path, signal in signals_of(data):
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
    for path, clause in clauses_of(data):
        name, index = clause.get("name"), int(path[-1])
        first = seen.setdefault((path[0], name), index)
        if isinstance(name, str) and first != index:
            yield Finding((*path, "name"), f"{name!r} is the name of entry {first} too.", "Give each its own name.")


def enough_parts_to_choose_from(data: Data) -> Iterator[Finding]:
    """What asks for k of n can be true."""
    retraining = section_of(data, "retraining")
    triggers = retraining.get("triggers")
    count = (
        len(triggers)
        if isinstance(triggers, list)
        else len(default_triggers(window="24h", features=("any",), prediction=None))
    )
    wanted = number_of(retraining, "at_least", Retraining().at_least)
    if retraining.get("mode", Retraining().mode) == "at_least" and wanted > count > 0:
        fix = f"Ask for at most {count}, or add triggers."
        yield Finding(("retraining", "at_least"), f"asks for {wanted} of {count} triggers: it would never fire.", fix)
    for path, condition in conditions_of(data):
        parts = condition.get("of")
        if isinstance(parts, list) and number_of(condition, "at_least", math.nan) > len(parts):
            message = f"asks for {condition['at_least']} of {len(parts)} parts: it is never true."
            yield Finding((*path, "at_least"), message, f"Ask for at most {len(parts)}.")


def drift_alone_pages_nobody(data: Data) -> Iterator[Finding]:
    """A critical rule needs more than changed inputs."""
    fix = "Make it a warning, or combine it under `all` with a performance metric."
    for index, rule in items_of(data, "rules"):
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
    parts = [_true_by_drift_alone(part) for key in ("all", "any", "of") for _, part in items_of(condition, key)]
    needed = (
        1 if "any" in condition else len(parts) if "all" in condition else number_of(condition, "at_least", math.inf)
    )
    return bool(parts) and sum(parts) >= needed


CHECKS: tuple[Check, ...] = (
    signals_exist,
    parts_of_traffic_are_measured,
    names_are_unique,
    enough_parts_to_choose_from,
    drift_alone_pages_nobody,
)

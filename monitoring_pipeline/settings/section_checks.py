"""Checks of the sections of a monitor's YAML: names that must agree, and numbers that must be in order.

Add a check as a function of the plain data that yields findings, and name it in `CHECKS`. They read plain data, not a
Monitor, so that they still speak when other parts of the file are wrong. Keep checks of rules and triggers out: they
belong in `condition_checks`.
"""

import math
import re
from collections.abc import Iterator

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.gains import METRICS as GATE_METRICS
from monitoring_pipeline.evaluate.lifecycle import AGE
from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER
from monitoring_pipeline.settings.channels import CHANNEL_NAMES
from monitoring_pipeline.settings.checks import (
    PERFORMANCE,
    Check,
    Data,
    Finding,
    duration_of,
    features_of,
    items_of,
    number_of,
    roles_of,
    section_of,
    signals_of,
    texts_of,
    window_of,
)
from monitoring_pipeline.settings.conditions import choices
from monitoring_pipeline.settings.documents import Path, looks_secret, strings
from monitoring_pipeline.settings.retraining import Retraining
from monitoring_pipeline.settings.sections import BaselineShares, Features

_NAMES = frozenset({"prediction_id", "entity", "request", "item"})
"""Roles of columns whose values are only compared with each other."""

_LOOK_AT_ROWS = frozenset({"features", "segments", "fairness", "freshness", "business", "experiments", "slices"})
"""Sections whose texts are names of columns, or formulas of them."""


def something_is_monitored(data: Data) -> Iterator[Finding]:
    """There are inputs and outputs to monitor."""
    features = data.get("features")
    if isinstance(features, dict) and not any(features.get(kind) for kind in Features.model_fields):
        yield Finding(("features",), "names no feature.", "List the model's inputs under numeric or categorical.")
    columns = data.get("columns")
    if isinstance(columns, dict) and columns.get("score", "") is None and columns.get("prediction", "") is None:
        fix = "Log the score, the prediction or both."
        yield Finding(("columns",), "has neither a score nor a prediction: nothing can be judged.", fix)


def features_are_named_once(data: Data) -> Iterator[Finding]:
    """Every feature is in one list, and is not what the model says or what comes true."""
    seen: dict[str, Path] = {}
    roles = roles_of(data)
    for path, name in features_of(data):
        if name in seen:
            yield Finding(path, f"feature {name!r} is already in {seen[name][1]}.", "Keep it in one list.")
        elif name in roles:
            fix = "A model is not monitored on its own output or label: remove the feature, or correct the role."
            yield Finding(path, f"feature {name!r} is also the column of {roles[name]}.", fix)
        seen.setdefault(name, path)


def windows_are_named_once(data: Data) -> Iterator[Finding]:
    """No window is computed twice under two names."""
    seen = set()
    for index, name in texts_of(data.get("windows")):
        if (window := window_of(name)) in seen:
            yield Finding(("windows", index), f"{name} is the same length as an earlier one.", "Remove it.")
        seen.add(window)


def classes_are_named(data: Data) -> Iterator[Finding]:
    """A model of several classes says which; a list says what its items are part of."""
    columns = section_of(data, "columns")
    if data.get("task") == "multiclass_classification" and not (data.get("classes") or columns.get("probabilities")):
        fix = "Name the column of each class under columns.probabilities, or list the classes under classes."
        yield Finding(("task",), "has classes without names.", fix)
    if data.get("task") == "ranking" and not (columns.get("request") and columns.get("item")):
        fix = "Name the columns that say which list an item was part of, and which item it was."
        yield Finding(("columns",), "lack request or item, without which there are no lists.", fix)


def limits_are_of_metrics(data: Data) -> Iterator[Finding]:
    """Limits are given to metrics that are judged by limits."""
    known = {*LIMITS, "operations.throughput", *(f"business.{name}" for name in section_of(data, "business"))}
    for name in section_of(data, "limits"):
        if name not in known:
            yield Finding(("limits", name), f"{name!r} is not judged by limits.", choices(name, known))


def segments_exist(data: Data) -> Iterator[Finding]:
    """Traffic is cut along features that have categories."""
    features = section_of(data, "features")
    known = [name for kind in ("categorical", "boolean") for _, name in texts_of(features.get(kind))]
    for index, name in texts_of(section_of(data, "segments").get("columns")):
        if name not in known:
            path: Path = ("segments", "columns", index)
            yield Finding(path, f"{name!r} is not a categorical or boolean feature.", choices(name, known))


def challengers_can_be_judged(data: Data) -> Iterator[Finding]:
    """A retraining ends at a gate that knows the task, and compares what the task has."""
    retraining = section_of(data, "retraining")
    metrics = GATE_METRICS.get(Task(task)) if (task := data.get("task", Task.BINARY)) in {*Task} else ()
    if metrics is None and retraining.get("trainer") not in (None, "none"):
        fix = "Set it to none: decisions are recorded, and whatever trains the model can read them."
        yield Finding(("retraining", "trainer"), f"there is no gate for {task}.", fix)
    if metrics and "metric" in retraining and retraining["metric"] not in metrics:
        fix = choices(str(retraining["metric"]), metrics)
        yield Finding(("retraining", "metric"), f"a challenger of {task} is not compared by it.", fix)


def numbers_are_in_order(data: Data) -> Iterator[Finding]:
    """Warnings come before critical levels, and lengths fit into each other."""
    retraining, performance = (section_of(data, key) for key in ("retraining", "performance"))
    holdout = duration_of(retraining, "holdout", Retraining().holdout)
    training = duration_of(retraining, "training_window", Retraining().training_window)
    if holdout and training and holdout >= training:
        fix = "Shorten holdout or lengthen training_window."
        yield Finding(("retraining", "holdout"), "leaves nothing of retraining.training_window to train on.", fix)
    baseline = section_of(performance, "baseline")
    if number_of(baseline, "warning", BaselineShares().warning) > number_of(
        baseline, "critical", BaselineShares().critical
    ):
        fix = "Let warning be the smaller share."
        yield Finding(("performance", "baseline"), "is critical before it warns.", fix)
    places = [("drift", "bands", key) for key in section_of(data, "drift", "bands")]
    places += [("performance", "floors", key) for key in section_of(performance, "floors")]
    for place in places:
        band, direction = section_of(data, *place), "below" if place[-1] in HIGHER_IS_BETTER else "above"
        step = number_of(band, "critical", math.nan) - number_of(band, "warning", math.nan)
        if step < 0 if direction == "above" else step > 0:
            fix = f"The further {direction}, the worse: swap the two."
            yield Finding(place, "is critical before it warns.", fix)


def routes_lead_somewhere(data: Data) -> Iterator[Finding]:
    """Every channel that a route or an escalation leads to is described."""
    notifications = section_of(data, "notifications")
    routes = section_of(notifications, "routes").items()
    told: list[tuple[Path, object]] = [(("notifications", "routes", severity), names) for severity, names in routes]
    for index, level in items_of(section_of(data, "escalation"), "levels"):
        told.append((("escalation", "levels", index, "channels"), level.get("channels")))
    for place, names in told:
        for index, name in texts_of(names):
            if name not in CHANNEL_NAMES and place[0] == "escalation":
                yield Finding((*place, index), f"no channel is called {name!r}.", choices(name, CHANNEL_NAMES))
            elif name in CHANNEL_NAMES and name != "console" and notifications.get(name) is None:
                fix = f"Add notifications.{name}, or leave it out here."
                yield Finding((*place, index), f"no {name} channel is described.", fix)


def promises_are_measured(data: Data) -> Iterator[Finding]:
    """What is promised by name can be told from the log, or it would never be broken."""
    promised, columns = section_of(data, "objectives"), section_of(data, "columns")
    stages = section_of(columns, "latency_ms")
    triggers = section_of(data, "retraining").get("triggers")
    ages = (signal.get("metric") == AGE for path, signal in signals_of(data) if path[0] == "retraining")
    needed = {
        "availability": (columns.get("status"), "Name the column with the status of a request in columns.status"),
        "latency_p99": (stages, "Name the columns with latencies in columns.latency_ms"),
        "fallback": (columns.get("served_by"), "Name the column that says who answered in columns.served_by"),
        "freshness": (section_of(data, "freshness").get("sources"), "Describe the sources in freshness.sources"),
        "model_age": (
            triggers is None or any(ages) or section_of(promised, "model_age").get("below_days"),
            "Say how old it may be in below_days",
        ),
        "fairness": (section_of(data, "fairness").get("attributes"), "Name the attributes in fairness.attributes"),
    }
    for name, (there, fix) in needed.items():
        if isinstance(promised.get(name), dict) and not there:
            yield Finding(
                ("objectives", name), "is promised, and nothing measures it.", f"{fix}, or leave it out here."
            )
    stage, metric = section_of(promised, "latency_p99").get("stage"), section_of(promised, "performance").get("metric")
    if isinstance(stage, str) and stages and stage not in stages:
        place: Path = ("objectives", "latency_p99", "stage")
        yield Finding(place, f"{stage!r} is not under columns.latency_ms.", choices(stage, stages))
    if isinstance(metric, str) and metric not in PERFORMANCE:
        place = ("objectives", "performance", "metric")
        yield Finding(place, f"{metric!r} is no metric of performance that is judged.", choices(metric, PERFORMANCE))


def personal_data_is_not_needed(data: Data) -> Iterator[Finding]:
    """What is dropped or hashed is of no use to whatever needs it as it is."""
    asked, roles = section_of(data, "privacy"), roles_of(data)
    kinds = {name: path[1] for path, name in features_of(data)}
    as_it_is = {role for role in roles.values() if role.removeprefix("columns.") not in _NAMES}
    learnt = section_of(data, "retraining").get("trainer", "refit") != "none"
    measured = section_of(data, "attributions").get("enabled") is True
    texts = (text for path, text in strings(data) if path[0] in _LOOK_AT_ROWS)
    watched = {*roles, *(name for text in texts for name in (text, *re.findall(r"\w+", text)))}
    seen: dict[str, str] = {}
    for way in ("hash", "drop", "redact_categories"):
        for index, name in texts_of(asked.get(way)):
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
    if section_of(data, "engine").get("kind") != "sql":
        return
    if section_of(data, "log").get("kind") != "sql":
        yield Finding(("engine", "kind"), "sql counts in the table of a log of kind sql.", "Name it under log.")
    for way in ("hash", "drop", "redact_categories"):
        if texts_of(section_of(data, "privacy").get(way)):
            fix = "Choose engine: {kind: local}, or name a view without these values under log."
            yield Finding(("privacy", way), "cannot be kept by a database that describes its rows itself.", fix)


def secrets_stay_outside(data: Data) -> Iterator[Finding]:
    """No token, key or password stands in the file."""
    for path, text in strings(data):
        if looks_secret(text):
            fix = "Put it in an environment variable, name that variable here (token_env), and revoke the secret."
            yield Finding(path, "holds a secret, and this file is not a safe place for one.", fix)


def people_are_known(data: Data) -> Iterator[Finding]:
    """Whoever is named in a schedule or a level stands under on_call."""
    named: list[tuple[Path, str, object]] = []
    for rota, form in section_of(data, "on_call", "schedules").items():
        place: Path = ("on_call", "schedules", rota)
        own = form if isinstance(form, dict) else {}
        named += [((*place, "people", index), "people", name) for index, name in texts_of(own.get("people"))]
        for index, override in items_of(own, "overrides"):
            named.append(((*place, "overrides", index, "person"), "people", override.get("person")))
    for index, level in items_of(section_of(data, "escalation"), "levels"):
        place = ("escalation", "levels", index)
        named += [((*place, "people", at), "people", name) for at, name in texts_of(level.get("people"))]
        named.append(((*place, "schedule"), "schedules", level.get("schedule")))
    for path, kind, name in named:
        known = section_of(data, "on_call", kind)
        if isinstance(name, str) and name not in known:
            yield Finding(path, f"{name!r} is not under on_call.{kind}.", choices(name, known))


CHECKS: tuple[Check, ...] = (
    something_is_monitored,
    features_are_named_once,
    windows_are_named_once,
    classes_are_named,
    limits_are_of_metrics,
    segments_exist,
    challengers_can_be_judged,
    numbers_are_in_order,
    routes_lead_somewhere,
    promises_are_measured,
    personal_data_is_not_needed,
    databases_see_rows_as_they_are,
    people_are_known,
    secrets_stay_outside,
)

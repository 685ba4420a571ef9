"""What the stores hold of every model, as named metrics: a value for every combination of labels.

A signal `<report>.<metric>` is exported as `<report>_<metric>_<unit>`. What is unknown has no series, and is counted by
its reason: a number would read as healthy. Add a metric to `HELP`, one of single features to `FEATURE_METRICS`, a
report whose columns are no features to `COLUMN_LABELS`. Keep formats out (exposition, sinks), and files and databases.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan
from typing import NamedTuple

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.verdicts import Level

MOST_FEATURES = 200
"""Features of one version that are exported; of more than that, the worst."""

FEATURE_METRICS = ("drift.psi", "drift.js", "drift.ks", "quality.null_rate")
"""What is exported of every single column; other metrics of columns stay in the stores."""

COLUMN_LABELS = {"slo": "objective", "operations": "stage", "freshness": "source"}
"""What the column of a signal is, in reports where it is no feature."""

SECONDS_A_DAY = 86_400

HELP = {
    "exporter_source_up": "Whether a source could be read: what it knows has no series while it is 0.",
    "feature_mean": "Mean of a numeric column in the newest evaluated hour.",
    "gpu_memory_used_ratio": "Memory of a GPU in use.",
    "gpu_used_ratio": "Share of the time in which a GPU was at work, as its driver counts.",
    "host_connections": "Sockets of TCP and UDP, listening ones among them.",
    "host_cpu_used_ratio": "Share of the CPU in use since the last reading, all cores together.",
    "host_disk_used_ratio": "Disk in use, of the one that holds the state of the deployment.",
    "host_memory_used_ratio": "Memory that is not available.",
    "host_network_received_bytes_total": "Bytes received by all interfaces.",
    "host_network_sent_bytes_total": "Bytes sent by all interfaces.",
    "host_processes": "Processes of the machine.",
    "incident_opened_timestamp_seconds": "When an incident was opened that still is.",
    "incidents_open": "Incidents that are open.",
    "model_deployed_timestamp_seconds": "When a promotion or a rollback made a version the champion, the newest ones.",
    "monitor_config_changed_timestamp_seconds": "When the YAML file of a monitor was last changed.",
    "monitor_end_timestamp_seconds": "When monitoring of a model ends, or ended: no newer hour is expected.",
    "monitor_features_not_exported": f"Features beyond the {MOST_FEATURES} worst, which have no series.",
    "monitor_last_evaluated_timestamp_seconds": "End of the newest evaluated hour, 0 if there is none.",
    "monitor_model_info": "Versions that the newest evaluated hour tells of.",
    "monitor_served_rows": "Predictions in the log of the newest evaluated hour.",
    "monitor_unknown_signals": "Signals without a value, and so without a series, by the reason.",
    "monitor_verdicts": "Verdicts of the newest evaluated hour, segments and all baselines among them.",
    "outbox_messages": "Messages that wait to be sent, and those that were given up.",
    "pipeline_build_info": "The version of the pipeline that exports this.",
    "registry_alias_info": "The version an alias points to.",
    "retraining_decisions_total": "Hours in which retraining was decided about: fired, or why not.",
    "retraining_episodes": "Retrainings and rollbacks on record, by where they stand.",
    "retraining_finished_timestamp_seconds": "When a retraining last came to this end.",
    "retraining_last_decided_timestamp_seconds": "End of the newest hour in which retraining was decided about.",
    "service_last_checked_timestamp_seconds": "When a service was last asked how it is.",
    "service_level": "How a service was when it was last asked: 0 ok, 1 warning, 2 critical.",
}
"""Every metric but the signals. What ends in `_total` is a counter, all else a gauge."""

_SUFFIXES = {"s": "seconds", "d": "seconds", "1/s": "per_second", "row": "rows", "nat": "nats", "sd": "sd"}

Labels = tuple[tuple[str, str], ...]


class Measured(NamedTuple):
    """What is exported of a verdict and its signal."""

    metric: str
    version: str
    window: str
    column: str
    unit: str
    value: float | None
    absence: str | None
    level: str


@dataclass(frozen=True, slots=True)
class NewestHour:
    """A model's newest judged hour: signals of all traffic, rows served by version, means by version and column.

    `levels` counts all its verdicts, by version, report and level.
    """

    model: str
    hour: datetime
    signals: Sequence[Measured]
    served: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[tuple[str, str], float] = field(default_factory=dict)
    levels: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """What the state database knows, by model: incidents that are open, by severity and id, and when they were opened.

    Decisions by outcome and the newest hour decided; episodes by status, retrainings by the moment they last came to
    an end; when versions became the champion, by version and what made them it. Messages by where they stand.
    """

    opened: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)
    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    decided: Mapping[str, datetime] = field(default_factory=dict)
    episodes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    finished: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    deployed: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)
    messages: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Family:
    """One metric: a value for every combination of labels."""

    help: str
    samples: dict[Labels, float] = field(default_factory=dict)


class Families(dict[str, Family]):
    """Metrics by their names."""

    def add(self, name: str, value: float, /, **labels: str) -> None:
        """Set the value of some labels; a label that says nothing is left out."""
        if name not in self:
            self[name] = Family(HELP[name])
        self[name].samples[tuple((label, text) for label, text in labels.items() if text)] = value


def families_of_hour(newest: NewestHour) -> Families:
    """Return what is known of a model's newest hour."""
    model, found = newest.model, Families()
    found.add("monitor_last_evaluated_timestamp_seconds", (newest.hour + HOUR).timestamp(), model=model)
    for version, rows in (newest.served or {"": 0}).items():
        found.add("monitor_served_rows", rows, model=model, version=version)
    exported, left_out = _worst_features(newest)
    unknown: Counter[tuple[str, str, str]] = Counter()
    for signal in newest.signals:
        report = signal.metric.partition(".")[0]
        if signal.metric in FEATURE_METRICS and signal.column not in exported[signal.version]:
            continue
        if signal.value is None or isnan(signal.value):
            unknown[signal.version, report, signal.absence or Absence.UNDEFINED] += 1
            continue
        name = metric_name(signal.metric, signal.unit)
        found.setdefault(name, Family(f"Signal {signal.metric} of the newest evaluated hour."))
        labels = {"model": model, "version": "" if report == "slo" else signal.version, "window": signal.window}
        labels[COLUMN_LABELS.get(report, "feature")] = signal.column
        found.add(name, signal.value * (SECONDS_A_DAY if signal.unit == "d" else 1), **labels)
    for (version, column), mean in newest.means.items():
        if column in exported[version]:
            found.add("feature_mean", mean, model=model, version=version, window="1h", feature=column)
    for (version, report, reason), count in unknown.items():
        found.add("monitor_unknown_signals", count, model=model, version=version, report=report, reason=reason)
    for (version, report, level), count in newest.levels.items():
        found.add("monitor_verdicts", count, model=model, version=version, report=report, level=level)
    for version in sorted({signal.version for signal in newest.signals} | newest.served.keys()):
        found.add("monitor_model_info", 1, model=model, version=version)
        found.add("monitor_features_not_exported", left_out.get(version, 0), model=model, version=version)
    return found


def never_evaluated(model: str) -> Families:
    """Return what is said of a model that no hour was ever judged of: it counts as old."""
    found = Families()
    found.add("monitor_last_evaluated_timestamp_seconds", 0, model=model)
    return found


def _worst_features(newest: NewestHour) -> tuple[Mapping[str, set[str]], dict[str, int]]:
    """Return the columns of each version that are exported, the worst first to be, and how many are not."""
    badness: dict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
    for signal in newest.signals:
        if signal.metric in FEATURE_METRICS:
            columns = badness[signal.version]
            psi = signal.value or 0.0 if signal.metric == "drift.psi" else 0.0
            rank, most = columns.get(signal.column, (-1, 0.0))
            columns[signal.column] = max(rank, Level(signal.level).rank), max(most, psi)
    for version, column in newest.means:
        badness[version].setdefault(column, (-1, 0.0))
    exported: dict[str, set[str]] = defaultdict(set)
    for version, columns in badness.items():
        worst = sorted(columns, key=lambda name: (*(-part for part in columns[name]), name))
        exported[version] = set(worst[:MOST_FEATURES])
    return exported, {version: len(columns) - len(exported[version]) for version, columns in badness.items()}


def families_of_records(
    recorded: RecordedCounts, *, models: Sequence[str], severities: Iterable[str], statuses: Iterable[str]
) -> Families:
    """Return what the state database knows; what it has none of is 0, since it was asked."""
    found = Families()
    open_incidents = Counter((model, severity) for model, severity, _ in recorded.opened)
    for name, label, known, counts in (
        ("incidents_open", "severity", severities, open_incidents),
        ("retraining_episodes", "status", statuses, recorded.episodes),
    ):
        for (model, value), count in ({(model, each): 0 for each in known for model in models} | {**counts}).items():
            found.add(name, count, model=model, **{label: value})
    for status in ("pending", "dead"):
        found.add("outbox_messages", recorded.messages.get(status, 0), status=status)
    for (model, outcome), count in recorded.decisions.items():
        found.add("retraining_decisions_total", count, model=model, outcome=outcome)
    for model, hour in recorded.decided.items():
        found.add("retraining_last_decided_timestamp_seconds", (hour + HOUR).timestamp(), model=model)
    for (model, severity, identity), at in recorded.opened.items():
        labels = {"model": model, "severity": severity, "incident": identity}
        found.add("incident_opened_timestamp_seconds", at.timestamp(), **labels)
    for (model, status), at in recorded.finished.items():
        found.add("retraining_finished_timestamp_seconds", at.timestamp(), model=model, outcome=status)
    for (model, version, reason), at in recorded.deployed.items():
        found.add("model_deployed_timestamp_seconds", at.timestamp(), model=model, version=version, reason=reason)
    return found


def metric_name(metric: str, unit: str) -> str:
    """Return the name a signal is exported under: base units are named, dimensionless values have none."""
    suffix = _SUFFIXES.get(unit, "")
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric)
    name = name.removesuffix("_days") if unit == "d" else name
    return name if not suffix or name.endswith(f"_{suffix}") else f"{name}_{suffix}"

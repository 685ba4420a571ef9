"""What the stores hold of every model, as metrics in the text format of Prometheus.

A signal `<report>.<metric>` is exported as `<report>_<metric>_<unit>`. What is unknown has no series, and is counted by
its reason: a number would read as healthy. Add a metric of single features to `FEATURE_METRICS`, a report whose columns
are no features to `COLUMN_LABELS`. Keep files, databases and HTTP out.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan
from typing import Literal, NamedTuple

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.verdicts import Level

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MOST_FEATURES = 200
"""Features of one version that are exported; of more than that, the worst."""

FEATURE_METRICS = ("drift.psi", "drift.js", "drift.ks", "quality.null_rate")
"""What is exported of every single column; other metrics of columns stay in the stores."""

COLUMN_LABELS = {"slo": "objective", "operations": "stage", "freshness": "source"}
"""What the column of a signal is, in reports where it is no feature."""

SECONDS_A_DAY = 86_400

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
    """A model's newest judged hour: signals of all traffic, rows served by version, means by version and column."""

    model: str
    hour: datetime
    signals: Sequence[Measured]
    served: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """What the state database counts, by model and by severity, outcome or status; and the newest hour decided."""

    incidents: Mapping[tuple[str, str], int] = field(default_factory=dict)
    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    decided: Mapping[str, datetime] = field(default_factory=dict)
    episodes: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(slots=True)
class Family:
    """One metric: a value for every combination of labels."""

    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    samples: dict[Labels, float] = field(default_factory=dict)

    def add(self, value: float, **labels: str) -> None:
        """Set the value of some labels; a label that says nothing is left out."""
        self.samples[tuple((name, text) for name, text in labels.items() if text)] = value


Families = dict[str, Family]

Rendered = Mapping[str, tuple[str, str]]
"""The head of each family, which is the same wherever it comes from, and its lines."""


def families_of_hour(newest: NewestHour) -> Families:
    """Return what is known of a model's newest hour."""
    model, found = newest.model, _hour_families()
    found["monitor_last_evaluated_timestamp_seconds"].add((newest.hour + HOUR).timestamp(), model=model)
    for version, rows in (newest.served or {"": 0}).items():
        found["monitor_served_rows"].add(rows, model=model, version=version)
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
        labels = {"model": model, "version": "" if report == "slo" else signal.version, "window": signal.window}
        labels[COLUMN_LABELS.get(report, "feature")] = signal.column
        value = signal.value * (SECONDS_A_DAY if signal.unit == "d" else 1)
        found.setdefault(name, Family(f"Signal {signal.metric} of the newest evaluated hour.")).add(value, **labels)
    for (version, column), mean in newest.means.items():
        if column in exported[version]:
            found["feature_mean"].add(mean, model=model, version=version, window="1h", feature=column)
    for (version, report, reason), count in unknown.items():
        found["monitor_unknown_signals"].add(count, model=model, version=version, report=report, reason=reason)
    for version in sorted({signal.version for signal in newest.signals} | newest.served.keys()):
        found["monitor_model_info"].add(1, model=model, version=version)
        found["monitor_features_not_exported"].add(left_out.get(version, 0), model=model, version=version)
    return found


def _hour_families() -> Families:
    return {
        "monitor_last_evaluated_timestamp_seconds": Family("End of the newest evaluated hour, 0 if there is none."),
        "monitor_served_rows": Family("Predictions in the log of the newest evaluated hour."),
        "monitor_model_info": Family("Versions that the newest evaluated hour tells of."),
        "monitor_unknown_signals": Family("Signals without a value, and so without a series, by the reason."),
        "monitor_features_not_exported": Family(f"Features beyond the {MOST_FEATURES} worst, which have no series."),
        "feature_mean": Family("Mean of a numeric column in the newest evaluated hour."),
    }


def never_evaluated(model: str) -> Families:
    """Return what is said of a model that no hour was ever judged of: it counts as old."""
    found = _hour_families()
    found["monitor_last_evaluated_timestamp_seconds"].add(0, model=model)
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
    recorded: RecordedCounts, *, models: Iterable[str], severities: Iterable[str], statuses: Iterable[str]
) -> Families:
    """Return what the state database counts; what it has none of is 0, since it was asked."""
    models = sorted(models)
    incidents = Family("Incidents that are open.")
    episodes = Family("Retrainings and rollbacks on record, by where they stand.")
    for family, label, known, counts in (
        (incidents, "severity", severities, recorded.incidents),
        (episodes, "status", statuses, recorded.episodes),
    ):
        for (model, value), count in ({(model, each): 0 for model in models for each in known} | {**counts}).items():
            family.add(count, model=model, **{label: value})
    decisions = Family("Hours in which retraining was decided about: fired, or why not.", "counter")
    for (model, outcome), count in recorded.decisions.items():
        decisions.add(count, model=model, outcome=outcome)
    newest = Family("End of the newest hour in which retraining was decided about.")
    for model, hour in recorded.decided.items():
        newest.add((hour + HOUR).timestamp(), model=model)
    return {
        "incidents_open": incidents,
        "retraining_decisions_total": decisions,
        "retraining_last_decided_timestamp_seconds": newest,
        "retraining_episodes": episodes,
    }


def source_family(up: Mapping[tuple[str, str], bool]) -> Families:
    """Return whether each source could be read, by its name and the model it is about."""
    family = Family("Whether a source could be read: what it knows has no series while it is 0.")
    for (source, model), readable in up.items():
        family.add(float(readable), source=source, model=model)
    return {"exporter_source_up": family}


def metric_name(metric: str, unit: str) -> str:
    """Return the name a signal is exported under: base units are named, dimensionless values have none."""
    suffix = _SUFFIXES.get(unit, "")
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric)
    name = name.removesuffix("_days") if unit == "d" else name
    return name if not suffix or name.endswith(f"_{suffix}") else f"{name}_{suffix}"


def rendered(families: Families) -> Rendered:
    """Return families as text; those without a value are left out."""
    return {
        name: (
            f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n",
            "".join(f"{name}{_braces(labels)} {value!r}\n" for labels, value in family.samples.items()),
        )
        for name, family in families.items()
        if family.samples
    }


def exposition(parts: Iterable[Rendered]) -> str:
    """Return parts as one page, on which every family occurs once."""
    together: dict[str, list[str]] = {}
    for part in parts:
        for name, (head, lines) in part.items():
            together.setdefault(name, [head]).append(lines)
    return "".join("".join(together[name]) for name in sorted(together))


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels) + "}"


_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

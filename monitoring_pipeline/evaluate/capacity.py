"""What a deployment will need: storage by tier, CPU, memory, event log, and which limit it meets first.

Every constant was measured (`benchmarks/capacity.py` and `many_monitors.py`; tables in docs/capacity.md). Add a cost
here with its measurement. Keep prices out: they differ by provider, and gigabytes do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring_pipeline.evaluate.telemetry import TIERS, TelemetryRates, TelemetryVolume, telemetry_volume

FILE_BYTES, FILE_COLUMN_BYTES = 2_000, 300
"""Of a Parquet file of rows, and of each feature in it, however few rows there are."""

ROW_BYTES, VALUE_BYTES, LABEL_BYTES = 75.0, 4.7, 25.0
"""Of a logged prediction with a random id, of each of its features, and of its label; zstd, mixed features."""

PROFILE_BYTES = 1_150.0
"""Of a column in the profile of an hour."""

REPORT_BYTES, REPORT_COLUMN_BYTES = 85_000.0, 1_570.0
"""Of an hour's outcomes, signals, verdicts and rules, for three windows: of any model, and of each feature."""

SCORE_AND_PREDICTION = 2

IN_DAYS: Mapping[str, float] = {"samples": 0.82, "profiles": 0.72, "reports": 0.48}
"""What is left of the bytes of hours that share the file of their day."""

HOUR_S, COLUMN_S, VALUE_S = 0.40, 0.045, 3e-7
"""CPU of evaluating an hour: of any model, of each feature, of each value that was logged."""

RUN_S, IMPORTS_S = 0.45, 3.0
"""CPU of what Dagster does for an hourly run, and of the imports of the process it has for itself."""

DEFINITIONS_S = 0.034
"""CPU that a run spends on the definitions of each monitor before it has its own job."""

SENSORS, TICK_S = 6, 0.006
"""Sensors of a monitor, and the CPU of a quiet tick."""

EVENT_BYTES = 200_000.0
"""What Dagster records of an hourly run."""

PROCESS_MB, FEATURE_MB, CELL_BYTES = 300.0, 4.0, 32.0
"""Memory of a run: of any, of each feature, and of each value of the day that labels are joined to."""

SERIES, SERIES_OF_FEATURE = 50, 16
"""Time series that the exporter gives of a model, and of each of its features."""

HOUR, DAY_HOURS, MONTH_HOURS = 3_600, 24, 730


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is monitored, and on what machine; rates and features are those of one model.

    sensor_s: seconds between two ticks of a sensor. event_log_gb: how large the event log may become in a month.
    """

    predictions_per_day: float
    features: int
    models: int = 1
    cores: float = 2
    memory_gb: float = 8
    sample_rows: int = 1_000
    sensor_s: float = 30
    event_log_gb: float = 10
    tiers: Mapping[str, int] = field(default_factory=lambda: dict(TIERS))


@dataclass(frozen=True, slots=True)
class Limit:
    """Something there is only so much of: the share of it that is used, and what to do before it is all used."""

    name: str
    share: float
    remedy: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a deployment needs. `hour_bytes` and what follows up to `process_mb` is of one model, the rest of all."""

    hour_bytes: Mapping[str, float]
    evaluation_s: float
    process_mb: float
    stored_gb: Mapping[str, float]
    cpu_s_per_hour: float
    location_s: float
    event_log_gb_per_month: float
    telemetry: TelemetryVolume
    limits: tuple[Limit, ...]
    """The one that is nearest first."""


def capacity(load: Load) -> Capacity:
    """Return what a deployment needs."""
    rows = load.predictions_per_day / DAY_HOURS
    hour = _hour_bytes(load, rows)
    evaluation = HOUR_S + COLUMN_S * load.features + VALUE_S * rows * load.features
    location = DEFINITIONS_S * load.models
    ticks = SENSORS * load.models * TICK_S
    run = evaluation + RUN_S + IMPORTS_S + location
    cpu = load.models * run + ticks * HOUR / load.sensor_s
    memory = PROCESS_MB + FEATURE_MB * load.features + CELL_BYTES * load.predictions_per_day * load.features / 1e6
    events = EVENT_BYTES * MONTH_HOURS * load.models / 1e9
    limits = (
        Limit("cores", cpu / (HOUR * load.cores), "Add cores; or launch runs elsewhere (docs/kubernetes.md)."),
        Limit(
            "memory",
            load.cores * memory / (load.memory_gb * 1000),
            "Add memory, let fewer runs go on at once, or describe on an engine.",
        ),
        Limit("one hour of one model", run / HOUR, "Log a share of the predictions, or describe on an engine."),
        Limit("code location, 180 s to load", location / 180, "Split the monitors into several code locations."),
        Limit("sensors, one after another", ticks / load.sensor_s, "Raise MONITORING_SENSOR_SECONDS."),
        Limit("event log of a month", events / load.event_log_gb, "Prune it more often, and keep it in PostgreSQL."),
    )
    return Capacity(
        hour_bytes=hour,
        evaluation_s=evaluation,
        process_mb=memory,
        stored_gb=_stored(load, hour),
        cpu_s_per_hour=cpu,
        location_s=location,
        event_log_gb_per_month=events,
        telemetry=telemetry_volume(
            TelemetryRates(
                requests_per_s=load.predictions_per_day * load.models / (DAY_HOURS * HOUR),
                metric_series=load.models * (SERIES + SERIES_OF_FEATURE * load.features),
            )
        ),
        limits=tuple(sorted(limits, key=lambda limit: -limit.share)),
    )


def _hour_bytes(load: Load, rows: float) -> dict[str, float]:
    row, empty = ROW_BYTES + VALUE_BYTES * load.features, FILE_BYTES + FILE_COLUMN_BYTES * load.features
    return {
        "predictions": empty + row * rows,
        "labels": FILE_BYTES + LABEL_BYTES * rows,
        "samples": empty + row * min(rows, load.sample_rows),
        "profiles": PROFILE_BYTES * (load.features + SCORE_AND_PREDICTION),
        "reports": REPORT_BYTES + REPORT_COLUMN_BYTES * load.features,
    }


def _stored(load: Load, hour: Mapping[str, float]) -> dict[str, float]:
    """Return what retention leaves: all of it, then all but rows in files of days, then a profile a day."""
    hot, warm, cold = (load.tiers[name] for name in ("hot", "warm", "cold"))
    days = {
        "hot": hot * DAY_HOURS * sum(hour.values()),
        "warm": (warm - hot) * DAY_HOURS * sum(hour[kind] * share for kind, share in IN_DAYS.items()),
        "cold": (cold - warm) * hour["profiles"],
    }
    return {tier: size * load.models / 1e9 for tier, size in days.items()}

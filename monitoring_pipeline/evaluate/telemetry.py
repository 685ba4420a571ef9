"""What the telemetry of a service weighs: bytes a day by kind, and what is kept of them by age.

Add a kind of telemetry here with its weight. Keep prices out: they differ by provider, and gigabytes do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DAY_S = 86_400

TIERS: Mapping[str, int] = MappingProxyType({"hot": 7, "warm": 90, "cold": 365})
"""Until which age, in days, telemetry stays in a tier before it moves to the next; after the last it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryRates:
    """How much a service emits, and how much of it is kept.

    metric_series: time series over all instances, each read every scrape_s seconds. Sizes in bytes, before compression.
    """

    requests_per_s: float
    metric_series: int
    log_lines_per_request: float = 1.0
    scrape_s: float = 15.0
    trace_share: float = 0.001
    prediction_share: float = 0.01
    metric_bytes: float = 8.0
    log_bytes: float = 500.0
    trace_bytes: float = 2_000.0
    prediction_bytes: float = 4_000.0
    tiers: Mapping[str, int] = field(default_factory=lambda: TIERS)


@dataclass(frozen=True, slots=True)
class TelemetryVolume:
    """Gigabytes (of 10⁹ bytes) a day by kind, and gigabytes stored by tier once the last tier is full."""

    daily: Mapping[str, float]
    stored: Mapping[str, float]


def telemetry_volume(rates: TelemetryRates) -> TelemetryVolume:
    """Return what the telemetry weighs: a day in a tier is one that the tiers before it no longer hold."""
    per_s = {
        "metrics": rates.metric_series / rates.scrape_s * rates.metric_bytes,
        "logs": rates.requests_per_s * rates.log_lines_per_request * rates.log_bytes,
        "traces": rates.requests_per_s * rates.trace_share * rates.trace_bytes,
        "predictions": rates.requests_per_s * rates.prediction_share * rates.prediction_bytes,
    }
    daily = {kind: amount * DAY_S / 1e9 for kind, amount in per_s.items()}
    total, stored, reached = sum(daily.values()), {}, 0
    for tier, days in rates.tiers.items():
        stored[tier] = total * (days - reached)
        reached = days
    return TelemetryVolume(daily, stored)

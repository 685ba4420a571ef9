"""Which signals make each hourly report of a monitor: the same on stores and on tables in memory.

Add an evaluation to the report it belongs to. Keep reading and writing out: they belong in `stages` and `offline`.
A failure of one evaluation is a signal of its own and costs none of the others.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.business import business_by_version
from monitoring_pipeline.evaluate.concept import concept_by_version
from monitoring_pipeline.evaluate.drift import drift_by_version
from monitoring_pipeline.evaluate.estimates import estimates_by_version
from monitoring_pipeline.evaluate.fairness import fairness_by_version
from monitoring_pipeline.evaluate.freshness import freshness_by_version
from monitoring_pipeline.evaluate.intake import intake_by_version
from monitoring_pipeline.evaluate.labels import labels_by_version
from monitoring_pipeline.evaluate.operations import operations_by_version
from monitoring_pipeline.evaluate.performance import performance_by_version
from monitoring_pipeline.evaluate.quality import quality_by_version
from monitoring_pipeline.evaluate.schema import schema_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.skew import skew_by_version
from monitoring_pipeline.evaluate.small_groups import without_small_group
from monitoring_pipeline.evaluate.volume import volume_signals
from monitoring_pipeline.settings.monitor import Monitor

References = Mapping[str, Reference]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is known of the labels of every hour, by version."""

    outcomes: Mapping[datetime, Mapping[str, OutcomeProfile]] = field(default_factory=dict)
    arrivals: Mapping[datetime, Mapping[str, LabelArrivals]] = field(default_factory=dict)
    business: Mapping[datetime, Mapping[str, BusinessProfile]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """What is known of the rows of every hour: profiles, what was wrong, how many by version, and the sample itself."""

    profiles: Mapping[datetime, Sequence[Profile]] = field(default_factory=dict)
    intake: Mapping[datetime, Mapping[str, IntakeProfile]] = field(default_factory=dict)
    served: Mapping[datetime, Mapping[str, int]] = field(default_factory=dict)
    samples: Mapping[datetime, pa.Table] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requests:
    """What is known of how the predictions of every hour were served, by version."""

    operations: Mapping[datetime, Mapping[str, OperationsProfile]] = field(default_factory=dict)
    freshness: Mapping[datetime, Mapping[str, FreshnessProfile]] = field(default_factory=dict)


def drift_report(
    monitor: Monitor, profiles: Mapping[datetime, Sequence[Profile]], references: References, hours: Sequence[datetime]
) -> list[Signal]:
    """Return how far inputs, scores and predictions lie from what they are held against."""
    model = monitor.registry_name
    return _all(
        monitor, hours, {"drift": lambda: drift_by_version(model, profiles, references, hours, monitor.drift_policy())}
    )


def performance_report(
    monitor: Monitor, known: Labelled, references: References, hours: Sequence[datetime]
) -> list[Signal]:
    """Return what labels say of the model, what is estimated before they do, and how they arrive."""
    model, outcomes = monitor.registry_name, known.outcomes
    worth = {version: each.business for version, each in references.items()}
    return _all(
        monitor,
        hours,
        {
            "performance": lambda: performance_by_version(
                model, outcomes, references, hours, monitor.performance_policy()
            ),
            "concept": lambda: concept_by_version(model, outcomes, references, hours, monitor.concept_policy()),
            "estimate": lambda: estimates_by_version(model, outcomes, references, hours, monitor.estimate_policy()),
            "fairness": lambda: fairness_by_version(model, outcomes, references, hours, monitor.fairness_policy()),
            "business": lambda: business_by_version(model, known.business, worth, hours, monitor.business_policy()),
            "labels": lambda: labels_by_version(model, known.arrivals, hours, monitor.labels_policy()),
        },
    )


def performance_reach(monitor: Monitor) -> timedelta:
    """Return how far before its end a performance report reads outcomes."""
    return max(*monitor.lengths, monitor.concept_policy().history, monitor.estimate_policy().reach)


def quality_report(monitor: Monitor, known: Served, references: References, hours: Sequence[datetime]) -> list[Signal]:
    """Return what is wrong with columns, rows, types and volume, and which features mean something else by now."""
    model, asked = monitor.registry_name, monitor.quality
    usual = {version: each.usual for version, each in references.items()}
    intake = {version: each.intake for version, each in references.items() if each.intake is not None}
    expected = {version: each.signature for version, each in references.items() if each.signature}
    windows = monitor.lengths
    return _all(
        monitor,
        hours,
        {
            "quality": lambda: quality_by_version(
                model, known.profiles, references, usual, hours, asked.policy(windows)
            ),
            "intake": lambda: intake_by_version(model, known.intake, intake, hours, asked.intake_policy(windows)),
            "schema": lambda: schema_by_version(
                model, known.intake, expected, hours, asked.schema_policy(monitor.columns)
            ),
            "volume": lambda: volume_signals(model, known.served, hours, asked.volume_policy(windows)),
            "skew": lambda: skew_by_version(
                *(model, known.samples, references, hours, monitor.skew.policy(windows)),
                log=monitor.columns,
                layouts={version: each.layout for version, each in references.items()},
            ),
        },
    )


def operations_report(
    monitor: Monitor, served: Requests, references: References, hours: Sequence[datetime]
) -> list[Signal]:
    """Return how requests were served: latency, errors, throughput, and how fresh their features were."""
    model = monitor.registry_name
    ages = {version: each.freshness for version, each in references.items() if each.freshness is not None}
    serving = monitor.operations.policy(monitor.lengths, monitor.columns)
    fresh = monitor.freshness.policy(monitor.lengths)

    def freshness() -> list[Signal]:
        return freshness_by_version(model, served.freshness, ages, hours, fresh)

    return _all(
        monitor,
        hours,
        {"operations": lambda: operations_by_version(model, served.operations, hours, serving)}
        | ({"freshness": freshness} if fresh.sources else {}),
    )


def _all(
    monitor: Monitor, hours: Sequence[datetime], evaluations: Mapping[str, Callable[[], Iterable[Signal]]]
) -> list[Signal]:
    """Return the signals of all evaluations; one that fails is an absence in each hour, with the reason."""
    signals: list[Signal] = []
    for name, evaluate in evaluations.items():
        try:
            signals += evaluate()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are still worth having
            _log.exception("%s of %s could not be evaluated", name, monitor.model)
            reason = f"{name} could not be evaluated: {type(error).__name__}: {error}"
            place = f"{name}.failed", monitor.registry_name, ""
            signals += [Signal(*place, hour, hour + HOUR, absence=Absence.FAILED, reason=reason) for hour in hours]
    return [without_small_group(signal, monitor.privacy.min_group) for signal in signals]

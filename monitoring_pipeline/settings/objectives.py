"""Service level objectives as written in YAML: what is promised, and how often it may be broken.

Add a setting of an objective here, with the share a service can usually keep. Keep burn rates out: those that alarm
are published ones.
"""

from collections.abc import Collection
from functools import partial
from typing import Annotated

from pydantic import Field

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.evaluate.lifecycle import AGE
from monitoring_pipeline.judge import objectives
from monitoring_pipeline.judge.conditions import All, Any, AtLeast, Condition, Not, SignalCondition
from monitoring_pipeline.judge.objectives import Objective, ObjectivesPolicy
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.settings.conditions import Section

Target = Annotated[float, Field(gt=0, lt=1)]


class Promise(Section):
    """The share of requests, or of hours, that have to be good."""

    target: Target = 0.99


class Availability(Promise):
    """Requests that do not fail."""

    target: Target = 0.999


class Latency(Promise):
    """Requests that are answered in time: the whole answer (stage `total`), or the first stage by name."""

    below_ms: Annotated[float, Field(gt=0)] = 50.0
    stage: str | None = None


class FreshFeatures(Promise):
    """Requests whose features were all fresh."""

    target: Target = 0.995


class ModelAge(Promise):
    """Hours in which the model is not older than a retraining trigger allows, or so many days."""

    below_days: Annotated[float, Field(gt=0)] | None = None


class Performance(Promise):
    """Hours in which a performance metric, the first that is watched unless named, is known and not critical."""

    metric: str | None = None


class Objectives(Section):
    """Promises over 28 days. What the log cannot tell is not promised; what is set to null is not either."""

    availability: Availability | None = Availability()
    latency_p99: Latency | None = Latency()
    fallback: Promise | None = Promise()
    freshness: FreshFeatures | None = FreshFeatures()
    model_age: ModelAge | None = ModelAge()
    drift: Promise | None = Promise()
    performance: Performance | None = Performance()
    fairness: Promise | None = Promise()

    def policy(
        self,
        *,
        columns: LogColumns,
        primary: Collection[str],
        sources: Collection[str],
        window: str,
        watched: Collection[str],
        attributes: Collection[str],
        triggers: Collection[Condition],
    ) -> ObjectivesPolicy:
        """Return the promises on what the monitor knows; `window` is the one its default rules watch."""
        kept: list[Objective] = []
        if self.availability and columns.status is not None:
            kept.append(Objective("availability", self.availability.target, objectives.answered))
        if self.latency_p99 and columns.latency_ms:
            stage = self.latency_p99.stage or ("total" if "total" in columns.latency_ms else min(columns.latency_ms))
            fast = partial(objectives.fast, stage=stage, limit_s=self.latency_p99.below_ms / 1000)
            kept.append(Objective("latency_p99", self.latency_p99.target, fast))
        if self.fallback and columns.served_by is not None:
            by_model = partial(objectives.by_model, primary=tuple(primary))
            kept.append(Objective("fallback", self.fallback.target, by_model))
        if self.freshness and sources:
            fresh = partial(objectives.fresh, sources=tuple(sources))
            kept.append(Objective("freshness", self.freshness.target, fresh))
        if self.model_age and (days := self.model_age.below_days or oldest(triggers)):
            kept.append(Objective("model_age", self.model_age.target, partial(objectives.young, days=days)))
        if self.drift:
            kept.append(_hours("drift", self.drift, "drift", window))
        if self.performance and (metric := self.performance.metric or next(iter(watched), None)):
            kept.append(_hours("performance", self.performance, f"performance.{metric}", window))
        if self.fairness and attributes:
            # The four-fifths rule only ever warns.
            kept.append(_hours("fairness", self.fairness, "fairness", window, Level.WARNING))
        return ObjectivesPolicy(tuple(kept))


def _hours(name: str, promise: Promise, metrics: str, window: str, level: Level = Level.CRITICAL) -> Objective:
    return Objective(name, promise.target, partial(objectives.free_of, metrics=metrics, window=window, level=level))


def oldest(conditions: Collection[Condition]) -> float | None:
    """Return the smallest age, in days, above which one of the conditions asks for a retraining."""
    ages = []
    for condition in conditions:
        match condition:
            case SignalCondition(metric=metric, above=above) if metric == AGE and above is not None:
                ages.append(above)
            case All(of) | Any(of) | AtLeast(_, of):
                ages += [age for age in [oldest(of)] if age is not None]
            case SignalCondition() | Not():
                pass
    return min(ages, default=None)

"""The `experiments:` section: A/B tests of one model version against another, by name.

Add a setting of an experiment here. Keep which versions are compared out: they are those the arms are served by.
"""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.experiment_arms import ExperimentColumns
from monitoring_pipeline.evaluate.experiments import ExperimentPolicy
from monitoring_pipeline.serve.assignment import Assignment
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Count, Share, whole_hour
from monitoring_pipeline.stats.experiments import Plan, plan_experiment
from monitoring_pipeline.stats.spending import Boundary


class GuardRails(Section):
    """What the treatment may not exceed, whatever it gains; `null` for no such limit."""

    latency_p99_ms: Annotated[float, Field(gt=0)] | None = 200
    error_rate: Share | None = 0.01


class Experiment(Section):
    """An A/B test: `{start: 2026-11-20T00:00Z, baseline: 0.12, relative_mde: 0.02}`.

    `outcome` is a column of numbers or of true and false; `baseline` its mean in the control, `variance` that of a row
    where the outcome is no share. `unit` is the column that is assigned: the prediction id, or what all requests of a
    user share. `covariate` is a column that was known before the experiment.
    """

    start: Annotated[AwareDatetime, AfterValidator(whole_hour)]
    baseline: float
    variance: Annotated[float, Field(gt=0)] | None = None
    relative_mde: Annotated[float, Field(gt=0)] = 0.02
    outcome: str = "actual"
    unit: str | None = None
    covariate: str | None = None
    higher_is_better: bool = True
    treatment_share: Share = 0.5
    excluded: Annotated[float, Field(ge=0, lt=1)] = 0.0
    alpha: Share = 0.05
    power: Share = 0.8
    boundary: Boundary = "obrien_fleming"
    looks: Annotated[int, Field(ge=1, le=100)] = 5
    min_rows: Annotated[int, Field(ge=1000)] = 1000
    max_days: Count = 28
    guard_rails: GuardRails = GuardRails()

    @model_validator(mode="after")
    def _can_be_planned(self) -> "Experiment":
        plan_experiment(self.baseline, relative_mde=self.relative_mde, variance=self.variance)
        return self

    def plan(self, *, rows_per_day: float | None = None) -> Plan:
        """Return how many rows it takes; `rows_per_day` is all traffic, of which some may be excluded."""
        return plan_experiment(
            self.baseline,
            relative_mde=self.relative_mde,
            variance=self.variance,
            power=self.power,
            alpha=self.alpha,
            treatment_share=self.treatment_share,
            boundary=self.boundary,
            looks=self.looks,
            rows_per_day=None if rows_per_day is None else rows_per_day * (1 - self.excluded),
        )

    def assignment(self, name: str) -> Assignment:
        """Return the split; the name of the experiment is its salt."""
        return Assignment(name, self.treatment_share, self.excluded)

    def policy(self, name: str, log: LogColumns) -> ExperimentPolicy:
        """Return how it is read."""
        rails, stages = self.guard_rails, sorted(log.latency_ms)
        return ExperimentPolicy(
            name,
            self.start,
            abs(self.baseline) * self.relative_mde,
            ExperimentColumns(self.outcome, self.unit or log.prediction_id, self.covariate),
            log,
            self.treatment_share,
            self.alpha,
            self.power,
            self.boundary,
            self.looks,
            self.higher_is_better,
            self.min_rows,
            self.max_days,
            None if rails.latency_p99_ms is None else rails.latency_p99_ms / 1000,
            "total" if "total" in stages or not stages else stages[0],
            rails.error_rate,
        )

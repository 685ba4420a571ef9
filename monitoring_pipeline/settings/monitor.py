"""The settings of one monitored model: the sections of its YAML file, their defaults and what they become.

Add a setting here, in the section it belongs to, with a default that suits most models. Keep reading of files out (it
belongs in `load`), and places and secrets of a deployment too (they belong in `deployment` and the environment).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import window_length
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.formulas import names_of
from monitoring_pipeline.describe.groups import Grouping as Groups
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, specs_of
from monitoring_pipeline.evaluate.business import BusinessPolicy
from monitoring_pipeline.evaluate.concept import ConceptPolicy
from monitoring_pipeline.evaluate.drift import DriftPolicy
from monitoring_pipeline.evaluate.estimates import EstimatePolicy
from monitoring_pipeline.evaluate.fairness import FairnessPolicy
from monitoring_pipeline.evaluate.gains import METRICS
from monitoring_pipeline.evaluate.labels import LabelPolicy
from monitoring_pipeline.evaluate.multivariate import MultivariatePolicy
from monitoring_pipeline.evaluate.performance import PerformancePolicy
from monitoring_pipeline.judge.limits import LIMITS
from monitoring_pipeline.judge.objectives import ObjectivesPolicy
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, TEXTBOOK, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.triggers import TriggerPolicy
from monitoring_pipeline.notify.escalation import Ladder
from monitoring_pipeline.notify.incidents import GroupingPolicy
from monitoring_pipeline.retrain.gate import GatePolicy
from monitoring_pipeline.settings.business import BusinessFormula, business_limits, business_policy
from monitoring_pipeline.settings.conditions import Name, RuleForm, Section, WindowName, matching
from monitoring_pipeline.settings.daily import Attributions, Evidently, Slices
from monitoring_pipeline.settings.defaults import (
    default_rules,
    default_triggers,
    default_window,
    long_window,
    watched_metrics,
)
from monitoring_pipeline.settings.engine import EngineForm, LocalEngine
from monitoring_pipeline.settings.escalation import Escalation, OnCall
from monitoring_pipeline.settings.experiments import Experiment
from monitoring_pipeline.settings.freshness import Freshness
from monitoring_pipeline.settings.logs import LogForm, ParquetLog
from monitoring_pipeline.settings.objectives import Objectives
from monitoring_pipeline.settings.operations import Operations
from monitoring_pipeline.settings.privacy import Privacy
from monitoring_pipeline.settings.quality import Quality
from monitoring_pipeline.settings.retention import Retention
from monitoring_pipeline.settings.retraining import Retraining
from monitoring_pipeline.settings.sections import (
    Band,
    Concept,
    Drift,
    Fairness,
    Features,
    Grouping,
    Labels,
    LimitForm,
    Multivariate,
    Notifications,
    Performance,
    Ranking,
    SameHours,
    Sampling,
    Segments,
    Share,
    whole_hour,
)
from monitoring_pipeline.settings.skew import Skew

ACTUAL = "actual"
"""What the label is called once it is joined; it stands in no log."""

_MODEL = matching(r"\w+", "Use letters, digits and _; a registry name with others goes into registered_model.")
_OWNER = matching(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", "An owner is an e-mail address or team:<name>.")


class Monitor(Section):
    """Everything one YAML file says about one monitored model.

    Monitoring covers [start, end); without `end` it goes on. `threshold` is the score from which the class is positive.
    `classes` are those of a model of several, where its probabilities do not name them. `limits` replace the published
    ones of metrics that are judged by themselves.
    """

    model: Annotated[str, _MODEL]
    start: Annotated[AwareDatetime, AfterValidator(whole_hour)]
    features: Features
    description: str = ""
    owners: tuple[Annotated[str, _OWNER], ...] = ()
    task: Task = Task.BINARY
    registered_model: str | None = None
    end: Annotated[AwareDatetime, AfterValidator(whole_hour)] | None = None
    threshold: Share = 0.5
    classes: tuple[str, ...] = ()
    columns: LogColumns = LogColumns()
    labels: Labels = Labels()
    privacy: Privacy = Privacy()
    log: LogForm = ParquetLog()
    engine: EngineForm = LocalEngine()
    aliases: tuple[Name, ...] = Field(default=("champion", "challenger", "shadow"), min_length=1)
    windows: tuple[WindowName, ...] = Field(default=("1h", "24h", "7d"), min_length=1)
    segments: Segments = Segments()
    sampling: Sampling = Sampling()
    drift: Drift = Drift()
    concept: Concept = Concept()
    multivariate: Multivariate = Multivariate()
    performance: Performance = Performance()
    ranking: Ranking = Ranking()
    fairness: Fairness = Fairness()
    operations: Operations = Operations()
    freshness: Freshness = Freshness()
    quality: Quality = Quality()
    business: Mapping[Name, BusinessFormula] = Field(default_factory=dict)
    skew: Skew = Skew()
    slices: Slices = Slices()
    attributions: Attributions = Attributions()
    evidently: Evidently = Evidently()
    limits: Mapping[str, LimitForm] = Field(default_factory=dict)
    rules: tuple[RuleForm, ...] | None = None
    retraining: Retraining = Retraining()
    retention: Retention | None = None
    notifications: Notifications = Notifications()
    incidents: Grouping = Grouping()
    on_call: OnCall = OnCall()
    escalation: Escalation = Escalation()
    objectives: Objectives = Objectives()
    experiments: Mapping[Name, Experiment] = Field(default_factory=dict)

    @property
    def registry_name(self) -> str:
        """Name of the model in the registry, which allows characters that asset names do not."""
        return self.registered_model or self.model

    def column_specs(self) -> list[ColumnSpec]:
        """Return the columns to describe: features, the score and the predicted class."""
        features = [
            spec
            for name, kind in self.features.kinds().items()
            for spec in specs_of(name, ColumnRole.FEATURE, kind, groups=self.drift.bins, aged=True)
        ]
        scores = [self.columns.score] if self.columns.score is not None else []
        scores += [name for name in self.columns.probabilities.values() if name not in scores]
        bins = self.drift.score_bins
        served = [ColumnSpec(name, ColumnRole.SCORE, ColumnKind.NUMERIC, bins) for name in scores]
        if self.columns.prediction is not None:
            kind = ColumnKind.NUMERIC if self.task is Task.REGRESSION else ColumnKind.CATEGORICAL
            groups = bins if self.task is Task.REGRESSION else 10
            served.append(ColumnSpec(self.columns.prediction, ColumnRole.PREDICTION, kind, groups))
        return [*features, *served]

    @property
    def trainer(self) -> str | None:
        """What trains a challenger; None where decisions are only recorded, as for tasks that have no gate."""
        return self.retraining.trainer if self.task in METRICS else None

    @property
    def lengths(self) -> tuple[timedelta, ...]:
        """The windows."""
        return tuple(window_length(name) for name in self.windows)

    def watched_columns(self) -> tuple[str, ...]:
        """Return the columns of the log that something is said of, each once."""
        sources = (source.column for source in self.freshness.sources if source.column is not None)
        described = (spec.read_from for spec in self.column_specs())
        bounds = (
            name for name in (self.columns.lower, self.columns.upper, self.columns.request, self.columns.item) if name
        )
        tested = [
            name
            for each in self.experiments.values()
            for name in (each.outcome, each.unit, each.covariate)
            if name and name != ACTUAL
        ]
        named = (name for formula in self.business.values() for name in names_of(formula.formula))
        return tuple(dict.fromkeys([*described, *bounds, *self.fairness.attributes, *sources, *named, *tested]))

    def feature_columns(self) -> tuple[str, ...]:
        """Return the features as they are described: a date and time by its parts."""
        return tuple(spec.name for spec in self.column_specs() if spec.role is ColumnRole.FEATURE)

    def reference_plan(self) -> ReferencePlan:
        """Return what is learnt from reference rows beyond their distribution."""
        return ReferencePlan(
            windows=self.lengths,
            recurring=any(isinstance(form, SameHours) for form in self.drift.baselines),
            segments=self.segments.columns,
            most=self.segments.most,
            outcomes=self.outcome_plan(),
            sources=self.freshness.policy(self.lengths).sources,
            intake=self.intake_plan(),
            formulas=self.business_policy().formulas,
        )

    def business_policy(self) -> BusinessPolicy:
        """Return the formulas of the business."""
        return business_policy(self.business, self.lengths, min_coverage=self.performance.min_coverage)

    def intake_plan(self) -> IntakePlan:
        """Return what the columns of the log should hold."""
        shares = self.task in (Task.BINARY, Task.MULTICLASS)
        return self.quality.intake_plan(self.columns, self.features.kinds(), shares=shares)

    def drift_policy(self) -> DriftPolicy:
        """Return what is measured of drift."""
        asked = self.drift
        return DriftPolicy(
            windows=self.lengths,
            min_rows=asked.min_rows,
            metrics=asked.metrics,
            segment_metrics=asked.segment_metrics,
            baselines=tuple(form.baseline() for form in asked.baselines),
            last_predictions=asked.last_predictions,
        )

    def outcome_plan(self) -> OutcomePlan:
        """Return how outcomes are counted."""
        return OutcomePlan(
            self.task,
            self.columns,
            self.classes or tuple(self.columns.probabilities),
            self.performance.quantile,
            self.ranking.top,
            self.ranking.catalogue,
            Groups(self.fairness.attributes, self.fairness.intersections, self.fairness.most),
        )

    def labels_policy(self) -> LabelPolicy:
        """Return what is measured of labels alone."""
        return LabelPolicy(self.lengths, self.labels.maturity, min_rows=self.labels.min_rows)

    def estimate_policy(self) -> EstimatePolicy:
        """Return how performance is estimated before labels are known."""
        asked = self.performance
        return EstimatePolicy(self.lengths, self.outcome_plan(), asked.min_rows, asked.min_coverage)

    def fairness_policy(self) -> FairnessPolicy:
        """Return which groups are compared."""
        plan, rows = self.outcome_plan(), max(self.fairness.min_rows, self.privacy.min_group)
        return FairnessPolicy(self.lengths, plan.grouping, plan, rows, self.performance.min_coverage)

    def performance_policy(self) -> PerformancePolicy:
        """Return what is measured of labelled rows."""
        asked = self.performance
        return PerformancePolicy(
            windows=self.lengths,
            min_rows=asked.min_rows,
            min_coverage=asked.min_coverage,
            plan=self.outcome_plan(),
            segments=self.segments.columns,
            segment_metrics=asked.segment_metrics,
            costs=asked.costs,
        )

    def concept_policy(self) -> ConceptPolicy:
        """Return how the control charts are set."""
        return ConceptPolicy(
            windows=self.lengths,
            **dict(self.concept),
            min_rows=self.performance.min_rows,
            min_coverage=self.performance.min_coverage,
            plan=self.outcome_plan(),
        )

    def multivariate_policy(self) -> MultivariatePolicy:
        """Return how drift of all features together is measured."""
        asked = self.multivariate
        return MultivariatePolicy(
            min_rows=asked.min_rows,
            max_rows=asked.max_rows,
            permutations=asked.permutations,
            max_blocks=asked.calibration_blocks,
        )

    def gate_policy(self) -> GatePolicy:
        """Return what a challenger must show."""
        asked = self.retraining
        rails = asked.guard_rails.policy(
            segments=Groups(self.segments.columns, intersections=False, most=self.segments.most),
            groups=self.outcome_plan().grouping,
            min_rows=max(self.fairness.min_rows, self.privacy.min_group),
        )
        metric = asked.metric if "metric" in asked.model_fields_set else METRICS.get(self.task, (asked.metric,))[0]
        return GatePolicy(metric=metric, margin=asked.margin, rails=rails)

    def grouping(self) -> GroupingPolicy:
        """Return what alerts are grouped by into incidents."""
        informative = frozenset(form.name for form in self.rules or () if form.severity == "info")
        return replace(self.incidents.policy(), informative=informative)

    def ladder(self) -> Ladder:
        """Return who is told next while nobody takes an incident on."""
        pager = self.notifications.targets().get("pagerduty", "")
        return self.escalation.policy(self.on_call, pager=pager)

    def objectives_policy(self) -> ObjectivesPolicy:
        """Return the promises; 50 ms are promised where somebody says so, or asks for low latency."""
        asked = self.objectives
        if "latency_p99" not in asked.model_fields_set and self.operations.profile != "low_latency":
            asked = asked.model_copy(update={"latency_p99": None})
        return asked.policy(
            columns=self.columns,
            primary=self.operations.primary,
            sources=tuple(source.name for source in self.freshness.sources),
            window=default_window(self.windows),
            watched=watched_metrics(self.task, score=self.columns.score, prediction=self.columns.prediction),
            attributes=self.fairness.attributes,
            triggers=tuple(trigger.condition for trigger in self.trigger_policy().triggers),
        )

    def alert_rules(self) -> tuple[Rule, ...]:
        """Return the rules of the file, or the default ones where it has none; an empty list means none."""
        features, owner = self.feature_columns(), next(iter(self.owners), "")
        if self.rules is not None:
            return tuple(form.rule(features, owner=owner) for form in self.rules)
        logged = {
            "status": self.columns.status,
            "latency": self.columns.latency_ms,
            "sources": self.freshness.sources,
        }
        return default_rules(
            window=default_window(self.windows),
            long=long_window(self.windows),
            features=features,
            score=self.columns.score,
            prediction=self.columns.prediction,
            task=self.task,
            logged=frozenset(name for name, there in logged.items() if there),
            business=tuple(business_limits(self.business)),
            promised=[objective.name for objective in self.objectives_policy().objectives],
            owner=owner,
        )

    def trigger_policy(self) -> TriggerPolicy:
        """Return the retraining policy, with the default triggers where the file names none."""
        asked, features = self.retraining, self.feature_columns()
        triggers = (
            default_triggers(
                window=default_window(self.windows),
                features=features,
                prediction=self.columns.prediction,
                task=self.task,
            )
            if asked.triggers is None
            else tuple(form.trigger(features) for form in asked.triggers)
        )
        return TriggerPolicy(
            triggers,
            mode=asked.mode,
            at_least=asked.at_least,
            minimum_labelled_rows=asked.minimum_labelled_rows,
            cooldown=asked.cooldown,
            daily_cap=asked.daily_cap,
            give_up_after=asked.give_up_after,
            try_again_after=asked.try_again_after,
        )

    def judging_policy(self) -> JudgingPolicy:
        """Return how strictly signals are judged."""
        own = {f"drift.{name}": _thresholds(band, "above") for name, band in self.drift.bands.items()}
        return JudgingPolicy(
            bands={**TEXTBOOK, **own},
            false_alarms_per_month=self.drift.false_alarms_per_month,
            alpha=self.drift.alpha,
            calibrated=self.drift.calibrated,
            dependent=self.drift.correction == "benjamini_yekutieli",
            baseline_warning=self.performance.baseline.warning,
            baseline_critical=self.performance.baseline.critical,
            floors={
                name: _thresholds(band, "below" if name in HIGHER_IS_BETTER else "above")
                for name, band in self.performance.floors.items()
            },
            significant_only=self.performance.significant_only,
            limits={
                **LIMITS,
                **self.operations.limits(),
                **business_limits(self.business),
                **{name: form.limits() for name, form in self.limits.items()},
            },
        )


def _thresholds(band: Band, direction: Literal["above", "below"]) -> Thresholds:
    return Thresholds(band.warning, band.critical, "absolute", direction)

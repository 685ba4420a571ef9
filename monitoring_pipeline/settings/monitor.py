"""The settings of one monitored model: the sections of its YAML file, their defaults and what they become.

Add a setting here, in the section it belongs to, with a default that suits most models. Keep reading of files out (it
belongs in `load`), and places and secrets of a deployment too (they belong in `deployment` and the environment).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import hour_of, window_length
from monitoring_pipeline.describe import distances
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, specs_of
from monitoring_pipeline.describe.spans import Baseline, FixedPeriod, SameHoursOfWeek, TrailingWeeks
from monitoring_pipeline.evaluate.concept import ConceptPolicy
from monitoring_pipeline.evaluate.drift import DEFAULT_METRICS, DriftPolicy
from monitoring_pipeline.evaluate.multivariate import MultivariatePolicy
from monitoring_pipeline.evaluate.performance import PerformancePolicy
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, TEXTBOOK, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.triggers import TriggerPolicy
from monitoring_pipeline.notify.routing import Routing, routing_of
from monitoring_pipeline.retrain.gate import GatePolicy
from monitoring_pipeline.settings.conditions import Duration, Name, RuleForm, Section, TriggerForm, WindowName, matching
from monitoring_pipeline.settings.defaults import default_rules, default_triggers, default_window

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
PerformanceMetric = Literal[
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "expected_calibration_error",
]


_MODEL = matching(r"\w+", "Use letters, digits and _; a registry name with others goes into registered_model.")
_OWNER = matching(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", "An owner is an e-mail address or team:<name>.")
_TRAINER = matching(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "A trainer is <module>:<function>, such as my_project.model:fit.")
_VARIABLE = matching(r"[A-Z][A-Z0-9_]*", "Name an environment variable in capitals; the secret itself stays there.")


def _whole_hour(moment: datetime) -> datetime:
    if hour_of(moment) != moment:
        raise ValueError("Monitoring starts on a whole hour, such as 2026-04-01T00:00Z.")
    return hour_of(moment)


class Labels(Section):
    """The label log, and how late labels may be: they are not waited for longer than `max_delay`."""

    prediction_id: str = "prediction_id"
    actual: str = "actual"
    labelled_at: str = "labelled_at"
    max_delay: Duration = timedelta(days=7)

    def columns(self) -> LabelColumns:
        return LabelColumns(self.prediction_id, self.actual, self.labelled_at)


class Features(Section):
    """The model's inputs by kind."""

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    boolean: tuple[str, ...] = ()
    datetime: tuple[str, ...] = ()

    def kinds(self) -> dict[str, ColumnKind]:
        """Return the kind of every feature, in the order of the file."""
        return {name: kind for kind in ColumnKind for name in getattr(self, kind.value)}


class Sampling(Section):
    """How many rows of an hour are kept for exact tests and reports."""

    rows_per_hour: Count = 1000


class Band(Section):
    """Absolute limits of a metric; with only one, the other level is not used."""

    warning: float
    critical: float | None = None


class Trailing(Section):
    """The weeks before the window."""

    kind: Literal["trailing"]
    weeks: Count = 4

    def baseline(self) -> Baseline:
        return TrailingWeeks(self.weeks)


class SameHours(Section):
    """The same hours of the weeks before, so that a nightly trough is not called drift."""

    kind: Literal["same_hours"]
    weeks: Count = 4

    def baseline(self) -> Baseline:
        return SameHoursOfWeek(self.weeks)


class Period(Section):
    """A period in which all was well."""

    kind: Literal["period"]
    start: Annotated[AwareDatetime, AfterValidator(_whole_hour)]
    end: Annotated[AwareDatetime, AfterValidator(_whole_hour)]

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Period":
        if self.start >= self.end:
            raise ValueError("A period ends after it starts: swap the two.")
        return self

    def baseline(self) -> Baseline:
        return FixedPeriod(self.start, self.end)


def _known_metric(name: str) -> str:
    if name not in distances.METRICS:
        near = get_close_matches(name, distances.METRICS, n=1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{guess}Known here: {', '.join(distances.METRICS)}.")
    return name


DriftMetric = Annotated[str, AfterValidator(_known_metric)]


class Drift(Section):
    """Distances from the reference, and from other baselines.

    `false_alarms_per_month` is the alarm budget: how many reports of a metric and window may name a drift that is
    none. Thresholds follow from it and, if `calibrated`, from how restless the reference itself is; where it is null,
    `alpha` is how often a single report may. `bands` replace the textbook's, and are the floor under what is
    calibrated. `last_predictions` adds a window of the last so many predictions, for uneven traffic.
    """

    bins: int = Field(default=10, ge=2, le=100)
    min_rows: Count = 1000
    score_bins: int = Field(default=20, ge=2, le=100)
    metrics: tuple[DriftMetric, ...] = Field(default=DEFAULT_METRICS, min_length=1)
    segment_metrics: tuple[DriftMetric, ...] = ("psi",)
    baselines: tuple[Annotated[Trailing | SameHours | Period, Field(discriminator="kind")], ...] = ()
    last_predictions: Count | None = None
    false_alarms_per_month: Annotated[float, Field(gt=0)] | None = 2.0
    correction: Literal["benjamini_hochberg", "benjamini_yekutieli"] = "benjamini_hochberg"
    alpha: Share = 0.01
    calibrated: bool = True
    bands: Mapping[DriftMetric, Band] = Field(default_factory=dict)


class Segments(Section):
    """Columns whose most frequent values are watched on their own; rarer ones are watched together."""

    columns: tuple[str, ...] = ()
    most: Count = 20


class Concept(Section):
    """Control charts of the hourly prediction errors.

    `average_run_length` is how many labelled hours a chart runs between two false alarms; `slack` is half the shift it
    finds fastest and `weight` that of the newest hour in its EWMA, in standard deviations of what is new in an hour.
    """

    history: Duration = timedelta(days=30)
    average_run_length: Annotated[float, Field(ge=10)] = 8760.0
    slack: Annotated[float, Field(gt=0)] = 0.5
    weight: Share = 0.1
    min_hours: Count = 24


class Multivariate(Section):
    """Drift of all features together, on samples of a day: how many rows it needs and looks at."""

    min_rows: Count = 200
    max_rows: Count = 1000
    permutations: Annotated[int, Field(ge=19)] = 100
    calibration_blocks: Annotated[int, Field(ge=2)] = 12


class BaselineShares(Section):
    """How far below its own baseline a model warns and is critical, as shares of the baseline."""

    warning: Share = 0.05
    critical: Share = 0.15


class Performance(Section):
    """Metrics on labelled rows: how many they need, and against what they are judged.

    `segment_metrics` are measured per segment too. `costs` says what a prediction costs, by actual and predicted class:
    `{"0": {"1": 5}}` is what a false positive costs.
    """

    min_rows: Count = 100
    min_coverage: float = Field(default=0.6, ge=0, le=1)
    baseline: BaselineShares = BaselineShares()
    floors: Mapping[PerformanceMetric, Band] = Field(default_factory=dict)
    segment_metrics: tuple[PerformanceMetric, ...] = ("accuracy", "roc_auc")
    costs: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    significant_only: bool = True


class Retraining(Section):
    """When to retrain, with what, and what a challenger must show. Without a trainer decisions are only recorded.

    `mix_reference` is the share of the champion's reference rows that is put before the training window.
    `trusted_types` names the types, beyond skops' own safe ones, that a saved model of this trainer may contain.
    """

    mode: Literal["any", "all", "at_least"] = "at_least"
    at_least: Count = 2
    triggers: tuple[TriggerForm, ...] | None = Field(default=None, min_length=1)
    minimum_labelled_rows: Count = 5000
    cooldown: Duration = timedelta(days=7)
    daily_cap: Count = 1
    trainer: Annotated[str, _TRAINER] | None = None
    training_window: Duration = timedelta(days=60)
    holdout: Duration = timedelta(days=3)
    metric: Literal["roc_auc", "log_loss"] = "roc_auc"
    margin: float = Field(default=0.005, ge=0)
    mix_reference: float = Field(default=0.0, ge=0, le=1)
    trusted_types: tuple[str, ...] = ()


class Slack(Section):
    """A Slack channel; the token itself stays in the environment variable named here."""

    channel: Annotated[str, matching(r"[#@]?[\w.-]+", "Write a channel, such as '#ml-monitoring' (in quotes).")]
    token_env: Annotated[str, _VARIABLE] = "SLACK_BOT_TOKEN"  # noqa: S105 - the name of a variable
    base_url: str = "https://slack.com/api/"


ChannelName = Literal["console", "slack"]


class Notifications(Section):
    """Which channels hear of which severity; a severity without a route has the default one of notify."""

    routes: Mapping[Literal["info", "warning", "critical"], tuple[ChannelName, ...]] = Field(default_factory=dict)
    slack: Slack | None = None


class Monitor(Section):
    """Everything one YAML file says about one monitored model.

    Monitoring covers [start, end); without `end` it goes on. `threshold` is the score from which the class is positive.
    """

    model: Annotated[str, _MODEL]
    start: Annotated[AwareDatetime, AfterValidator(_whole_hour)]
    features: Features
    description: str = ""
    owners: tuple[Annotated[str, _OWNER], ...] = ()
    task: Task = Task.BINARY
    registered_model: str | None = None
    end: Annotated[AwareDatetime, AfterValidator(_whole_hour)] | None = None
    threshold: Share = 0.5
    columns: LogColumns = LogColumns()
    labels: Labels = Labels()
    aliases: tuple[Name, ...] = Field(default=("champion", "challenger", "shadow"), min_length=1)
    windows: tuple[WindowName, ...] = Field(default=("1h", "24h", "7d"), min_length=1)
    segments: Segments = Segments()
    sampling: Sampling = Sampling()
    drift: Drift = Drift()
    concept: Concept = Concept()
    multivariate: Multivariate = Multivariate()
    performance: Performance = Performance()
    rules: tuple[RuleForm, ...] | None = None
    retraining: Retraining = Retraining()
    notifications: Notifications = Notifications()

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
        served = []
        if self.columns.score is not None:
            served.append(ColumnSpec(self.columns.score, ColumnRole.SCORE, ColumnKind.NUMERIC, self.drift.score_bins))
        if self.columns.prediction is not None:
            served.append(ColumnSpec(self.columns.prediction, ColumnRole.PREDICTION, ColumnKind.CATEGORICAL))
        return [*features, *served]

    def feature_columns(self) -> tuple[str, ...]:
        """Return the features as they are described: a date and time by its parts."""
        return tuple(spec.name for spec in self.column_specs() if spec.role is ColumnRole.FEATURE)

    def reference_plan(self) -> ReferencePlan:
        """Return what is learnt from reference rows beyond their distribution."""
        return ReferencePlan(
            windows=[window_length(name) for name in self.windows],
            recurring=any(isinstance(form, SameHours) for form in self.drift.baselines),
            segments=self.segments.columns,
            most=self.segments.most,
            outcomes=self.outcome_plan(),
        )

    def drift_policy(self) -> DriftPolicy:
        """Return what is measured of drift."""
        asked = self.drift
        return DriftPolicy(
            windows=tuple(window_length(name) for name in self.windows),
            min_rows=asked.min_rows,
            metrics=asked.metrics,
            segment_metrics=asked.segment_metrics,
            baselines=tuple(form.baseline() for form in asked.baselines),
            last_predictions=asked.last_predictions,
        )

    def outcome_plan(self) -> OutcomePlan:
        """Return how outcomes are counted."""
        return OutcomePlan(self.task, self.columns)

    def performance_policy(self) -> PerformancePolicy:
        """Return what is measured of labelled rows."""
        asked = self.performance
        return PerformancePolicy(
            windows=tuple(window_length(name) for name in self.windows),
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
            windows=tuple(window_length(name) for name in self.windows),
            history=self.concept.history,
            average_run_length=self.concept.average_run_length,
            slack=self.concept.slack,
            weight=self.concept.weight,
            min_hours=self.concept.min_hours,
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
        return GatePolicy(metric=self.retraining.metric, margin=self.retraining.margin)

    def routing(self) -> Routing:
        """Return which channels hear of which severity."""
        available = {"console", "slack"} if self.notifications.slack else {"console"}
        routes = {str(severity): names for severity, names in self.notifications.routes.items()}
        return routing_of(routes, available=available)

    def alert_rules(self) -> tuple[Rule, ...]:
        """Return the rules of the file, or the default ones where it has none; an empty list means none."""
        features = self.feature_columns()
        if self.rules is not None:
            return tuple(form.rule(features) for form in self.rules)
        return default_rules(
            window=default_window(self.windows),
            features=features,
            score=self.columns.score,
            prediction=self.columns.prediction,
        )

    def trigger_policy(self) -> TriggerPolicy:
        """Return the retraining policy, with the default triggers where the file names none."""
        asked, features = self.retraining, self.feature_columns()
        triggers = (
            default_triggers(window=default_window(self.windows), features=features, prediction=self.columns.prediction)
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
        )


def _thresholds(band: Band, direction: Literal["above", "below"]) -> Thresholds:
    return Thresholds(band.warning, band.critical, "absolute", direction)

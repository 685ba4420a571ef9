"""The sections of a monitor's YAML file: keys, their defaults, and which values they take.

Add a setting here, in the section it belongs to, with a default that suits most models. Keep what sections become
together out: that is in `monitor`; a section with a file of its own stands beside this one.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.windows import hour_of
from monitoring_pipeline.describe import distances
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.spans import Baseline, FixedPeriod, SameHoursOfWeek, TrailingWeeks
from monitoring_pipeline.evaluate.drift import DEFAULT_METRICS
from monitoring_pipeline.judge.limits import Limit
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.notify.incidents import GroupingPolicy
from monitoring_pipeline.notify.routing import Routing, routing_of
from monitoring_pipeline.settings.channels import ChannelName, Channels
from monitoring_pipeline.settings.conditions import Duration, Name, Section, choices

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
PERFORMANCE_METRICS = tuple(sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER))


def _performance_metric(name: str) -> str:
    if name not in PERFORMANCE_METRICS:
        raise ValueError(choices(name, PERFORMANCE_METRICS))
    return name


PerformanceMetric = Annotated[str, AfterValidator(_performance_metric)]


def whole_hour(moment: datetime) -> datetime:
    """Return a moment in UTC; refuses one between two hours."""
    if hour_of(moment) != moment:
        raise ValueError("Monitoring starts on a whole hour, such as 2026-04-01T00:00Z.")
    return hour_of(moment)


class Labels(Section):
    """The label log, and how late labels may be: they are not waited for longer than `max_delay`.

    `maturity` is the age at which nearly every prediction has its label; that fewer have one is an alarm of its own.
    """

    prediction_id: str = "prediction_id"
    actual: str = "actual"
    labelled_at: str = "labelled_at"
    max_delay: Duration = timedelta(days=7)
    maturity: Duration = timedelta(hours=24)
    min_rows: Count = 100

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
    start: Annotated[AwareDatetime, AfterValidator(whole_hour)]
    end: Annotated[AwareDatetime, AfterValidator(whole_hour)]

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Period":
        if self.start >= self.end:
            raise ValueError("A period ends after it starts: swap the two.")
        return self

    def baseline(self) -> Baseline:
        return FixedPeriod(self.start, self.end)


def _known_metric(name: str) -> str:
    if name not in distances.METRICS:
        raise ValueError(choices(name, distances.METRICS))
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
    `{"0": {"1": 5}}` is what a false positive costs. `quantile` is that of the pinball loss.
    """

    min_rows: Count = 100
    min_coverage: float = Field(default=0.6, ge=0, le=1)
    baseline: BaselineShares = BaselineShares()
    floors: Mapping[PerformanceMetric, Band] = Field(default_factory=dict)
    segment_metrics: tuple[PerformanceMetric, ...] = ("accuracy", "roc_auc", "mae", "ndcg_at_k")
    quantile: Share = 0.5
    costs: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    significant_only: bool = True


class Ranking(Section):
    """How many items of a list matter, and how many there are to recommend, where that is known."""

    top: Count = 10
    catalogue: Count | None = None


class Fairness(Section):
    """Columns with protected attributes, whose groups are compared with each other; pairs of them make groups too."""

    attributes: tuple[str, ...] = ()
    intersections: bool = True
    most: Count = 20
    min_rows: Count = 100


class LimitForm(Section):
    """Where a metric that is judged by itself starts to be bad, on either side: `{above: {warning: 0.3}}`."""

    above: Band | None = None
    below: Band | None = None

    def limits(self) -> tuple[Limit, ...]:
        sides = {"above": self.above, "below": self.below}
        return tuple(
            Limit(band.warning, band.critical, "below" if side == "below" else "above")
            for side, band in sides.items()
            if band is not None
        )


class Notifications(Channels):
    """The channels, and which of them hear of which severity; one without a route has the default one of notify.

    E-mail about what is merely informative comes once a day, at `digest_hour` UTC. `late_after`: what is found out
    longer after it happened is history, and pages nobody. More than `per_hour` messages on a channel wait.
    """

    routes: Mapping[Literal["info", "warning", "critical"], tuple[ChannelName, ...]] = Field(default_factory=dict)
    late_after: Duration = timedelta(hours=24)
    per_hour: Count = 20
    digest_hour: Annotated[int, Field(ge=0, le=23)] = 8

    def routing(self) -> Routing:
        """Return which channels hear of which severity."""
        routes = {str(severity): names for severity, names in self.routes.items()}
        return routing_of(routes, available=self.offered())


class Grouping(Section):
    """Which alerts of the model are one incident, beside those that share a column or a source.

    Alerts that began within `same_onset` of each other are; an incident whose rule fires again `reopen_within` after it
    ended is the same one. `sources` names the source of features: `{users: [age, plan]}`.
    """

    same_onset: Duration = timedelta(hours=24)
    reopen_within: Duration = timedelta(hours=24)
    sources: Mapping[Name, tuple[str, ...]] = Field(default_factory=dict)

    def policy(self) -> GroupingPolicy:
        """Return what the incidents are grouped by."""
        sources = {column: source for source, columns in self.sources.items() for column in columns}
        return GroupingPolicy(self.same_onset, self.reopen_within, sources)

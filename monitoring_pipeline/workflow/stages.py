"""The hourly stages of one monitor: read from the stores, call the stage, write to the stores.

Each function takes the hours to process and may be called again for any of them: the same log, labels and reference
give the same files. Add a stage here when an hourly asset needs one. Keep Dagster out, and keep decisions out: they
belong to the stages themselves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import pyarrow as pa

from monitoring_pipeline.capture.labels import LabelLog, join_labels, prepare_labels, timely_labels
from monitoring_pipeline.capture.predictions import PredictionLog, prepare_predictions
from monitoring_pipeline.capture.privacy import RedactedPredictionLog
from monitoring_pipeline.capture.sampling import sample_rows
from monitoring_pipeline.capture.windows import HOUR, Window, hour_of, window_length
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.freshness import FreshnessProfile, Reading
from monitoring_pipeline.describe.hours import (
    hours_by_version,
    outcome_hours,
    profile_hours,
    records_by_hour,
    serving_version,
)
from monitoring_pipeline.describe.intake import IntakeProfile, intake_of_hour
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.describe.objectives import ObjectiveCounts
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import ReferenceError, RegistryUnreachableError
from monitoring_pipeline.evaluate.lifecycle import lifecycle_signals
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.conditions import metrics_of
from monitoring_pipeline.judge.drift_types import ERROR_SERIES, DriftDiagnosis, SeriesKey, diagnose_drift
from monitoring_pipeline.judge.judgement import judge_signals
from monitoring_pipeline.judge.objectives import JudgedHour, count_objectives, judge_objectives
from monitoring_pipeline.judge.rules import RuleOutcome, evaluate_rules
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.settings.checks import DAILY_METRICS
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.engine import SqlEngine
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.objects import place_at
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.stores.sql_log import SqlPredictionLog
from monitoring_pipeline.workflow.logs import Secret, logs_at
from monitoring_pipeline.workflow.reports import (
    Labelled,
    Requests,
    Served,
    drift_report,
    operations_report,
    performance_reach,
    performance_report,
    quality_report,
)

DIAGNOSED_SPAN = timedelta(days=14)
"""How far back the manner of a drift is looked for: a step of last month is the present by now."""

SERIES = frozenset({"drift.psi", "drift.ks", "drift.js", "drift.wasserstein_normalised", *ERROR_SERIES})
"""Metrics whose course over time is looked at."""

REPORTS = ("drift", "performance", "quality", "service")
"""Kinds of signals that are judged together."""

DAILY_REPORTS = ("sample_verdicts", "attribution_verdicts", "slice_verdicts")
"""Kinds of verdicts on a whole day, kept with its last hour."""

SERVING_LOOKBACK = timedelta(days=2)
"""How far back to look for the version that serves: further than a night or a Sunday without traffic."""


@dataclass(frozen=True, slots=True)
class Stages:
    """One monitor and the stores its stages work on; `learnt` is the log with the categories that models learn from."""

    monitor: Monitor
    predictions: PredictionLog
    labels: LabelLog
    hourly: HourlyStore
    references: ReferenceStore
    learnt: PredictionLog | None = None
    unread: dict[str, str] = field(default_factory=dict)
    """Versions whose reference could not be read just now, and why: asked once, and their hours are tried again."""

    @property
    def model(self) -> str:
        return self.monitor.registry_name

    @property
    def windows(self) -> tuple[timedelta, ...]:
        return tuple(window_length(name) for name in self.monitor.windows)

    def describe(
        self, hours: Sequence[datetime], *, readings: Mapping[datetime, Mapping[str, Reading]] | None = None
    ) -> None:
        """Sample and describe the predictions of each hour, and how they were served.

        `readings` say how old the tables and feature views were that features come from, in the hours they were looked
        at; an hour that is described again keeps what was read then.
        """
        references: dict[str, Reference] = {}
        plan, columns = self.monitor.intake_plan(), self.monitor.columns
        # Hour by hour as logged: beside another hour a column may come in another type.
        for hour in sorted(hours):
            logged = self.predictions.read(Window(self.model, hour, hour + HOUR))
            intake, bad = intake_of_hour(logged, plan)
            self.hourly.write_records("intake", self.model, hour, intake)
            self.hourly.write("quarantine", self.model, hour, bad)
            rows = self._prepared(logged)
            # An empty hour has no columns.
            self.hourly.write("samples", self.model, hour, self._sample(rows) if rows.num_rows else pa.table({}))
            self._describe_serving(rows, hour, (readings or {}).get(hour))
            references |= self._references(self._versions(rows) - references.keys())
            described = profile_hours(rows, references, [hour], columns)[hour]
            self.hourly.write_profiles(self.model, hour, described)
            self.hourly.remove("unread", self.model, hour)
            self._try_again(hour, self._versions(rows))

    def _try_again(self, hour: datetime, versions: set[str]) -> None:
        """Have an hour computed anew once the references of these versions can be read, where one could not be."""
        if unread := sorted(versions & self.unread.keys()):
            table = pa.table({"version": unread, "why": [self.unread[version] for version in unread]})
            self.hourly.write("unread", self.model, hour, table)

    def _describe_serving(self, rows: pa.Table, hour: datetime, readings: Mapping[str, Reading] | None) -> None:
        columns, sources = self.monitor.columns, self.monitor.freshness.policy(self.windows).sources
        operations = records_by_hour(rows, [hour], columns, lambda part: OperationsProfile.of(part, columns))
        self.hourly.write_records("operations", self.model, hour, operations[hour])
        if not sources:
            return
        describe = partial(FreshnessProfile.of, sources=sources, predicted_at=columns.predicted_at, readings=readings)
        fresh = records_by_hour(rows, [hour], columns, describe)[hour]
        before = self._freshness([hour]).get(hour, {}) if readings is None else {}
        kept = {name: profile.with_readings_of(before[name]) for name, profile in fresh.items() if name in before}
        self.hourly.write_records("freshness", self.model, hour, fresh | kept)

    def _freshness(self, hours: Sequence[datetime]) -> dict[datetime, dict[str, FreshnessProfile]]:
        start, end = min(hours), max(hours) + HOUR
        return self.hourly.read_records("freshness", self.model, start, end, FreshnessProfile.from_json)

    def join(self, hours: Sequence[datetime], *, as_of: datetime) -> dict[datetime, dict[str, OutcomeProfile]]:
        """Join labels known before `as_of` to the predictions of each hour."""
        joined: dict[datetime, dict[str, OutcomeProfile]] = {}
        for day in days(hours):
            rows = self._rows(day, self.predictions)
            known = self._labels(rows, day, as_of) if rows.num_rows else None
            if rows.num_rows:
                rows = join_labels(rows, known, id_column=self.monitor.columns.prediction_id, as_of=as_of)
            references = self._references(self._versions(rows))
            for hour, outcomes in outcome_hours(rows, day, self.monitor.outcome_plan(), references).items():
                self.hourly.write_outcomes(self.model, hour, outcomes)
                joined[hour] = outcomes
            arrived = records_by_hour(rows, day, self.monitor.columns, self._arrivals)
            for hour, records in arrived.items():
                self.hourly.write_records("label_arrivals", self.model, hour, records)
            if formulas := self.monitor.business_policy().formulas:
                columns = self.monitor.columns
                of = partial(BusinessProfile.of, formulas=formulas, log=columns)
                for hour, totals in records_by_hour(rows, day, columns, of).items():
                    self.hourly.write_records("business", self.model, hour, totals)
        return joined

    def measure_drift(self, hours: Sequence[datetime]) -> dict[datetime, list[Signal]]:
        """Evaluate drift in every window that ends with one of `hours`."""
        policy = self.monitor.drift_policy()
        profiles = self.hourly.read_profiles(self.model, min(hours) + HOUR - policy.reach, max(hours) + HOUR)
        for start, end in policy.periods:
            profiles |= self.hourly.read_profiles(self.model, start, end)
        versions = {profile.version for entries in profiles.values() for profile in entries}
        signals = drift_report(self.monitor, profiles, self._references(versions), hours)
        return self._store("drift", hours, signals)

    def measure_quality(self, hours: Sequence[datetime]) -> dict[datetime, list[Signal]]:
        """Evaluate columns, rows, types and volume of every window that ends with one of `hours`."""
        start, end = min(hours) + HOUR - max(self.windows), max(hours) + HOUR
        asked = self.monitor.quality
        weeks_ago = end - asked.volume_policy(self.windows).reach - (max(hours) - min(hours))
        skewed = min(hours) + HOUR - max(self.monitor.skew.policy(self.windows).windows)
        profiles = self.hourly.read_profiles(self.model, start, end)
        versions = {profile.version for entries in profiles.values() for profile in entries}
        known = Served(
            profiles,
            self.hourly.read_records("intake", self.model, start, end, IntakeProfile.from_json),
            self.hourly.read_served(self.model, weeks_ago, end),
            self.hourly.read("samples", self.model, skewed, end),
        )
        return self._store("quality", hours, quality_report(self.monitor, known, self._references(versions), hours))

    def measure_operations(self, hours: Sequence[datetime]) -> dict[datetime, list[Signal]]:
        """Evaluate how the predictions of every window that ends with one of `hours` were served."""
        start, end = min(hours) + HOUR - max(self.windows), max(hours) + HOUR
        operations = self.hourly.read_records("operations", self.model, start, end, OperationsProfile.from_json)
        served = Requests(operations, self._freshness([start, max(hours)]))
        versions = {version for records in operations.values() for version in records}
        return self._store("service", hours, operations_report(self.monitor, served, self._references(versions), hours))

    def measure_performance(self, hours: Sequence[datetime]) -> dict[datetime, list[Signal]]:
        """Evaluate performance in every window that ends with one of `hours`, and the age of each version."""
        start, end = min(hours) + HOUR - performance_reach(self.monitor), max(hours) + HOUR
        recent = self.hourly.read_outcomes(self.model, start, end)
        served = {hour: {version: part.rows for version, part in parts.items()} for hour, parts in recent.items()}
        by_version = hours_by_version(served, hours, reach=max(self.windows))
        references = self._references(set(by_version))
        trained = [reference.trained_until for reference in references.values() if reference.trained_until]
        labelled = self.hourly.read_labelled(self.model, hour_of(min([start, *trained])), end)
        first = min(hours) + HOUR - self.monitor.labels_policy().reach
        arrivals = self.hourly.read_records("label_arrivals", self.model, first, end, LabelArrivals.from_json)
        windows = min(hours) + HOUR - max(self.windows)
        business = self.hourly.read_records("business", self.model, windows, end, BusinessProfile.from_json)
        signals = performance_report(self.monitor, Labelled(recent, arrivals, business), references, hours)
        for version, own_hours in by_version.items():
            known = references[version].trained_until if version in references else None
            signals += lifecycle_signals(self.model, version, own_hours, trained_until=known, labelled_rows=labelled)
        found = self._store("performance", hours, signals)
        self._keep_first_seen(found)
        return found

    def _keep_first_seen(self, found: Mapping[datetime, Sequence[Signal]]) -> None:
        """Keep the first value of every signal: labels that arrive later replace what is judged, not what was seen."""
        known = self.hourly.read_signals("first_seen", self.model, min(found), max(found) + HOUR)
        grown: dict[datetime, list[Signal]] = {}
        for hour, signals in found.items():
            before = known.get(hour, [])
            seen = {signal.key for signal in before}
            new = [signal for signal in signals if signal.value is not None and signal.key not in seen]
            if new or not before:
                grown[hour] = [*before, *new]
        self.hourly.write_signals("first_seen", self.model, grown)

    def judge(self, hours: Sequence[datetime]) -> dict[datetime, tuple[list[Verdict], list[RuleOutcome]]]:
        """Judge the signals of each hour and evaluate the alert rules on what the serving version did."""
        rules = self.monitor.alert_rules()
        reach = max((rule.lookback for rule in rules), default=1)
        start, end = min(hours) - reach * HOUR, max(hours) + HOUR
        metrics = {metric for rule in rules for metric in rule.metrics}
        history = self.hourly.read_verdicts(self.model, start, min(hours), metrics)
        signals = [self.hourly.read_signals(kind, self.model, min(hours), end) for kind in REPORTS]
        versions = {signal.version for part in signals for entries in part.values() for signal in entries}
        references = self._references(versions)
        policy = self.monitor.judging_policy()
        for hour in hours:
            found = [signal for part in signals for signal in part.get(hour, [])]
            history[hour] = judge_signals(found, references, policy)
        for hour, verdicts in self._judge_objectives(hours, history).items():
            history[hour] += verdicts
        asked = {hour: [each for each in found if each.signal.metric in metrics] for hour, found in history.items()}
        outcomes: dict[datetime, list[RuleOutcome]] = {hour: [] for hour in hours}
        for outcome in evaluate_rules(rules, self.served_verdicts(asked), hours, model=self.model):
            outcomes[outcome.hour].append(outcome)
        self.hourly.write_rules(self.model, outcomes)
        # The last: an hour with verdicts, and then a diagnosis, is one that has been processed.
        self.hourly.write_verdicts(self.model, {hour: history[hour] for hour in hours})
        return {hour: (history[hour], outcomes[hour]) for hour in hours}

    def _judge_objectives(
        self, hours: Sequence[datetime], found: Mapping[datetime, Sequence[Verdict]]
    ) -> dict[datetime, list[Verdict]]:
        """Count what kept each promise in each hour, and judge the budgets of the period that ends with it."""
        policy = self.monitor.objectives_policy()
        if not policy.objectives:
            return {}
        start, end = min(hours), max(hours) + HOUR
        counts = self.hourly.read_served(self.model, start - SERVING_LOOKBACK, end)
        served = served_verdicts({hour: found[hour] for hour in hours}, counts)
        operations = self.hourly.read_records("operations", self.model, start, end, OperationsProfile.from_json)
        freshness = self._freshness(hours)
        for hour in hours:
            parts = operations.get(hour, {}).values(), freshness.get(hour, {}).values()
            kept = count_objectives(JudgedHour(served[hour], *parts), policy)
            self.hourly.write_records("objectives", self.model, hour, {"": kept})  # budgets outlive versions
        known = self.hourly.read_records(
            "objectives", self.model, start + HOUR - policy.period, end, ObjectiveCounts.from_json
        )
        serving = {hour: version for hour in hours if (version := serving_version(counts, hour)) is not None}
        return judge_objectives(self.model, known, serving, hours, policy)

    def diagnose(
        self, hours: Sequence[datetime], judged: Mapping[datetime, Sequence[Verdict]] | None = None
    ) -> dict[datetime, list[DriftDiagnosis]]:
        """Name what kind of drift the serving version shows in each hour, in which manner and since when.

        `judged` are the verdicts of the hours; they are read where nobody has them at hand.
        """
        if judged is None:
            judged = self.hourly.read_verdicts(self.model, min(hours), max(hours) + HOUR)
        verdicts = self._served(judged)
        columns = self.monitor.columns
        outputs = {name for name in (columns.score, columns.prediction) if name is not None}
        history: dict[str, dict[SeriesKey, dict[datetime, float]]] = {}
        if any(verdict.level.rank > 0 for entries in verdicts.values() for verdict in entries):
            start = min(hours) + HOUR - DIAGNOSED_SPAN
            history = self.hourly.read_series(self.model, start, max(hours) + HOUR, SERIES)
        found = {}
        for hour in hours:
            of_hour = verdicts.get(hour, [])
            series = history.get(of_hour[0].signal.version, {}) if of_hour else {}
            # As much of the past as the hour would see computed alone, whatever the range.
            found[hour] = diagnose_drift(of_hour, series, outputs=outputs, seen=(hour + HOUR - DIAGNOSED_SPAN, hour))
        self.hourly.write_diagnoses(self.model, found)
        return found

    def served_verdicts(self, verdicts: Mapping[datetime, Sequence[Verdict]]) -> dict[datetime, list[Verdict]]:
        """Return the verdicts on the version that served at each hour; rules and triggers look at nothing else.

        Where one of them names a metric that is measured by the day, those of the last whole day before the hour
        belong to it: a day's reports are there in the first hour of the next.
        """
        asked = [rule.metrics for rule in self.monitor.alert_rules()]
        asked += [metrics_of(trigger.condition) for trigger in self.monitor.trigger_policy().triggers]
        daily = DAILY_METRICS & frozenset().union(*asked)
        if not daily or not verdicts:
            return self._served(verdicts)
        first, end = _last_of_day_before(min(verdicts)), max(verdicts)
        known: dict[datetime, list[Verdict]] = {}
        for kind in DAILY_REPORTS:
            for hour, found in self.hourly.read_verdicts(self.model, first, end, daily, kind=kind).items():
                known.setdefault(hour, []).extend(found)
        return self._served(
            {hour: [*entries, *known.get(_last_of_day_before(hour), ())] for hour, entries in verdicts.items()}
        )

    def _served(self, verdicts: Mapping[datetime, Sequence[Verdict]]) -> dict[datetime, list[Verdict]]:
        if not verdicts:
            return {}
        counts = self.hourly.read_served(self.model, min(verdicts) - SERVING_LOOKBACK, max(verdicts) + HOUR)
        return served_verdicts(verdicts, counts)

    def labelled_rows(self, start: datetime, end: datetime, *, as_of: datetime) -> pa.Table:
        """Return the prepared predictions of [start, end) with `actual` and `labelled_at`, unlabelled ones included."""
        hours = [start + step * HOUR for step in range(round((end - start) / HOUR))]
        parts = []
        for day in days(hours):
            rows = self._rows(day, self.learnt or self.predictions)
            if rows.num_rows:
                parts.append(self.labelled(rows, day, as_of=as_of))
        return pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})

    def labelled(self, rows: pa.Table, hours: Sequence[datetime], *, as_of: datetime) -> pa.Table:
        """Return prepared predictions of these hours with `actual` and `labelled_at`, null where unknown."""
        known = self._labels(rows, hours, as_of)
        return join_labels(rows, known, id_column=self.monitor.columns.prediction_id, as_of=as_of)

    def _store(self, kind: str, hours: Sequence[datetime], signals: list[Signal]) -> dict[datetime, list[Signal]]:
        by_hour: dict[datetime, list[Signal]] = {hour: [] for hour in hours}
        for signal in signals:
            if signal.absence is Absence.NO_REFERENCE and (why := self.unread.get(signal.version)):
                signal = replace(signal, reason=f"its reference could not be read: {why}")
            by_hour[signal.window_end - HOUR].append(signal)
        for hour, entries in by_hour.items():
            self._try_again(hour, {signal.version for signal in entries})
        self.hourly.write_signals(kind, self.model, by_hour)
        return by_hour

    def _rows(self, hours: Sequence[datetime], log: PredictionLog) -> pa.Table:
        return self._prepared(log.read(Window(self.model, min(hours), max(hours) + HOUR)))

    def _prepared(self, rows: pa.Table) -> pa.Table:
        if rows.num_rows == 0:
            return rows
        return prepare_predictions(rows, self.monitor.columns, table=f"prediction log of {self.model}")

    def _labels(self, rows: pa.Table, hours: Sequence[datetime], as_of: datetime) -> pa.Table | None:
        asked, columns = self.monitor.labels, self.monitor.labels.columns()
        labels = self.labels.read(self.model, start=min(hours), end=min(max(hours) + HOUR + asked.max_delay, as_of))
        if labels is None:
            return None
        timely = timely_labels(labels, rows, columns=columns, log=self.monitor.columns, max_delay=asked.max_delay)
        return prepare_labels(timely, columns, table=f"label log of {self.model}")

    def _arrivals(self, joined: pa.Table) -> LabelArrivals:
        return LabelArrivals.of(joined, predicted_at=self.monitor.columns.predicted_at)

    def _sample(self, rows: pa.Table) -> pa.Table:
        limit = self.monitor.sampling.rows_per_hour
        return sample_rows(rows, id_column=self.monitor.columns.prediction_id, limit=limit)

    def _versions(self, rows: pa.Table) -> set[str]:
        column = self.monitor.columns.version
        return set(rows[column].unique().to_pylist()) if column and rows.num_rows else set()

    def _references(self, versions: set[str]) -> dict[str, Reference]:
        found: dict[str, Reference] = {}
        for version in sorted(versions - self.unread.keys()):
            try:
                reference = self.references.fetch(self.model, version)
            except (ReferenceError, RegistryUnreachableError) as error:
                self.unread[version] = str(error)
            else:
                found |= {} if reference is None else {version: reference}
        return found


def stages_at(monitor: Monitor, deployment: Deployment, secret: Secret) -> Stages:
    """Return the stages of a monitor on the stores of a deployment."""
    data = place_at(deployment.data_address)
    predictions, labels = logs_at(monitor, data, secret)
    kind: Callable[..., Stages] = Stages
    if isinstance(monitor.engine, SqlEngine):
        from monitoring_pipeline.workflow.push_down import StagesInPlace  # with sqlglot, which only this needs

        assert isinstance(predictions, SqlPredictionLog)  # settings see to that
        kind = partial(StagesInPlace, served=predictions)
    return kind(
        monitor=monitor,
        predictions=RedactedPredictionLog(predictions, monitor.privacy.protection(secret, model=monitor.model)),
        labels=labels,
        hourly=HourlyStore(data),
        references=ReferenceStore(data, MlflowRegistry(deployment.tracking_uri)),
        learnt=predictions,
    )


def _last_of_day_before(hour: datetime) -> datetime:
    return hour.replace(hour=0) - HOUR


def days(hours: Sequence[datetime]) -> Iterator[list[datetime]]:
    """Yield hours in groups of one UTC day: a year of rows must not be in memory at once."""
    by_day: dict[object, list[datetime]] = {}
    for hour in sorted(hours):
        by_day.setdefault(hour.date(), []).append(hour)
    yield from by_day.values()

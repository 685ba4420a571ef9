"""The health page from what is stored: gathered as of a moment, written as one file for each monitor and an index.

    health/index.html
    health/model=flight_delays.html

Add here how something that is stored becomes a part of the page. Keep measuring and judging out, and how it looks: that
belongs in publish.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple
from urllib.parse import quote

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.describe.distances import as_windows
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.evaluate.drift import bin_name
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge.conditions import All, Any, AtLeast, Condition, Not, SignalCondition
from monitoring_pipeline.judge.objectives import BUDGET, BURN_RATE, COMPLIANCE
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.status import Status
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.notify.alerts import Status as IncidentStatus
from monitoring_pipeline.notify.incidents import INFORMATIVE, Incident
from monitoring_pipeline.publish import health_page as shown
from monitoring_pipeline.settings.defaults import default_window, watched_metrics
from monitoring_pipeline.settings.load import load_monitors
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import Episode
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.workflow.monitor_assets import checked
from monitoring_pipeline.workflow.monitor_status import monitor_status
from monitoring_pipeline.workflow.partitions import day_key, days_of
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.stages import SERVING_LOOKBACK

INDEX = "index.html"

PERIOD = timedelta(days=30)
"""How far back a page reaches from the newest judged hour."""

FEW_DAYS, EVERY = timedelta(days=5), 6
"""Charts that cover more than a few days have a point every so many hours."""

LONGEST_REASON = 100
"""Characters of a reason in the first sentence of a page; the table of incidents has it whole."""

MOST_COLUMNS, MOST_COURSES, MOST_WORST = 60, 3, 5
"""Columns and performance metrics on a page, and columns named below a check: of more the worst, or the first."""

CHECKS = ("quality", "schema", "skew", "labels", "freshness", "operations")
"""Reports of the section on data quality and service."""

References = Callable[[str], Reference | None]
Found = Mapping[datetime, Sequence[Verdict]]
"""Verdicts of all traffic on the version that served, by the hour they end with."""


def health_page(
    monitor: Monitor,
    hourly: HourlyStore,
    references: References,
    *,
    incidents: Sequence[Incident] = (),
    episodes: Sequence[Episode] = (),
    now: datetime,
) -> shown.HealthPage:
    """Return what the page of a monitor shows at `now`, from what the stores know by then."""
    model, window = monitor.registry_name, default_window(monitor.windows)
    known = [each for each in incidents if each.opened_at <= now]
    standing = [each for each in known if each.resolved_at is None or each.resolved_at > now]
    page = shown.HealthPage(
        monitor.model,
        now,
        monitor_status(monitor, hourly, standing, now=now),
        description=monitor.description,
        owners=tuple(monitor.owners),
        ended=monitor.end if monitor.end and monitor.end <= now else None,
        window=window,
    )
    judged = [hour for hour in hourly.hours("verdicts", model) if hour + HOUR <= now]
    if not judged:
        return page
    start, end = max(judged[0], judged[-1] + HOUR - PERIOD), judged[-1] + HOUR
    counts = hourly.read_served(model, start - SERVING_LOOKBACK, end)
    courses = _watched(monitor, window)
    found, ends = _verdicts(hourly, model, [hour for hour in judged if hour >= start], courses, counts)
    versions = _versions({at: parts for at, parts in counts.items() if at >= start}, references)
    drifting = _known_window(found, ends, [window, *monitor.windows])
    features = _features(found, ends, drifting)
    serving = references(versions[-1].version) if versions else None
    began = [each for each in known if each in standing or (each.resolved_at or now) >= start]
    troubles = {each.id: _trouble(place, each, standing) for place, each in enumerate(began, 1)}
    grave = _grave(standing, page.status.since) if page.status.level.rank > 0 else []
    return replace(
        page,
        because=_because(grave, found[ends[-1]]),
        leading=troubles[grave[0].id] if grave else None,
        start=start,
        days=tuple(hour + HOUR for hour in ends),
        courses=tuple(course for each in courses.items() if (course := _course(*each, found))),
        measured=tuple(each for each in found[ends[-1]] if _is(each, ("performance", "business"), window)),
        features=tuple(_with_bins(features[:MOST_COLUMNS], hourly, serving, end - window_length(drifting), end)),
        left_out=max(len(features) - MOST_COLUMNS, 0),
        drifting=drifting,
        quality=_checks(found, ends, window, monitor.windows),
        troubles=tuple(reversed(troubles.values())),
        changes=_changes(episodes, start, now),
        versions=versions,
        promises=_promises(found[ends[-1]]),
    )


def _watched(monitor: Monitor, window: str) -> dict[str, str]:
    """Return the performance metrics of a page, over the window of the rule that looks at them, else `window`.

    First those that a model has declined by, then what else its rules look at.
    """
    names = watched_metrics(monitor.task, score=monitor.columns.score, prediction=monitor.columns.prediction)
    found = dict.fromkeys(names, window)
    bands = (condition for rule in monitor.alert_rules() for _, condition in rule.bands)
    ruled = dict(sorted({pair for condition in bands for pair in _looked_at(condition)}, reverse=True))
    found |= {name.partition(".")[2]: own for name, own in ruled.items() if name.startswith("performance.")}
    return dict([*found.items()][:MOST_COURSES])


def _looked_at(condition: Condition) -> Iterator[tuple[str, str]]:
    match condition:
        case SignalCondition():
            yield condition.metric, condition.window
        case Not(of):
            yield from _looked_at(of)
        case All(of) | Any(of) | AtLeast(_, of):
            for part in of:
                yield from _looked_at(part)


def _verdicts(
    hourly: HourlyStore,
    model: str,
    judged: Sequence[datetime],
    courses: Iterable[str],
    counts: Mapping[datetime, Mapping[str, int]],
) -> tuple[Found, list[datetime]]:
    """Return all verdicts at the end of each day, those on performance between, and the last hour of each day."""
    ends = list({hour.date(): hour for hour in judged}.values())
    step = 1 if judged[-1] - judged[0] < FEW_DAYS else EVERY
    asked = {f"{report}.{name}" for name in courses for report in ("performance", "estimate")}
    found = {
        hour: hourly.read_verdicts(model, hour, hour + HOUR, metrics).get(hour, [])
        for hour in judged
        for metrics in [None if hour in ends else {*asked, "performance.label_coverage"}]
        if metrics is None or (hour.hour + 1) % step == 0
    }
    served = served_verdicts(found, counts)
    return {hour: [each for each in served[hour] if _is_of_all(each)] for hour in sorted(served)}, ends


def _is_of_all(verdict: Verdict) -> bool:
    return not verdict.signal.segment and verdict.signal.baseline in ("", TRAINING)


def _is(verdict: Verdict, reports: Sequence[str], window: str) -> bool:
    return verdict.signal.metric.partition(".")[0] in reports and verdict.signal.window == window


def _course(name: str, window: str, found: Found) -> shown.Course | None:
    points = []
    for hour, verdicts in found.items():
        at = {each.signal.metric: each for each in verdicts if each.signal.window == window}
        estimate, labelled = at.get(f"estimate.{name}"), at.get("performance.label_coverage")
        observed, coverage = at.get(f"performance.{name}"), labelled.signal.value if labelled else None
        points.append(shown.Point(hour + HOUR, observed, estimate.signal if estimate else None, coverage))
    known = any(point.observed or point.estimate for point in points)
    return shown.Course(f"performance.{name}", window, tuple(points)) if known else None


def _known_window(found: Found, ends: Sequence[datetime], windows: Sequence[str]) -> str:
    """Return the first window over which drift is known of any day: a day may never have enough rows."""
    drift = (each for hour in ends for each in found[hour] if each.signal.metric.startswith("drift."))
    known = {each.signal.window for each in drift if each.level is not Level.UNKNOWN}
    return next((window for window in windows if window in known), windows[0])


def _features(found: Found, ends: Sequence[datetime], window: str) -> list[shown.Row]:
    """Return the columns with the drift at the end of each day that is nearest to its limit, the worst first."""
    days: list[dict[str, list[Verdict]]] = []
    for hour in ends:
        days.append({})
        for each in found[hour]:
            if each.signal.column and _is(each, ("drift",), window):
                days[-1].setdefault(each.signal.column, []).append(each)
    return sorted((_row(name, name, days) for name in {name for day in days for name in day}), key=_badness)


def _row(name: str, key: str, days: Sequence[Mapping[str, Sequence[Verdict]]], *, worst: int = 0) -> shown.Row:
    ranked = [sorted(day.get(key, ()), key=_rank, reverse=True) for day in days]
    return shown.Row(name, tuple(each[0] if each else None for each in ranked), worst=tuple(ranked[-1][:worst]))


def _badness(row: shown.Row) -> tuple[float, float, float, str]:
    """Return what rows are sorted by: the newest level, then days beyond the limit, then how near to it."""
    most = max((shown.nearness(each) for each in row.days if each is not None), default=0.0)
    return -row.newest.level.rank if row.newest else 1.0, -float(row.beyond), -most, row.name


def _with_bins(
    rows: Sequence[shown.Row], hourly: HourlyStore, reference: Reference | None, start: datetime, end: datetime
) -> list[shown.Row]:
    """Return rows with the shares of their bins in the reference and in [start, end)."""
    if reference is None:
        return list(rows)
    blank = Profile.empty(reference.version, reference.specs)
    entries = (each for hour in hourly.read_profiles(reference.model, start, end).values() for each in hour)
    own = (blank.version, "", blank.bins)
    now = reduce(Profile.merge, (each for each in entries if (each.version, each.segment, each.bins) == own), blank)
    made = []
    for row in rows:
        bins: list[shown.Bin] = []
        if now.rows and row.name in now.columns:
            entry = reference.columns[row.name]
            sides = [as_windows(each).grouped(entry.column.bins)[0] for each in (entry.profile, now.columns[row.name])]
            shares = zip(*(side / max(side.sum(), 1) for side in sides), strict=True)
            names = ((bin_name(entry.column.bins, place), *each) for place, each in enumerate(shares))
            bins = [shown.Bin(name, float(before), float(after)) for name, before, after in names if before or after]
        made.append(replace(row, bins=tuple(bins), rows=(reference.rows, now.rows)))
    return made


def _checks(found: Found, ends: Sequence[datetime], window: str, windows: Sequence[str]) -> tuple[shown.Row, ...]:
    """Return the checks of data and service that have a limit, each with its worst column at the end of each day."""
    days: list[dict[str, list[Verdict]]] = []
    for hour in ends:
        day: dict[tuple[str, str], list[Verdict]] = {}
        for each in found[hour]:
            if each.signal.metric.partition(".")[0] in CHECKS:
                day.setdefault((each.signal.metric, each.signal.window), []).append(each)
        # Over the window of the page, else the first that the check has: later ones replace earlier ones here.
        days.append(
            {metric: day[metric, own] for own in [*reversed(windows), window] for metric, at in day if at == own}
        )
    limited = {name for day in days for name in day if any(each.threshold_origin != "none" for each in day[name])}
    rows = (_row(shown.metric_words(name).removeprefix("quality "), name, days, worst=MOST_WORST) for name in limited)
    return tuple(sorted(rows, key=_badness))


def _rank(verdict: Verdict) -> tuple[int, float]:
    return verdict.level.rank, shown.nearness(verdict)


def _versions(served: Mapping[datetime, Mapping[str, int]], references: References) -> tuple[shown.Served, ...]:
    """Return the versions in the order in which they were last seen: the one that serves is the last."""
    hours: dict[str, dict[datetime, int]] = {}
    for at in sorted(served):
        for version, rows in served[at].items():
            if rows:
                hours.setdefault(version, {})[at] = rows
    made = []
    for version in sorted(hours, key=lambda version: [*hours[version].items()][-1]):
        reference, own = references(version), hours[version]
        trained_until = reference.trained_until if reference else None
        made.append(shown.Served(version, min(own), max(own) + HOUR, sum(own.values()), trained_until))
    return tuple(made)


def _trouble(number: int, incident: Incident, standing: Sequence[Incident]) -> shown.Trouble:
    cause = incident.causes[0] if incident.causes else {}
    actions, confidence = cause.get("actions"), cause.get("confidence")
    sure = f" ({confidence:.0%} sure)" if isinstance(confidence, float) else ""
    return shown.Trouble(
        number=number,
        began=incident.first_hour,
        ended=None if incident in standing else incident.resolved_at,
        severity=incident.severity,
        sev=incident.sev,
        rules=incident.rules or (incident.rule,),
        what=_evidence(incident, ()),
        cause=f"{cause['name']}{sure}" if cause else "",
        next_step=str(actions[0]) if isinstance(actions, list | tuple) and actions else "",
        runbook=incident.runbook,
        taken_on_by=incident.acknowledged_by,
    )


def _grave(standing: Sequence[Incident], since: datetime | None) -> list[Incident]:
    """Return the open incidents that somebody is told of: first what the status began with, then the gravest."""
    grave = (each for each in standing if each.rules and each.sev < INFORMATIVE)
    return sorted(grave, key=lambda each: (each.first_hour != since, -each.severity.rank, each.first_hour))


def _because(grave: Sequence[Incident], newest: Sequence[Verdict]) -> str:
    """Return what is worst about the first of some incidents, in a line; nothing without one."""
    if not grave:
        return ""
    more = f" ({len(grave) - 1} more open incident{'s' if len(grave) > 2 else ''})" if len(grave) > 1 else ""
    return in_a_line(_evidence(grave[0], newest)) + more


def in_a_line(reason: str) -> str:
    """Return as many clauses of a reason as fit into a line, or as many words of its first one."""
    if len(reason) <= LONGEST_REASON:
        return reason
    clauses = re.match(rf".{{30,{LONGEST_REASON}}}(?=[,;] )", reason)
    return clauses[0] if clauses else shorten(reason, LONGEST_REASON, placeholder=" …")


def _evidence(incident: Incident, newest: Sequence[Verdict]) -> str:
    """Return the worst that was found: `ROC AUC over 7d fell to 0.616, limit 0.637, baseline 0.671`."""
    worst = incident.evidence_summary[0] if incident.evidence_summary else {}
    value, limit, column = worst.get("value"), worst.get("threshold"), worst.get("column")
    if not isinstance(value, int | float) or not isinstance(limit, int | float):
        return incident.reason
    key = worst["metric"], worst["window"], column
    same = (each.signal for each in newest if (each.signal.metric, each.signal.window, each.signal.column) == key)
    usual = next((signal.baseline_value for signal in same), None)
    baseline = "" if usual is None else f", baseline {shown.number(usual)}"
    place = " ".join(
        filter(None, (f"of {column}" if column else "", str(worst.get("segment") or ""), f"over {key[1]}"))
    )
    moved = f"{'fell' if value < limit else 'rose'} to {shown.number(value)}, limit {shown.number(limit)}"
    return f"{shown.metric_words(str(key[0]))} {place} {moved}{baseline}"


def _changes(episodes: Iterable[Episode], start: datetime, now: datetime) -> tuple[shown.Change, ...]:
    """Return retrainings and rollbacks, the newest first."""
    made = []
    for each in episodes:
        said, at = each.outcome, each.finished_at or each.opened_at
        reasons = said.get("reasons")
        why = [f"asked for by {said['by']}: {said.get('why', '')}"] if each.by_hand else []
        why += map(str, reasons) if isinstance(reasons, list | tuple) else ()
        after = str(said.get("challenger") or said.get("to") or "")
        made.append(
            shown.Change(at, each.status.value, str(said.get("champion") or each.version), after, "; ".join(why))
        )
    return tuple(sorted((each for each in made if start <= each.at <= now), key=lambda each: each.at, reverse=True))


def _promises(newest: Iterable[Verdict]) -> tuple[shown.Promise, ...]:
    found: dict[str, dict[str, list[Verdict]]] = {}
    for each in newest:
        if each.signal.metric in (BUDGET, COMPLIANCE, BURN_RATE):
            found.setdefault(each.signal.column, {}).setdefault(each.signal.metric, []).append(each)
    return tuple(
        shown.Promise(name, parts[COMPLIANCE][0], parts[BUDGET][0], tuple(parts.get(BURN_RATE, ())))
        for name, parts in found.items()
        if BUDGET in parts and COMPLIANCE in parts
    )


class Written(NamedTuple):
    """A page that was written."""

    page: shown.HealthPage
    path: Path
    size: int


def write_health(
    monitoring: Monitoring,
    monitors: Sequence[Monitor],
    *,
    every: Sequence[Monitor],
    now: datetime | None = None,
    folder: Path | None = None,
) -> list[Written]:
    """Write the pages of some monitors, and the index of `every` one; each file is replaced as a whole."""
    now, folder = now or monitoring.now(), folder or monitoring.data / "health"
    database, hourly, references, written = monitoring.database, monitoring.hourly, monitoring.references, []
    for monitor in monitors:
        model = monitor.registry_name
        page = health_page(
            monitor,
            hourly,
            lambda version, model=model: references.load(model, version),  # type: ignore[misc]
            incidents=database.incidents(model),
            episodes=database.episodes(model),
            now=now,
        )
        content = shown.render_page(page, index=INDEX).encode()
        publish(folder / _name(monitor), content)
        written.append(Written(page, folder / _name(monitor), len(content)))
    made = {each.page.model: each.page for each in written}
    listed = []
    for monitor in every:
        page_or_status = made.get(monitor.model) or _status(monitoring, monitor, now)
        address = quote(_name(monitor)) if (folder / _name(monitor)).exists() else ""
        listed.append(shown.Listed(monitor.model, monitor.description, page_or_status, address))
    publish(folder / INDEX, shown.render_index(listed, as_of=now).encode())
    return written


def _status(monitoring: Monitoring, monitor: Monitor, now: datetime) -> Status:
    """Return how a monitor is that is only listed: its broken files are not the trouble of those that are shown."""
    incidents = monitoring.database.incidents(monitor.registry_name, IncidentStatus.OPEN)
    try:
        return monitor_status(monitor, monitoring.hourly, incidents, now=now)
    except MonitoringError as error:
        return Status(Level.UNKNOWN, None, f"its stores cannot be read: {error}", None, is_stale=True)


def _name(monitor: Monitor) -> str:
    return f"model={quote(monitor.model, safe='')}.html"


def report_health(context: dg.AssetExecutionContext, monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Write the page of a monitor as it is now, whatever days the run covers: there is one page, of the present."""
    every = load_monitors(monitoring.deployment.monitors_directory)
    (made,) = write_health(monitoring, [monitor], every=every)
    facts = {"page": dg.MetadataValue.path(made.path.absolute()), "status": made.page.sentence, "size_bytes": made.size}
    context.add_asset_metadata(facts, asset_key=context.asset_key, partition_key=day_key(days_of(context)[-1]))
    return checked("model_is_fine", made.page.sentence, passed=made.page.status.level is Level.OK)

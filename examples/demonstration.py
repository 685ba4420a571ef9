"""A demonstration: a model meets a stretch of real time, hour by hour, and the pipeline watches it.

Trains and registers the model, logs what it would have served, and lets a real Dagster instance process the hours as
they pass. Nothing is scripted: what is found is in the data. Add to the account here. Keep out what one model differs
in from another: that is its `Demonstration`.
"""

import json
import os
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.workflow.rehearsal import Rehearsal
    from monitoring_pipeline.workflow.resources import Monitoring

AFTER_THE_HOUR = timedelta(minutes=15)
"""The clock stands a little past the hour, when the last batch of the log has been written."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A model, its rows in time, and the stretch of them that is replayed.

    Served from `served_from` on; the hours up to `watched_from` are processed at once, as after a late start, and those
    up to `watched_until` as they pass. `training` and `row` say in words what the model learns from and what a row is.
    """

    name: str
    served_from: datetime
    watched_from: datetime
    watched_until: datetime
    training: str
    row: str
    train: Callable[..., str]
    rows_between: Callable[[datetime, datetime], "pd.DataFrame"]
    predictions_between: Callable[..., "pa.Table"]
    labels_between: Callable[["pd.DataFrame", datetime, datetime], "pa.Table"]

    def run(self, home: Path, *, step: timedelta) -> dict[str, Any]:
        """Run the demonstration below `home`, which starts empty, and return the account that `summary.json` holds."""
        monitors = prepare(home, self.name)
        seconds: dict[str, float] = {}

        with timed(seconds, "training", f"training on {self.training}, registering the champion"):
            from monitoring_pipeline.capture.windows import window_name
            from monitoring_pipeline.settings.load import load_monitor
            from monitoring_pipeline.workflow.rehearsal import rehearsing
            from monitoring_pipeline.workflow.resources import Monitoring

            monitor, monitoring = load_monitor(monitors / f"{self.name}.yaml"), Monitoring()
            self.train(monitoring.deployment.tracking_uri, artifacts=home / "artifacts")

        service = Service(self, monitoring, monitor)
        with rehearsing(home / "dagster", home / "clock") as rehearsal:
            span = f"{self.served_from:%d %B} to {self.watched_from:%d %B}"
            with timed(seconds, "history", f"{span}: served, logged, backfilled"):
                service.serve(self.served_from, self.watched_from)
                rehearsal.set_clock(self.watched_from + AFTER_THE_HOUR)
                rehearsal.start_sensors()
                rehearsal.tick(2)
            span = f"{self.watched_from:%d %B} to {self.watched_until:%d %B}"
            with timed(seconds, "replay", f"{span}, {window_name(step)} at a time"):
                moment = self.watched_from
                while moment < self.watched_until:
                    following = min(moment + step, self.watched_until)
                    service.serve(moment, following)
                    moment = following
                    rehearsal.set_clock(moment + AFTER_THE_HOUR)
                    rehearsal.tick()
                rehearsal.tick(2)
            account = summary(monitoring, rehearsal, self.name) | {"seconds": seconds}
        (home / "summary.json").write_text(json.dumps(account, indent=2))
        from monitoring_pipeline.workflow.health_page import write_health

        (page,) = write_health(monitoring, [monitor], every=[monitor])
        print(in_words(account, home, row=self.row))
        print(f"What happened to the model, on one page: {page.path}")
        return account


def prepare(home: Path, name: str) -> Path:
    """Empty the folder, make it the deployment of this process, and return its monitors: a copy of the one that runs.

    The others in the repository's folder have no model in this deployment's registry.
    """
    shutil.rmtree(home, ignore_errors=True)
    monitors = home / "monitors"
    monitors.mkdir(parents=True)
    shutil.copy(Path("monitors") / f"{name}.yaml", monitors)
    os.environ.update(
        MONITORING_HOME=str(home.resolve()),
        MONITORING_MONITORS=str(monitors.resolve()),
        MONITORING_CLOCK=str(home.resolve() / "clock"),
        MONITORING_SENSOR_SECONDS="1",
        DAGSTER_HOME=str(home.resolve() / "dagster"),
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        DAGSTER_EVENT_BATCH_SIZE="1000",
    )
    warnings.filterwarnings("ignore")  # of Dagster about its beta arguments; tests run with warnings as errors
    return monitors


@contextmanager
def timed(seconds: dict[str, float], phase: str, words: str) -> Iterator[None]:
    """Say what begins and record how long it took."""
    print(f"… {words}", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - start, 1)


class Service:
    """What a scoring service would do: score with the champion of the moment, log, and log outcomes as they come."""

    def __init__(self, demonstration: Demonstration, monitoring: "Monitoring", monitor: "Monitor") -> None:
        self._demonstration, self._monitoring, self._monitor = demonstration, monitoring, monitor
        self._rows = demonstration.rows_between(demonstration.served_from, demonstration.watched_until)
        self._stages = monitoring.stages(monitor)
        self._scorers: dict[str, Any] = {}

    def serve(self, start: datetime, end: datetime) -> None:
        """Serve the rows of [start, end), and log what becomes known in that time."""
        from monitoring_pipeline.capture.labels import hours_in
        from monitoring_pipeline.serve.scoring import load_scorer

        registry, monitor, name = self._monitoring.registry, self._monitor, self._demonstration.name
        version = registry.version(name, "champion").version
        if version not in self._scorers:
            trusted = monitor.retraining.trusted_types
            self._scorers[version] = load_scorer(registry.tracking_uri, name, version, trusted, task=monitor.task)
        served = self._demonstration.predictions_between(self._rows, start, end, self._scorers[version], version)
        if served.num_rows:
            self._stages.predictions.append(name, served)
        known = self._demonstration.labels_between(self._rows, start, end)
        if known.num_rows:
            self._stages.labels.append(name, known, hours=hours_in(known["predicted_at"]))


def summary(monitoring: "Monitoring", rehearsal: "Rehearsal", name: str) -> dict[str, Any]:
    """Return what happened, from the stores."""
    store, database = monitoring.hourly, monitoring.database
    hours = store.hours("verdicts", name)
    window = (hours[0], hours[-1] + timedelta(hours=1))
    served = store.read_served(name, *window)
    rows = sum(sum(counts.values()) for counts in served.values())
    signals = [store.read(kind, name, *window, ["metric"]) for kind in ("drift", "performance", "quality", "service")]
    decisions = database.decisions(name)
    return {
        "model": name,
        "from": window[0].isoformat(),
        "until": window[1].isoformat(),
        "hours": len(hours),
        "empty_hours": sum(not any(counts.values()) for counts in served.values()),
        "rows": rows,
        "label_coverage": round(sum(store.read_labelled(name, *window).values()) / rows, 4),
        "signals": sum(table.num_rows for part in signals for table in part.values()),
        "incidents": [_incident(incident) for incident in database.incidents(name)],
        "notifications": dict(Counter(entry.status.value for entry in database.notifications())),
        "decisions": {
            "hours_decided": len(decisions),
            "fired": [_decision(decision) for decision in decisions if decision.fired],
            "held_back": dict(Counter(str(decision.reason) for decision in decisions if not decision.fired)),
        },
        "retrainings": [_episode(episode) for episode in database.episodes(name)],
        "champion": monitoring.registry.version(name, "champion").version,
        "versions": len(monitoring.registry.versions(name)),
        "runs": rehearsal.run_counts(),
        "ticks": rehearsal.tick_count(),
    }


def _incident(incident: Any) -> dict[str, Any]:
    worst = incident.evidence_summary[0] if incident.evidence_summary else {}
    return {
        "rules": list(incident.rules),
        "severity": incident.severity.value,
        "sev": incident.sev,
        "kind": incident.kind.value,
        "causes": [f"{cause['name']} ({cause['confidence']:.0%})" for cause in incident.causes[:3]],
        "status": incident.status.value,
        "first_hour": incident.first_hour.isoformat(),
        "last_hour": incident.last_hour.isoformat(),
        "opened_at": incident.opened_at.isoformat(),
        "resolved_at": incident.resolved_at.isoformat() if incident.resolved_at else None,
        "reason": incident.reason,
        "evidence": {key: worst.get(key) for key in ("metric", "column", "window", "value", "threshold")},
    }


def _decision(decision: Any) -> dict[str, Any]:
    return {
        "hour": decision.hour.isoformat(),
        "version": decision.version,
        "explanation": decision.explanation,
        "clauses": {
            clause.name: {
                "state": clause.state.value,
                "value": clause.value,
                "threshold": clause.threshold,
                "reason": clause.reason,
            }
            for clause in decision.clauses
        },
    }


def _episode(episode: Any) -> dict[str, Any]:
    return {
        "episode": episode.id,
        "status": episode.status.value,
        "finished_at": episode.finished_at.isoformat() if episode.finished_at else None,
        **{key: episode.outcome.get(key) for key in ("champion", "challenger", "rows", "comparisons", "reasons")},
    }


def incident_in_words(incident: dict[str, Any]) -> str:
    """Return a line about an incident; what was reported has no value that passed a limit, but a reason."""
    end = f"resolved {incident['resolved_at'][:16]}" if incident["resolved_at"] else "still open"
    found, what = incident["evidence"], incident["reason"]
    if found["value"] is not None and found["threshold"] is not None:
        what = f"{found['metric']} {found['column'] or ''} {found['value']:.3g} against {found['threshold']:.3g}"
    rules = ", ".join(incident["rules"]) or "reported"
    return f"  {incident['first_hour'][:16]}  SEV-{incident['sev']}  {rules}: {what}; {end}"


def in_words(account: dict[str, Any], home: Path, *, row: str) -> str:
    """Return the account for a person."""
    lines = [
        "",
        f"{account['hours']} hours of {account['model']} ({account['from'][:10]} to {account['until'][:10]}), "
        f"{account['empty_hours']} of them empty: {account['rows']:,} predictions, "
        f"{account['label_coverage']:.1%} with labels, {account['signals']:,} signals.",
        "",
        "Incidents",
    ]
    for incident in account["incidents"]:
        lines.append(incident_in_words(incident))
        lines += [f"      because: {cause}" for cause in incident["causes"][:1]]
    lines += ["", "Retraining"]
    for fired, episode in zip(account["decisions"]["fired"], account["retrainings"], strict=True):
        met = [name for name, clause in fired["clauses"].items() if clause["state"] == "firing"]
        lines.append(f"  {fired['hour'][:16]}  because of {', '.join(met)}")
        for metric, item in (episode["comparisons"] or {}).items():
            lines.append(
                f"      {metric}: champion v{episode['champion']} {item['champion']:.4f}, challenger "
                f"v{episode['challenger']} {item['challenger']:.4f} on {episode['rows']} held-out {row}s"
            )
        lines.append(f"      {episode['status']}: {'; '.join(episode['reasons'] or ['see the run'])}")
    held = ", ".join(f"{count} times {reason}" for reason, count in account["decisions"]["held_back"].items())
    lines += [
        f"  {account['decisions']['hours_decided']} hours decided; not retrained: {held}",
        f"  champion now: v{account['champion']} of {account['versions']} versions",
        "",
        f"{sum(account['runs'].values())} Dagster runs and {account['ticks']} sensor ticks to look at: `make ui`",
        f"The same in figures: {home}/summary.json",
    ]
    return "\n".join(lines)

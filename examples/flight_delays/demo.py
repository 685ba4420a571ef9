"""The demonstration: the model meets the spring of 2013, hour by hour, and the pipeline watches it.

Trains and registers the model, logs what it would have served, and lets a real Dagster instance process the hours as
they pass. Nothing is scripted: what is found is in the data. Add to the account here. Keep the pipeline out.
"""

import json
import os
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.flight_delays.model import NAME, flights_between
from examples.flight_delays.replay import labels_between, predictions_between

if TYPE_CHECKING:
    import pandas as pd

    from monitoring_pipeline.settings.monitor import Monitor
    from monitoring_pipeline.workflow.rehearsal import Rehearsal
    from monitoring_pipeline.workflow.resources import Monitoring

SERVED_FROM = datetime(2013, 4, 1, tzinfo=UTC)
WATCHED_FROM = datetime(2013, 4, 18, tzinfo=UTC)
WATCHED_UNTIL = datetime(2013, 5, 6, tzinfo=UTC)
AFTER_THE_HOUR = timedelta(minutes=15)
"""The clock stands a little past the hour, when the last batch of the log has been written."""

MONITOR = Path("monitors") / f"{NAME}.yaml"


def run_demo(home: Path, *, step: timedelta = timedelta(hours=12)) -> dict[str, Any]:
    """Run the demonstration below `home`, which starts empty, and return the account that `summary.json` holds."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    os.environ.update(
        MONITORING_HOME=str(home.resolve()),
        MONITORING_CLOCK=str(home.resolve() / "clock"),
        MONITORING_SENSOR_SECONDS="1",
        DAGSTER_HOME=str(home.resolve() / "dagster"),
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        DAGSTER_EVENT_BATCH_SIZE="1000",
    )
    warnings.filterwarnings("ignore")  # of Dagster about its beta arguments; tests run with warnings as errors
    seconds: dict[str, float] = {}

    with timed(seconds, "training", "training on January and February, registering the champion"):
        from examples.flight_delays.train import train_first_version
        from monitoring_pipeline.capture.windows import window_name
        from monitoring_pipeline.settings.load import load_monitor
        from monitoring_pipeline.workflow.rehearsal import rehearsing
        from monitoring_pipeline.workflow.resources import Monitoring

        monitor, monitoring = load_monitor(MONITOR), Monitoring()
        train_first_version(monitoring.deployment.tracking_uri, artifacts=home / "artifacts")

    flights = flights_between(SERVED_FROM, WATCHED_UNTIL)
    service = Service(monitoring, monitor, flights)
    with rehearsing(home / "dagster", home / "clock") as rehearsal:
        with timed(seconds, "history", f"{SERVED_FROM:%d %B} to {WATCHED_FROM:%d %B}: served, logged, backfilled"):
            service.serve(SERVED_FROM, WATCHED_FROM)
            rehearsal.set_clock(WATCHED_FROM + AFTER_THE_HOUR)
            rehearsal.start_sensors()
            rehearsal.tick(2)
        with timed(seconds, "replay", f"{WATCHED_FROM:%d %B} to {WATCHED_UNTIL:%d %B}, {window_name(step)} at a time"):
            moment = WATCHED_FROM
            while moment < WATCHED_UNTIL:
                following = min(moment + step, WATCHED_UNTIL)
                service.serve(moment, following)
                moment = following
                rehearsal.set_clock(moment + AFTER_THE_HOUR)
                rehearsal.tick()
            rehearsal.tick(2)
        account = summary(monitoring, rehearsal) | {"seconds": seconds}
    (home / "summary.json").write_text(json.dumps(account, indent=2))
    print(in_words(account, home))
    return account


@contextmanager
def timed(seconds: dict[str, float], phase: str, words: str) -> Iterator[None]:
    """Say what begins and record how long it took."""
    print(f"… {words}", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - start, 1)


class Service:
    """What a scoring service would do: score with the champion of the moment, log, and log outcomes as they come."""

    def __init__(self, monitoring: "Monitoring", monitor: "Monitor", flights: "pd.DataFrame") -> None:
        self._monitoring, self._monitor, self._flights = monitoring, monitor, flights
        self._stages = monitoring.stages(monitor)
        self._scorers: dict[str, Any] = {}

    def serve(self, start: datetime, end: datetime) -> None:
        """Serve the flights of [start, end), and log what becomes known in that time."""
        from monitoring_pipeline.capture.labels import hours_in
        from monitoring_pipeline.serve.scoring import load_scorer

        registry, trusted = self._monitoring.registry, self._monitor.retraining.trusted_types
        version = registry.version(NAME, "champion").version
        if version not in self._scorers:
            self._scorers[version] = load_scorer(registry.tracking_uri, NAME, version, trusted)
        served = predictions_between(self._flights, start, end, self._scorers[version], version)
        if served.num_rows:
            self._stages.predictions.append(NAME, served)
        known = labels_between(self._flights, start, end)
        if known.num_rows:
            self._stages.labels.append(NAME, known, hours=hours_in(known["predicted_at"]))


def summary(monitoring: "Monitoring", rehearsal: "Rehearsal") -> dict[str, Any]:
    """Return what happened, from the stores."""
    store, database = monitoring.hourly, monitoring.database
    hours = store.hours("verdicts", NAME)
    window = (hours[0], hours[-1] + timedelta(hours=1))
    served = store.read_served(NAME, *window)
    rows = sum(sum(counts.values()) for counts in served.values())
    signals = [store.read(kind, NAME, *window, ["metric"]) for kind in ("drift", "performance")]
    decisions = database.decisions(NAME)
    return {
        "model": NAME,
        "from": window[0].isoformat(),
        "until": window[1].isoformat(),
        "hours": len(hours),
        "empty_hours": sum(not any(counts.values()) for counts in served.values()),
        "rows": rows,
        "label_coverage": round(sum(store.read_labelled(NAME, *window).values()) / rows, 4),
        "signals": sum(table.num_rows for part in signals for table in part.values()),
        "incidents": [_incident(incident) for incident in database.incidents(NAME)],
        "notifications": dict(Counter(entry.status.value for entry in database.notifications())),
        "decisions": {
            "hours_decided": len(decisions),
            "fired": [_decision(decision) for decision in decisions if decision.fired],
            "held_back": dict(Counter(str(decision.reason) for decision in decisions if not decision.fired)),
        },
        "retrainings": [_episode(episode) for episode in database.episodes(NAME)],
        "champion": monitoring.registry.version(NAME, "champion").version,
        "versions": len(monitoring.registry.versions(NAME)),
        "runs": rehearsal.run_counts(),
        "ticks": rehearsal.tick_count(),
    }


def _incident(incident: Any) -> dict[str, Any]:
    worst = incident.evidence_summary[0] if incident.evidence_summary else {}
    return {
        "rule": incident.rule,
        "severity": incident.severity.value,
        "status": incident.status.value,
        "first_hour": incident.first_hour.isoformat(),
        "last_hour": incident.last_hour.isoformat(),
        "opened_at": incident.opened_at.isoformat(),
        "resolved_at": incident.resolved_at.isoformat() if incident.resolved_at else None,
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


def in_words(account: dict[str, Any], home: Path) -> str:
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
        end = f"resolved {incident['resolved_at'][:16]}" if incident["resolved_at"] else "still open"
        found = incident["evidence"]
        what = f"{found['metric']} {found['column'] or ''} {found['value']:.3g} against {found['threshold']:.3g}"
        lines.append(f"  {incident['first_hour'][:16]}  {incident['severity']:8}  {incident['rule']}: {what}; {end}")
    lines += ["", "Retraining"]
    for fired, episode in zip(account["decisions"]["fired"], account["retrainings"], strict=True):
        met = [name for name, clause in fired["clauses"].items() if clause["state"] == "firing"]
        lines.append(f"  {fired['hour'][:16]}  because of {', '.join(met)}")
        for metric, item in (episode["comparisons"] or {}).items():
            lines.append(
                f"      {metric}: champion v{episode['champion']} {item['champion']:.4f}, challenger "
                f"v{episode['challenger']} {item['challenger']:.4f} on {episode['rows']} held-out flights"
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

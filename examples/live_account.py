"""What happened in a live demonstration, from the stores and from the answers that were counted.

Add a figure here. Keep what happens out: it belongs in live.py.
"""

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.demonstration import incident_in_words
from monitoring_pipeline.capture.windows import HOUR, Window

if TYPE_CHECKING:
    from examples.live import Play


def account_of(play: "Play") -> dict[str, Any]:
    """Return what happened."""
    traffic, name = play.traffic, play.stage.name
    incidents, episodes = play.database.incidents(name), play.database.episodes(name)
    took = statistics.quantiles(traffic.took_ms, n=100)
    return {
        "model": name,
        "from": play.world.start.isoformat(),
        "until": play.world.end.isoformat(),
        "log": play.stage.monitor.log.kind,
        "requests": {
            "sent": dict(traffic.sent),
            "failed": len(traffic.failures),
            "failures": traffic.failures[:20],
            "p50_ms": round(took[49], 1),
            "p99_ms": round(took[98], 1),
        },
        "labels": traffic.labels,
        "served": {hour: dict(versions) for hour, versions in traffic.served.items()},
        "shadow": _shadow(play) | {"signals": _signals(play, "shadow")},
        "experiment": {"rows": dict(traffic.arms), "signals": _signals(play, "experiments")},
        "incidents": [_incident(incident) for incident in incidents],
        "retrainings": [_episode(episode) for episode in episodes],
        "champion": play.registry.version(name, "champion").version,
        "runs": play.runs,
    }


def _shadow(play: "Play") -> dict[str, Any]:
    """Return what the log holds of a shadow that nobody heard."""
    import numpy as np

    from monitoring_pipeline.workflow.logs import logs_at

    predictions, _ = logs_at(play.stage.monitor, play.stage.data, play.stage.env.get)
    score = play.stage.monitor.columns.score
    rows, apart, versions, at = 0, 0.0, set(), play.world.start
    while at < play.world.end:
        found = predictions.read(Window.of_hour(play.stage.name, at))
        at += HOUR
        if found.num_rows and "shadow_score" in found.column_names:
            said = found["shadow_score"].to_numpy(zero_copy_only=False).astype(float)
            known = np.isfinite(said)
            rows += int(known.sum())
            apart += float(np.abs(said - found[score].to_numpy(zero_copy_only=False).astype(float))[known].sum())
            versions |= set(found["shadow_version"].to_pylist()) - {None}
    return {"rows": rows, "versions": sorted(versions), "mean_distance": round(apart / rows, 4) if rows else None}


def _signals(play: "Play", kind: str) -> dict[str, Any]:
    """Return the newest values of a daily report."""
    found = play.hourly.read_signals(kind, play.stage.name, play.world.start, play.world.end)
    return {signal.metric: signal.value for hour in sorted(found) for signal in found[hour] if signal.value is not None}


def _incident(incident: Any) -> dict[str, Any]:
    worst = incident.evidence_summary[0] if incident.evidence_summary else {}
    return {
        "rules": list(incident.rules),
        "sev": incident.sev,
        "status": incident.status.value,
        "first_hour": incident.first_hour.isoformat(),
        "opened_at": incident.opened_at.isoformat(),
        "resolved_at": incident.resolved_at.isoformat() if incident.resolved_at else None,
        "reason": incident.reason,
        "evidence": {key: worst.get(key) for key in ("metric", "column", "window", "value", "threshold")},
        "causes": [f"{cause['name']} ({cause['confidence']:.0%})" for cause in incident.causes[:2]],
    }


def _episode(episode: Any) -> dict[str, Any]:
    return {
        "hour": episode.hour.isoformat(),
        "opened_at": episode.opened_at.isoformat(),
        "status": episode.status.value,
        "finished_at": episode.finished_at.isoformat() if episode.finished_at else None,
        **{key: episode.outcome.get(key) for key in ("champion", "challenger", "rows", "comparisons", "reasons")},
    }


def in_words(account: dict[str, Any], home: Path) -> str:
    """Return the account for a person."""
    asked, shadow, seconds = account["requests"], account["shadow"], account["seconds"]
    sent = ", ".join(f"{count:,} {path}" for path, count in asked["sent"].items())
    arms = ", ".join(f"{arm} {rows:,}" for arm, rows in sorted(account["experiment"]["rows"].items()))
    runs = ", ".join(f"{name.partition('__')[2] or name} {count}" for name, count in account["runs"].items())
    span = f"{account['from'][:10]} to {account['until'][:10]}"
    versions = ", ".join(f"v{version}" for version in shadow["versions"])
    lines = [
        "",
        f"{span} in {seconds['all'] / 60:.1f} minutes, log: {account['log']}",
        f"Requests  {sent}; {asked['failed']} failed; p50 {asked['p50_ms']:g} ms, p99 {asked['p99_ms']:g} ms",
        *(f"  failed: {failure}" for failure in asked["failures"][:5]),
        f"Labels    {account['labels']:,}",
        f"Shadow    {versions} scored {shadow['rows']:,} rows unheard, {shadow['mean_distance']} from what was served",
        f"Arms      {arms}",
        "Served by",
        *(f"  {first[:13]}  {', '.join(models)}" for first, models in _stretches(account["served"])),
        "Incidents",
    ]
    lines += [
        *(incident_in_words(incident) for incident in account["incidents"]),
        "Retraining",
        *(
            f"  {episode['hour'][:16]}  {episode['status']}: {'; '.join(episode['reasons'] or ['see the run'])}"
            for episode in account["retrainings"]
        ),
        f"  champion now: v{account['champion']}",
        f"Runs      {runs}",
        f"The same in figures: {home}/live.json; what the processes said: {home}/logs",
    ]
    return "\n".join(lines)


def _stretches(served: dict[str, dict[str, int]]) -> list[tuple[str, list[str]]]:
    """Return from when on which versions answered; an hour in which two models did is a stretch of its own."""
    found: list[tuple[str, list[str]]] = []
    for hour, versions in served.items():
        if not found or sorted(versions) != found[-1][1]:
            found.append((hour, sorted(versions)))
    return found

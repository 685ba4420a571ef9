"""Heartbeats for people, programs and Prometheus' node exporter.

Add a format to `FORMATS`. Keep the question whether one is too old out: it belongs in evaluate.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from monitoring_pipeline.evaluate.heartbeats import Heartbeat, in_words
from monitoring_pipeline.publish.exposition import TEXT, page, written
from monitoring_pipeline.publish.metrics import Families, Family, Labels

METRIC = "monitoring_heartbeat_timestamp_seconds"


def heartbeat_text(heartbeats: Sequence[Heartbeat], now: datetime) -> str:
    """Return a line for each heartbeat."""
    width = max(len(heartbeat.name) for heartbeat in heartbeats)
    return "\n".join(f"{each.name:{width}}  {_when(each, now)}" for each in heartbeats)


def heartbeat_json(heartbeats: Sequence[Heartbeat], now: datetime) -> str:
    """Return a JSON list; what was never heard from has neither moment nor age."""
    entries = [
        {
            "name": each.name,
            "at": None if each.at is None else each.at.isoformat(),
            "age_seconds": None if each.at is None else round((now - each.at).total_seconds()),
        }
        for each in heartbeats
    ]
    return json.dumps(entries, indent=2)


def heartbeat_metrics(heartbeats: Sequence[Heartbeat], _now: datetime) -> str:
    """Return the format of the textfile collector: a moment each, 0 where there is none, so that it counts as old."""
    moments: dict[Labels, float] = {
        (("name", each.name),): each.at.timestamp() if each.at else 0.0 for each in heartbeats
    }
    family = Family("When a part of the pipeline was last heard from, 0 if never.", moments)
    return page([written(Families({METRIC: family}), TEXT)], TEXT).decode().rstrip()


FORMATS: dict[str, Callable[[Sequence[Heartbeat], datetime], str]] = {
    "text": heartbeat_text,
    "json": heartbeat_json,
    "prometheus": heartbeat_metrics,
}


def _when(heartbeat: Heartbeat, now: datetime) -> str:
    if heartbeat.at is None:
        return "never heard from"
    return f"{in_words(now - heartbeat.at)} ago, {heartbeat.at:%Y-%m-%d %H:%M:%S}Z"

"""What the health checks remember from one time to the next: the last checks of each service, and known canary outputs.

Add what a later check has to know here. One file, replaced as a whole, so that it works without a database: whether the
database is well is one of the things it is about.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from monitoring_pipeline.evaluate.service_health import CanaryRecord, KnownOutput
from monitoring_pipeline.judge.service_health import Checked
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.files import publish, read_json

HISTORY = "health.json"
"""Name of that file in the deployment's state."""

CHECKS_KEPT = 12
"""Checks of a service that are kept: an hour of them, of which judging needs one."""


@dataclass(frozen=True, slots=True)
class HealthHistory:
    """Earlier checks by service, oldest first, and what is known of canaries, by `service/canary`."""

    checks: Mapping[str, tuple[Checked, ...]] = field(default_factory=dict)
    canaries: Mapping[str, CanaryRecord] = field(default_factory=dict)

    def with_check(self, service: str, check: Checked) -> tuple[Checked, ...]:
        """Return the checks of a service with one more; the same five minutes again replace what was there."""
        kept = [each for each in self.checks.get(service, ()) if each.slot != check.slot]
        return tuple(sorted([*kept, check], key=lambda each: each.slot)[-CHECKS_KEPT:])


def read_health(path: Path) -> HealthHistory:
    """Return what is remembered, nothing where there is no file; raises StoreError where it cannot be read."""
    if not path.exists():
        return HealthHistory()
    document = read_json(path)
    return HealthHistory(
        {name: tuple(map(_check, checks)) for name, checks in document["checks"].items()},
        {name: _record(record) for name, record in document["canaries"].items()},
    )


def write_health(path: Path, history: HealthHistory) -> None:
    """Replace what is remembered."""
    document = {
        "checks": {
            name: [{"slot": each.slot.isoformat(), "level": each.level.value, "reason": each.reason} for each in checks]
            for name, checks in history.checks.items()
        },
        "canaries": {
            name: {
                "configured": record.configured,
                "known": [
                    {"version": each.version, "output": each.output, "learnt_at": each.learnt_at.isoformat()}
                    for each in record.known
                ],
            }
            for name, record in history.canaries.items()
        },
    }
    publish(path, json.dumps(document, indent=1).encode())


def _check(entry: Mapping[str, Any]) -> Checked:
    return Checked(datetime.fromisoformat(entry["slot"]), Level(entry["level"]), entry["reason"])


def _record(entry: Mapping[str, Any]) -> CanaryRecord:
    known = (
        KnownOutput(each["version"], each["output"], datetime.fromisoformat(each["learnt_at"]))
        for each in entry["known"]
    )
    return CanaryRecord(entry["configured"], tuple(known))

"""How checks of a deployment are made: side by side, each with an end to its time, none in the way of another.

Add here what every check needs. Keep checks out: those of monitors are in monitor_checkup, the others in doctor.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from threading import Thread

from monitoring_pipeline.errors import MonitoringError, without_password
from monitoring_pipeline.settings.deployment import Deployment

DEADLINE_S = 20.0
"""A check that has not come back by then has failed."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how that ended, what was found against what is needed, and what to do."""

    what: str
    outcome: Outcome
    found: str
    needed: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks look at. `now` is the deployment's moment, `clock` that of the wall."""

    deployment: Deployment
    env: Mapping[str, str]
    now: datetime
    clock: Callable[[], datetime]
    send_test: bool = False

    def secret(self, variable: str) -> str | None:
        return self.env.get(variable) or None


Examination = Callable[[], Iterable[Check]]


def side_by_side(checks: Mapping[str, Examination], fixes: Mapping[str, str]) -> list[Check]:
    """Return what every check found, in their order; `fixes` by their names are for errors that name none."""
    found: dict[str, list[Check]] = {name: [] for name in checks}
    done = set()

    def make(name: str, look: Examination) -> None:
        try:
            for check in look():
                found[name].append(check)
        except Exception as error:  # noqa: BLE001 - a check that cannot be made must not hide the others
            found[name].append(failed(name, error, fixes.get(name, "Look at its log.")))
        done.add(name)

    threads = [Thread(target=make, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {DEADLINE_S:g} s"
    for name in checks.keys() - done:
        found[name].append(Check(name, Outcome.FAILED, late, "an answer", fixes.get(name, "Look at its load.")))
    return [check for name in checks for check in found[name]]


def failed(what: str, error: object, fix: str = "") -> Check:
    """Return a check that failed: our errors end with a sentence about what to do, of others it is `fix`."""
    if isinstance(error, MonitoringError | str):
        problem, _, own = str(error).strip().rpartition(". ")
        return Check(what, Outcome.FAILED, problem or own, fix=own if problem else fix)
    # What a driver says may hold an address with its password.
    return Check(what, Outcome.FAILED, without_password(str(error)).partition("\n")[0] or type(error).__name__, fix=fix)


def has_columns(what: str, needed: Iterable[str], there: Iterable[str]) -> Check:
    """Return whether all columns that are needed are there, or which may be meant."""
    there, needed = list(there), list(dict.fromkeys(needed))
    missing = [name for name in needed if name not in there]
    if not missing:
        return Check(what, Outcome.OK, f"all {len(needed)} that are watched")
    near = {name: get_close_matches(name, there, n=1) for name in missing}
    guess = "; ".join(f"{name!r} may be {found[0]!r}" for name, found in near.items() if found)
    fix = f"Correct the names in the YAML, or write them.{f' {guess}.' if guess else ''}"
    return Check(what, Outcome.FAILED, f"{', '.join(map(repr, missing))} missing", f"{len(needed)} columns", fix)

"""Quality of the rows as they came in: repeated ones, and those with a value that cannot be used.

Metrics: `quality.duplicate_ids`, `.duplicate_rows` (of the rows that have a place in an hour), `.quarantined_rate` and
`.<reason>_rate` for every `describe.quarantine.Reason` (of all rows), as shares with 95 % intervals; `baseline_value`
is the share among the reference rows. Add a share of logged rows here. Keep single columns out, they belong in
quality, and limits, they belong in judge.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.quarantine import UNPLACED, Reason
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.trailing import TrailingWindow, trailing_windows
from monitoring_pipeline.stats.intervals import wilson_interval

HourlyIntake = Mapping[datetime, Mapping[str, IntakeProfile]]
"""Intake of every described hour by version."""

NAMED = 5
"""Columns named in a signal, those with most bad values."""


@dataclass(frozen=True, slots=True)
class IntakePolicy:
    """Windows to evaluate."""

    windows: tuple[timedelta, ...]


def intake_by_version(
    model: str,
    hourly: HourlyIntake,
    references: Mapping[str, IntakeProfile],
    hours: Sequence[datetime],
    policy: IntakePolicy,
) -> list[Signal]:
    """Return the shares of every version that served in a window; `references` hold what its reference rows had."""
    empty = IntakeProfile.empty()
    return [
        signal
        for window in trailing_windows(hourly, hours, policy.windows, empty)
        for signal in _signals(model, window, references.get(window.version, empty))
    ]


def _shares(intake: IntakeProfile) -> dict[str, tuple[int, int]]:
    """Return hits and trials by metric."""
    reasons = {f"{reason}_rate": (intake.rows_by_reason.get(reason, 0), intake.rows) for reason in Reason}
    repeated = {
        "duplicate_ids": (intake.duplicate_ids, intake.placed),
        "duplicate_rows": (intake.duplicate_rows, intake.placed),
    }
    return repeated | {"quarantined_rate": (intake.bad_rows, intake.rows)} | reasons


def _signals(model: str, window: TrailingWindow[IntakeProfile], reference: IntakeProfile) -> Iterator[Signal]:
    usual = _shares(reference)
    for metric, (hits, trials) in _shares(window.total).items():
        name, place = f"quality.{metric}", window.place(model)
        if window.missing or not trials:
            absence, reason = window.missing or (Absence.EMPTY_HOUR, "no prediction was logged")
            yield Signal(name, **place, absence=absence, reason=reason)
            continue
        known, of = usual[metric]
        low, high = wilson_interval(hits, trials)
        words, detail = _told(metric, hits, trials, window.total) if hits else ("", {})
        yield Signal(
            name,
            **place,
            value=hits / trials,
            rows=trials,
            low=float(low),
            high=float(high),
            baseline_value=known / of if of else None,
            reason=words,
            detail=detail,
        )


def _told(metric: str, hits: int, trials: int, intake: IntakeProfile) -> tuple[str, dict[str, object]]:
    """Return in words what was found, and how many bad values every column has."""
    if metric.startswith("duplicate"):
        same = "id" if metric == "duplicate_ids" else "features"
        return f"{hits} of {trials} rows repeat the {same} of another one of their hour", {}
    wanted = [reason for reason in Reason if metric in (f"{reason}_rate", "quarantined_rate")]
    columns: Counter[str] = Counter()
    for reason in wanted:
        columns.update(intake.values.get(reason, {}))
    named = dict(columns.most_common(NAMED))
    what = "a value that cannot be used" if len(wanted) > 1 else wanted[0].replace("_", " ")
    lost = ", and count in no statistic" if set(wanted) <= UNPLACED else ""
    where = ", ".join(f"{name} ({count})" for name, count in named.items())
    return f"{hits} of {trials} rows have {what}{lost}: {where}", {"columns": named}

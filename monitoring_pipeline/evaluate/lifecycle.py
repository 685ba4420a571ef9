"""Signals about the model itself: how old it is, and how much has been learned since it was trained.

Metrics: `model.age_days` and `model.new_labelled_rows`. Add a signal about a model version here. Keep the registry
out: what it says arrives as arguments.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Absence, Signal

AGE, NEW_ROWS = "model.age_days", "model.new_labelled_rows"
UNTAGGED = "Set the tag trained_until (ISO 8601, UTC) on the model version."
DAY = timedelta(days=1)


def lifecycle_signals(
    model: str,
    version: str,
    hours: Sequence[datetime],
    *,
    trained_until: datetime | None,
    labelled_rows: Mapping[datetime, int],
) -> list[Signal]:
    """Return age and new labels of a version at the end of each hour.

    `labelled_rows` counts labelled predictions of any version by hour, from `trained_until` on.
    """
    signals: list[Signal] = []
    for hour in hours:
        end = hour + HOUR
        place: dict[str, Any] = {"window_start": hour, "window_end": end, "baseline": ""}
        if trained_until is None:
            place |= {"absence": Absence.NO_REFERENCE, "reason": UNTAGGED}
            signals += (Signal(metric, model, version, **place) for metric in (AGE, NEW_ROWS))
            continue
        new = sum(count for at, count in labelled_rows.items() if trained_until <= at < end)
        signals.append(Signal(AGE, model, version, **place, value=(end - trained_until) / DAY, unit="d", rows=1))
        signals.append(Signal(NEW_ROWS, model, version, **place, value=float(new), unit="row", rows=new))
    return signals

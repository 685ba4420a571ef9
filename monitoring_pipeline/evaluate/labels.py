"""Signals about labels: how late they are, whether they still come, and how often they are corrected.

Metrics: `labels.delay_p50`, `.delay_p95`, `.corrected_share`, `.repeated_share`, of the predictions of each window; and
`labels.feedback_rate`, the share of predictions that had a label by the age at which nearly all do, with
`labels.feedback_ratio`, the same over what it was in the weeks before. Add a metric of labels alone here. Keep what
they say of the model out: that is performance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.label_arrivals import LabelArrivals
from monitoring_pipeline.evaluate.signals import DESCRIBED_SHARE, Absence, Signal
from monitoring_pipeline.evaluate.trailing import TrailingWindow, totals, trailing_windows
from monitoring_pipeline.stats.intervals import wilson_interval

AGES = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720, 1440))
"""Ages at which the maturity curve is read."""

Hourly = Mapping[datetime, Mapping[str, LabelArrivals]]


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """Windows; the age at which a prediction should have its label; what the share of those that do is held against.

    min_rows: predictions below which a share or a quantile says nothing.
    """

    windows: tuple[timedelta, ...]
    maturity: timedelta = timedelta(hours=24)
    baseline: timedelta = timedelta(weeks=4)
    min_rows: int = 100

    @property
    def reach(self) -> timedelta:
        """How far before its end an evaluation reads arrivals."""
        return max(self.windows) + self.maturity + self.baseline


def labels_by_version(model: str, hourly: Hourly, hours: Sequence[datetime], policy: LabelPolicy) -> list[Signal]:
    """Return the signals of every version that served in a window, and the feedback on all versions together.

    `hourly` must reach back by the policy's reach. Whether labels come at all is nothing a model version can help.
    """
    everything = {hour: reduce(LabelArrivals.merge, parts.values(), LabelArrivals()) for hour, parts in hourly.items()}
    last = totals(everything, LabelArrivals())
    signals: list[Signal] = []
    for window in trailing_windows(hourly, hours, policy.windows, LabelArrivals()):
        signals += _arrivals(window, model, policy)
        signals += _feedback(window, model, everything, last, policy)
    return signals


def _arrivals(window: TrailingWindow[LabelArrivals], model: str, policy: LabelPolicy) -> Iterator[Signal]:
    place, total, why = window.place(model), window.total, window.missing
    if why is None and total.rows == 0:
        why = Absence.EMPTY_HOUR, "no prediction was logged"
    if why is None and total.labelled == 0:
        why = Absence.NO_LABELS_YET, f"none of {total.rows} predictions has a label yet"
    if why is None and total.labelled < policy.min_rows:
        why = Absence.TOO_FEW_ROWS, f"{total.labelled} labelled rows, {policy.min_rows} are needed (labels.min_rows)"
    for name, share in (("delay_p50", 0.5), ("delay_p95", 0.95)):
        if why:
            yield Signal(f"labels.{name}", **place, unit="s", absence=why[0], reason=why[1])
        elif total.delays.count == 0:
            reason = "every label is older than its prediction"
            yield Signal(f"labels.{name}", **place, unit="s", absence=Absence.UNDEFINED, reason=reason)
        else:
            low, high = total.delays.quantile_interval(share)
            value, rows = float(total.delays.quantile(share)), total.delays.count
            yield Signal(f"labels.{name}", **place, value=value, low=low, high=high, rows=rows, unit="s")
    for name, count in (("corrected_share", total.corrected), ("repeated_share", total.repeated)):
        if why:
            yield Signal(f"labels.{name}", **place, absence=why[0], reason=why[1])
        else:
            yield _share(f"labels.{name}", place, count, total.labelled)


def _feedback(
    window: TrailingWindow[LabelArrivals],
    model: str,
    everything: Mapping[datetime, LabelArrivals],
    last: Callable[[datetime, int], LabelArrivals],
    policy: LabelPolicy,
) -> Iterator[Signal]:
    """Yield how many of the predictions that are old enough by the end of the window had a label at that age."""
    place, start = window.place(model), window.start - policy.maturity
    length = round((window.end - window.start) / HOUR)
    described = sum(start + step * HOUR in everything for step in range(length))
    total = last(window.end - policy.maturity, length)
    why = None
    if described < DESCRIBED_SHARE * length:
        why = Absence.WARMING_UP, f"{described} of {length} hours described, {window_name(policy.maturity)} ago"
    elif total.rows == 0:
        why = Absence.EMPTY_HOUR, f"no prediction was logged {window_name(policy.maturity)} ago"
    elif total.rows < policy.min_rows:
        why = Absence.TOO_FEW_ROWS, f"{total.rows} predictions, {policy.min_rows} are needed (labels.min_rows)"
    if why:
        for name in ("feedback_rate", "feedback_ratio"):
            yield Signal(f"labels.{name}", **place, absence=why[0], reason=why[1])
        return
    ages = [age for age in AGES if age < policy.maturity] + [policy.maturity]
    curve = {window_name(age): total.delays.count_up_to(age.total_seconds()) / total.rows for age in ages}
    before = last(start, round(policy.baseline / HOUR))
    expected = before.delays.count_up_to(policy.maturity.total_seconds()) / before.rows if before.rows else None
    in_time = total.delays.count_up_to(policy.maturity.total_seconds())
    detail: dict[str, object] = {"labelled_by_age": curve, "predictions_from": start.isoformat()}
    rate = _share("labels.feedback_rate", place, in_time, total.rows, baseline_value=expected, detail=detail)
    yield rate
    if expected is None or before.rows < policy.min_rows:
        reason = f"{before.rows} predictions in the {window_name(policy.baseline)} before to compare with"
        yield Signal("labels.feedback_ratio", **place, absence=Absence.WARMING_UP, reason=reason)
    elif expected == 0:
        reason = "no prediction had a label in time before either"
        yield Signal("labels.feedback_ratio", **place, absence=Absence.UNDEFINED, reason=reason)
    else:
        value, low, high = ((each or 0.0) / expected for each in (rate.value, rate.low, rate.high))
        reason = f"{in_time} of {total.rows} predictions had a label within {window_name(policy.maturity)}, "
        reason += f"{expected:.1%} had in the {window_name(policy.baseline)} before"
        place = place | {"low": low, "high": high, "rows": total.rows, "reason": reason}
        yield Signal("labels.feedback_ratio", **place, value=value)


def _share(metric: str, place: dict[str, Any], count: int, rows: int, **more: Any) -> Signal:
    low, high = map(float, wilson_interval(count, rows))
    return Signal(metric, **place, value=count / rows, low=low, high=high, rows=rows, **more)

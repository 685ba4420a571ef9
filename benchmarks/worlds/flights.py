"""What the thresholds learnt from one month of flights say of that month and of those after it.

Add a metric or a budget here. Keep the model and its score out: they need a registry.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from worlds.tables import table

from examples.flight_delays.model import CATEGORICAL, FLIGHTS, NUMERIC
from monitoring_pipeline.capture.windows import HOUR, window_name
from monitoring_pipeline.describe.blocks import combined
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.distances import Pair, as_windows, expected_windows, measured
from monitoring_pipeline.describe.profiles import Profile, ProfileSeries, rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import Calibrations
from monitoring_pipeline.judge.families import judge_families
from monitoring_pipeline.judge.thresholds import JudgingPolicy
from monitoring_pipeline.judge.verdicts import Level

TIME = "scheduled_departure"
MARCH, APRIL, AUGUST = (datetime(2013, month, 1, tzinfo=UTC) for month in (3, 4, 8))
LENGTHS = (timedelta(days=1), timedelta(days=7))
METRICS = ("psi", "wasserstein_normalised")
MIN_ROWS = 500


def flights(quick: bool) -> Iterator[str]:
    """Yield what is called drifted in March itself and in the months after it."""
    rows = pq.read_table(FLIGHTS, filters=[(TIME, ">=", MARCH), (TIME, "<", AUGUST)])
    by_hour = rows_by_hour(rows, time=TIME)
    march = pa.concat_tables([part for hour, part in by_hour.items() if hour < APRIL])
    specs = [ColumnSpec(name, ColumnRole.FEATURE, ColumnKind.CATEGORICAL) for name in CATEGORICAL]
    specs += [ColumnSpec(name, ColumnRole.FEATURE, ColumnKind.NUMERIC) for name in NUMERIC]
    reference = build_reference(
        march, specs, model="m", version="march", computed_at=MARCH, time=TIME, plan=ReferencePlan(LENGTHS)
    )
    hourly = {
        hour: Profile.of(by_hour.get(hour, march.slice(0, 0)), "march", reference.specs)
        for hour in (MARCH + step * HOUR for step in range(round((AUGUST - MARCH) / HOUR)))
    }
    step = 24 if quick else 3
    budgets = (2.0,) if quick else (1.0, 2.0, 4.0)
    out = []
    for length in LENGTHS:
        ends = [MARCH + at * HOUR for at in range(round(length / HOUR), round((AUGUST - MARCH) / HOUR) + 1, step)]
        signals = list(_signals(reference, hourly, ends, length))
        for metric in METRICS:
            for budget in budgets:
                part = [each for each in signals if each.metric == f"drift.{metric}"]
                policy = JudgingPolicy(false_alarms_per_month=budget)
                out.append([window_name(length), metric, f"{budget:g}", *_by_month(reference, part, policy)])
    yield (
        f"Reference: the flights of March 2013, {march.num_rows:,} rows. Share of the windows, measured every {step} "
        "hours, in which a column counts as drifted, and the day of the month of the first. A window of March is held "
        "against the rest of March, with what was learnt from all of it; windows across its end are left out."
    )
    yield table(["window", "metric", "budget", "March", "April", "May", "June", "July"], out)


def _signals(
    reference: Reference, hourly: dict[datetime, Profile], ends: list[datetime], length: timedelta
) -> Iterator[Signal]:
    hours = round(length / HOUR)
    series = ProfileSeries(hourly, [end - HOUR for end in ends], reach=hours)
    own = np.array([end <= APRIL for end in ends])
    apart = np.array([end - length >= APRIL for end in ends])
    for name, entry in reference.columns.items():
        whole, windows = as_windows(entry.profile), series.column(entry.column, hours)
        # Held against March without itself where it lies in March; windows across its end are left out.
        rest = combined(whole, windows, -1)
        expected = expected_windows(entry.column, entry.profile)
        for place, pair in ((own, Pair(entry.column, rest, windows)), (apart, Pair(entry.column, expected, windows))):
            for metric, found in measured(pair, METRICS).items():
                for at in np.flatnonzero(place & (windows.rows >= MIN_ROWS)):
                    end = ends[at]
                    p_value = None if found.p_values is None else float(found.p_values[at])
                    yield Signal(
                        f"drift.{metric}", "m", "march", end - length, end,
                        value=float(found.values[at]), column=name, p_value=p_value, rows=int(windows.rows[at]),
                    )  # fmt: skip


def _by_month(reference: Reference, signals: list[Signal], policy: JudgingPolicy) -> list[str]:
    drifted: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    ends: dict[int, set[datetime]] = defaultdict(set)
    first: dict[tuple[int, str], datetime] = {}
    for verdict in judge_families(signals, Calibrations({"march": reference}), policy):
        month = (verdict.signal.window_end - HOUR).month
        ends[month].add(verdict.signal.window_end)
        if verdict.level is not Level.OK:
            drifted[month][verdict.signal.column] += 1
            at = month, verdict.signal.column
            first[at] = min(first.get(at, APRIL.max.replace(tzinfo=UTC)), verdict.signal.window_end)
    return [
        ", ".join(
            f"{name} {count / len(ends[month]):.0%} (from {first[month, name]:%-d})"
            for name, count in sorted(drifted[month].items(), key=lambda item: -item[1])
        )
        or "none"
        for month in range(3, 8)
    ]

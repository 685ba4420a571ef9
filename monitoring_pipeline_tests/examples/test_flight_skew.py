from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from examples.flight_delays.model import CATEGORICAL, FLIGHTS, NUMERIC
from monitoring_pipeline.capture.predictions import UNVERSIONED, LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.layouts import Layout
from monitoring_pipeline.describe.profiles import rows_by_hour
from monitoring_pipeline.describe.reference_building import ColumnSpec, ReferencePlan, build_reference
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.skew import SkewPolicy, skew_by_version

TIME = "scheduled_departure"
LOG = LogColumns(prediction_id="flight_id", predicted_at=TIME, version=None, prediction=None)


def flights(start: datetime, end: datetime) -> pa.Table:
    return pq.read_table(FLIGHTS, filters=[(TIME, ">=", start), (TIME, "<", end)])


SPRING = flights(datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 4, 19, tzinfo=UTC))
DAY = SPRING.filter(pc.less(SPRING[TIME], pa.scalar(datetime(2013, 4, 2, tzinfo=UTC))))
KINDS = dict.fromkeys(NUMERIC, ColumnKind.NUMERIC) | dict.fromkeys(CATEGORICAL, ColumnKind.CATEGORICAL)


@cache
def march() -> tuple[Reference, Layout]:
    """Return what training saw."""
    rows = flights(datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC))
    reference = build_reference(
        rows,
        [ColumnSpec(name, ColumnRole.FEATURE, kind) for name, kind in KINDS.items()],
        model="flight_delays",
        version=UNVERSIONED,
        computed_at=datetime(2013, 4, 1, tzinfo=UTC),
        time=TIME,
        plan=ReferencePlan(windows=(HOUR, 24 * HOUR)),
    )
    return reference, Layout.of(rows, [entry.column for entry in reference.columns.values()])


def changes(rows: pa.Table, *, window: timedelta) -> list[tuple[str, str]]:
    """Return the column and reason of every change that is named, window by window."""
    samples = rows_by_hour(rows, time=TIME)
    hours = [hour for hour in samples if (hour - min(samples) + HOUR) % window == timedelta(0)]
    policy, (reference, layout) = SkewPolicy((window,)), march()
    of, layouts = {UNVERSIONED: reference}, {UNVERSIONED: layout}
    signals = skew_by_version("flight_delays", samples, of, hours, policy, log=LOG, layouts=layouts)
    return [(each.column, each.reason) for each in signals if each.metric != "skew.distance" and each.value]


def changed(**columns: Any) -> pa.Table:
    rows = DAY
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return rows


def number(name: str) -> Any:
    return DAY[name].to_numpy()


def test_spring_is_a_drift_and_no_change_of_meaning() -> None:
    warmer = flights(datetime(2013, 4, 29, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC))
    for rows, window in ((SPRING, 24 * HOUR), (warmer, 24 * HOUR), (warmer, HOUR)):
        assert changes(rows, window=window) == []


def test_degrees_that_change_their_scale_are_named_on_most_days_by_the_values_they_can_have() -> None:
    # A day of weather is no month of it: only that every value is one of March's, converted, gives the change away.
    def celsius(name: str) -> pa.Array:
        return pa.array((SPRING[name].to_numpy() - 32) / 1.8, from_pandas=True)

    rows = SPRING.drop_columns(["temp", "dewp"]).append_column("temp", celsius("temp"))
    found = changes(rows.append_column("dewp", celsius("dewp")), window=24 * HOUR)
    named = [column for column, reason in found if "degrees Fahrenheit turned into degrees Celsius" in reason]
    assert len(found) < 1.1 * len(named)
    assert named.count("temp") >= 8
    assert named.count("dewp") >= 8


def test_temperature_and_dew_point_that_change_places_are_named_on_days_like_those_of_training() -> None:
    rows = SPRING.drop_columns(["temp", "dewp"]).append_column("temp", SPRING["dewp"])
    found = changes(rows.append_column("dewp", SPRING["temp"]), window=24 * HOUR)
    swapped = [column for column, reason in found if "'dewp' never exceeded 'temp', and now does" in reason]
    assert len(found) == len(swapped)
    assert swapped.count("temp") == swapped.count("dewp") >= 7


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"scheduled_minutes": number("scheduled_minutes") / 60}, "seconds turned into minutes or minutes into hours"),
        ({"distance": number("distance") * 1.609344}, "miles turned into kilometres"),
        ({"wind_speed": number("wind_speed") / 2.236936292}, "miles per hour turned into metres per second"),
        ({"humid": number("humid") / 100}, "percent into shares"),
        ({"distance": DAY["scheduled_minutes"], "scheduled_minutes": DAY["distance"]}, "the two changed places"),
        ({"carrier": pc.utf8_lower(DAY["carrier"])}, "names in another case"),
        ({"visib": np.full(len(DAY), -1.0)}, "the constant -1 in every row"),
        ({"distance": DAY["distance"].cast(pa.string())}, "stored as text, training had numbers"),
    ],
)
def test_a_planted_change_is_named_within_a_day_and_nothing_else_is(columns: Mapping[str, Any], words: str) -> None:
    arrays = {
        name: pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }
    found = changes(changed(**arrays), window=24 * HOUR)
    assert {column for column, _ in found} == set(columns)
    assert any(words in reason for _, reason in found), found

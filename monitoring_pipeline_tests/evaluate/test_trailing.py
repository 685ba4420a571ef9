import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.log_histogram import LogHistogram
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.evaluate.trailing import trailing_windows
from monitoring_pipeline_tests.traffic import hour


def profile(rows: int, at: int) -> OperationsProfile:
    return OperationsProfile(
        rows, latency={"total": LogHistogram.of(np.arange(rows, dtype=np.float64) + at + 1)}, minutes={at: rows}
    )


def test_a_window_holds_its_hours_and_no_other_however_long_it_is() -> None:
    hourly = {hour(at): {"1": profile(3 + at % 5, at)} for at in range(60)}
    for length in (1, 2, 3, 7, 24, 37):
        (window,) = trailing_windows(hourly, [hour(50)], [length * HOUR], OperationsProfile.empty())
        inside = range(51 - length, 51)
        assert window.total.minutes == {at: 3 + at % 5 for at in inside}
        assert window.total.rows == window.total.latency["total"].count == sum(3 + at % 5 for at in inside)
        assert (window.start, window.end, window.missing) == (hour(51 - length), hour(51), None)


def test_every_version_that_served_in_the_window_has_one_of_its_own() -> None:
    hourly = {hour(0): {"1": profile(5, 0)}, hour(1): {"1": profile(2, 1), "2": profile(9, 1)}}
    windows = list(trailing_windows(hourly, [hour(1)], [HOUR, 2 * HOUR], OperationsProfile.empty()))
    rows = [(window.version, window.total.rows) for window in windows]
    assert rows == [("1", 2), ("1", 7), ("2", 9), ("2", 9)]
    assert windows[-1].missing is not None
    assert windows[-1].missing[1] == "the version took over after 1 hours of the window had been served"

import math
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import line_image, verdict_rows
from monitoring_pipeline_tests.verdicts import signal, verdict


def drawn(values: list[float | None]) -> str:
    """Return the path of the picture, which has to be an address Markdown takes and a picture XML readers take."""
    found = re.match(r"!\[[^\]]*\]\(data:image/svg\+xml,([^\s()<>#\"]+)\)\n\n", line_image(values))
    assert found
    (path,) = ElementTree.fromstring(unquote(found[1]))
    return path.attrib["d"]


def test_a_series_is_drawn_from_its_lowest_to_its_highest_value() -> None:
    assert drawn([0, 1, 4]) == "M2,38h0L6,29L10,2"
    assert drawn([5.0, -5.0]) == "M2,2h0L6,38"
    assert drawn([3.0, 3.0]) == "M2,38h0L6,38"
    assert line_image([0.25, 7.123456]).endswith("\n\n0.25 to 7.123")


def test_what_is_missing_or_no_number_is_a_gap() -> None:
    assert drawn([None, 1.0, math.nan, 2.0, 2.0, math.inf]) == "M6,38h0M14,2h0L18,2"
    assert drawn([None, None]) == drawn([]) == ""
    assert drawn([-1.7e308, 1.7e308, 0.0]) == "M2,38h0L6,2L10,20"


def test_three_days_of_hours_fit_the_thousand_characters_that_the_dagster_ui_shows() -> None:
    assert len(line_image([number % 2 for number in range(72)])) < 950


def test_the_worst_verdicts_come_first_and_no_more_of_them_than_asked_for() -> None:
    verdicts = [verdict(level, column=f"{level}") for level in (Level.OK, Level.CRITICAL, Level.UNKNOWN, Level.WARNING)]
    rows = verdict_rows(verdicts, limit=3)
    assert [row["signal"] for row in rows] == ["drift.psi critical", "drift.psi warning", "drift.psi ok"]
    assert verdict_rows(verdicts, limit=4)[-1]["value"] == "too_few_rows"


def test_a_row_says_what_was_held_against_what() -> None:
    (row,) = verdict_rows([verdict(Level.WARNING, column="wind_speed")], limit=1)
    assert row == {
        "level": "🟠\N{NO-BREAK SPACE}warning",
        "signal": "drift.psi wind_speed",
        "window": "24h",
        "value": "0.2",
        "threshold": "0.1 textbook",
        "distance": "██████████",
    }


@pytest.mark.parametrize("value", [0.0, 5e-324, 1.7e308, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("threshold", [None, 0.0, 5e-324, math.inf, math.nan, 0.1])
@pytest.mark.parametrize("metric", ["drift.psi", "performance.accuracy"])
def test_a_bar_is_drawn_for_every_number_there_is(metric: str, value: float, threshold: float | None) -> None:
    (row,) = verdict_rows([Verdict(signal(metric, value), Level.UNKNOWN, threshold, "none", "")], limit=1)
    assert re.fullmatch(r"[█░]{5,10}", row["distance"])


@pytest.mark.parametrize(
    ("metric", "values"), [("drift.psi", (0.05, 0.1, 0.2, 9.0)), ("performance.accuracy", (0.2, 0.1, 0.05, 0.001))]
)
def test_the_bar_fills_as_a_value_nears_its_threshold_from_the_good_side(
    metric: str, values: tuple[float, ...]
) -> None:
    bars = {
        value: verdict_rows([Verdict(signal(metric, value), Level.OK, 0.1, "textbook", "")], limit=1)[0]["distance"]
        for value in values
    }
    assert list(bars.values()) == ["██░░░", "█████", "██████████", "██████████"]

import math
import re

import pytest

from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import escape, sparkline, verdict_table
from monitoring_pipeline_tests.verdicts import signal, verdict

HOSTILE = "<img src=x onerror=alert(1)> | [a](javascript:b) `c` **d** ~~e~~ \\| #f &lt;g&gt;\r\nh\x0bi\u2028j"


def test_a_series_is_drawn_from_its_lowest_to_its_highest_value() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0, -5.0]) == "█▁"
    assert sparkline([3.0, 3.0]) == "▁▁"


def test_what_is_missing_or_no_number_is_a_dot() -> None:
    assert sparkline([None, 1.0, math.nan, 2.0, math.inf, -math.inf]) == "·▁·█··"
    assert sparkline([None, None]) == "··"
    assert sparkline([]) == ""
    assert sparkline([-1.7e308, 1.7e308, 0.0]) == "▁█▅"


def unescaped(text: str) -> str:
    """What a reader of the Markdown sees."""
    text = re.sub(r"\\([\\`*_{}\[\]|#~])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize("text", [HOSTILE, "plain", "", "Zürich 東京", "a_b*c", "\\", "&", "|", "\n"])
def test_text_from_data_is_shown_as_it_is_and_means_nothing(text: str) -> None:
    escaped = escape(text)
    assert unescaped(escaped) == re.sub(r"\s", " ", text)
    assert not re.search(r"[<>\r\n]", escaped)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_{}\[\]|#~]", escaped)


def test_a_table_of_verdicts_keeps_its_cells_whatever_a_column_is_called() -> None:
    lines = verdict_table([verdict(Level.WARNING, column=HOSTILE)]).split("\n")
    assert len(lines) == 3
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 8 for line in lines)


def test_the_worst_verdicts_come_first_and_the_rest_is_counted() -> None:
    verdicts = [verdict(level, column=f"{level}") for level in (Level.OK, Level.CRITICAL, Level.UNKNOWN, Level.WARNING)]
    lines = verdict_table(verdicts, limit=3).split("\n")[2:]
    assert [line.split(" ")[2] for line in lines[:3]] == ["critical", "warning", "ok"]
    assert lines[3] == "| | and 1 more | | | | | |"
    assert "too_few_rows" in verdict_table(verdicts).split("\n")[-1]


@pytest.mark.parametrize("value", [0.0, 5e-324, 1.7e308, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("threshold", [None, 0.0, 5e-324, math.inf, math.nan, 0.1])
def test_a_bar_is_drawn_for_every_number_there_is(value: float, threshold: float | None) -> None:
    (line,) = verdict_table([Verdict(signal(value=value), Level.UNKNOWN, threshold, "none", "")]).split("\n")[2:]
    assert re.search(r"\| [█░]{5,10} \|$", line)


def test_a_value_at_twice_its_threshold_fills_the_bar_twice() -> None:
    rows = [Verdict(signal(value=value), Level.WARNING, 0.1, "textbook", "") for value in (0.1, 0.2, 9.0)]
    bars = [line.split(" | ")[-1] for line in verdict_table(rows).split("\n")[2:]]
    assert bars == ["██████████ |", "██████████ |", "█████ |"]

from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.workflow.tables import SHOWN, distance_table, rounded, table, verdict_table, with_threshold
from monitoring_pipeline_tests.verdicts import signal, verdict

UNKNOWN = Verdict(signal(value=None), Level.UNKNOWN, None, "none", "14 rows, drift needs 1000")


def test_a_column_is_text_unless_it_says_otherwise() -> None:
    made = table(["column", "rows:int"], [{"column": "temp", "rows": 7}])
    assert [(column.name, column.type) for column in made.schema.columns] == [("column", "string"), ("rows", "int")]
    assert [dict(record.data) for record in made.records] == [{"column": "temp", "rows": 7}]


def test_the_largest_distances_are_shown_and_no_more_than_fit() -> None:
    signals = [signal(value=number / 10, column=f"c{number}", rows=100) for number in range(SHOWN + 5)]
    shown = distance_table(signals).records
    assert [record.data["column"] for record in shown] == [f"c{SHOWN + 4 - place}" for place in range(SHOWN)]


def test_a_column_is_one_row_with_all_its_windows_and_the_longest_known_decides() -> None:
    distances = [("usage", "1h", 0.9), ("usage", "24h", 0.01), ("plan", "24h", 0.2), ("tenure", "1h", 0.1)]
    shown = distance_table([signal(value=value, column=column, window=window) for column, window, value in distances])
    assert [column.name for column in shown.schema.columns] == ["column", "1h", "24h", "against", "version"]
    found = [(record.data["column"], record.data["1h"], record.data["24h"]) for record in shown.records]
    assert found == [("plan", "", "0.2"), ("tenure", "0.1", ""), ("usage", "0.9", "0.01")]


def test_what_has_no_threshold_does_not_stand_out_while_something_has_one() -> None:
    known = verdict(Level.OK)
    assert with_threshold([UNKNOWN, known]) == [known]
    assert [record.data["value"] for record in verdict_table([UNKNOWN, known]).records] == ["0.05"]


def test_where_nothing_is_known_the_table_says_why() -> None:
    (record,) = verdict_table([UNKNOWN]).records
    assert record.data["value"] == "too_few_rows"


def test_an_hour_without_any_verdict_has_an_empty_table() -> None:
    assert verdict_table([]).records == []


def test_a_number_keeps_the_digits_a_person_compares() -> None:
    assert [rounded(value) for value in (0.8646796302199554, 0.001176470588, 12345.678, 0.0)] == [
        0.8647,
        0.001176,
        12350.0,
        0.0,
    ]

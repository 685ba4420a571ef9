import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.judge.conditions import WhyNot
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.evaluations import json_rows, write_evaluation
from monitoring_pipeline.stores.files import read_parquet
from monitoring_pipeline_tests.verdicts import MORNING, signal, verdict


def test_rows_are_a_json_list_of_one_row_a_line() -> None:
    assert json_rows([{"a": 1}, {"a": None}]) == b'[\n{"a": 1},\n{"a": null}\n]\n'
    assert json.loads(json_rows([])) == []


def test_what_is_no_finite_number_is_null_and_numpys_numbers_are_numbers() -> None:
    row = {"nan": np.nan, "inf": -np.inf, "count": np.int64(3), "share": np.float64(0.5), "in": {"it": [np.nan]}}
    expected = {"nan": None, "inf": None, "count": 3, "share": 0.5, "in": {"it": [None]}}
    assert json.loads(json_rows([row])) == [expected]


def test_files_are_written_whole_and_replace_what_was_there(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "out", [signal(), signal(column="b")], [verdict(Level.WARNING)], [])
    paths = write_evaluation(tmp_path / "out", [signal()], [verdict(Level.OK, threshold=None)], [])
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    assert read_parquet(tmp_path / "out" / "signals.parquet").num_rows == 1
    assert json.loads((tmp_path / "out" / "verdicts.json").read_bytes()) == []  # nothing to hold it against


def test_the_last_predictions_have_a_place_of_their_own_beside_a_window_as_long(tmp_path: Path) -> None:
    twins = [signal(span="last_10000"), signal(), signal(baseline="same_hours_4w"), signal(segment="plan=pro")]
    for folder, given in (("one", twins), ("two", twins[::-1])):
        write_evaluation(tmp_path / folder, given, [verdict(Level.WARNING, span="last_10000")], [])
    first, second = ((tmp_path / folder / "signals.json").read_bytes() for folder in ("one", "two"))
    assert first == second
    rows = json.loads(first)
    assert [(row["window"], row["baseline"], row["segment"]) for row in rows] == [
        ("24h", "same_hours_4w", ""),
        ("24h", "training", ""),
        ("last_10000", "training", ""),
        ("24h", "training", "plan=pro"),
    ]
    (told,) = json.loads((tmp_path / "one" / "verdicts.json").read_bytes())
    assert told["window"] == "last_10000"


def test_a_rule_says_since_when_whose_it_is_and_why_it_does_not_fire(tmp_path: Path) -> None:
    outcome = RuleOutcome("drift", "churn", MORNING, RuleState.QUIET, Level.WARNING, "0.1", why=WhyNot.CLEARED)
    write_evaluation(tmp_path, [], [], [replace(outcome, owner="team:growth")])
    (row,) = json.loads((tmp_path / "rules.json").read_bytes())
    assert (row["since"], row["owner"], row["why"]) == ("2013-04-22T08:00:00+00:00", "team:growth", "cleared")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/out: cannot be written .*Name another folder"):
        write_evaluation(tmp_path / "file" / "out", [], [], [])

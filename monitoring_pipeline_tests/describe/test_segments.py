import json

import pyarrow as pa
import pytest

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.segments import REST, Segmentation, split_all

PLANS = ["pro"] * 3 + ["basic"] * 5 + ["plus"] * 3 + ["rare"] + [None] * 9


def rows(plans: list[str | None]) -> pa.Table:
    return pa.table({"plan": pa.array(plans, pa.string()), "place": range(len(plans))})


def by_plan(most: int = 2) -> Segmentation:
    return Segmentation.of(rows(PLANS)["plan"], "plan", ColumnKind.CATEGORICAL, most=most)


def test_the_most_frequent_values_make_a_segment_each_and_ties_go_by_name() -> None:
    assert by_plan().values == ("basic", "plus")
    assert by_plan().names() == ["plan=basic", "plan=plus", f"plan={REST}"]
    assert by_plan(most=20).values == ("basic", "plus", "pro", "rare")


def test_rare_new_and_missing_values_are_watched_together() -> None:
    split = dict(by_plan().split(rows(["basic", "gold", None, "rare", "pro", "plus", "basic"])))
    assert {name: part["place"].to_pylist() for name, part in split.items()} == {
        "plan=basic": [0, 6],
        "plan=plus": [5],
        "plan=(other)": [1, 2, 3, 4],
    }


def test_every_row_is_in_one_segment_of_each_column_and_a_segment_without_rows_is_not_there() -> None:
    table = rows(PLANS).append_column("paid", pa.array([True, False, None] * 7))
    paid = Segmentation.of(table["paid"], "paid", ColumnKind.BOOLEAN, most=20)
    split = dict(split_all(table, [by_plan(), paid]))
    assert list(split) == ["plan=basic", "plan=plus", "plan=(other)", "paid=false", "paid=true", "paid=(other)"]
    for column in ("plan", "paid"):
        places = [
            place for name, part in split.items() if name.startswith(column) for place in part["place"].to_pylist()
        ]
        assert sorted(places) == list(range(len(PLANS)))
    assert dict(by_plan().split(rows(["basic"]))).keys() == {"plan=basic"}


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0], ["True", "FALSE"]])
def test_a_flag_is_the_same_segment_however_it_is_written(values: list[object]) -> None:
    paid = Segmentation("paid", ColumnKind.BOOLEAN, ("false", "true"))
    assert [name for name, _ in paid.split(pa.table({"paid": values}))] == ["paid=false", "paid=true"]


def test_rows_without_the_column_are_in_none_of_its_segments() -> None:
    assert list(split_all(pa.table({"place": [1, 2]}), [by_plan()])) == []


def test_a_segmentation_comes_back_from_json() -> None:
    assert Segmentation.from_json(json.loads(json.dumps(by_plan().to_json()))) == by_plan()

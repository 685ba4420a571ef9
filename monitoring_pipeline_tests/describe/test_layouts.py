import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.layouts import Layout, order_counts
from monitoring_pipeline_tests.traffic import column


def layout_of(*, categorical: Sequence[str] = (), **columns: Any) -> Layout:
    rows = pa.table(columns)
    kinds = {name: ColumnKind.CATEGORICAL if name in categorical else ColumnKind.NUMERIC for name in columns}
    return Layout.of(rows, [column(name, values, kinds[name]) for name, values in columns.items()])


def test_a_layout_says_how_columns_are_stored_whatever_they_are_declared_as() -> None:
    found = layout_of(count=["1", "2"], weekday=[0, 1], plan=["a", None], categorical=("weekday", "plan"))
    assert found.kinds == {
        "count": ColumnKind.CATEGORICAL,
        "weekday": ColumnKind.NUMERIC,
        "plan": ColumnKind.CATEGORICAL,
    }


def test_only_columns_with_few_numbers_have_them_remembered() -> None:
    found = layout_of(distance=[229.0, 1400.0, 229.0, None], price=np.arange(4).tolist())
    assert {name: values.tolist() for name, values in found.known.items()} == {
        "distance": [229.0, 1400.0],
        "price": [0.0, 1.0, 2.0, 3.0],
    }
    assert layout_of(price=np.arange(257.0)).known == {}


def test_a_column_that_never_exceeds_another_is_known_unless_their_ranges_say_so_already() -> None:
    rng = np.random.default_rng(1)
    temperature = rng.normal(50, 10, 5000)
    found = layout_of(
        temperature=temperature, dew_point=temperature - rng.exponential(5, 5000), year=np.full(5000, 2e3)
    )
    assert found.orders == (("dew_point", "temperature"),)


def test_an_order_that_chance_would_give_two_columns_anyway_is_not_one() -> None:
    rng = np.random.default_rng(2)
    low, high = rng.uniform(0, 10.1, 5000), rng.uniform(10, 20, 5000)
    assert order_counts(low, high)[1] <= 5
    assert layout_of(low=low, high=high).orders == ()


def test_rows_without_a_number_on_either_side_have_no_order() -> None:
    nan = float("nan")
    assert order_counts(np.array([1.0, 2.0, nan, 3.0, 5.0]), np.array([2.0, 1.0, 1.0, nan, 5.0])) == (1, 1, 3)


def test_a_stored_layout_comes_back() -> None:
    found = layout_of(
        temperature=[1.5, 2.5, 3.0], dew_point=[0.5, 2.0, 1.0], plan=["a", "b", "c"], categorical=("plan",)
    )
    back = Layout.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert back.orders == found.orders == (("dew_point", "temperature"),)
    assert back.kinds == found.kinds
    assert {name: values.tolist() for name, values in back.known.items()} == {
        name: values.tolist() for name, values in found.known.items()
    }

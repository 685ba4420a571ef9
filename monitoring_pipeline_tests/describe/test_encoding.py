from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.encoding import FURTHEST, EncodedRows, encode_rows, varying_dimensions
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline_tests.traffic import reference

KINDS = {"tenure": ColumnKind.NUMERIC, "plan": ColumnKind.CATEGORICAL, "at": ColumnKind.DATETIME}


def described(**columns: Any) -> Reference:
    rows = pa.table(columns)
    return reference(rows, [ColumnSpec(name, ColumnRole.FEATURE, KINDS[name]) for name in columns])


def encode(against: Reference, **columns: Any) -> EncodedRows:
    return encode_rows(against.columns.values(), pa.table(columns))


def test_numbers_become_normal_scores_whatever_their_shape() -> None:
    values = np.random.default_rng(1).lognormal(0, 2, 20_000)
    found = encode(described(tenure=values), tenure=values)
    expected = np.clip(norm.ppf((np.argsort(np.argsort(values)) + 0.5) / 20_000), -FURTHEST, FURTHEST)
    middle = np.abs(expected) < 2
    np.testing.assert_allclose(found.values[middle, 0], expected[middle], atol=0.06)
    assert found.values.var(axis=0).sum() == pytest.approx(1, abs=0.03)


def test_one_absurd_value_is_far_out_and_no_further_and_leaves_the_others_where_they_are() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    clean, dirty = described(tenure=values), described(tenure=np.append(values, [1e12, 1e300, np.inf]))
    probe = [-1.0, 0.0, 1.0, 1e12, -1e300]
    scores = encode(clean, tenure=probe).values[:, 0]
    assert scores[-2] == pytest.approx(4, abs=0.1)
    assert scores[-1] == 0  # too large to be a number: as missing
    np.testing.assert_allclose(encode(dirty, tenure=probe).values[:3, 0], scores[:3], atol=0.02)


def test_a_missing_or_unusable_number_lies_at_the_center_and_is_marked() -> None:
    against = described(tenure=np.arange(1000.0))
    found = encode(against, tenure=pa.array([None, np.nan, np.inf, 10.0]))
    assert found.dimensions == ("tenure", "tenure is null or unusable")
    assert found.values[:3, 0].tolist() == [0, 0, 0]
    assert (found.values[:, 1] > 0).tolist() == [True, True, True, False]
    text = encode(against, tenure=pa.array(["7", "n/a", None]))
    assert (text.values[:, 1] > 0).tolist() == [False, True, True]


def test_a_frequent_number_stands_in_the_middle_of_its_rows() -> None:
    against = described(tenure=np.repeat([0.0, 1.0, 5.0], [500, 250, 250]))
    scores = encode(against, tenure=[0.0, 1.0, 5.0]).values[:, 0]
    np.testing.assert_allclose(scores / scores[2], norm.ppf([0.25, 0.625, 0.875]) / norm.ppf(0.875))


def test_categories_become_a_dimension_each_with_new_and_missing_ones_apart() -> None:
    against = described(plan=["a", "b"] * 500)
    found = encode(against, plan=pa.array(["a", "b", "new", None]))
    assert found.dimensions == ("plan = a", "plan = b", "plan never seen in the reference", "plan is null")
    assert (found.values > 0).tolist() == np.eye(4, dtype=bool).tolist()


def test_every_column_weighs_the_same_except_where_nearly_all_rows_agree() -> None:
    rng = np.random.default_rng(2)
    columns = {"tenure": rng.exponential(size=4000), "plan": rng.choice(list("abcdefgh"), 4000)}
    found = encode(described(**columns), **columns)
    weights = {name: found.values[:, found.places(name)].var(axis=0).sum() for name in columns}
    assert weights == {name: pytest.approx(1, abs=0.03) for name in columns}
    rare = np.repeat(["usual", "rare"], [3999, 1])
    assert np.abs(encode(described(plan=rare), plan=rare).values).max() < 3.5


def test_dimensions_that_never_vary_are_left_out_on_both_sides_alike() -> None:
    against = described(tenure=np.ones(500), plan=["a", "b"] * 250)
    first, second = (encode(against, tenure=[1.0, 1.0], plan=plans) for plans in (["a", "a"], ["a", "c"]))
    sides = varying_dimensions([first, second])
    assert [side.dimensions for side in sides] == [("plan = a", "plan never seen in the reference")] * 2
    assert [side.columns for side in sides] == [("plan", "plan")] * 2
    assert [side.values.shape for side in varying_dimensions([first, first])] == [(2, 0), (2, 0)]


@pytest.mark.parametrize(
    "values",
    [
        pa.nulls(3),
        pa.nulls(3, pa.float64()),
        pa.array(["x", "7", ""]),
        pa.array([[1], [2], None]),
        pa.array([1e308, -1e308, np.inf]),
        pa.array([True, False, None]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
        pa.array([b"\xff", b"", None]),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("kind", list(ColumnKind))
def test_any_type_in_any_column_gives_finite_points(values: pa.Array, kind: ColumnKind) -> None:
    seen: dict[ColumnKind, Any] = {
        ColumnKind.NUMERIC: np.arange(50.0),
        ColumnKind.CATEGORICAL: ["a", "b"] * 25,
        ColumnKind.BOOLEAN: [True, False] * 25,
        ColumnKind.DATETIME: pa.array(np.arange(50) * 3_600_000_000, pa.timestamp("us", "UTC")),
    }
    against = reference(pa.table({"x": seen[kind]}), [ColumnSpec("x", ColumnRole.FEATURE, kind)])
    found = encode(against, x=values)
    assert found.values.shape == (3, len(found.dimensions))
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() < 15
    assert encode_rows(against.columns.values(), pa.table({"x": values}).slice(0, 0)).values.shape[0] == 0


def test_a_column_of_nothing_but_nulls_and_a_column_that_is_not_there_are_null_throughout() -> None:
    against = described(tenure=pa.nulls(100, pa.float64()), plan=["a"] * 100)
    found = encode(against, tenure=[1.0, None])
    assert found.dimensions[-1] == "plan is null"
    assert (found.values[:, -1] > 0).all()
    assert (found.values[:, 1] > 0).tolist() == [False, True]

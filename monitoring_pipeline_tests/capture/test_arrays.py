import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.arrays import float_values, int_values, row_numbers


def test_values_come_through_whatever_pieces_and_slices_the_column_is_made_of() -> None:
    whole = pa.chunked_array([pa.array([1.5, 2.5, 3.5]), pa.array([], pa.float64()), pa.array([-4.5, np.inf])])
    for start in range(6):
        assert float_values(whole.slice(start, 3)).tolist() == whole.slice(start, 3).to_pylist()
    piece = pa.chunked_array([pa.array([7, -8, 2**62]).slice(1)])
    assert int_values(piece).tolist() == [-8, 2**62]


def test_a_column_of_another_type_or_with_nulls_is_refused() -> None:
    with pytest.raises(ValueError, match="a column of double without nulls is needed, not double with 1"):
        float_values(pa.chunked_array([pa.array([1.0, None])]))
    with pytest.raises(ValueError, match="a column of int64"):
        int_values(pa.chunked_array([pa.array([1.0])]))


def test_row_numbers_take_rows() -> None:
    rows = pa.array(["a", "b", "c", "d"])
    assert rows.take(row_numbers(np.arange(4)[::-2])).to_pylist() == ["d", "b"]
    assert rows.take(row_numbers(np.array([], np.int64))).to_pylist() == []

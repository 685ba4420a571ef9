"""Arrow columns as numpy arrays and back, straight through their buffers.

pyarrow's own conversions (`to_numpy`, `pa.array`, a Python value beside a column) load pandas first, half a second that
a command with two small files would spend waiting. Add a conversion here when it is on the way of such a command. Keep
nulls out: drop or count them before.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def float_values(column: pa.ChunkedArray) -> FloatArray:
    """Return a float64 column without nulls, read only."""
    return _values(column, pa.float64(), np.dtype(np.float64))


def int_values(column: pa.ChunkedArray) -> IntArray:
    """Return an int64 column without nulls, read only."""
    return _values(column, pa.int64(), np.dtype(np.int64))


def row_numbers(numbers: IntArray) -> pa.Array:
    """Return row numbers as `take` wants them."""
    return pa.Array.from_buffers(
        pa.int64(), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers, np.int64))]
    )


def float_scalar(value: float) -> pa.DoubleScalar:
    """Return a number as arithmetic on columns wants it; Arrow loads pandas to look at a Python float."""
    return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(np.array([value]))])[0]


def _values(column: pa.ChunkedArray, type_: pa.DataType, dtype: np.dtype) -> np.ndarray:
    if column.type != type_ or column.null_count:
        raise ValueError(f"a column of {type_} without nulls is needed, not {column.type} with {column.null_count}")
    array = column.combine_chunks()
    if len(array) == 0:
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)

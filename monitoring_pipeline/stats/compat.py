"""The record of another tool's drift metric, and the rows such a metric sees.

The metrics stand in compat_evidently.py and compat_nannyml.py: they give, from two columns of raw values, the number
that tool gives on the same rows, bins, fills and logs included, so that a team which moves sees its old numbers beside
the new ones. Add a file compat_<tool>.py for another tool. Keep the project's own definitions out, they belong in
distances.py and hypothesis_tests.py.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

COMPARISONS = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, ">": operator.gt}

Score = Callable[[ArrayLike, ArrayLike], float]


@dataclass(frozen=True, slots=True)
class Scorer:
    """One metric of another tool: what it computes for each kind of column, and when that tool calls it drift."""

    drift_when: Literal["<", "<=", ">=", ">"]
    threshold: float | None
    """What the tool ships; None where it derives the threshold from the reference."""
    numeric: Score | None = None
    categorical: Score | None = None
    p_value: Score | None = None
    """Where the tool shows a statistic but judges its p-value: that p-value, to be compared with the threshold."""

    def score(self, reference: ArrayLike, current: ArrayLike, *, categorical: bool) -> float:
        """The tool's number, or NaN where it has none for such a column or refuses these rows."""
        function = self.categorical if categorical else self.numeric
        try:
            return float("nan") if function is None else function(reference, current)
        except (TypeError, ValueError):
            return float("nan")

    def drifted(self, value: float, threshold: float) -> bool:
        """Whether the tool calls `value` drift; a NaN never is."""
        return bool(COMPARISONS[self.drift_when](value, threshold))


def rows_present(values: ArrayLike, *, numeric: bool, finite: bool) -> NDArray[Any]:
    """The rows of one column that the other tools look at.

    Parameters
    ----------
    values : shape (rows,), any type; None, NaN and NaT are missing.
    numeric : turn booleans into 0 and 1, and an array of objects into floats.
    finite : drop infinite values too.

    Returns
    -------
    Shape (rows present,), in the order given. Integers stay integers: numpy bins them differently.

    Examples
    --------
    >>> rows_present([2, None, float("inf"), 3], numeric=True, finite=True).tolist()
    [2.0, 3.0]
    >>> rows_present(np.array(["a", None, "b"], dtype=object), numeric=False, finite=True).tolist()
    ['a', 'b']
    """
    array: NDArray[Any] = np.asarray(values)
    # Only elementwise comparisons work for every type, objects included; a missing number differs from itself.
    keep = (array == array) & (array != None)  # noqa: E711 - elementwise
    if finite:
        keep &= (array != np.inf) & (array != -np.inf)
    array = array[keep.astype(bool)]
    if numeric and array.dtype.kind in "bO":
        array = array.astype(np.uint8 if array.dtype.kind == "b" else np.float64)
    return array

"""How many distinct values there were, in a few kilobytes that add up.

Add another summary of distinct values here. Keep what a column's values are called out: it belongs in describe.
"""

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import datasketches

LOG_KEPT = 9
"""Logarithm of the hashes kept: up to 512 values are counted exactly, more with a standard error of 4.4 %, in 4 kB."""

DEVIATIONS = 2
"""Standard deviations of the bounds, as the library wants them: about 95 %."""


@dataclass(frozen=True, slots=True)
class DistinctCount:
    """Number of distinct texts among all that were counted, however often each occurred.

    A theta sketch: the 512 smallest hashes of the values and the next larger one. It depends on the set of values
    alone, so parts merge to the very bytes that one pass over everything gives.

    Parameters
    ----------
    sketch : the compact, ordered form that every implementation of Apache DataSketches reads.

    Notes
    -----
    With the (k+1)-th smallest of n hashes at the share theta of their range, n is about k / theta; the relative
    standard error is 1 / sqrt(k - 1). Up to k values are counted exactly.

    References
    ----------
    Dasgupta, Lang, Rhodes, Thaler (2016), "A framework for estimating stream expression cardinalities", section 3.

    Examples
    --------
    >>> morning, evening = DistinctCount.of(["a", "b", "b"]), DistinctCount.of(["b", "c"])
    >>> morning.merge(evening).estimate
    3.0
    """

    sketch: bytes

    @classmethod
    def empty(cls) -> "DistinctCount":
        """Return the count of no values, the identity of `merge`."""
        return cls.of(())

    @classmethod
    def of(cls, values: Iterable[str]) -> "DistinctCount":
        """Return the count of some texts; a text that comes twice costs time and changes nothing."""
        sketch, texts = datasketches.update_theta_sketch(LOG_KEPT), list(values)
        deque(map(sketch.update, texts), maxlen=0)  # a loop at the speed of C
        if "" in texts:
            sketch.update("\0")  # the library passes over empty text
        sketch.trim()
        return cls(sketch.compact(ordered=True).serialize())

    def merge(self, other: "DistinctCount") -> "DistinctCount":
        """Return the count of the values of both."""
        union = datasketches.theta_union(LOG_KEPT)
        for each in (self, other):
            union.update(datasketches.compact_theta_sketch.deserialize(each.sketch))
        return DistinctCount(union.get_result(ordered=True).serialize())

    @property
    def estimate(self) -> float:
        """The number of distinct values."""
        return float(self._read().get_estimate())

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of `estimate`."""
        return float(self._read().get_lower_bound(DEVIATIONS))

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of `estimate`."""
        return float(self._read().get_upper_bound(DEVIATIONS))

    def to_json(self) -> str:
        """Return the sketch as text."""
        return b64encode(self.sketch).decode()

    @classmethod
    def from_json(cls, text: str) -> "DistinctCount":
        return cls(b64decode(text))

    def _read(self) -> datasketches.compact_theta_sketch:
        return datasketches.compact_theta_sketch.deserialize(self.sketch)

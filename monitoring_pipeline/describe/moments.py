"""Mean, variance and the higher moments of numbers, in sums that add up.

Add what follows from powers of numbers here. Keep what the numbers are out: it belongs in the record that holds them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import binom

from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.counters import Counters

_POWERS = np.arange(5)
_LIFT = np.maximum(_POWERS - _POWERS[:, None], 0)
_BINOMIALS = binom(_POWERS, _POWERS[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Moments(Counters):
    """Sums of the powers 0 to 4 of numbers about their own mean, so that a large mean costs no digits.

    centre: the mean. sums: shape (1, 5), or (2, 5) where every number also has a weight: then the second row sums the
    powers times the weights. Pebay (2008), "Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments".
    """

    centre: float = 0.0
    sums: FloatArray = field(default_factory=lambda: np.zeros((1, 5)))

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray | None = None) -> "Moments":
        """Return the moments of finite numbers, in whatever order they come."""
        if not len(values):
            return cls()
        order = np.argsort(values) if weights is None else np.lexsort((weights, values))
        values = values[order]
        centre = float(values.mean())
        shares = np.ones((1, len(values))) if weights is None else np.stack([np.ones(len(values)), weights[order]])
        return cls(centre, np.einsum("wn,np->wp", shares, np.vander(values - centre, 5, increasing=True)))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both batches."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        centre = (self.rows * self.centre + other.rows * other.centre) / (self.rows + other.rows)
        return Moments(centre, self._from(self.centre - centre) + other._from(other.centre - centre))

    def _from(self, distance: float) -> FloatArray:
        """Return the sums about what lies `distance` below the centre."""
        return np.asarray(self.sums @ (_BINOMIALS * distance**_LIFT))

    @property
    def rows(self) -> int:
        return int(self.sums[0, 0])

    @property
    def mean(self) -> float:
        """The mean, NaN of no numbers."""
        return self.centre if self.rows else math.nan

    def central(self, power: int, *, weighted: bool = False) -> float:
        """Return the mean of a power of the distance from the mean, times the weights if so asked; NaN of no numbers.

        The second power is the variance, divided by the number of rows.
        """
        if not self.rows:
            return math.nan
        # The centre of large numbers is off by a rounding, of which the first power knows.
        return float(self._from(-self.sums[0, 1] / self.rows)[int(weighted), power]) / self.rows

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {"centre": self.centre, "sums": self.sums.tolist()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Moments":
        return cls(float(document["centre"]), np.array(document["sums"], dtype=np.float64))

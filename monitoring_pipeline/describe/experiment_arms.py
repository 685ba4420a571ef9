"""What one arm of an experiment showed, in counters that add up.

Add a counter here when it is additive and a comparison of arms needs it. Keep tests and recommendations out: they
belong in evaluate; which arm a row is in is decided in serve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.capture.predictions import LogColumns, as_text
from monitoring_pipeline.capture.sampling import id_hashes
from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.counters import Counters
from monitoring_pipeline.describe.kernel import LARGEST
from monitoring_pipeline.describe.operations import OperationsProfile
from monitoring_pipeline.describe.outcomes import numbers_of
from monitoring_pipeline.stats.experiments import Arm

BUCKETS = 128
"""Into which units are thrown: totals of buckets vary as units do, and 127 degrees of freedom tell how much."""


@dataclass(frozen=True, slots=True)
class ExperimentColumns:
    """What is compared: `outcome` (any number, or true and false), and what may have told it before (`covariate`).

    `unit` is what was assigned: the prediction id where every request was, or what a user's requests share.
    """

    outcome: str = "actual"
    unit: str = "prediction_id"
    covariate: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentArm(Counters):
    """Counters of the rows of one arm; all of them add.

    counts: shape (2, buckets), rows and those of them with an outcome. totals: shape (2, buckets), outcome and
    covariate of the latter. products: of outcome and covariate by row, squares of both and product. operations: errors
    and latency.
    """

    counts: IntArray = field(default_factory=lambda: np.zeros((2, BUCKETS), np.int64))
    totals: FloatArray = field(default_factory=lambda: np.zeros((2, BUCKETS)))
    products: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    operations: OperationsProfile = field(default_factory=OperationsProfile)

    @classmethod
    def of(cls, rows: pa.Table, what: ExperimentColumns, log: LogColumns) -> "ExperimentArm":
        """Return the counters of prepared rows of one arm, joined to their labels where the outcome is one.

        A row without an outcome counts as a row alone. A covariate nobody knows is 0, which was so before the
        experiment, too.
        """
        units = ["" if unit is None else unit for unit in as_text(rows[what.unit]).to_pylist()]
        bucket = (id_hashes(units) % np.uint64(BUCKETS)).astype(np.int64)
        outcome = numbers_of(rows[what.outcome])
        known = np.abs(outcome) <= LARGEST
        before = np.zeros(len(outcome)) if what.covariate is None else numbers_of(rows[what.covariate])
        pair = np.stack([outcome[known], np.where(np.abs(before) <= LARGEST, before, 0.0)[known]])
        return cls(
            np.stack([np.bincount(each, minlength=BUCKETS) for each in (bucket, bucket[known])]),
            # Of no rows bincount makes whole numbers, whatever it is to add up.
            np.stack([np.bincount(bucket[known], each, minlength=BUCKETS) for each in pair]).astype(np.float64),
            np.einsum("ir,jr->ij", pair, pair),
            # Nothing is said of the throughput of an arm.
            replace(OperationsProfile.of(rows, log), minutes={}),
        )

    @property
    def rows(self) -> int:
        return int(self.counts[0].sum())

    @property
    def known(self) -> int:
        """Rows with an outcome."""
        return int(self.counts[1].sum())

    @property
    def is_share(self) -> bool:
        """Whether every outcome is 0 or 1: only then are they as large as their squares, all together."""
        return bool(self.products[0, 0] == self.totals[0].sum())

    def moments(self, *, by_unit: bool) -> Arm:
        """Return means and variances per row; where units have several rows each, from how whole buckets vary."""
        n = self.known
        if n < 2:
            return Arm(n, np.nan, np.nan)
        means = self.totals.sum(axis=1) / n
        if by_unit:
            # The variance of a ratio of totals, outcome over rows, to first order; times n it is that of a row.
            rest = self.totals - means[:, None] * self.counts[1]
            spread = np.einsum("ib,jb->ij", rest, rest) * BUCKETS / (BUCKETS - 1) / n
        else:
            spread = (self.products - n * np.outer(means, means)) / (n - 1)
        (variance, covariance), (_, before) = spread.tolist()
        freedom = float(BUCKETS - 1 if by_unit else n - 1)
        return Arm(n, float(means[0]), max(variance, 0.0), float(means[1]), max(before, 0.0), covariance, freedom)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        arrays = {name: getattr(self, name).tolist() for name in ("counts", "totals", "products")}
        return arrays | {"operations": self.operations.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ExperimentArm":
        totals, products = (np.array(document[name], np.float64) for name in ("totals", "products"))
        operations = OperationsProfile.from_json(document["operations"])
        return cls(np.array(document["counts"], np.int64), totals, products, operations)


def count_dispersion(arms: Sequence[ExperimentArm], *, known: bool) -> float:
    """Return by how much the rows of buckets vary more than those of rows that were assigned one by one, at least 1."""
    counts = np.stack([arm.counts[int(known)] for arm in arms]).astype(np.float64)
    means = counts.mean(axis=1)
    return max(float((counts.var(axis=1, ddof=1) / np.maximum(means, 1e-9)).mean()), 1.0)


def experiment_arms(
    rows: pa.Table, arms: Sequence[str | None], what: ExperimentColumns, log: LogColumns
) -> dict[str, ExperimentArm]:
    """Return the counters of every arm; `arms` is that of each row, None where it takes no part."""
    places: dict[str, list[int]] = {}
    for place, arm in enumerate(arms):
        if arm is not None:
            places.setdefault(arm, []).append(place)
    return {arm: ExperimentArm.of(rows.take(pa.array(own)), what, log) for arm, own in sorted(places.items())}

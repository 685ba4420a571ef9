"""How rare a distance is, judged by how restless the reference itself is.

Add another source of calibration here. Keep the measuring of blocks out: it belongs in describe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from monitoring_pipeline.capture.windows import window_length, window_name
from monitoring_pipeline.describe.blocks import same_hours_name
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.spans import SameHoursOfWeek
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.stats.block_limits import block_limit_from_moments, block_p_value_from_moments
from monitoring_pipeline.stats.shrinkage import moderate_variances

FEWEST_BLOCKS = 2
"""Independent blocks without which nothing is said about another one."""


@dataclass(frozen=True, slots=True)
class BlockModel:
    """How far a block of one column lies from the reference without change (`stats.block_limits`)."""

    mean: float
    variance: float
    degrees: float
    independent: float
    inflation: float

    def p_value(self, distance: float) -> float:
        """Return how often a block without change lies this far away."""
        moments = self.mean, self.variance
        p = block_p_value_from_moments(distance, *moments, independent=self.independent, degrees=self.degrees)
        return float(p)

    def limit(self, rarity: float) -> float:
        """Return the distance that a block without change exceeds with probability `rarity`."""
        with np.errstate(over="ignore"):
            limit = block_limit_from_moments(
                self.mean,
                self.variance,
                independent=self.independent,
                probability=1 - rarity,
                degrees=self.degrees,
            )
        return float(limit)


class Calibrations:
    """Block models of the references of some versions, their variances drawn towards each other within a reference.

    A month has four weeks: what four blocks say of one column is little, what they say of all columns is enough.
    """

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self._references = references
        self._models = lru_cache(maxsize=None)(self._family)

    def of(self, signal: Signal) -> BlockModel | None:
        """Return the model for the distance a signal measures, or None where there is none."""
        report, _, metric = signal.metric.partition(".")
        if report != "drift":
            return None
        window = self._nearest(signal) if signal.span else _window(signal)
        return self._models(signal.version, signal.segment, metric, window).get(signal.column)

    def _nearest(self, signal: Signal) -> str:
        """Return the longest calibrated window that a number of rows spans: shorter blocks lie further apart."""
        reference = self._references.get(signal.version)
        entry = reference.columns.get(signal.column) if reference else None
        known = [name for name in (entry.calibration.get("psi", {}) if entry else {}) if " " not in name]
        fitting = [name for name in known if window_length(name) <= signal.length]
        return max(fitting, key=window_length, default="")

    def _family(self, version: str, segment: str, metric: str, window: str) -> dict[str, BlockModel]:
        """Return the models of all columns of one metric and window."""
        reference = self._references.get(version)
        part = reference and (reference.segments.get(segment) if segment else reference)
        if part is None:
            return {}
        found = {
            name: blocks
            for name, entry in part.columns.items()
            if (blocks := entry.calibrated(metric, window)) is not None and blocks.independent >= FEWEST_BLOCKS
        }
        if not found:
            return {}
        independent = np.array([blocks.independent for blocks in found.values()])
        means = np.array([blocks.mean for blocks in found.values()])
        own = np.array([blocks.variance for blocks in found.values()])
        # What columns have in common is the spread in proportion to the mean, whatever the size of their distances.
        with np.errstate(divide="ignore", invalid="ignore"):
            relative, degrees = moderate_variances(own / np.square(means), independent - 1)
        variances = np.where(means > 0, relative * np.square(means), own)
        return {
            name: BlockModel(blocks.mean, float(variance), float(free), blocks.independent, blocks.inflation)
            for (name, blocks), variance, free in zip(found.items(), variances, degrees, strict=True)
        }


def _window(signal: Signal) -> str:
    same_hours = signal.baseline.startswith(SameHoursOfWeek.PREFIX)
    return same_hours_name(signal.length) if same_hours else window_name(signal.length)

"""How rare a distance is, judged by how restless the reference itself is.

Add another source of calibration here. Keep the measuring of blocks out: it belongs in describe.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from monitoring_pipeline.capture.windows import window_length, window_name
from monitoring_pipeline.describe.blocks import SQUARES, BlockDistances, same_hours_name
from monitoring_pipeline.describe.columns import FloatArray
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.describe.spans import SameHoursOfWeek
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.stats.block_limits import (
    block_limit_from_level,
    block_limit_from_moments,
    block_p_value_from_level,
    block_p_value_from_moments,
)
from monitoring_pipeline.stats.shrinkage import moderate_variances

FEWEST_BLOCKS = 2
"""Independent blocks without which nothing is said about another one."""

FEWEST_FOR_LEVELS = 10
"""Independent blocks from which PSI and JS are judged by their level. They stop growing once ranges have nothing in
common; the limit from fewer blocks would lie beyond what they can reach, and is taken from their roots instead."""


@dataclass(frozen=True, slots=True)
class LevelModel:
    """How far a block lies from the reference without change: chance, and a level that moves (`stats.block_limits`)."""

    noise: float
    level: float
    independent: float
    inflation: float
    power: int
    """1 for distances that are squares already, 2 for the others."""

    def p_value(self, distance: ArrayLike) -> FloatArray:
        """Return how often a block without change lies this far away."""
        square = np.power(distance, self.power)
        return block_p_value_from_level(square, self.noise, self.level, independent=self.independent)

    def limit(self, rarity: float) -> FloatArray:
        """Return the distance that a block without change exceeds with probability `rarity`."""
        limit = block_limit_from_level(self.noise, self.level, independent=self.independent, probability=1 - rarity)
        return np.asarray(np.power(limit, 1 / np.asarray(self.power)))


@dataclass(frozen=True, slots=True)
class RootModel:
    """How far a block lies from the reference without change, by the roots of the distances (`stats.block_limits`)."""

    mean: float
    variance: float
    degrees: float
    independent: float
    inflation: float

    def p_value(self, distance: ArrayLike) -> FloatArray:
        """Return how often a block without change lies this far away."""
        blocks = {"independent": self.independent, "degrees": self.degrees}
        return block_p_value_from_moments(distance, self.mean, self.variance, **blocks)

    def limit(self, rarity: float) -> FloatArray:
        """Return the distance that a block without change exceeds with probability `rarity`."""
        blocks = {"independent": self.independent, "degrees": self.degrees}
        with np.errstate(over="ignore"):
            return block_limit_from_moments(self.mean, self.variance, probability=1 - rarity, **blocks)


BlockModel = LevelModel | RootModel
"""Its fields are numbers, or those of several columns as arrays: see `_stacked`."""


def p_values(models: Sequence[BlockModel | None], distances: FloatArray) -> FloatArray:
    """Return how often without change a block of each column lies this far away; NaN for a column without a model."""
    found = np.full(len(models), np.nan)
    for places, model in _stacked(models):
        found[places] = model.p_value(distances[places])
    return found


def limits(models: Sequence[BlockModel | None], rarity: float) -> FloatArray:
    """Return the distances that blocks without change exceed with probability `rarity`; -inf without a model."""
    found = np.full(len(models), -np.inf)
    for places, model in _stacked(models):
        found[places] = model.limit(rarity)
    return found


def _stacked(models: Sequence[BlockModel | None]) -> Iterator[tuple[list[int], BlockModel]]:
    """Yield the columns whose models are of one kind, and these as one: a report has hundreds of them."""
    for kind in (LevelModel, RootModel):
        if places := [place for place, model in enumerate(models) if isinstance(model, kind)]:
            values = zip(*(attrgetter(*kind.__slots__)(models[place]) for place in places), strict=True)
            arrays: list[Any] = [np.array(each) for each in values]
            yield places, kind(*arrays)


class Calibrations:
    """Block models of the references of some versions.

    A month has four weeks: what four blocks say of the roots of one column is little, what they say of all columns is
    enough. Variances are drawn towards each other within a reference.
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
        by_roots = {
            name: blocks
            for name, blocks in found.items()
            # A reference described before levels were knows roots only.
            if math.isnan(blocks.level) or (metric in SQUARES and blocks.independent < FEWEST_FOR_LEVELS)
        }
        power = 1 if metric in SQUARES else 2
        by_level = {
            name: LevelModel(blocks.noise, blocks.level, blocks.independent, blocks.inflation, power)
            for name, blocks in found.items()
            if name not in by_roots
        }
        return {**by_level, **_root_models(by_roots)}


def _root_models(found: Mapping[str, BlockDistances]) -> dict[str, RootModel]:
    """Return models of what columns have in common: the spread in proportion to the mean, whatever the distances."""
    independent = np.array([blocks.independent for blocks in found.values()])
    means = np.array([blocks.mean for blocks in found.values()])
    own = np.array([blocks.variance for blocks in found.values()])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative, degrees = moderate_variances(own / np.square(means), independent - 1)
    variances = np.where(means > 0, relative * np.square(means), own)
    return {
        name: RootModel(blocks.mean, float(variance), float(free), blocks.independent, blocks.inflation)
        for (name, blocks), variance, free in zip(found.items(), variances, degrees, strict=True)
    }


def _window(signal: Signal) -> str:
    same_hours = signal.baseline.startswith(SameHoursOfWeek.PREFIX)
    return same_hours_name(signal.length) if same_hours else window_name(signal.length)

"""Business profiles: the totals of configured formulas over the rows of an hour, in sums that add up.

Any window is a merge, and its 95 % interval follows from the means and covariances of the totals. Add a kind of total
to `_parts` and `FormulaSums.totals`. Keep the grammar of formulas out, it belongs in `formulas`, and limits belong in
judge.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.predictions import TIME_TYPE, LogColumns
from monitoring_pipeline.describe.columns import ColumnKind, FloatArray
from monitoring_pipeline.describe.counters import Counters, added
from monitoring_pipeline.describe.formulas import ACTUAL, Formula, Total
from monitoring_pipeline.describe.kernel import LARGEST, category_names, floats_with_nan
from monitoring_pipeline.stats.intervals import normal_quantile, wilson_interval

ROLES = ("prediction", "score", "lower", "upper", "entity", "request", "item", "served_by", "status")
"""Names of the log's roles that formulas may use, whatever the columns are called."""


def column_of(name: str, log: LogColumns) -> str:
    """Return the column of the log that a name of a formula means: a role, or the column itself."""
    return (getattr(log, name) or name) if name in ROLES else name


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of a table as formulas read them."""

    table: pa.Table
    log: LogColumns

    def numbers(self, name: str) -> FloatArray:
        """Return a column as numbers, times as seconds since 1970; what cannot be squared is not known."""
        column = self._column(name)
        if pa.types.is_timestamp(column.type):
            column = pc.divide(column.cast(TIME_TYPE).cast(pa.int64()).cast(pa.float64()), 1e6)
        values = floats_with_nan(column, ColumnKind.NUMERIC)
        return np.where(np.abs(values) <= LARGEST, values, np.nan)

    def texts(self, name: str) -> Any:
        return np.array(category_names(self._column(name)).to_pylist(), dtype=object)

    def _column(self, name: str) -> pa.ChunkedArray:
        column = column_of(name, self.log)
        if column not in self.table.column_names:
            raise KeyError(f"the log has no column {column!r}")
        return self.table[column]


@dataclass(frozen=True, slots=True, eq=False)
class FormulaSums:
    """The totals of one formula; `text` is the formula they belong to.

    rows, labelled: how many there were and how many had a label. sums, products: of what `_parts` gives each row, and
    of every two of them, shapes (parts,) and (parts, parts). lows, highs: of every `min` or `max`. failed: why the
    formula could not be computed.
    """

    text: str
    rows: int
    labelled: int
    sums: FloatArray
    products: FloatArray
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    failed: str = ""

    @classmethod
    def empty(cls, formula: Formula) -> "FormulaSums":
        parts = sum(len(_part_names(total)) for total in formula.totals)
        ends = sum(total.name in ("min", "max") for total in formula.totals)
        blank = np.zeros(parts), np.zeros((parts, parts))
        return cls(formula.text, 0, 0, *blank, lows=(np.inf,) * ends, highs=(-np.inf,) * ends)

    @classmethod
    def of(cls, rows: pa.Table, formula: Formula, log: LogColumns) -> "FormulaSums":
        """Return the totals of a batch of rows, with `actual` where a formula needs it."""
        blank, length = cls.empty(formula), rows.num_rows
        labelled = length - rows[ACTUAL].null_count if ACTUAL in rows.column_names else 0
        try:
            values = [total.of_rows(_Rows(rows, log), length) for total in formula.totals]
        except Exception as error:  # noqa: BLE001 - whatever one formula does, the others are computed
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return cls(formula.text, length, labelled, blank.sums, blank.products, blank.lows, blank.highs, reason)
        parts = [part for total, each in zip(formula.totals, values, strict=True) for part in _parts(total, each)]
        matrix = np.array(parts).reshape(len(parts), length)
        if parts:  # sums of the same rows must be the same to the last bit, in whatever order they were logged
            matrix = matrix[:, np.lexsort(matrix)]
        ends = [
            each[~np.isnan(each)]
            for total, each in zip(formula.totals, values, strict=True)
            if not _part_names(total) and total.argument is not None
        ]
        return cls(
            formula.text,
            length,
            labelled,
            matrix.sum(axis=1),
            np.einsum("ir,jr->ij", matrix, matrix),
            tuple(float(each.min(initial=np.inf)) for each in ends),
            tuple(float(each.max(initial=-np.inf)) for each in ends),
        )

    def merge(self, other: "FormulaSums") -> "FormulaSums":
        """Return the totals of both batches; they must be of the same formula."""
        if self.text != other.text:
            raise ValueError(f"totals of {self.text!r} and {other.text!r} do not add up")
        return added(
            self,
            other,
            text=self.text,
            lows=tuple(map(min, self.lows, other.lows)),
            highs=tuple(map(max, self.highs, other.highs)),
            failed=min([why for why in (self.failed, other.failed) if why], default=""),
        )

    def value(self, formula: Formula) -> tuple[float, float, float]:
        """Return the value and its 95 % interval; NaN where these rows do not define them.

        By the delta method: the means of the parts are about normal, and the formula about linear that close to them.
        A single share has Wilson's interval. There is none for a smallest or largest value, or below 2 rows.
        """
        if self.rows == 0:
            return np.nan, np.nan, np.nan
        means = self.sums / self.rows
        value = formula.value(self._totals(formula, means))
        if formula.is_share:
            low, high = wilson_interval(self.sums[0], self.sums[1])
            return value, float(low), float(high)
        if len(self.lows) or self.rows < 2 or not np.isfinite(value):
            return value, np.nan, np.nan
        covariance = (self.products / self.rows - np.outer(means, means)) / (self.rows - 1)
        errors = np.array([max(variance, 0.0) ** 0.5 for variance in np.diag(covariance)])
        slopes, steps = np.zeros(len(means)), 1e-4 * errors
        for part in np.flatnonzero(steps):
            moved = np.where(np.arange(len(means)) == part, steps, 0.0)
            ends = [formula.value(self._totals(formula, means + sign * moved)) for sign in (1, -1)]
            slopes[part] = (ends[0] - ends[1]) / (2 * steps[part])
        half = float(normal_quantile(0.95)) * max(float(slopes @ covariance @ slopes), 0.0) ** 0.5
        return value, value - half, value + half

    def _totals(self, formula: Formula, means: FloatArray) -> dict[str, float]:
        """Return the totals by their text, from the means of their parts."""
        place, end = 0, 0
        found: dict[str, float] = {}
        for total in formula.totals:
            names = _part_names(total)
            if total.name in ("min", "max"):
                value = (self.lows if total.name == "min" else self.highs)[end]
                end += 1
            elif total.argument is None:
                value = float(self.rows)
            elif len(names) == 2:
                value = float(means[place] / means[place + 1]) if means[place + 1] else np.nan
            else:
                value = self.rows * means[place]
            found[total.text] = float(value)
            place += len(names)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists; an infinite end, of no rows, is null."""
        document = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name in ("lows", "highs"):
            document[name] = [end if np.isfinite(end) else None for end in document[name]]
        return {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in document.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "FormulaSums":
        ends = {
            name: tuple(blank if end is None else float(end) for end in document[name])
            for name, blank in (("lows", np.inf), ("highs", -np.inf))
        }
        sums = np.asarray(document["sums"], dtype=np.float64)
        products = np.asarray(document["products"], dtype=np.float64).reshape(len(sums), len(sums))
        return cls(**{**document, **ends, "sums": sums, "products": products})


def _part_names(total: Total) -> tuple[str, ...]:
    """Return what of each row a total needs the mean of: nothing for the number of rows, and for an end."""
    if total.argument is None or total.name in ("min", "max"):
        return ()
    return ("value", "known") if total.name in ("mean", "share") else ("value",)


def _parts(total: Total, values: FloatArray) -> Iterator[FloatArray]:
    """Yield what a row adds to a total: its value, 0 where it is not known, and whether it is known."""
    known = ~np.isnan(values)
    both = {"value": np.where(known, values, 0.0), "known": known.astype(np.float64)}
    yield from (both[name] for name in _part_names(total))


@dataclass(frozen=True, slots=True, eq=False)
class BusinessProfile(Counters):
    """The totals of every formula by its name; a formula that only one of two has is as that one says."""

    formulas: Mapping[str, FormulaSums] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.Table, formulas: Mapping[str, Formula], log: LogColumns) -> "BusinessProfile":
        """Return the totals of prepared rows, joined to their labels where a formula needs them."""
        return cls({name: FormulaSums.of(rows, formula, log) for name, formula in formulas.items()})

    def to_json(self) -> dict[str, Any]:
        return {name: sums.to_json() for name, sums in self.formulas.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "BusinessProfile":
        return cls({name: FormulaSums.from_json(sums) for name, sums in document.items()})

"""Which model answers whom: the champion, the arms of an experiment, and a shadow that nobody hears.

Add a way to choose a model here. Keep the hash that assigns an arm out: `assign` brings it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.capture.privacy import is_digest
from monitoring_pipeline.serve.assignment import CONTROL, TREATMENT
from monitoring_pipeline.serve.fallback import Answer, Chain, Row
from monitoring_pipeline.serve.scoring import Scorer

CHAMPION, CHALLENGER, SHADOW, FALLBACK, RULE = "champion", "challenger", "shadow", "fallback", "rule"

SHADOW_VERSION, SHADOW_SCORE = "shadow_version", "shadow_score"
"""Columns of the log: which version scored the row unserved, and what it said."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """Everything that answers, as one record that is replaced as a whole: a request sees one state of it to its end."""

    scorers: Mapping[str, Scorer]
    chains: Mapping[str, Chain]

    def chain(self, alias: str) -> Chain:
        """Return the chain that begins at an alias, or the champion's while nothing has that alias."""
        return self.chains.get(alias, self.chains[CHAMPION])


@dataclass(frozen=True, slots=True)
class Router:
    """Sends rows to the arm their unit is assigned to. `arms` maps an arm to the alias that answers for it.

    unit: the column of the log that is assigned, "" for the prediction id; the same unit gets the same arm as long as
    `assign` says so. An arm whose model is missing or broken is answered for by the next link of its chain, and keeps
    its name: who was assigned decides an experiment, not who answered.
    """

    assign: Callable[[str], str | None] | None = None
    arms: Mapping[str, str] = field(default_factory=lambda: {CONTROL: CHAMPION, TREATMENT: CHALLENGER})
    unit: str = ""

    def arm(self, unit: str | None) -> str:
        """Return the arm of a unit; "" without an experiment, or where it takes no part."""
        return "" if self.assign is None or unit is None else self.assign(unit) or ""

    def score(
        self, serving: Serving, rows: Sequence[Row], units: Sequence[str | None], *, begin: str = ""
    ) -> list[tuple[Answer, str]]:
        """Return the answer to each row and the arm it belongs to; rows of an arm are scored together."""
        arms = [self.arm(unit) for unit in units]
        found: dict[int, Answer] = {}
        for arm in dict.fromkeys(arms):
            places = [at for at, other in enumerate(arms) if other == arm]
            chain = serving.chain(self.arms.get(arm, arm))
            found.update(zip(places, chain.score([rows[at] for at in places], begin=begin), strict=True))
        return [(found[at], arm) for at, arm in enumerate(arms)]


def with_shadow(rows: pa.Table, serving: Serving) -> pa.Table:
    """Return records with what the shadow says of them, beside what was served; without a shadow, nothing."""
    names = (SHADOW_VERSION, SHADOW_SCORE)
    rows = rows.drop_columns([name for name in names if name in rows.column_names])
    shadow = serving.scorers.get(SHADOW)
    versions, scores = pa.nulls(rows.num_rows, pa.string()), pa.nulls(rows.num_rows, pa.float64())
    if shadow is not None:
        try:
            seen = rows.select(list(shadow.features))
            if hidden := [each.name for each in seen.schema if _has_digests(seen[each.name])]:
                raise ValueError(f"{', '.join(hidden)}: kept as digests, which no model knows")
            said = shadow.score(seen.to_pandas())
            scores = pc.if_else(pc.is_finite(pa.array(said)), pa.array(said), None)
            versions = pa.array([shadow.version] * rows.num_rows)
        except Exception:  # noqa: BLE001 - its failures are a fact about the shadow, not about the service
            _log.exception("shadow v%s could not score %d rows", shadow.version, rows.num_rows)
    return rows.append_column(SHADOW_VERSION, versions).append_column(SHADOW_SCORE, scores)


def _has_digests(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) and any(map(is_digest, column.drop_null().unique().to_pylist()))

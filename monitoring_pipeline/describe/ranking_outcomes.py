"""Outcomes of a recommender: lists of items, of which some turned out to be relevant.

Add a counter here when it is additive and a metric of lists needs it. Keep metrics out: they belong in evaluate.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.columns import FloatArray, IntArray
from monitoring_pipeline.describe.kernel import category_names
from monitoring_pipeline.describe.log_histogram import LARGEST
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task, counts_of, numbers_of, sums_and_squares
from monitoring_pipeline.stats.cardinality import DistinctCount

GAINS = ("recall", "ndcg", "reciprocal_rank")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RankingOutcomes(OutcomeProfile):
    """Counters of lists, one row of the log per recommended item.

    A list is what the rows of one request and hour say: its items by falling score, ties by item. Rows without a
    request, item or score are in none. Where one item of a list has a label, the list counts as known and its items
    without one as not relevant; so log a 0 where nobody reacted, or only lists with a reaction are ever known. A label
    is a relevance from 0 up. labelled: items of known lists; clicked: the relevant ones. requests: lists. known: those
    with a label. answered: those with a relevant item. hits: those with one at the top. gains: sums of each of GAINS
    and of its square, shape (3, 2): recall and gain of the top over answered lists, reciprocal rank of the first
    relevant item (0 without one) over known lists. items: which ever were at the top.
    """

    task: ClassVar[Task] = Task.RANKING

    requests: int = 0
    known: int = 0
    answered: int = 0
    clicked: int = 0
    hits: int = 0
    gains: FloatArray = field(default_factory=lambda: np.zeros((len(GAINS), 2)))
    items: DistinctCount = field(default_factory=DistinctCount.empty)

    @classmethod
    def of(
        cls, joined: pa.Table, *, request: str | None, item: str | None, score: str | None, top: int = 10
    ) -> "RankingOutcomes":
        """Return the profile of lists with columns `actual` and `labelled_at`; the first `top` items are the top."""
        actual = numbers_of(joined["actual"])
        usable = (actual >= 0) & (actual <= LARGEST)
        counts = counts_of(joined, usable) | {"labelled": 0}
        if request is None or item is None or score is None or joined.num_rows == 0:
            return cls(**counts)
        scores = numbers_of(joined[score])
        rows = pa.table(
            {
                "request": category_names(joined[request]),
                "score": pa.array(np.where(np.abs(scores) <= LARGEST, -scores, np.nan), from_pandas=True),
                "item": category_names(joined[item]),
                "relevance": np.where(usable, actual, -1.0),
            }
        ).drop_null()
        rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
        lists, rank = _places(rows["request"])
        relevance, size = rows["relevance"].to_numpy(), int(lists[-1]) + 1 if len(lists) else 0
        known = np.bincount(lists, relevance >= 0, size) > 0
        relevance = np.maximum(relevance, 0.0)
        relevant, at_top = relevance > 0, rank < top
        found, found_at_top = (np.bincount(lists, each, size) for each in (relevant, relevant & at_top))
        answered = found > 0
        first = np.full(size, np.inf)
        np.minimum.at(first, lists[relevant], rank[relevant] + 1.0)
        ideal = relevance[np.lexsort((-relevance, lists))]
        gain, best = (
            np.bincount(lists, np.where(at_top, each, 0.0) / np.log2(rank + 2), size) for each in (relevance, ideal)
        )
        gains = (found_at_top[answered] / found[answered], gain[answered] / best[answered], 1 / first[known])
        return cls(
            **counts | {"labelled": int(known[lists].sum())},
            requests=size,
            known=int(known.sum()),
            answered=int(answered.sum()),
            clicked=int(relevant.sum()),
            hits=int((found_at_top > 0).sum()),
            gains=sums_and_squares(*gains),
            items=DistinctCount.of(pc.unique(rows["item"].filter(pa.array(at_top))).to_pylist()),
        )


def _places(requests: pa.ChunkedArray) -> tuple[IntArray, IntArray]:
    """Return the number of each sorted row's list, and its place in it, from 0."""
    whole = requests.combine_chunks()
    if not len(whole):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    new = np.append(True, pc.not_equal(whole.slice(1), whole.slice(0, len(whole) - 1)).to_numpy(zero_copy_only=False))
    lists = np.cumsum(new) - 1
    return lists, np.arange(len(whole)) - np.flatnonzero(new)[lists]

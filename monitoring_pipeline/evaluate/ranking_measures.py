"""Metrics of a recommender, over lists whose outcome is known.

ctr (share of the shown items that were relevant), recall_at_k and ndcg_at_k (over lists with a relevant item; the gain
is the relevance itself), hit_rate_at_k, mean_reciprocal_rank, requests; and item_coverage, the share of the catalogue
that was ever at the top of a list. Add a metric here. Keep windows and absences out: they belong in performance.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.ranking_outcomes import GAINS, RankingOutcomes
from monitoring_pipeline.evaluate.measures import Costs, Measure
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.stats.intervals import normal_interval, wilson_interval


def ranking_measures(total: RankingOutcomes, _: Costs) -> Iterator[Measure]:
    """Yield every metric of the lists that needs no catalogue."""
    measure = partial(Measure, counted="lists")
    for name, hits, trials in (("ctr", total.clicked, total.labelled), ("hit_rate_at_k", total.hits, total.known)):
        low, high = map(float, wilson_interval(hits, trials))
        share = hits / trials if trials else np.nan
        yield measure(
            name=name, value=share, rows=trials, low=low, high=high, basis="label", basis_rows=total.known
        )  # fmt: skip
    for name, gain, lists, basis in (
        ("recall_at_k", "recall", total.answered, "label above 0"),
        ("ndcg_at_k", "ndcg", total.answered, "label above 0"),
        ("mean_reciprocal_rank", "reciprocal_rank", total.known, "label"),
    ):
        mean, square = (total.gains[GAINS.index(gain)] / lists).tolist() if lists else (np.nan, np.nan)
        low, high = map(float, normal_interval(mean, max(square - mean**2, 0.0), rows=lists))
        # Every gain lies between 0 and 1, and so does its mean.
        yield measure(
            name=name, value=mean, rows=lists, low=max(low, 0.0), high=min(high, 1.0), basis=basis, basis_rows=lists
        )  # fmt: skip
    yield Measure(name="requests", value=float(total.requests), rows=total.rows, unit="requests")


def ranking_against(total: RankingOutcomes, baseline: RankingOutcomes | None, plan: OutcomePlan) -> Iterator[Measure]:
    """Yield the share of the catalogue that was recommended; without its size, of what it or the reference did."""
    catalogue = plan.catalogue or (total.items.merge(baseline.items).estimate if baseline else 0.0) or np.nan
    items = total.items
    yield Measure(
        name="item_coverage", rows=total.rows,
        value=items.estimate / catalogue, low=items.low / catalogue, high=items.high / catalogue,
        absence=Absence.NO_REFERENCE, reason="neither ranking.catalogue nor the items of the reference are known",
    )  # fmt: skip

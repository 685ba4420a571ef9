"""The `slices:` section: the daily search for the parts of the traffic that a model serves worst.

Add a bound of the search here. Keep segments that are configured out: they have a section of their own.
"""

from typing import Annotated

from pydantic import Field

from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.evaluate.slices import SlicePolicy
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Count, Share


class Slices(Section):
    """Columns to search (all features, where none is named), rows a slice needs, and how many are named at most.

    `alpha` is how often a search may name any slice where none is worse than the rest. `max_candidates` pairs of groups
    are compared on `max_rows` labelled rows.
    """

    enabled: bool = True
    columns: tuple[str, ...] = ()
    min_rows: Annotated[int, Field(ge=10)] = 100
    most: Count = 5
    max_candidates: Annotated[int, Field(ge=0)] = 20_000
    max_rows: Count = 100_000
    alpha: Share = 0.05

    def policy(self, plan: OutcomePlan, *, min_coverage: float, min_group: int = 1) -> SlicePolicy:
        return SlicePolicy(
            plan,
            self.columns,
            max(self.min_rows, min_group),
            self.most,
            self.max_candidates,
            self.max_rows,
            self.alpha,
            min_coverage,
        )

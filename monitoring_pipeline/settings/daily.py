"""The sections on what is looked at once a day, on a sample of rows: importances, slices, and Evidently's page.

Add a bound of one of them, or another daily report, here. Keep limits out: they belong in `limits:` and `judge.limits`.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.slices import SlicePolicy
from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy
from monitoring_pipeline.serve.importance import ImportanceRequest, Method
from monitoring_pipeline.settings.conditions import Duration, Section
from monitoring_pipeline.settings.sections import Count, Share


class Attributions(Section):
    """Importances of features, which need the model, and their predictive power, which does not.

    The model is loaded only where `enabled`, in a process of its own, and only if it holds no other types than skops'
    own safe ones and `trusted_types`. `top` is how many features count as the top of a ranking.
    """

    enabled: bool = False
    trusted_types: tuple[str, ...] = ()
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("permutation",)
    repeats: Annotated[int, Field(ge=3)] = 10
    max_rows: Annotated[int, Field(ge=100)] = 2000
    top: Count = 10
    timeout: Duration = timedelta(minutes=10)

    def ways(self) -> tuple[str, ...]:
        """Return what is measured, as `evaluate.attributions.WAYS` calls it."""
        ways = {"permutation": ("output", "loss"), "shap": ("shap",)}
        return tuple(way for method in self.methods for way in ways[method])

    def request(self, tracking_uri: str, model: str, version: str, *, task: Task, label: str) -> ImportanceRequest:
        """Return what is asked of the process that loads the model."""
        return ImportanceRequest(
            tracking_uri,
            model,
            version,
            self.trusted_types,
            task=task,
            methods=self.methods,
            label=label,
            repeats=self.repeats,
            max_rows=self.max_rows,
        )


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


class Evidently(Section):
    """A page a day: rows of each side it compares, its largest size, and how long it is kept."""

    enabled: bool = True
    max_rows: Annotated[int, Field(ge=10)] = 5000
    max_megabytes: Annotated[float, Field(gt=0)] = 20.0
    keep: Duration = timedelta(days=30)

    def policy(self) -> EvidentlyPolicy:
        return EvidentlyPolicy(self.max_rows, self.max_megabytes, self.keep)

"""The `attributions:` section: what a model leans on, measured on the daily sample, and features that give it away.

Add how importances are measured here. Keep the limits out: they belong in `limits:` and `judge.limits`.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.serve.importance import ImportanceRequest, Method
from monitoring_pipeline.settings.conditions import Duration, Section


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
    top: Annotated[int, Field(ge=1)] = 10
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

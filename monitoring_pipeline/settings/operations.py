"""How the serving of requests is watched, as written in YAML.

Add a setting of latency, errors, throughput or batches here. Keep the limits of other metrics out.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.evaluate.operations import OperationsPolicy
from monitoring_pipeline.judge.limits import Limit
from monitoring_pipeline.settings.conditions import Section

LOW_LATENCY: Mapping[str, tuple[Limit, ...]] = {
    "operations.latency_p95": (Limit(0.075, None),),
    "operations.latency_p99": (Limit(None, 0.1),),
    "operations.error_rate": (Limit(0.001, 0.005),),
}
"""Limits of a service that other services wait for; those of an ordinary one are the published defaults."""


class Throughput(Section):
    """Requests per second, of all versions together, outside which there is a warning."""

    min: Annotated[float, Field(ge=0)] | None = None
    max: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "Throughput":
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError("The smallest throughput lies below the largest: swap the two.")
        return self

    def limits(self) -> tuple[Limit, ...]:
        below = () if self.min is None else (Limit(self.min, None, "below"),)
        return below if self.max is None else (*below, Limit(self.max, None))


class Operations(Section):
    """Latency, errors, throughput and batches.

    `profile` chooses the limits: p95 of 0.5 s and p99 of 2 s, errors of 1 % and 5 %; with `low_latency` 75 and 100 ms,
    0.1 % and 0.5 %. `primary` is what `served_by` says when no fallback answered.
    """

    profile: Literal["standard", "low_latency"] = "standard"
    throughput: Throughput = Throughput()
    primary: tuple[str, ...] = ("champion", "challenger", "primary")
    max_batch_rows: Annotated[int, Field(ge=1)] | None = None
    min_rows: Annotated[int, Field(ge=1)] = 20

    def policy(self, windows: tuple[timedelta, ...], columns: LogColumns) -> OperationsPolicy:
        """Return what is measured."""
        return OperationsPolicy(windows, columns, self.primary, self.max_batch_rows, self.min_rows)

    def limits(self) -> dict[str, tuple[Limit, ...]]:
        """Return the limits that replace the published ones."""
        own = dict(LOW_LATENCY) if self.profile == "low_latency" else {}
        return own | ({"operations.throughput": limits} if (limits := self.throughput.limits()) else {})

"""What a better challenger must not be worse at.

Add a guard-rail's limit here. Keep what is measured out: it belongs in retrain.
"""

from typing import Annotated, Literal

from pydantic import Field

from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.retrain.guard_rails import RailPolicy
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Share

MB = 10**6

Positive = Annotated[float, Field(gt=0)]
Times = Annotated[float, Field(ge=1)]
RailName = Literal["segments", "fairness", "calibration", "latency", "size", "back_test"]


class FoldsForm(Section):
    """A back-test: in each of so many spans of time since the champion was trained, a model trained anew before it."""

    folds: int = Field(default=3, ge=1, le=20)


class GuardRails(Section):
    """The limits of what a challenger may lose; one that is null is not looked at.

    `segments`: by which share of the champion's loss that of a segment (`segments.columns`) may grow. `fairness`: the
    least ratio of a rate between two groups of `fairness.attributes`, lower only where the champion's is.
    `calibration`: by how much the calibration error may grow, for regressors as a share of the champion's error.
    `latency` and `size`: at most how many times the champion's; `size_mb` is a limit of its own. What cannot be checked
    is reported, and holds back a challenger only where the guard-rail is `required`.
    """

    segments: Positive | None = 0.1
    fairness: Share | None = 0.8
    calibration: Positive | None = 0.02
    latency: Times | None = 3.0
    size: Times | None = 10.0
    size_mb: Positive | None = None
    back_test: FoldsForm | None = None
    required: tuple[RailName, ...] = ()

    def policy(self, *, segments: Grouping, groups: Grouping, min_rows: int) -> RailPolicy:
        """Return the limits; `segments` and `groups` are what the monitor is cut into."""
        return RailPolicy(
            segments=self.segments,
            fairness=self.fairness,
            calibration=self.calibration,
            latency=self.latency,
            size=self.size,
            size_bytes=None if self.size_mb is None else round(self.size_mb * MB),
            required=self.required,
            parts=segments,
            groups=groups,
            min_rows=min_rows,
        )

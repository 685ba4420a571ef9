"""The Reference of one model version: what its columns and its performance looked like when it was trained.

The monitor never loads the model. Add what a comparison needs to know of the training data here. Keep how it is found
out, it belongs in `reference_building`, and how it is stored, it belongs in `reference_json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from monitoring_pipeline.describe.blocks import BlockDistances, Calibration
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.columns import Column, ColumnRole
from monitoring_pipeline.describe.error_dispersion import ErrorDispersion
from monitoring_pipeline.describe.freshness import FreshnessProfile
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.describe.layouts import Layout
from monitoring_pipeline.describe.loss_model import LossModel
from monitoring_pipeline.describe.outcomes import OutcomeProfile
from monitoring_pipeline.describe.profiles import ColumnProfile
from monitoring_pipeline.describe.segments import Segmentation


@dataclass(frozen=True, slots=True, eq=False)
class ColumnReference:
    """One column in the reference: its bins, its profile, a summary for people, and its calibration."""

    column: Column
    profile: ColumnProfile
    summary: Mapping[str, Any]
    calibration: Calibration

    def calibrated(self, metric: str, window: str) -> BlockDistances | None:
        return self.calibration.get(metric, {}).get(window)


UsualRanges = Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]
"""Low and high by column, name of the window, and name of the share or number."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Profile, performance and calibration of one model version, with the digest of its content.

    segments: the same columns in the same bins for parts of the rows, by name. importances: how much each feature
    matters to the model, where its training script said so. error_dispersion: how restless its hourly errors are.
    freshness: how old the sources of its features were. usual: which shares and numbers its own stretches had. intake:
    what was wrong with its rows. signature: the types its model asks for, where it says so. layout: how its columns are
    stored. loss_model: how wrong it is expected to be, where it predicts numbers. business: what the formulas of the
    business come to on its rows.
    """

    model: str
    version: str
    computed_at: datetime
    rows: int
    columns: Mapping[str, ColumnReference]
    outcomes: OutcomeProfile | None
    trained_until: datetime | None = None
    segmentations: tuple[Segmentation, ...] = ()
    segments: Mapping[str, "Reference"] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    error_dispersion: ErrorDispersion | None = None
    freshness: FreshnessProfile | None = None
    usual: UsualRanges = field(default_factory=dict)
    intake: IntakeProfile | None = None
    signature: Mapping[str, str] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)
    business: BusinessProfile = field(default_factory=BusinessProfile)
    loss_model: LossModel | None = None
    digest: str = ""

    @property
    def specs(self) -> dict[str, Column]:
        """Columns of the serving log by name, as `Profile.of` takes them; the label is not one of them."""
        served = (entry.column for entry in self.columns.values() if entry.column.role is not ColumnRole.LABEL)
        return {column.name: column for column in served}

    def for_version(self, version: str) -> "Reference":
        """Return the same reference for another version, as when one table stands for all of them."""
        segments = {name: replace(segment, version=version) for name, segment in self.segments.items()}
        return replace(self, version=version, segments=segments)

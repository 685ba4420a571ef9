"""Data quality as written in YAML: what must never be missing, and what is held against which history.

Add a setting of quality, intake, schema or volume here. Keep limits out: they belong in judge.
"""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.quarantine import IntakePlan
from monitoring_pipeline.evaluate.intake import IntakePolicy
from monitoring_pipeline.evaluate.quality import QualityPolicy
from monitoring_pipeline.evaluate.schema import SchemaPolicy
from monitoring_pipeline.evaluate.volume import FEWEST_WEEKS, VolumePolicy
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Count


class Quality(Section):
    """Quality of columns and rows.

    `required` columns are critical with a single value missing; one that misses none in the reference is required too.
    `other_columns` are logged although the model's signature does not name them. `volume_weeks` are the weeks whose
    same hours the traffic is held against. Text longer than `longest_text` is quarantined; `quarantined_values` of an
    hour are kept to be looked at, and all are counted.
    """

    min_rows: Count = 30
    required: tuple[str, ...] = ()
    other_columns: tuple[str, ...] = ()
    volume_weeks: int = Field(default=6, ge=FEWEST_WEEKS)
    longest_text: Count = 1000
    quarantined_values: Count = 1000

    def policy(self, windows: tuple[timedelta, ...]) -> QualityPolicy:
        """Return how columns are measured."""
        return QualityPolicy(windows, self.min_rows, self.required)

    def intake_policy(self, windows: tuple[timedelta, ...]) -> IntakePolicy:
        """Return how the rows of a log are measured."""
        return IntakePolicy(windows)

    def volume_policy(self, windows: tuple[timedelta, ...]) -> VolumePolicy:
        """Return how the number of predictions is measured."""
        return VolumePolicy(windows, self.volume_weeks)

    def schema_policy(self, columns: LogColumns) -> SchemaPolicy:
        """Return which columns a log may have beyond the signature."""
        return SchemaPolicy((*columns.names(), *self.other_columns))

    def intake_plan(self, columns: LogColumns, features: Mapping[str, ColumnKind], *, shares: bool) -> IntakePlan:
        """Return what the columns of a log should hold; `shares` says that its scores are probabilities."""
        numbers = (columns.score, columns.lower, columns.upper, *columns.probabilities.values())
        kinds = {name: ColumnKind.NUMERIC for name in numbers if name is not None}
        return IntakePlan(
            columns,
            {**features, **kinds},
            tuple(features),
            tuple(name for name in (columns.score, *columns.probabilities.values()) if name is not None and shares),
            self.longest_text,
            self.quarantined_values,
        )

"""The `evidently:` section: Evidently's daily page on the sample of rows.

Add what its page shows or how long it is kept here. Keep our own tests of the sample out: they have sections of theirs.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy
from monitoring_pipeline.settings.conditions import Duration, Section


class Evidently(Section):
    """A page a day: rows of each side it compares, its largest size, and how long it is kept."""

    enabled: bool = True
    max_rows: Annotated[int, Field(ge=10)] = 5000
    max_megabytes: Annotated[float, Field(gt=0)] = 20.0
    keep: Duration = timedelta(days=30)

    def policy(self) -> EvidentlyPolicy:
        return EvidentlyPolicy(self.max_rows, self.max_megabytes, self.keep)

"""How features are compared with those of training, as written in YAML.

Add a setting of training-serving skew here. Keep limits of whole windows' drift out: they belong to `drift`.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from monitoring_pipeline.evaluate.skew import SkewPolicy
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.stats.changed_meaning import LEAST_ROWS

DAY = timedelta(days=1)


class Skew(Section):
    """Features that are missing, stored differently, or mean something else than in training.

    `min_rows` is how many usable values of a feature a window needs. `unasked` names features whose meaning may change:
    a counter that was reset on purpose.
    """

    min_rows: Annotated[int, Field(ge=LEAST_ROWS)] = 20
    unasked: tuple[str, ...] = ()

    def policy(self, windows: tuple[timedelta, ...]) -> SkewPolicy:
        """Return what is measured: windows of up to a day, since all their sampled rows are looked at."""
        short = tuple(window for window in windows if window <= DAY) or (min(windows),)
        return SkewPolicy(short, self.min_rows, frozenset(self.unasked))

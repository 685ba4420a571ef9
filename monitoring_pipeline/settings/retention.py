"""How long what is kept of a model stays, as written in YAML.

Add a tier here. Keep what is in which tier out: it belongs in `stores.retention`.
"""

from datetime import timedelta

from pydantic import model_validator

from monitoring_pipeline.settings.conditions import Duration, Section


class Retention(Section):
    """Ages at which what is kept becomes less; without this section nothing is ever removed.

    Up to `hot` everything is there. Then rows go, as they were logged and quarantined, though not before the last label
    may come and no training reaches back to them. Beyond `warm` samples, signals and verdicts go, and of profiles and
    outcomes one a day is left; beyond `cold` that goes too. Decisions, incidents and references stay.
    """

    hot: Duration = timedelta(days=7)
    warm: Duration = timedelta(days=90)
    cold: Duration = timedelta(days=365)

    @model_validator(mode="after")
    def _in_order(self) -> "Retention":
        if not timedelta(days=1) <= self.hot <= self.warm <= self.cold:
            raise ValueError("Let hot be a day or more, warm no shorter than hot, and cold no shorter than warm.")
        return self

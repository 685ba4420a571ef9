"""Business formulas of a monitor, as written in YAML.

Add a setting of a formula here. Keep its grammar out: it belongs in `describe.formulas`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, model_validator

from monitoring_pipeline.describe.formulas import Formula
from monitoring_pipeline.evaluate.business import BusinessPolicy
from monitoring_pipeline.judge.limits import Limit
from monitoring_pipeline.settings.conditions import Section


def _parsed(text: str) -> str:
    Formula.parse(text)
    return text


class Levels(Section):
    """Where a value starts to be a warning, and where critical."""

    warning: float | None = None
    critical: float | None = None


class BusinessFormula(Section):
    """One number about the business: `{formula: sum(revenue) / count(), unit: EUR, below: {warning: 0.8}}`.

    A formula that names `actual` waits for labels. `certain` asks that the whole interval lies beyond a limit.
    """

    formula: Annotated[str, AfterValidator(_parsed)]
    unit: str = "1"
    above: Levels | None = None
    below: Levels | None = None
    certain: bool = True

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> "BusinessFormula":
        for levels, sign, word in ((self.above, 1, "above"), (self.below, -1, "below")):
            both = levels is not None and levels.warning is not None and levels.critical is not None
            if both and levels is not None and sign * levels.warning > sign * levels.critical:  # type: ignore[operator]
                raise ValueError(f"{word}: critical is reached before the warning: swap the two.")
        return self

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits of its signal, one per side."""
        above = () if self.above is None else (Limit(self.above.warning, self.above.critical, "above", self.certain),)
        below = () if self.below is None else (Limit(self.below.warning, self.below.critical, "below", self.certain),)
        return above + below


def business_policy(
    formulas: Mapping[str, BusinessFormula], windows: tuple[timedelta, ...], *, min_coverage: float
) -> BusinessPolicy:
    """Return what is measured."""
    parsed = {name: Formula.parse(each.formula) for name, each in formulas.items()}
    return BusinessPolicy(windows, parsed, {name: each.unit for name, each in formulas.items()}, min_coverage)


def business_limits(formulas: Mapping[str, BusinessFormula]) -> dict[str, tuple[Limit, ...]]:
    """Return the limits of the formulas that have any, by metric."""
    return {f"business.{name}": limits for name, each in formulas.items() if (limits := each.limits())}

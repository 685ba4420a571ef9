"""How conditions, alert rules and retraining triggers are written in YAML, and the records they stand for.

Add a form of condition here when `judge.conditions` has a new one. Keep checks that need other sections out: they
belong in `checks`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from glob import escape
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from monitoring_pipeline.capture.windows import window_length, window_name
from monitoring_pipeline.evaluate.signals import TRAINING
from monitoring_pipeline.judge import conditions
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.triggers import Trigger
from monitoring_pipeline.judge.verdicts import Level


class Section(BaseModel):
    """One mapping of the YAML: unknown keys are refused, and text is never taken for a number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


def parse_duration(text: object) -> timedelta:
    """Return the length that `15m`, `24h`, `7d` or `2w` stands for."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and text[-1:] == "m" and text[:-1].isdigit() and int(text[:-1]) > 0:
        return timedelta(minutes=int(text[:-1]))
    try:
        return window_length(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError("A duration is a whole number of minutes, hours, days or weeks: 15m, 24h, 7d, 2w.") from None


def _canonical_window(name: str) -> str:
    """Return the one name of a window length, so that 168h in a rule finds the signals of 7d."""
    try:
        return window_name(window_length(name))
    except ValueError:
        raise ValueError("A window is a whole number of hours, days or weeks: 1h, 24h, 7d.") from None


LAST_PREDICTIONS = re.compile(r"last_[1-9]\d*")
"""How rules name the window of the last so many predictions."""


def _canonical_span(name: str) -> str:
    return name if LAST_PREDICTIONS.fullmatch(name) else _canonical_window(name)


def matching(pattern: str, words: str) -> AfterValidator:
    """Return a validator of text that says in `words`, not in a pattern, what it takes."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(words)
        return text

    return AfterValidator(check)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
WindowName = Annotated[str, AfterValidator(_canonical_window)]
SpanName = Annotated[str, AfterValidator(_canonical_span)]
Name = Annotated[str, matching(r"[A-Za-z0-9_-]+", "A name has letters, digits, - and _ only.")]


class SignalForm(Section):
    """Signals of one metric: `{metric: drift.psi, window: 7d, level: warning, columns_at_least: 2}`.

    Without `column`, a drift metric means every feature; the score and the prediction have to be named. Without
    `segment` it means all traffic, without `baseline` the training rows.
    """

    metric: str
    window: SpanName = "1h"
    column: str | tuple[str, ...] | None = None
    role: str = conditions.SERVED
    segment: str = ""
    baseline: str = TRAINING
    level: Literal["warning", "critical"] | None = None
    above: float | None = None
    below: float | None = None
    below_baseline: float | None = Field(default=None, gt=0, lt=1)
    columns_at_least: int = Field(default=1, ge=1)
    columns_share_at_least: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _has_a_criterion(self) -> "SignalForm":
        if (self.level, self.above, self.below, self.below_baseline) == (None, None, None, None):
            raise ValueError("Say what is bad: add level, above, below or below_baseline.")
        return self

    def condition(self, features: Sequence[str]) -> conditions.Condition:
        of_columns = self.metric.startswith("drift.") and self.metric != DRIFTED_SHARE
        every = tuple(map(escape, features)) if of_columns else "*"
        return conditions.SignalCondition(
            metric=self.metric,
            window=self.window,
            column=every if self.column is None else self.column,
            role=self.role,
            segment=self.segment,
            baseline=self.baseline,
            level=None if self.level is None else Level(self.level),
            above=self.above,
            below=self.below,
            below_baseline=self.below_baseline,
            columns_at_least=self.columns_at_least,
            columns_share_at_least=self.columns_share_at_least,
        )


class AllForm(Section):
    """`{all: [...]}`: every part holds."""

    parts: "tuple[ConditionForm, ...]" = Field(alias="all", min_length=1)

    def condition(self, features: Sequence[str]) -> conditions.Condition:
        return conditions.All(tuple(part.condition(features) for part in self.parts))


class AnyForm(Section):
    """`{any: [...]}`: at least one part holds."""

    parts: "tuple[ConditionForm, ...]" = Field(alias="any", min_length=1)

    def condition(self, features: Sequence[str]) -> conditions.Condition:
        return conditions.Any(tuple(part.condition(features) for part in self.parts))


class NotForm(Section):
    """`{not: {...}}`: the part is known not to hold."""

    part: "ConditionForm" = Field(alias="not")

    def condition(self, features: Sequence[str]) -> conditions.Condition:
        return conditions.Not(self.part.condition(features))


class AtLeastForm(Section):
    """`{at_least: 2, of: [...]}`: so many of the parts hold."""

    at_least: int = Field(ge=1)
    parts: "tuple[ConditionForm, ...]" = Field(alias="of", min_length=1)

    def condition(self, features: Sequence[str]) -> conditions.Condition:
        return conditions.AtLeast(self.at_least, tuple(part.condition(features) for part in self.parts))


FORMS: Mapping[str, type[Section]] = {
    "<all>": AllForm,
    "<any>": AnyForm,
    "<not>": NotForm,
    "<at_least>": AtLeastForm,
    "<signal>": SignalForm,
}
"""The forms by the tag under which validation errors name them; the brackets keep tags apart from keys."""


def _form_of(value: Any) -> str:
    if isinstance(value, dict):
        return next((tag for tag in FORMS if tag[1:-1] in value), "<signal>")
    return next((tag for tag, form in FORMS.items() if isinstance(value, form)), "<signal>")


ConditionForm = Annotated[
    Annotated[AllForm, Tag("<all>")]
    | Annotated[AnyForm, Tag("<any>")]
    | Annotated[NotForm, Tag("<not>")]
    | Annotated[AtLeastForm, Tag("<at_least>")]
    | Annotated[SignalForm, Tag("<signal>")],
    Discriminator(_form_of),
]

for _form in FORMS.values():
    _form.model_rebuild()


class RuleForm(Section):
    """One entry of `rules`."""

    name: Name
    condition: ConditionForm
    for_: int = Field(default=1, alias="for", ge=1)
    severity: Literal["warning", "critical"] = "warning"
    cooldown: Duration = timedelta(hours=12)
    resolve_after: int = Field(default=3, ge=1)
    runbook: str = ""

    def rule(self, features: Sequence[str]) -> Rule:
        return Rule(
            self.name,
            self.condition.condition(features),
            for_=self.for_,
            severity=Level(self.severity),
            cooldown=self.cooldown,
            resolve_after=self.resolve_after,
            runbook=self.runbook,
        )


class TriggerForm(Section):
    """One entry of `retraining.triggers`."""

    name: Name
    condition: ConditionForm
    for_: int = Field(default=1, alias="for", ge=1)

    def trigger(self, features: Sequence[str]) -> Trigger:
        return Trigger(self.name, self.condition.condition(features), for_=self.for_)

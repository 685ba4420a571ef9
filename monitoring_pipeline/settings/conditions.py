"""How conditions, alert rules and retraining triggers are written in YAML, and the records they stand for.

Add a form of condition here when `judge.conditions` has a new one. Keep checks that need other sections out: they
belong in `checks`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
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


def choices(wrong: str, known: Iterable[str]) -> str:
    """Return the fix for a name nobody knows: the nearest one, and all there are."""
    names = sorted(known)
    near = get_close_matches(wrong, names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return f"{guess}Known here: {', '.join(names)}."


def all_different(what: str, names: Sequence[str]) -> None:
    """Refuse names of which two are the same."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two {what} are named {', '.join(twice)}: give each a name of its own.")


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


def _under(key: str) -> BeforeValidator:
    """Return a validator that takes a single value for a mapping with this key alone."""
    return BeforeValidator(lambda value: value if isinstance(value, dict | Section) else {key: value})


class Limits(Section):
    """One limit, or one for each level: `above: 0.1`, `above: {warning: 0.1, critical: 0.25}`."""

    warning: float
    critical: float | None = None

    def at(self, level: Level) -> float:
        """Return the limit of a level; the only one is that of both."""
        return self.warning if self.critical is None or level is Level.WARNING else self.critical


class Cooldowns(Section):
    """How long after an incident there is no new one: `12h`, or how long no warning and how long no critical one."""

    warning: Duration
    critical: Duration | None = None


class Patience(Section):
    """How many evaluations must be breaches: `for: 3` is in a row, `for: {breaches: 3, of: 5}` is among the last five.

    Only evaluations that are known count.
    """

    breaches: int = Field(ge=1)
    of: int | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> "Patience":
        if self.of is not None and self.of < self.breaches:
            raise ValueError(f"{self.of} evaluations never hold {self.breaches} breaches: ask for fewer, or of more.")
        return self


_AS_WRITTEN = (
    *("metric", "window", "role", "segment", "baseline", "below_baseline", "above_baseline", "p_below"),
    *("columns_at_least", "columns_share_at_least"),
)
"""What of a signal its condition takes as it is."""


class SignalForm(Section):
    """Signals of one metric: `{metric: drift.psi, window: 7d, level: warning, columns_at_least: 2}`.

    Without `column`, a drift metric means every feature; the score and the prediction have to be named. Without
    `segment` it means all traffic, without `baseline` the training rows. What has fired clears at `clear`, a share of
    its limit, or at `clear_below` or `clear_above`.
    """

    metric: str
    window: SpanName = "1h"
    column: str | tuple[str, ...] | None = None
    role: str = conditions.SERVED
    segment: str = ""
    baseline: str = TRAINING
    level: Literal["warning", "critical"] | None = None
    above: Annotated[Limits, _under("warning")] | None = None
    below: Annotated[Limits, _under("warning")] | None = None
    below_baseline: float | None = Field(default=None, gt=0, lt=1)
    above_baseline: float | None = Field(default=None, gt=0)
    p_below: float | None = Field(default=None, gt=0, lt=1)
    columns_at_least: int = Field(default=1, ge=1)
    columns_share_at_least: float | None = Field(default=None, gt=0, le=1)
    clear: float | None = Field(default=None, gt=0, lt=1)
    clear_below: float | None = None
    clear_above: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "SignalForm":
        criteria = (self.level, self.above, self.below, self.below_baseline, self.above_baseline, self.p_below)
        if criteria == (None,) * len(criteria):
            raise ValueError("Say what is bad: add level, above, below, below_baseline, above_baseline or p_below.")
        for side, limit, sign in (("above", self.above, 1), ("below", self.below, -1)):
            if limit is not None and sign * (limit.at(Level.CRITICAL) - limit.warning) < 0:
                raise ValueError(f"It is critical before it warns: the further {side}, the worse.")
        self.condition(())
        return self

    @property
    def levels(self) -> bool:
        """Whether a limit is given for each level."""
        return any(limit is not None and limit.critical is not None for limit in (self.above, self.below))

    def condition(self, features: Sequence[str], level: Level = Level.WARNING) -> conditions.Condition:
        """Return the condition, or its critical band; only what warns is held by a second limit."""
        of_columns = self.metric.startswith("drift.") and self.metric != DRIFTED_SHARE
        every = tuple(map(escape, features)) if of_columns else "*"
        warns = level is Level.WARNING
        return conditions.SignalCondition(
            **{name: getattr(self, name) for name in _AS_WRITTEN},
            column=every if self.column is None else self.column,
            level=None if self.level is None else Level(self.level) if warns else Level.CRITICAL,
            above=None if self.above is None else self.above.at(level),
            below=None if self.below is None else self.below.at(level),
            clear=self.clear if warns else None,
            clear_below=self.clear_below if warns else None,
            clear_above=self.clear_above if warns else None,
        )


class AllForm(Section):
    """`{all: [...]}`: every part holds."""

    parts: "tuple[ConditionForm, ...]" = Field(alias="all", min_length=1)

    def condition(self, features: Sequence[str], level: Level = Level.WARNING) -> conditions.Condition:
        return conditions.All(tuple(part.condition(features, level) for part in self.parts))


class AnyForm(Section):
    """`{any: [...]}`: at least one part holds."""

    parts: "tuple[ConditionForm, ...]" = Field(alias="any", min_length=1)

    def condition(self, features: Sequence[str], level: Level = Level.WARNING) -> conditions.Condition:
        return conditions.Any(tuple(part.condition(features, level) for part in self.parts))


class NotForm(Section):
    """`{not: {...}}`: the part is known not to hold."""

    part: "ConditionForm" = Field(alias="not")

    def condition(self, features: Sequence[str], level: Level = Level.WARNING) -> conditions.Condition:
        return conditions.Not(self.part.condition(features, level))


class AtLeastForm(Section):
    """`{at_least: 2, of: [...]}`: so many of the parts hold."""

    at_least: int = Field(ge=1)
    parts: "tuple[ConditionForm, ...]" = Field(alias="of", min_length=1)

    def condition(self, features: Sequence[str], level: Level = Level.WARNING) -> conditions.Condition:
        return conditions.AtLeast(self.at_least, tuple(part.condition(features, level) for part in self.parts))


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


def _signals(form: Any) -> Iterator[SignalForm]:
    """Yield every signal of a condition, however deep."""
    if isinstance(form, SignalForm):
        yield form
    else:
        for part in (form.part,) if isinstance(form, NotForm) else form.parts:
            yield from _signals(part)


def _refuse_levels(*forms: Any) -> None:
    if any(signal.levels for form in forms for signal in _signals(form)):
        raise ValueError("Limits for two levels are for rules with severity: by_level; give one number.")


class RuleForm(Section):
    """One entry of `rules`.

    With `severity: by_level` the outcome is as severe as the level that has been reached for long enough: that of the
    verdicts, or of limits that name one for each. `critical` names another condition that makes a warning critical.
    """

    name: Name
    condition: ConditionForm
    critical: ConditionForm | None = None
    for_: Annotated[Patience, _under("breaches")] = Field(default=Patience(breaches=1), alias="for")
    severity: Literal["info", "warning", "critical", "by_level"] = "warning"
    cooldown: Annotated[Cooldowns, _under("warning")] = Cooldowns(warning=timedelta(hours=12))
    resolve_after: int = Field(default=3, ge=1)
    runbook: str = ""
    owner: str = ""

    @model_validator(mode="after")
    def _has_the_bands_it_asks_for(self) -> "RuleForm":
        if self.critical is not None and self.severity != "warning":
            raise ValueError("What is under critical makes a warning critical: leave severity out.")
        if self.severity != "by_level":
            _refuse_levels(self.condition, *([] if self.critical is None else [self.critical]))
        elif not any(signal.levels or signal.level == "warning" for signal in _signals(self.condition)):
            fix = "Give a signal level: warning, or above or below with warning and critical"
            raise ValueError(f"{fix}: nothing else has levels that severity could follow.")
        return self

    def rule(self, features: Sequence[str], *, owner: str = "") -> Rule:
        """Return the rule; `owner` is whose it is where it names nobody."""
        by_level = self.severity == "by_level"
        worse = self.condition.condition(features, Level.CRITICAL) if by_level else None
        return Rule(
            self.name,
            self.condition.condition(features),
            for_=self.for_.breaches,
            of=self.for_.of,
            severity=Level.CRITICAL if self.severity == "critical" else Level.WARNING,
            critical=worse if self.critical is None else self.critical.condition(features),
            cooldown=self.cooldown.warning,
            critical_cooldown=self.cooldown.critical,
            resolve_after=self.resolve_after,
            runbook=self.runbook,
            owner=self.owner or owner,
        )


class TriggerForm(Section):
    """One entry of `retraining.triggers`."""

    name: Name
    condition: ConditionForm
    for_: int = Field(default=1, alias="for", ge=1)

    @model_validator(mode="after")
    def _has_no_bands(self) -> "TriggerForm":
        _refuse_levels(self.condition)
        return self

    def trigger(self, features: Sequence[str]) -> Trigger:
        return Trigger(self.name, self.condition.condition(features), for_=self.for_)

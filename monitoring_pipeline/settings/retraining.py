"""When a model is retrained, with what, what a challenger must show, and when a promotion is taken back.

Add a key of `retraining:` here. Keep what decides out: it belongs in judge and retrain.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from monitoring_pipeline.evaluate.gains import GateMetric
from monitoring_pipeline.retrain.rollback import Probation
from monitoring_pipeline.settings.conditions import Duration, Section, TriggerForm, matching, parse_duration
from monitoring_pipeline.settings.guard_rails import GuardRails
from monitoring_pipeline.settings.sections import Count, Share

_TRAINER = matching(
    r"refit|recalibrate|[A-Za-z_][\w.]*:[A-Za-z_]\w*",
    "A trainer is refit, recalibrate, none, or <module>:<function>, such as my_project.model:fit.",
)


def _window(value: object) -> timedelta | None:
    try:
        return None if value in ("all", None) else parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error} Or all, for as far back as the log goes.") from None


class Limits(Section):
    """What a training may take: minutes for all of its fits, and the memory of each of its processes."""

    minutes: Count = 60
    memory_gb: float = Field(default=8, gt=0)


class Rollback(Section):
    """What is asked of a new champion in its first `after_rows` labelled rows: not to be worse than the one before.

    They are taken from three days at least, and looked at four times on the way. A champion that is no worse is blamed
    in `false_proposals` of all promotions at most. The rollback is proposed to people, or with `automatic` carried out.
    """

    after_rows: Count = 1000
    false_proposals: Share = 0.05
    automatic: bool = False

    def probation(self, metric: GateMetric) -> Probation:
        """Return what is asked, by the metric the champion was promoted by."""
        return Probation(metric, self.after_rows, self.false_proposals)


class Retraining(Section):
    """When to retrain, with what, and what a challenger must show.

    `trainer` is a function as `<module>:<function>`; `refit` fits the champion's own estimator again, `recalibrate`
    only maps its scores to what lately came true, and with `none` decisions are only recorded. `training_window` may
    be `all`. At most `max_rows` are trained on, drawn at random. `mix_reference` is the share of the champion's
    reference rows that is put before the training window. After `give_up_after` challengers in a row that came to
    nothing a person is asked instead, and the next one is trained `try_again_after` the last. `min_label_coverage` is
    that of `performance` unless given. `trusted_types` names the types, beyond skops' own safe ones, that a saved model
    of this trainer may contain.
    """

    mode: Literal["any", "all", "at_least"] = "at_least"
    at_least: Count = 2
    triggers: tuple[TriggerForm, ...] | None = Field(default=None, min_length=1)
    minimum_labelled_rows: Count = 5000
    cooldown: Duration = timedelta(days=7)
    daily_cap: Count = 1
    give_up_after: Count = 3
    try_again_after: Duration = timedelta(days=28)
    trainer: Annotated[
        Annotated[str, _TRAINER] | None, BeforeValidator(lambda name: None if name == "none" else name)
    ] = "refit"
    limits: Limits = Limits()
    training_window: Annotated[timedelta | None, BeforeValidator(_window)] = timedelta(days=60)
    max_rows: Count | None = None
    class_weight: Literal["balanced"] | None = None
    mix_reference: float = Field(default=0.0, ge=0, le=1)
    min_label_coverage: Annotated[float, Field(ge=0, le=1)] | None = None
    holdout: Duration = timedelta(days=7)
    metric: Literal["roc_auc", "log_loss", "mae", "rmse"] = "roc_auc"
    margin: float = Field(default=0.005, ge=0)
    trusted_types: tuple[str, ...] = ()
    guard_rails: GuardRails = GuardRails()
    rollback: Rollback = Rollback()

    @model_validator(mode="after")
    def _can_be_promoted(self) -> "Retraining":
        if self.trainer == "recalibrate" and (self.metric != "log_loss" or self.class_weight):
            raise ValueError(
                "Recalibration leaves the ranking as it is and weighs every row alike: set metric to log_loss, and "
                "leave class_weight out."
            )
        return self

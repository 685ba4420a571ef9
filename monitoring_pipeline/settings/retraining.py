"""When a model is retrained, with what, what a challenger must show, and when a promotion is taken back.

Add a key of `retraining:` here. Keep what decides out: it belongs in judge and retrain.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from monitoring_pipeline.settings.conditions import Duration, Section, TriggerForm, matching
from monitoring_pipeline.settings.guard_rails import GuardRails
from monitoring_pipeline.settings.rollback import Rollback
from monitoring_pipeline.settings.sections import Count

_TRAINER = matching(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "A trainer is <module>:<function>, such as my_project.model:fit.")


class Retraining(Section):
    """When to retrain, with what, and what a challenger must show. Without a trainer decisions are only recorded.

    `mix_reference` is the share of the champion's reference rows that is put before the training window.
    `trusted_types` names the types, beyond skops' own safe ones, that a saved model of this trainer may contain.
    """

    mode: Literal["any", "all", "at_least"] = "at_least"
    at_least: Count = 2
    triggers: tuple[TriggerForm, ...] | None = Field(default=None, min_length=1)
    minimum_labelled_rows: Count = 5000
    cooldown: Duration = timedelta(days=7)
    daily_cap: Count = 1
    trainer: Annotated[str, _TRAINER] | None = None
    training_window: Duration = timedelta(days=60)
    holdout: Duration = timedelta(days=3)
    metric: Literal["roc_auc", "log_loss", "mae", "rmse"] = "roc_auc"
    margin: float = Field(default=0.005, ge=0)
    mix_reference: float = Field(default=0.0, ge=0, le=1)
    trusted_types: tuple[str, ...] = ()
    guard_rails: GuardRails = GuardRails()
    rollback: Rollback = Rollback()

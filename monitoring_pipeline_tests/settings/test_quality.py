import pytest
from pydantic import ValidationError

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.settings.quality import Quality

LOG = LogColumns(probabilities={"yes": "p_yes"}, lower="low")


def test_what_is_written_becomes_what_is_measured() -> None:
    asked = Quality(required=("tenure",), other_columns=("campaign",), volume_weeks=4, longest_text=50)
    assert asked.policy((HOUR,)).required == ("tenure",)
    assert asked.volume_policy((HOUR,)).weeks == 4
    assert {"prediction_id", "p_yes", "campaign"} <= set(asked.schema_policy(LOG).known)


def test_scores_are_numbers_and_probabilities_only_where_the_task_says_so() -> None:
    features = {"plan": ColumnKind.CATEGORICAL}
    plan = Quality(longest_text=50).intake_plan(LOG, features, shares=True)
    assert plan.kinds == features | dict.fromkeys(("score", "low", "p_yes"), ColumnKind.NUMERIC)
    assert (plan.features, plan.probabilities, plan.longest) == (("plan",), ("score", "p_yes"), 50)
    assert Quality().intake_plan(LOG, features, shares=False).probabilities == ()


def test_two_weeks_are_too_few_to_compare_with() -> None:
    with pytest.raises(ValidationError, match="volume_weeks"):
        Quality(volume_weeks=2)

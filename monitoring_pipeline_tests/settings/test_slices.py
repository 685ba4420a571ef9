import pytest
from pydantic import ValidationError

from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.evaluate.slices import SlicePolicy
from monitoring_pipeline.settings.slices import Slices


def test_the_defaults_of_the_file_are_those_of_the_search() -> None:
    assert Slices().policy(OutcomePlan(), min_coverage=0.6) == SlicePolicy()


def test_every_setting_arrives() -> None:
    asked = Slices(columns=("plan",), min_rows=50, most=2, max_candidates=10, max_rows=1000, alpha=0.01)
    expected = SlicePolicy(OutcomePlan(top=3), ("plan",), 50, 2, 10, 1000, 0.01, 0.5)
    assert asked.policy(OutcomePlan(top=3), min_coverage=0.5) == expected


def test_a_slice_of_a_few_rows_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_rows"):
        Slices(min_rows=5)

from datetime import timedelta

import pytest
from pydantic import ValidationError

from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.attributions import WAYS
from monitoring_pipeline.evaluate.slices import SlicePolicy
from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy
from monitoring_pipeline.settings.daily import Attributions, Evidently, Slices


def test_no_model_is_loaded_unless_asked_for_and_then_no_type_is_trusted() -> None:
    assert Attributions().enabled is False
    request = Attributions().request("sqlite:///x.db", "churn", "3", task=Task.REGRESSION, label="actual")
    assert (request.trusted_types, request.task, request.methods) == ((), Task.REGRESSION, ("permutation",))


def test_the_ways_of_measuring_are_those_that_are_compared() -> None:
    section = Attributions.model_validate({"methods": ("permutation", "shap"), "repeats": 5, "max_rows": 500})
    assert set(section.ways()) == set(WAYS)
    request = section.request("sqlite:///x.db", "churn", "3", task=Task.BINARY, label="actual")
    assert (request.repeats, request.max_rows) == (5, 500)


@pytest.mark.parametrize("wrong", [{"methods": ()}, {"methods": ("guess",)}, {"repeats": 1}, {"top": 0}])
def test_what_would_measure_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Attributions.model_validate(wrong)


def test_the_defaults_of_the_file_are_those_of_the_search() -> None:
    assert Slices().policy(OutcomePlan(), min_coverage=0.6) == SlicePolicy()


def test_every_setting_arrives() -> None:
    asked = Slices(columns=("plan",), min_rows=50, most=2, max_candidates=10, max_rows=1000, alpha=0.01)
    expected = SlicePolicy(OutcomePlan(top=3), ("plan",), 50, 2, 10, 1000, 0.01, 0.5)
    assert asked.policy(OutcomePlan(top=3), min_coverage=0.5) == expected


def test_a_slice_of_a_few_rows_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_rows"):
        Slices(min_rows=5)


def test_the_section_becomes_the_policy_of_the_page() -> None:
    assert Evidently().policy() == EvidentlyPolicy()
    section = Evidently.model_validate({"max_rows": 100, "max_megabytes": 5.0, "keep": "2w"})
    assert section.policy() == EvidentlyPolicy(100, 5.0, timedelta(weeks=2))


@pytest.mark.parametrize("wrong", [{"max_rows": 1}, {"max_megabytes": 0.0}, {"keep": "0d"}, {"rows": 5}])
def test_a_page_of_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Evidently.model_validate(wrong)

import pytest
from pydantic import ValidationError

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.evaluate.attributions import WAYS
from monitoring_pipeline.settings.attributions import Attributions


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

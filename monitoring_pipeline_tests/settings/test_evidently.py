from datetime import timedelta

import pytest
from pydantic import ValidationError

from monitoring_pipeline.publish.evidently_report import EvidentlyPolicy
from monitoring_pipeline.settings.evidently import Evidently


def test_the_section_becomes_the_policy_of_the_page() -> None:
    assert Evidently().policy() == EvidentlyPolicy()
    section = Evidently.model_validate({"max_rows": 100, "max_megabytes": 5.0, "keep": "2w"})
    assert section.policy() == EvidentlyPolicy(100, 5.0, timedelta(weeks=2))


@pytest.mark.parametrize("wrong", [{"max_rows": 1}, {"max_megabytes": 0.0}, {"keep": "0d"}, {"rows": 5}])
def test_a_page_of_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Evidently.model_validate(wrong)

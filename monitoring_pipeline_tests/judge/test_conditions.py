from typing import Any

import pytest

from monitoring_pipeline.judge.conditions import All, AtLeast, Condition, Not, SignalCondition, holding
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.verdicts import Level


def drift(**more: Any) -> SignalCondition:
    return SignalCondition("drift.psi", "24h", **({"level": Level.WARNING} | more))


@pytest.mark.parametrize("build", [lambda: All(()), lambda: AnyOf(()), lambda: AtLeast(0, (drift(),))])
def test_a_combination_that_is_always_true_or_never_is_refused(build: Any) -> None:
    with pytest.raises(ValueError, match="always true or never"):
        build()


def test_a_condition_without_a_criterion_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a level, above, below, above_baseline, below_baseline or p_below"):
        SignalCondition("drift.psi", "24h")


def test_what_has_no_second_limit_is_held_by_itself() -> None:
    conditions: list[Condition] = [drift(), All((drift(), Not(drift(clear=0.5)))), AtLeast(1, (drift(above=0.3),))]

    assert [holding(condition) for condition in conditions] == conditions
    assert holding(AnyOf((drift(clear=0.5),))) != AnyOf((drift(clear=0.5),))


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ({"level": Level.CRITICAL, "clear": 0.8}, "not with level critical"),
        ({"above": 0.2, "clear_below": 0.3}, "clear_below is a second limit beside above, and lies under it"),
        ({"below": 0.2, "clear_above": 0.1}, "clear_above is a second limit beside below, and lies over it"),
        ({"above": 0.2, "clear_above": 0.3}, "clear_above is a second limit beside below"),
    ],
)
def test_a_second_limit_that_could_not_hold_anything_is_refused(criteria: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SignalCondition("drift.psi", "24h", **criteria)

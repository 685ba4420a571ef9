from collections import Counter

import numpy as np
import pytest
from scipy import stats

from monitoring_pipeline.evaluate import experiments
from monitoring_pipeline.serve.assignment import CONTROL, TREATMENT, Assignment, hash_shares

UNITS = [f"user-{number}" for number in range(40_000)]


def test_a_unit_has_the_same_arm_in_every_process_and_for_ever() -> None:
    split = Assignment("checkout_2026")
    assert split.arms(["user-4", "user-5", "user-6", "user-7"]) == [CONTROL, TREATMENT, CONTROL, CONTROL]
    assert split.arms(UNITS) == Assignment("checkout_2026").arms(UNITS)


@pytest.mark.parametrize("salt", ["a", "b", "checkout_2026"])
def test_units_are_spread_evenly(salt: str) -> None:
    for place in (0, 1):
        shares = np.array([hash_shares(salt, unit)[place] for unit in UNITS])
        assert shares.min() >= 0
        assert shares.max() < 1
        assert stats.chisquare(np.histogram(shares, 200, (0, 1))[0]).pvalue > 0.001


@pytest.mark.parametrize(("share", "excluded"), [(0.5, 0.0), (0.1, 0.0), (0.3, 0.4)])
def test_every_arm_gets_its_share_of_the_traffic(share: float, excluded: float) -> None:
    found = Counter(Assignment("split", share, excluded).arms(UNITS))
    wanted = {None: excluded, TREATMENT: (1 - excluded) * share, CONTROL: (1 - excluded) * (1 - share)}
    wanted = {arm: part * len(UNITS) for arm, part in wanted.items() if part}
    assert stats.chisquare([found[arm] for arm in wanted], list(wanted.values())).pvalue > 0.001


def test_experiments_split_independently_of_each_other() -> None:
    first, second = (Assignment(name, share).arms(UNITS) for name, share in (("one", 0.5), ("two", 0.3)))
    pairs = Counter(zip(first, second, strict=True))
    table = [[pairs[one, two] for two in (CONTROL, TREATMENT)] for one in (CONTROL, TREATMENT)]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_the_arm_does_not_depend_on_being_excluded_and_more_traffic_moves_nobody_between_arms() -> None:
    little, much = (Assignment("ramp", 0.5, excluded).arms(UNITS) for excluded in (0.9, 0.2))
    assert all(after == before for before, after in zip(little, much, strict=True) if before is not None)


def test_a_larger_share_takes_from_the_control_only() -> None:
    small, large = (Assignment("share", share).arms(UNITS) for share in (0.2, 0.5))
    moves = {pair for pair in zip(small, large, strict=True) if pair[0] != pair[1]}
    assert moves == {(CONTROL, TREATMENT)}


def test_who_is_not_known_takes_no_part() -> None:
    assert Assignment("x").arms([None]) == [None]


def test_arms_are_called_what_their_comparison_calls_them() -> None:
    assert (CONTROL, TREATMENT) == experiments.ARMS

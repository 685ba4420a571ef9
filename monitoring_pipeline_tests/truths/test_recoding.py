import numpy as np
import pytest

from monitoring_pipeline.stats.recoding import recognise_categories

CARRIERS = {"UA": 400, "B6": 300, "EV": 200, "DL": 100}


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ({"ua": 20, "b6": 15, "ev": 10, "dl": 5}, "names in another case"),
        ({"UA ": 20, " B6": 15, "EV ": 10, "DL  ": 5}, "spaces around the names"),
        ({"U-A": 20, "B_6": 15, "E.V": 10, "D L": 5}, "names with other punctuation"),
        ({"carrier_UA": 20, "carrier_B6": 15, "carrier_EV": 15}, "names that all begin with 'carrier_'"),
        ({"UA/2": 20, "B6/2": 15, "EV/2": 15}, "names that all end with '/2'"),
        ({"0": 20, "1": 15, "2": 10, "3": 5}, "numeric codes instead of names"),
        ({"north": 20, "south": 15, "east": 10, "west": 5}, "other names in the same shares"),
    ],
)
def test_new_names_of_old_categories_are_named(current: dict[str, int], expected: str) -> None:
    found = recognise_categories(CARRIERS, current)
    assert found is not None
    assert (found.words, found.before, found.after) == (expected, 1.0, 0.0)


def test_a_prefix_that_is_gone_is_named() -> None:
    found = recognise_categories({"plan_basic": 60, "plan_pro": 40}, {"basic": 30, "pro": 20})
    assert found is not None
    assert found.words == "names that no longer begin with 'plan_'"


def test_numbers_written_with_leading_zeros_are_the_same_numbers() -> None:
    found = recognise_categories({"7": 60, "12": 40}, {"07": 30, "12.0": 20})
    assert found is not None
    assert found.words == "numbers written differently"


@pytest.mark.parametrize(
    "current",
    [
        {},
        {"UA": 200, "B6": 150, "EV": 100, "DL": 50},
        {"UA": 30, "ua": 20},  # most names are known
        {"ua": 14},
        {"north": 5, "south": 5, "east": 45, "west": 45},  # other names, and not in the same shares
        {f"customer {number}": 1 for number in range(60)},
    ],
)
def test_no_change_is_named_where_none_explains_the_names(current: dict[str, int]) -> None:
    assert recognise_categories(CARRIERS, current) is None


def test_drifting_shares_of_known_names_are_never_taken_for_new_names() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        counts = rng.multinomial(50, rng.dirichlet(np.ones(4)))
        assert recognise_categories(CARRIERS, dict(zip(CARRIERS, map(int, counts), strict=True))) is None

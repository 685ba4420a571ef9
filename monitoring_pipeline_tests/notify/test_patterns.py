import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.notify.patterns import matches, parse_pattern

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\.", "-", "|"])
PATTERNS = st.lists(st.builds(str.__add__, ATOMS, st.sampled_from(["", "*", "+", "?"])), max_size=8).map("".join)


@given(PATTERNS.filter(lambda text: not re.search(r"\|[*+?]", text)), st.text("ab.-", max_size=12))
def test_a_pattern_means_what_it_means_to_python(pattern: str, text: str) -> None:
    assert matches(pattern, text) is (re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "a{3}", "^a", "a$", r"a\1", r"\bword", "a**", "*a", "[z-a]", "[", "[]", "a\\", "[[:alpha:]]", "[a&&b]"],
)
def test_what_could_hang_or_is_not_known_is_refused_with_what_there_is(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"patterns here do not know|not a class of characters"):
        parse_pattern(pattern)


def test_a_pattern_is_short() -> None:
    parse_pattern("a" * 200)
    with pytest.raises(ValueError, match="201 characters: at most 200"):
        parse_pattern("a" * 201)


def test_the_worst_pattern_takes_no_longer_than_a_moment() -> None:
    started = perf_counter()
    assert not matches("a*" * 100, "a" * 500 + "!")
    assert perf_counter() - started < 5

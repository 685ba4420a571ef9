from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.serve.fallback import (
    Chain,
    Circuit,
    CircuitBreaker,
    Link,
    QualityGate,
    Row,
    Score,
    UnansweredError,
    circuits,
    constant,
)
from monitoring_pipeline.serve.instrument import families
from monitoring_pipeline.serve.metrics import Metrics

GATE = QualityGate(("tenure", "plan"), ranges={"tenure": (0, 100)})
GOOD = {"tenure": 10.0, "plan": "plus"}
POOR = {"tenure": None, "plan": None}


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def failing(rows: Sequence[Row]) -> NDArray[np.float64]:
    raise RuntimeError("out of order")


def tenure(rows: Sequence[Row]) -> NDArray[np.float64]:
    return np.array([np.nan if row["tenure"] is None else row["tenure"] / 100 for row in rows])


def chain(*scores: Score, defaults: Row | None = None, slow_s: float = 2.0) -> Chain:
    """Return a chain of a champion, a fallback, and a rule that takes everything."""
    names = ("champion", "fallback", "rule")
    links = [
        Link(name, "" if name == "rule" else str(9 - at), score, robust=name == "rule", fills=name == "rule")
        for at, (name, score) in enumerate(zip(names, scores, strict=False))
    ]
    return Chain(tuple(links), GATE, Metrics(families()), defaults or {}, slow_s)


def test_the_first_link_answers_while_all_is_well() -> None:
    (answer,) = chain(tenure, failing, failing).score([GOOD])
    assert (answer.score, answer.served_by, answer.version, answer.reason) == (0.1, "champion", "9", "")


def test_what_fails_is_answered_for_by_the_next_link_which_is_said_and_counted() -> None:
    asked = chain(failing, tenure, constant(0.5))
    (answer,) = asked.score([GOOD])
    assert (answer.served_by, answer.version, answer.reason) == ("fallback", "8", "champion: RuntimeError")
    assert 'serving_passed_on_total{passed_by="champion",reason="RuntimeError"} 1' in asked.metrics.text()


@pytest.mark.parametrize(
    "bad",
    [
        lambda rows: np.array([np.nan] * len(rows)),
        lambda rows: np.array([np.inf] * len(rows)),
        lambda rows: np.array([0.5]),
        lambda rows: np.array(["high"] * len(rows)),
    ],
)
def test_a_score_that_is_no_number_for_every_row_is_a_failure(bad: Score) -> None:
    assert [each.served_by for each in chain(bad, constant(0.5)).score([GOOD, GOOD])] == ["fallback", "fallback"]


def test_the_rule_answers_in_the_name_of_the_version_it_stands_in_for() -> None:
    (answer,) = chain(failing, failing, constant(0.5)).score([GOOD])
    assert (answer.served_by, answer.version) == ("rule", "9")


def test_nobody_left_is_an_error_that_says_why() -> None:
    with pytest.raises(UnansweredError, match="2 of 2 rows were answered by nobody: champion: RuntimeError"):
        chain(failing, failing, failing).score([GOOD, GOOD])


def test_only_the_poor_rows_of_a_batch_are_kept_from_the_models() -> None:
    asked = chain(tenure, tenure, tenure, defaults={"tenure": 50.0})
    answers = asked.score([GOOD, POOR, GOOD | {"tenure": 20.0}])
    assert [(each.score, each.served_by) for each in answers] == [(0.1, "champion"), (0.5, "rule"), (0.2, "champion")]
    assert answers[1].reason == "champion: input_quality"
    text = asked.metrics.text()
    assert 'serving_passed_on_total{passed_by="champion",reason="input_quality"} 1' in text
    assert 'serving_defaults_total{feature="tenure"} 1' in text


def test_where_nothing_takes_poor_rows_the_model_does() -> None:
    lenient = Chain((Link("champion", "9", constant(0.25)),), GATE, Metrics(families()))
    assert lenient.score([POOR])[0].served_by == "champion"


def test_a_value_outside_its_range_is_as_good_as_none() -> None:
    shown: list[Row] = []

    def look(rows: Sequence[Row]) -> NDArray[np.float64]:
        shown.extend(rows)
        return np.zeros(len(rows))

    chain(look, look, look).score([{"tenure": 1.3e9, "plan": "plus"}])
    assert shown == [{"tenure": None, "plan": "plus"}]
    filled = Chain((Link("champion", "9", look, fills=True),), GATE, Metrics(families()), {"tenure": 50.0})
    filled.score([{"tenure": 1.3e9, "plan": "plus"}])
    assert shown[-1] == {"tenure": 50.0, "plan": "plus"}


def test_a_feature_that_is_required_is_enough_to_refuse_a_row() -> None:
    strict = QualityGate(("tenure", "plan", "country"), required=frozenset({"plan"}))
    assert strict.refuses(strict.unusable({"tenure": 1, "country": "CH"}))
    assert not strict.refuses(strict.unusable({"plan": "plus", "country": "CH"}))
    assert strict.refuses(strict.unusable({"plan": "plus"})), "two of three are more than half"


def test_an_operator_can_switch_past_a_model_and_back() -> None:
    asked = chain(tenure, constant(0.75), constant(0.5))
    assert asked.score([GOOD], begin="fallback")[0].served_by == "fallback"
    assert asked.score([GOOD], begin="rule")[0].reason == "champion: switched"
    assert asked.score([GOOD])[0].served_by == "champion"
    assert asked.score([GOOD], begin="nothing of the kind")[0].served_by == "champion"


def test_a_circuit_opens_after_failures_in_a_row_lets_one_try_and_closes_on_success() -> None:
    watch = Watch()
    breaker = CircuitBreaker(failures=3, cooldown_s=30, clock=watch)
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    assert (breaker.state, breaker.allows()) == (Circuit.OPEN, False)
    watch.now = 30
    assert breaker.state == "half_open"
    assert [breaker.allows() for _ in range(3)] == [True, False, False], "one may try, the others wait for how it goes"
    breaker.failed()
    assert breaker.state == "open"
    watch.now = 60
    assert breaker.allows()
    breaker.succeeded()
    assert (breaker.state, breaker.allows(), breaker.allows()) == (Circuit.CLOSED, True, True)


def test_a_try_that_never_came_back_does_not_keep_the_circuit_open_for_ever() -> None:
    watch = Watch()
    breaker = CircuitBreaker(failures=1, cooldown_s=30, clock=watch)
    breaker.failed()
    watch.now = 30
    assert breaker.allows()
    watch.now = 60
    assert breaker.allows()


def test_a_model_behind_an_open_circuit_is_not_asked() -> None:
    calls: list[int] = []

    def broken(rows: Sequence[Row]) -> NDArray[np.float64]:
        calls.append(len(rows))
        raise RuntimeError

    asked = chain(broken, constant(0.5))
    answers = [asked.score([GOOD])[0] for _ in range(8)]
    assert {each.served_by for each in answers} == {"fallback"}
    assert (len(calls), answers[-1].reason) == (5, "champion: circuit_open")
    assert {link.name: state for link, state in circuits({"champion": asked})} == {
        "champion": Circuit.OPEN, "fallback": Circuit.CLOSED
    }  # fmt: skip


def test_an_answer_that_takes_too_long_is_given_and_counts_as_a_failure() -> None:
    asked = chain(tenure, constant(0.5), slow_s=0.0)
    served = [asked.score([GOOD])[0].served_by for _ in range(6)]
    assert served == ["champion"] * 5 + ["fallback"]

import pyarrow as pa

from monitoring_pipeline.capture.privacy import PiiKey
from monitoring_pipeline.serve.assignment import Assignment
from monitoring_pipeline.serve.instrument import families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.routing import CHALLENGER, CHAMPION, SHADOW, Router, Serving, with_shadow
from monitoring_pipeline_tests.scoring import ROW, chains, scorer

METRICS = Metrics(families())
BOTH = chains({CHAMPION: scorer("1", 0.25), CHALLENGER: scorer("2", 0.75)}, METRICS)
UNITS = [f"user-{number}" for number in range(400)]
ROWS = [{**ROW, "seen_at": None}] * len(UNITS)


def test_without_an_experiment_the_champion_answers_everybody() -> None:
    found = Router().score(BOTH, ROWS, UNITS)
    assert {(answer.served_by, answer.version, arm) for answer, arm in found} == {(CHAMPION, "1", "")}


def test_an_arm_is_sticky_and_the_answers_stand_in_the_order_of_the_rows() -> None:
    split = Assignment("colour", treatment_share=0.5, excluded=0.25)
    first, again = (Router(split.arm).score(BOTH, ROWS, UNITS) for _ in range(2))
    assert [arm for _, arm in first] == [arm for _, arm in again] == [split.arm(unit) or "" for unit in UNITS]
    assert {(arm, answer.score) for answer, arm in first} == {("control", 0.25), ("treatment", 0.75), ("", 0.25)}
    assert 100 < sum(arm == "treatment" for _, arm in first) < 200


def test_who_is_not_known_takes_no_part() -> None:
    ((answer, arm),) = Router(lambda unit: "treatment").score(BOTH, ROWS[:1], [None])
    assert (answer.served_by, arm) == (CHAMPION, "")


def test_an_arm_keeps_its_name_when_the_champion_answers_for_it() -> None:
    alone = chains({CHAMPION: scorer("1", 0.25)}, METRICS)
    broken = chains({CHAMPION: scorer("1", 0.25), CHALLENGER: scorer("2", 0.75, broken=True)}, METRICS)
    for serving in (alone, broken):
        ((answer, arm),) = Router(lambda unit: "treatment").score(serving, ROWS[:1], ["u"])
        assert (answer.served_by, answer.version, arm) == (CHAMPION, "1", "treatment")


def test_a_shadow_says_its_score_beside_what_was_served() -> None:
    rows = pa.table({"prediction_id": ["a", "b"], "tenure": [1.0, None], "plan": ["x", None], "score": [0.25, 0.25]})
    said = with_shadow(rows, Serving({SHADOW: scorer("3", 0.5)}, {}))
    assert said.select(rows.column_names).equals(rows)
    assert (said["shadow_version"].to_pylist(), said["shadow_score"].to_pylist()) == (["3", "3"], [0.5, 0.5])


def test_a_shadow_that_is_missing_or_broken_leaves_its_columns_empty() -> None:
    rows = pa.table({"tenure": [1.0], "plan": ["x"]})
    for scorers in ({}, {SHADOW: scorer("3", 0.5, broken=True)}, {SHADOW: scorer("3", float("nan"))}):
        said = with_shadow(rows, Serving(scorers, {}))
        assert said["shadow_score"].to_pylist() == [None]
        assert said.schema.field("shadow_version").type == pa.string()


def test_a_shadow_is_not_asked_about_digests() -> None:
    rows = pa.table({"tenure": [1.0], "plan": [PiiKey(b"k" * 32).digest("plus")]})
    assert with_shadow(rows, Serving({SHADOW: scorer("3", 0.5)}, {}))["shadow_score"].to_pylist() == [None]

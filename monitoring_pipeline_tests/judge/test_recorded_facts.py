"""Since when a threshold has been left, as far as the record goes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.recorded_facts import Facts, Spell, sentence
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import MORNING, verdict


def facts(verdicts: Sequence[Verdict], history: Mapping[Any, Mapping[datetime, float]] | None = None) -> Facts:
    """Return the record of two days before MORNING."""
    hours = {MORNING - back * HOUR: list[Verdict]() for back in range(48)}
    for each in verdicts:
        hours[each.signal.window_end - HOUR].append(each)
    return Facts(MORNING, hours, None, {}, [], set(), history or {})


def breaches(*back: int, window: str = "1h", **more: Any) -> list[Verdict]:
    place = {"column": "usage", "window": window} | more
    return [verdict(Level.WARNING, "drift.psi", hour=MORNING - each * HOUR, **place) for each in back]


def spell(known: Facts) -> Spell:
    found = known.spell(lambda _: True)
    assert found is not None
    return found


def test_a_spell_goes_back_over_a_night_and_not_over_a_day() -> None:
    known = facts(breaches(0, 1, 7, 20, 21))
    found = spell(known)
    assert (found.first, found.last, found.hours) == (MORNING - 7 * HOUR, MORNING, 3)
    assert spell(facts(breaches(0, 20, 44, window="24h"))).first == MORNING - 44 * HOUR


def test_an_hour_beyond_its_threshold_says_itself_when_it_began() -> None:
    known = facts(breaches(0, 1, 2))
    since, words = known.began(spell(known))
    assert since == MORNING - 2 * HOUR
    assert words == "drift.psi of usage was first beyond its threshold in the 1h that ended 2013-04-22 07:00Z"


def test_a_long_window_began_when_the_level_of_its_hours_changed() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 48)
    values = {MORNING - back * HOUR: (0.5 if back < 10 else 0.1) + noise[back] for back in range(48)}
    known = facts(breaches(0, 1, window="24h"), {("drift.psi", "usage", "training", "1h"): values})
    since, words = known.began(spell(known))
    assert since == MORNING - 9 * HOUR
    assert "drift.psi of usage over 1h changed its level at 2013-04-21 23:00Z, from 0.09854 to 0.5022" in words
    steady = facts(breaches(0, 1, window="24h"), {("drift.psi", "usage", "training", "1h"): dict.fromkeys(values, 0.1)})
    assert steady.began(spell(steady))[0] == MORNING - HOUR, "when the window itself was first beyond its threshold"


def test_what_was_so_when_the_record_begins_began_nobody_knows_when() -> None:
    known = facts(breaches(*range(48)))
    since, words = known.began(spell(known))
    assert since is None
    assert "already, where this record begins" in words


def test_the_worst_comes_first_with_its_columns_and_segments_stay_out() -> None:
    place: dict[str, Any] = {"window": "1h"}
    known = facts(
        [
            verdict(Level.WARNING, "drift.psi", column="plan", **place),
            verdict(Level.CRITICAL, "drift.psi", column="usage", **place),
            verdict(Level.CRITICAL, "drift.psi", column="tenure", segment="plan=pro", **place),
            verdict(Level.CRITICAL, "schema.missing_columns", detail={"columns": ["age"]}, **place),
        ]
    )
    assert spell(known).columns == ["age", "usage", "plan"]
    many = facts([verdict(Level.WARNING, "drift.psi", column=f"c{number}", **place) for number in range(9)])
    assert len(spell(many).sentences) == 6
    assert spell(many).sentences[-1] == "and 4 more signals"


def test_a_breach_is_told_with_its_value_and_its_threshold() -> None:
    told = sentence(verdict(Level.WARNING, "operations.latency_p95", value=0.75, threshold=0.5, window="1h"))
    assert told == "operations.latency_p95 over 1h is 0.75, threshold 0.5"

"""The verdict on a report as a whole."""

from dataclasses import replace
from typing import Any

import pytest

from monitoring_pipeline.describe.columns import ColumnRole
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE, NEXT_STEPS, dataset_verdicts
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline_tests.verdicts import reference_of, signal, verdict

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN


def names(count: int) -> list[str]:
    return [f"c{place}" for place in range(count)]


def features(count: int, **more: Any) -> Reference:
    return reference_of({name: [] for name in names(count)}, **more)


def only(verdicts: list[Verdict], reference: Reference) -> Verdict:
    (found,) = dataset_verdicts(verdicts, {"1": reference})
    return found


def of_levels(*levels: Level, **more: Any) -> Verdict:
    verdicts = [verdict(level, column=name) for level, name in zip(levels, names(len(levels)), strict=True)]
    return only(verdicts, features(len(levels), **more))


@pytest.mark.parametrize(
    ("drifted", "level", "limit"),
    [(0, OK, 0.2), (2, OK, 0.2), (3, WARNING, 0.2), (5, WARNING, 0.2), (6, CRITICAL, 0.5), (10, CRITICAL, 0.5)],
)
def test_a_fifth_of_the_features_warns_and_half_of_them_is_critical(drifted: int, level: Level, limit: float) -> None:
    found = of_levels(*[WARNING] * drifted, *[OK] * (10 - drifted))
    assert (found.signal.metric, found.signal.value, found.signal.rows) == (DRIFTED_SHARE, drifted / 10, 10)
    assert (found.level, found.threshold, found.threshold_origin) == (level, limit, "textbook")


def test_what_to_do_next_depends_on_how_much_has_drifted() -> None:
    found = of_levels(CRITICAL, WARNING, OK, OK, OK)
    assert found.reason == f"2 of 5 features drifted, 40% by weight. {NEXT_STEPS[WARNING]}"
    assert found.signal.detail["next"] == NEXT_STEPS[WARNING]
    assert of_levels(OK, OK).reason == "0 of 2 features drifted, 0% by weight. Nothing to do."
    assert "retrain" in of_levels(CRITICAL, CRITICAL).reason


def test_features_weigh_as_much_as_they_matter_to_the_model() -> None:
    importances = {"c0": 6.0, "c1": 3.0, "c2": 1.0, "elsewhere": 99.0}
    assert of_levels(WARNING, OK, OK, importances=importances).signal.value == pytest.approx(0.6)
    assert of_levels(OK, OK, WARNING, importances=importances).level is OK
    assert of_levels(WARNING, OK, OK, importances=importances).level is CRITICAL
    assert of_levels(OK, WARNING, OK, importances={"c0": 1.0, "c1": -5.0}).signal.value == 0.0
    for nothing in ({}, {"c0": 0.0, "c1": 0.0}):
        assert of_levels(WARNING, OK, OK, OK, importances=nothing).signal.value == 0.25


def test_features_that_are_not_known_count_neither_way_until_they_are_most() -> None:
    assert of_levels(WARNING, OK, UNKNOWN, UNKNOWN).signal.value == 0.5
    found = of_levels(WARNING, UNKNOWN, UNKNOWN)
    assert (found.level, found.signal.value, found.threshold) == (UNKNOWN, None, None)
    assert found.signal.reason == "1 of 3 features are known, half of them are needed"
    assert of_levels(UNKNOWN, UNKNOWN).level is UNKNOWN
    assert of_levels(WARNING, UNKNOWN, UNKNOWN, importances={"c0": 9.0, "c1": 1.0}).level is CRITICAL


def test_what_drifted_is_named_most_certain_first() -> None:
    verdicts = [
        Verdict(signal(value=0.2, column=name), WARNING, 0.1, "textbook", "", q_value)
        for name, q_value in zip(names(4), (0.03, 0.001, 0.02, 1e-9), strict=True)
    ]
    found = only(verdicts, features(4))
    assert found.signal.detail["drifted"] == ["c3", "c1", "c2", "c0"]
    assert found.signal.detail["known"] == 4


def test_every_report_has_its_own_verdict_at_its_own_window() -> None:
    places: list[dict[str, Any]] = [{}, {"window": "7d"}, {"span": "last_10000"}, {"version": "2"}]
    verdicts = [verdict(CRITICAL if place else OK, column="c0", **place) for place in places]
    found = dataset_verdicts(verdicts, {version: features(1) for version in ("1", "2")})
    told = {(each.signal.version, each.signal.window): each.level for each in found}
    assert told == {("1", "24h"): OK, ("1", "7d"): CRITICAL, ("1", "last_10000"): CRITICAL, ("2", "24h"): CRITICAL}


@pytest.mark.parametrize(
    "place", [{"segment": "plan=pro"}, {"baseline": "same_hours_4w"}, {"metric": "drift.ks"}, {"column": "unheard of"}]
)
def test_only_what_the_index_says_of_all_rows_against_training_is_counted(place: dict[str, Any]) -> None:
    calm = [verdict(OK, column=name) for name in names(2)]
    where: dict[str, Any] = {"column": "c0", **place}
    moved = verdict(CRITICAL, **where)
    assert only([*calm, moved], features(2)).signal.value == 0.0
    assert dataset_verdicts([moved], {"1": features(2)}) == []


def test_the_score_is_no_feature_and_a_version_without_a_reference_has_no_verdict() -> None:
    reference = features(3)
    score = reference.columns["c2"]
    score = replace(score, column=replace(score.column, role=ColumnRole.SCORE))
    reference = replace(reference, columns={**reference.columns, "c2": score})
    verdicts = [verdict(OK, column="c0"), verdict(OK, column="c1"), verdict(CRITICAL, column="c2")]
    assert only(verdicts, reference).reason.startswith("0 of 2 features drifted")
    assert dataset_verdicts(verdicts, {}) == []
    assert dataset_verdicts(verdicts[2:], {"1": reference}) == []

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.retrain.back_test import BackTest, BackTestPolicy, back_test
from monitoring_pipeline.retrain.guard_rails import Status

Array = NDArray[np.float64]
START = datetime(2026, 4, 1, tzinfo=UTC)
SINCE = START + timedelta(days=10)
POLICY = BackTestPolicy(3, "roc_auc", 0.01, 0.0125, 200)


def rows(days: int = 40) -> pd.DataFrame:
    """Return labelled rows, forty a day, whose outcome follows `x`."""
    generator = np.random.default_rng(0)
    times = [START + timedelta(minutes=36 * number) for number in range(40 * days)]
    x = generator.normal(size=len(times))
    actual = (generator.random(len(times)) < 1 / (1 + np.exp(-2 * x))).astype(float)
    return pd.DataFrame({"x": x, "at": times, "actual": actual})


def scored(noise: float) -> Callable[[pd.DataFrame], Array]:
    def score(part: pd.DataFrame) -> Array:
        seen = part["x"] + noise * np.random.default_rng(len(part)).normal(size=len(part))
        return np.asarray(1 / (1 + np.exp(-2 * seen)))

    return score


def judged(
    *, fitted: float, champion: float, since: datetime | None = SINCE, policy: BackTestPolicy = POLICY
) -> BackTest:
    return back_test(rows(), lambda before: scored(fitted), scored(champion), time="at", since=since, policy=policy)


def test_each_fold_is_later_than_the_champions_training_and_than_what_is_trained_on() -> None:
    seen: list[tuple[datetime, int]] = []

    def fit(before: pd.DataFrame) -> Callable[[pd.DataFrame], Array]:
        seen.append((before["at"].max(), len(before)))
        return scored(0.0)

    found = back_test(rows(), fit, scored(0.5), time="at", since=SINCE, policy=POLICY)
    assert found.folds[0].start == SINCE
    assert all(trained <= fold.start < fold.end for (trained, _), fold in zip(seen, found.folds, strict=True))
    assert [fold.trained_on for fold in found.folds] == [count for _, count in seen]
    assert sum(fold.rows for fold in found.folds) == (rows()["at"] > SINCE).sum()


def test_a_way_of_training_that_would_have_been_better_passes_with_the_gain_of_each_fold() -> None:
    found = judged(fitted=0.2, champion=1.5)
    assert found.finding.status is Status.PASSED
    assert found.finding.reason.startswith("over 3 of 3 folds roc_auc gains +0.")
    gains = [fold.comparison.gain for fold in found.folds]
    assert found.finding.found == pytest.approx(float(np.mean(gains)), rel=0.02)
    assert found.to_json()["folds"][0]["gain"] == gains[0]


def test_a_way_of_training_that_would_have_been_worse_is_objected_to() -> None:
    found = judged(fitted=1.5, champion=0.2)
    assert found.finding.status is Status.OBJECTS
    assert found.finding.reason.endswith("at least -0.0100 is wanted")


def test_regressors_are_back_tested_by_their_error() -> None:
    policy = BackTestPolicy(2, "mae", 0.01, 0.0125, 200, task=Task.REGRESSION)
    worse = judged(fitted=1.5, champion=0.2, policy=policy)
    assert (worse.finding.status, len(worse.folds)) == (Status.OBJECTS, 2)
    assert worse.finding.limit == pytest.approx(
        -0.01 * np.mean([fold.comparison.champion for fold in worse.folds]), rel=0.05
    )


@pytest.mark.parametrize(
    ("since", "minimum", "words"),
    [
        (None, 200, "when the champion's training ended is not on record"),
        (START + timedelta(days=99), 200, "no row is later than 2026-07-09 00:00Z"),
        (SINCE, 5000, "1600 rows, more than 5000 needed to train before any fold"),
    ],
)
def test_without_rows_the_champion_has_not_seen_nothing_is_known(
    since: datetime | None, minimum: int, words: str
) -> None:
    policy = BackTestPolicy(3, "roc_auc", 0.01, 0.0125, minimum)
    found = judged(fitted=0.2, champion=1.5, since=since, policy=policy)
    assert (found.finding.status, found.folds) == (Status.NOT_KNOWN, ())
    assert words in found.finding.reason


def test_the_first_fold_begins_where_there_are_rows_enough_to_train_on() -> None:
    found = judged(fitted=0.2, champion=1.5, policy=BackTestPolicy(3, "roc_auc", 0.01, 0.0125, 500))
    assert found.folds[0].trained_on == 500
    assert found.folds[0].start > SINCE


def test_a_fold_in_which_nothing_differs_is_left_out() -> None:
    quiet = rows()
    quiet.loc[quiet["at"] > SINCE + timedelta(days=10), "actual"] = 0.0
    found = back_test(quiet, lambda _: scored(0.2), scored(1.5), time="at", since=SINCE, policy=POLICY)
    assert len(found.folds) == 1
    assert found.finding.reason.startswith("over 1 of 3 folds")

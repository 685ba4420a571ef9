from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import TableError
from monitoring_pipeline.retrain.training import (
    BrokenDataError,
    TooFewRowsError,
    TrainingPlan,
    TrainingSet,
    frame_digest,
    split_training_set,
)

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)
WINDOW = timedelta(days=10)
PLAN = TrainingPlan(window=WINDOW, holdout=timedelta(days=2), minimum_rows=50)
BOUNDARY = pd.Timestamp(AS_OF - PLAN.holdout)


def predictions(rows: int = 2000, *, seed: int = 1, days: float = 20, until: datetime = AS_OF) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    moments = pd.Timestamp(until) - pd.to_timedelta(np.linspace(days, 1e-6, rows), unit="D")
    frame = pd.DataFrame({"x": generator.normal(size=rows), "at": moments.as_unit("us"), "ignored": "…"})
    frame["actual"] = (generator.random(rows) < 1 / (1 + np.exp(-frame["x"]))).astype(float)
    frame["labelled_at"] = frame["at"]
    return without_labels(frame, generator.random(rows) < 0.1).sample(frac=1, random_state=seed)


def without_labels(frame: pd.DataFrame, missing: Any) -> pd.DataFrame:
    return frame.assign(actual=frame["actual"].mask(missing), labelled_at=frame["labelled_at"].mask(missing))


def split(frame: pd.DataFrame, **more: Any) -> TrainingSet:
    return split_training_set(frame, **{"features": ["x"], "time": "at", "as_of": AS_OF, "plan": PLAN, **more})


def test_the_hold_out_is_the_newest_stretch_and_nothing_of_it_is_trained_on() -> None:
    frame = predictions()
    found = split(frame)
    assert found.training["at"].max() < BOUNDARY <= found.holdout["at"].min()
    assert found.training["at"].min() >= BOUNDARY - WINDOW
    assert found.holdout["at"].max() < pd.Timestamp(AS_OF)
    known = frame[frame["actual"].notna()]
    assert len(found.holdout) == (known["at"] >= BOUNDARY).sum()
    assert len(found.training) == ((known["at"] < BOUNDARY) & (known["at"] >= BOUNDARY - WINDOW)).sum()
    for part in (found.training, found.holdout):
        assert list(part.columns) == ["x", "at", "actual"]
        assert part["at"].is_monotonic_increasing
        assert part["actual"].isin([0, 1]).all()


def test_a_row_at_the_boundary_is_held_out_and_one_at_the_end_is_neither() -> None:
    frame = predictions()
    edge = frame.head(2).assign(at=[BOUNDARY, pd.Timestamp(AS_OF)], x=[123.0, 456.0], actual=[1.0, 1.0])
    found = split(pd.concat([frame, edge]))
    assert 123.0 in found.holdout["x"].to_numpy()
    assert 123.0 not in found.training["x"].to_numpy()
    assert 456.0 not in np.concatenate([found.holdout["x"], found.training["x"]])


def test_the_order_of_the_rows_changes_nothing() -> None:
    frame = predictions()
    first, second = split(frame), split(frame.sample(frac=1, random_state=9))
    assert first.digest == second.digest
    pd.testing.assert_frame_equal(first.training, second.training)


def test_what_the_champion_already_knows_comes_before_the_window_and_never_from_the_hold_out() -> None:
    older = predictions(3000, seed=2, days=40).assign(x=99.0)
    found = split(predictions(), older=older)
    mixed = found.training[found.training["x"] == 99.0]
    recent = found.training[found.training["x"] != 99.0]
    assert len(mixed) > 0
    assert mixed["at"].max() < recent["at"].min()
    assert 99.0 not in found.holdout["x"].to_numpy()
    assert found.training["at"].max() < BOUNDARY


def test_where_nothing_was_served_before_the_hold_out_the_older_rows_still_stop_at_it() -> None:
    frame = predictions()
    found = split(frame[(frame["at"] >= BOUNDARY) & frame["actual"].notna()], older=predictions(3000, seed=2, days=40))
    assert found.training["at"].max() < BOUNDARY


def one_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(actual=frame["actual"].where(frame["at"] < BOUNDARY, 1.0))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            predictions(60),
            r"training rows as of 2026-11-20 12:00Z: \d+ rows of 2 class\(es\), needed 50 of both",
        ),
        (predictions(until=AS_OF - timedelta(days=3)), r"hold-out rows .*: 0 rows of 0 class\(es\), needed 2"),
        (one_class(predictions()), r"hold-out rows .* of 1 class\(es\)"),
        (predictions().assign(actual=np.nan), r"training rows .*: 0 rows .* Wait for more labels"),
        (predictions().assign(actual="late"), r"training rows .*: 0 rows"),
        (predictions().iloc[:0], "no prediction was logged"),
        (pd.DataFrame(), "no prediction was logged"),
    ],
)
def test_too_little_to_train_or_to_judge_on_is_said_with_numbers(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(TooFewRowsError, match=words):
        split(frame)


def test_a_feature_that_was_not_logged_is_named() -> None:
    with pytest.raises(TableError, match=r"'plan' not found; it has 'x', 'at'"):
        split(predictions(), features=["x", "plan"])


def test_the_digest_tells_content_columns_and_the_place_of_the_split() -> None:
    frame = predictions(100).reset_index(drop=True)
    whole = frame_digest([frame.head(60), frame.tail(40)])
    assert whole == frame_digest([frame.head(60).copy(), frame.tail(40).reset_index(drop=True)])
    others = [
        [frame.head(61), frame.tail(39)],
        [frame],
        [frame.head(60), frame.tail(40).assign(x=0.0)],
        [frame.head(60).rename(columns={"x": "y"}), frame.tail(40)],
    ]
    assert whole not in {frame_digest(other) for other in others}


def test_a_regressor_learns_from_every_outcome_that_is_a_finite_number() -> None:
    frame = predictions()
    amounts = frame.assign(actual=frame["actual"] * 0.5 - 3.0).astype({"actual": object})
    recent = amounts.index[(amounts["at"] < BOUNDARY) & (amounts["at"] >= BOUNDARY - WINDOW)]
    amounts.loc[recent[:5], "actual"] = [np.inf, -np.inf, np.nan, "many", None]
    found = split(amounts, task=Task.REGRESSION)
    assert set(found.training["actual"]) | set(found.holdout["actual"]) == {-3.0, -2.5}
    usable = pd.to_numeric(amounts.loc[recent, "actual"], errors="coerce").abs() < np.inf
    assert len(found.training) == usable.sum()
    with pytest.raises(TooFewRowsError, match=r"0 rows of 0 class\(es\)"):
        split(amounts)


def test_outcomes_that_are_all_the_same_teach_a_regressor_nothing() -> None:
    with pytest.raises(TooFewRowsError, match=r"rows of 1 outcome\(s\), needed 50 of at least two"):
        split(predictions().assign(actual=2.0), task=Task.REGRESSION)


def test_all_history_is_learnt_from_where_there_is_no_window() -> None:
    found = split(predictions(), plan=replace(PLAN, window=None))
    known = predictions()["actual"].notna() & (predictions()["at"] < BOUNDARY)
    assert len(found.training) == known.sum()


def test_rows_from_before_a_moment_are_judged_on_but_not_learnt_from() -> None:
    since = AS_OF - timedelta(days=5)
    found = split(predictions(), plan=replace(PLAN, since=since))
    assert found.training["at"].min() >= pd.Timestamp(since)
    assert len(found.holdout) == len(split(predictions()).holdout)


def test_a_sample_is_drawn_evenly_and_alike_wherever_it_is_drawn() -> None:
    whole, plan = split(predictions()), replace(PLAN, max_rows=300)
    first, second = split(predictions(), plan=plan), split(predictions().sample(frac=1, random_state=3), plan=plan)
    assert (len(first.training), first.available) == (300, len(whole.training))
    assert first.digest == second.digest != whole.digest
    pd.testing.assert_frame_equal(first.training, second.training)
    assert len(first.holdout) == len(whole.holdout)
    half = whole.training["at"].iloc[len(whole.training) // 2]
    assert 120 < (first.training["at"] < half).sum() < 180
    other = split(predictions(seed=4), plan=plan)
    assert other.training.index.isin(first.training.index).all()
    assert set(other.training["at"]) != set(first.training["at"]), "other rows are drawn by another seed"


def test_rows_that_are_left_out_are_counted_by_why_and_in_neither_part() -> None:
    frame = predictions()
    excluded = pd.Series(None, frame.index, object)
    excluded[frame["at"] < pd.Timestamp(AS_OF - timedelta(days=8))] = "hours of incident 7"
    excluded[frame["x"] > 2] = "quarantined: infinite"
    found = split(frame, excluded=excluded)
    both = pd.concat([found.training, found.holdout])
    assert both["at"].min() >= pd.Timestamp(AS_OF - timedelta(days=8))
    assert both["x"].max() <= 2
    window = frame[frame["at"] >= BOUNDARY - WINDOW]
    assert found.left_out == {
        "hours of incident 7": (excluded[window.index] == "hours of incident 7").sum(),
        "quarantined: infinite": (excluded[window.index] == "quarantined: infinite").sum(),
        "no label": window["actual"][excluded.isna()].isna().sum(),
    }
    assert len(both) + sum(found.left_out.values()) == len(window)


def test_training_is_blocked_only_where_the_rows_left_out_would_have_sufficed() -> None:
    frame = predictions()
    excluded = pd.Series("hours of incident 7", frame.index).where(frame["at"] < BOUNDARY)
    with pytest.raises(BrokenDataError, match=r"0 rows .*; left out: 1000 \(hours of incident 7\), .*\. Wait"):
        split(frame, excluded=excluded)
    with pytest.raises(TooFewRowsError, match=r"needed 5000"):
        split(frame, excluded=excluded, plan=replace(PLAN, minimum_rows=5000))


def test_too_few_labels_are_too_few_whatever_their_number() -> None:
    frame = predictions(20_000)
    frame = without_labels(frame, np.random.default_rng(2).random(len(frame)) < 0.5)
    with pytest.raises(BrokenDataError, match=r"training rows .*: 4\d% of \d+ predictions have a label, needed 60%: "):
        split(frame)
    found = split(frame, plan=replace(PLAN, min_coverage=0.4))
    assert found.coverage == pytest.approx(0.45, abs=0.02)


def delayed(frame: pd.DataFrame, hours: pd.Series | float) -> pd.DataFrame:
    """Let labels arrive so many hours after the prediction; those that would come later are not there."""
    frame = frame.assign(labelled_at=frame["at"] + pd.to_timedelta(hours, unit="h"))
    return without_labels(frame, (frame["labelled_at"] >= pd.Timestamp(AS_OF)) | frame["actual"].isna())


def test_where_one_kind_of_outcome_is_reported_first_young_rows_wait_for_the_other() -> None:
    frame = predictions(20_000)
    hours = frame["actual"].map({1.0: 1.0, 0.0: 20.0}).fillna(1.0)
    true_share = frame.loc[frame["at"] >= BOUNDARY, "actual"].mean()
    found = split(delayed(frame, hours))
    assert found.end == AS_OF - timedelta(hours=20)
    assert found.holdout["actual"].mean() == pytest.approx(true_share, abs=0.03)
    assert found.holdout["at"].min() >= pd.Timestamp(found.end - PLAN.holdout)
    assert 0 < found.left_out["labels not due yet"] <= 20_000 * 20 / 24 / 20 + 1


def test_labels_that_come_within_the_hour_cost_no_more_than_that() -> None:
    assert split(delayed(predictions(20_000), 0.5)).end == AS_OF - timedelta(hours=1)


def test_stragglers_are_not_waited_for_beyond_maturity() -> None:
    hours = pd.Series(np.where(np.arange(20_000) % 10 == 0, 60.0, 1.0))
    assert split(delayed(predictions(20_000), hours)).end == AS_OF - PLAN.maturity


def test_before_any_row_is_mature_nearly_all_must_have_a_label() -> None:
    young, plan = predictions(days=3), replace(PLAN, holdout=timedelta(days=1), maturity=timedelta(days=30))
    with pytest.raises(BrokenDataError, match=r"needed 95%, as none is older than labels.maturity \(30 days"):
        split(young, plan=plan)
    known = young[young["actual"].notna()]
    assert len(split(known, plan=plan).holdout) == (known["at"] >= pd.Timestamp(AS_OF - timedelta(days=1))).sum()

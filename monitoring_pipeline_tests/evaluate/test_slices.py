from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.columns import ColumnKind, ColumnRole
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.reference_building import ColumnSpec
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.evaluate.slice_search import Limits, Losses, search
from monitoring_pipeline.evaluate.slices import SlicePolicy, slice_signals
from monitoring_pipeline.judge.families import judge_by_p_value
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import START, reference

CARRIERS = ["AA", "B6", "DL", "EV", "MQ", "UA"]
BINARY = OutcomePlan()
REGRESSION = OutcomePlan(Task.REGRESSION, LogColumns(prediction="prediction", score=None))
CLASSES = ("blue", "red")
MULTICLASS = OutcomePlan(
    Task.MULTICLASS,
    LogColumns(prediction=None, score=None, probabilities={name: f"p_{name}" for name in CLASSES}),
    classes=CLASSES,
)
DAY = timedelta(days=1)


def flights(
    rows: int, seed: int, *, bad: str = "", more: float = 0.2, share: float = 0.03, base: float = 0.2
) -> pa.Table:
    """Rows of a model that is wrong in a share `base` of them, and `more` often in a planted slice."""
    random = np.random.default_rng(seed)
    carrier = random.choice(CARRIERS, rows, p=[0.2, 0.2, 0.2, 0.2, share, 0.2 - share])
    temperature = np.round(random.uniform(0, 20, rows))
    if bad == "pair":
        carrier = random.choice(CARRIERS, rows)
    planted = {
        "": np.zeros(rows, bool),
        "carrier": carrier == "MQ",
        "pair": (carrier == "MQ") & (temperature >= 16),
        "missing": random.random(rows) < 0.03,
    }[bad]
    chance = base + more * planted
    if bad == "pair":  # as much less in what is left of either, so that neither alone shows anything
        chance -= ((carrier == "MQ") & ~planted) * 0.25 * more + ((temperature >= 16) & ~planted) * 0.2 * more
    wrong = random.random(rows) < chance
    actual = random.integers(0, 2, rows)
    return pa.table(
        {
            "carrier": carrier.tolist(),
            "temp": pa.array(temperature, mask=planted if bad == "missing" else None),
            "noise": random.normal(size=rows),
            "hour": random.integers(0, 24, rows),
            "prediction": np.where(wrong, 1 - actual, actual),
            "score": np.where(wrong, 0.9, 0.1) * (1 - actual) + np.where(wrong, 0.1, 0.9) * actual,
            "actual": actual.astype(float),
        }
    )


def learnt(rows: pa.Table) -> Reference:
    kinds = {"carrier": ColumnKind.CATEGORICAL, "temp": ColumnKind.NUMERIC, "noise": ColumnKind.NUMERIC}
    kinds["hour"] = ColumnKind.NUMERIC
    return reference(rows, [ColumnSpec(name, ColumnRole.FEATURE, kind) for name, kind in kinds.items()])


BEFORE = flights(20_000, 1)
KNOWN = learnt(BEFORE)


def searched(rows: pa.Table, plan: OutcomePlan = BINARY, before: pa.Table = BEFORE, **asked: Any) -> list[Signal]:
    policy = SlicePolicy(plan, **asked)
    return slice_signals(KNOWN, before, rows, start=START, end=START + DAY, policy=policy)


def named(signals: list[Signal]) -> list[str]:
    return [signal.segment for signal in signals if signal.metric == "performance.worst_slice"]


def test_a_carrier_with_a_fifth_more_errors_is_found_with_what_it_was_before() -> None:
    count, worst, worsened = searched(flights(100_000, 2, bad="carrier", more=0.04))
    assert (count.metric, count.value, count.rows) == ("performance.slices_found", 1.0, 100_000)
    assert worst.segment == "carrier=MQ"
    assert worst.value == pytest.approx(0.24, abs=0.02)
    assert worst.baseline_value == pytest.approx(0.2, abs=0.03)
    assert worst.low is not None
    assert worst.high is not None
    assert worst.value is not None
    assert worst.low < worst.value < worst.high
    assert worst.p_value is not None
    assert worst.p_value < 0.05
    assert worst.detail["rest"] == pytest.approx(0.2, abs=0.01)
    assert worst.rows == pytest.approx(3000, rel=0.1)
    assert "rows with carrier=MQ" in worst.reason
    assert (worsened.metric, worsened.segment) == ("performance.slice_worsened", "carrier=MQ")


def test_a_slice_that_only_a_pair_shows_is_found_and_named_as_the_pair() -> None:
    rows = flights(60_000, 3, bad="pair")
    carriers, temperature = np.array(rows["carrier"].to_pylist()), rows["temp"].to_numpy()
    wrong = rows["actual"].to_numpy() != rows["prediction"].to_numpy()
    for alone in (carriers == "MQ", temperature >= 16):
        assert wrong[alone].mean() == pytest.approx(wrong.mean(), abs=0.015)
    found = named(searched(rows))
    assert found
    assert all(name.startswith(("carrier=MQ & temp in [16", "carrier=MQ & temp in [18")) for name in found), found


def test_a_bad_carrier_is_not_named_again_with_every_temperature() -> None:
    for seed in range(5):
        assert named(searched(flights(30_000, 10 + seed, bad="carrier", share=0.1))) == ["carrier=MQ"]


def test_missing_values_make_a_slice_too() -> None:
    assert named(searched(flights(30_000, 4, bad="missing"))) == ["temp is missing or unusable"]


def test_without_a_bad_slice_the_count_is_zero_and_nothing_else_is_said() -> None:
    (count,) = searched(flights(30_000, 5))
    assert (count.value, count.absence) == (0.0, None)


@pytest.mark.parametrize("kind", ["wrong class", "rarely wrong", "mostly wrong", "heavy tails"])
def test_where_no_slice_is_worse_one_is_named_no_more_often_than_stated(kind: str) -> None:
    named_any = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        codes = [random.integers(0, 8, 2000) for _ in range(6)]
        share = {"wrong class": 0.2, "rarely wrong": 0.01, "mostly wrong": 0.95}.get(kind)
        values = np.abs(random.standard_t(3, 2000)) if share is None else (random.random(2000) < share).astype(float)
        found, candidates = search(codes, Losses(values, share is not None), Limits(25, 20_000, 0.05))
        assert candidates > 200
        named_any += bool(found)
    assert named_any <= 10  # 5 are allowed on average; more than 10 of 100 come in 1 of 100 runs


def test_a_slice_that_was_always_bad_is_named_but_has_not_worsened() -> None:
    before = flights(40_000, 6, bad="carrier")
    always, new = (searched(flights(40_000, 7, bad="carrier"), before=each) for each in (before, BEFORE))
    for signals, level in ((always, Level.OK), (new, Level.WARNING)):
        assert named(signals) == ["carrier=MQ"]
        worsened = [signal for signal in signals if signal.metric == "performance.slice_worsened"]
        (verdict,) = judge_by_p_value(worsened, rate=0.05)
        assert verdict.level is level


def test_a_slice_the_reference_does_not_have_has_no_baseline() -> None:
    new = flights(30_000, 8, bad="carrier")
    renamed = ["ZZ" if name == "MQ" else name for name in new["carrier"].to_pylist()]
    signals = searched(new.set_column(0, "carrier", pa.array(renamed)))
    assert named(signals) == ["carrier never seen in the reference"]
    assert signals[1].baseline_value is None
    assert signals[2].absence is Absence.NO_REFERENCE


def test_numbers_are_judged_by_the_size_of_their_residual_and_one_absurd_one_hides_nothing() -> None:
    rows = flights(30_000, 9, share=0.05)
    random = np.random.default_rng(9)
    spread = np.where(np.array(rows["carrier"].to_pylist()) == "MQ", 2.0, 1.0)
    actual = random.normal(size=30_000) * spread
    rows = rows.set_column(rows.column_names.index("prediction"), "prediction", pa.array(np.zeros(30_000)))
    for absurd in (0.0, 1e25, float("inf"), float("nan")):
        actual[0] = absurd
        poisoned = rows.set_column(rows.column_names.index("actual"), "actual", pa.array(actual))
        found = searched(poisoned, REGRESSION)
        assert named(found) == ["carrier=MQ"]
        assert found[1].unit == "target"
        assert found[1].value == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.05)


def test_without_a_served_class_scores_are_judged() -> None:
    rows = flights(30_000, 11, bad="carrier")
    assert named(searched(rows.drop_columns(["prediction"]))) == ["carrier=MQ"]
    score, actual = rows["score"].to_numpy(), rows["actual"].to_numpy()
    several = rows.append_column("p_red", pa.array(score)).append_column("p_blue", pa.array(1 - score))
    several = several.set_column(
        several.column_names.index("actual"), "actual", pa.array(np.where(actual == 1, "red", "blue").tolist())
    )
    assert named(searched(several, MULTICLASS, before=several)) == ["carrier=MQ"]


def test_only_the_columns_asked_for_are_searched() -> None:
    rows = flights(30_000, 12, bad="carrier")
    (count,) = searched(rows, columns=("temp", "noise"))
    assert count.value == 0.0


def test_a_poisoned_column_costs_no_other() -> None:
    rows = flights(30_000, 13, bad="carrier")
    for values in ([float("inf")] * 30_000, ["?"] * 30_000, [b"\xff"] * 30_000, [[1]] * 30_000, [None] * 30_000):
        assert named(searched(rows.set_column(rows.column_names.index("noise"), "noise", pa.array(values)))) == [
            "carrier=MQ"
        ]


def test_too_few_labels_are_an_absence() -> None:
    rows = flights(1000, 14)
    missing = rows.set_column(rows.column_names.index("actual"), "actual", pa.nulls(1000, pa.float64()))
    known = rows["actual"].to_numpy().copy()
    known[:700] = np.nan
    immature = rows.set_column(rows.column_names.index("actual"), "actual", pa.array(known))
    for table, why in (
        (missing, Absence.NO_LABELS_YET),
        (immature, Absence.LABELS_IMMATURE),
        (rows.slice(0, 150), Absence.TOO_FEW_ROWS),
        (rows.slice(0, 0), Absence.EMPTY_HOUR),
    ):
        (count,) = searched(table)
        assert (count.metric, count.absence) == ("performance.slices_found", why)


def test_ranked_lists_are_not_searched() -> None:
    assert searched(flights(1000, 15), OutcomePlan(Task.RANKING)) == []

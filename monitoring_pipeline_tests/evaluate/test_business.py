from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.business import BusinessProfile
from monitoring_pipeline.describe.formulas import Formula
from monitoring_pipeline.evaluate.business import BusinessPolicy, business_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import judge_by_limits
from monitoring_pipeline.settings.business import BusinessFormula, business_limits, business_policy
from monitoring_pipeline_tests.traffic import LOG, MODEL, START, VERSION, hour, log_rows

FLIGHTS = Path(__file__).parents[2] / "examples" / "flight_delays" / "data" / "flights.parquet"


def customers(rows: int, *, seed: int, at: int = 0, labelled: float = 1.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    table = log_rows(rows, seed=seed, at=at, monthly=np.round(rng.gamma(3, 25, rows), 2))
    actual = np.where(rng.random(rows) < labelled, rng.random(rows) < 0.3, np.nan)
    return table.append_column("actual", pa.array(actual, from_pandas=True))


def business(
    formulas: Mapping[str, str],
    tables: Mapping[int, pa.Table],
    *,
    hours: Sequence[int],
    windows: Sequence[int] = (1,),
    baseline: pa.Table | None = None,
) -> list[Signal]:
    parsed = {name: Formula.parse(text) for name, text in formulas.items()}
    hourly = {hour(at): {VERSION: BusinessProfile.of(rows, parsed, LOG)} for at, rows in tables.items()}
    policy = BusinessPolicy(tuple(length * HOUR for length in windows), parsed)
    known = {VERSION: BusinessProfile.of(baseline, parsed, LOG)} if baseline is not None else {}
    return business_by_version(MODEL, hourly, known, [hour(at) for at in hours], policy)


def values(signals: Sequence[Signal]) -> dict[str, float | None]:
    return {signal.metric.removeprefix("business."): signal.value for signal in signals}


CHURN = {
    "high_risk": "count(score >= 0.7)",
    "medium_risk": "count(0.4 <= score < 0.7)",
    "low_risk": "count(score < 0.4)",
    "at_risk": "share(score >= 0.5)",
    "revenue_at_risk": "sum(where(score >= 0.7, monthly, 0)) * 12",
    "retention_cost": "25 * count(score >= 0.7)",
    "roi": "(0.3 * 12 * sum(where(score >= 0.7 and actual == 1, monthly, 0)) - 25 * count(score >= 0.7))"
    " / (25 * count(score >= 0.7))",
    "dearest": "max(monthly) - min(monthly)",
}


def test_churn_formulas_agree_with_pandas_on_the_rows_of_the_whole_window() -> None:
    tables = {at: customers(200, seed=at, at=at) for at in range(3)}
    frame = pa.concat_tables(tables.values()).to_pandas()
    high = frame[frame["score"] >= 0.7]
    cost = 25 * len(high)
    saved = 0.3 * 12 * high.loc[high["actual"] == 1, "monthly"].sum()
    found = values(business(CHURN, tables, hours=[2], windows=[3]))
    assert found == pytest.approx(
        {
            "high_risk": len(high),
            "medium_risk": frame["score"].between(0.4, 0.7, inclusive="left").sum(),
            "low_risk": (frame["score"] < 0.4).sum(),
            "at_risk": (frame["score"] >= 0.5).mean(),
            "revenue_at_risk": 12 * high["monthly"].sum(),
            "retention_cost": cost,
            "roi": (saved - cost) / cost,
            "dearest": frame["monthly"].max() - frame["monthly"].min(),
        }
    )


def test_recommendation_formulas_agree_with_pandas_on_the_rows() -> None:
    rng = np.random.default_rng(1)
    rows = log_rows(
        500,
        seed=1,
        clicked=rng.random(500) < 0.1,
        watched=rng.uniform(0, 60, 500),
        length=rng.uniform(60, 90, 500),
        revenue=[None if number % 7 == 0 else number / 10 for number in range(500)],
    )
    frame = rows.to_pandas()
    formulas = {
        "click_through_rate": "share(clicked == 1)",
        "completion_rate": "share(watched >= 0.5 * length)",
        "revenue_per_recommendation": "sum(revenue) / count()",
        "revenue_per_sale": "mean(revenue)",
        "pro_share": "share(plan == 'pro')",
    }
    assert values(business(formulas, {0: rows}, hours=[0])) == pytest.approx(
        {
            "click_through_rate": frame["clicked"].mean(),
            "completion_rate": (frame["watched"] >= frame["length"] / 2).mean(),
            "revenue_per_recommendation": frame["revenue"].sum() / 500,
            "revenue_per_sale": frame["revenue"].mean(),
            "pro_share": (frame["plan"] == "pro").mean(),
        }
    )


def test_intervals_hold_the_true_value_nineteen_times_in_twenty() -> None:
    # Exponential x with mean 5 and independent uniform y: the ratio of the sums is 10, the sum of 400 rows 2000.
    rng = np.random.default_rng(2)
    formulas = {"ratio": "sum(x) / sum(y)", "total": "sum(x)", "square": "mean(x) ** 2", "share": "share(y < 0.05)"}
    true = {"ratio": 10.0, "total": 2000.0, "square": 25.0, "share": 0.05}
    held = dict.fromkeys(true, 0)
    for _ in range(300):
        rows = pa.table({"x": rng.exponential(5, 400), "y": rng.random(400)})
        for signal in business(formulas, {0: rows}, hours=[0]):
            name = signal.metric.removeprefix("business.")
            assert signal.low is not None
            assert signal.high is not None
            held[name] += signal.low <= true[name] <= signal.high
    assert all(0.91 <= count / 300 <= 0.98 for count in held.values()), held


def test_a_formula_with_labels_waits_until_enough_of_them_are_there() -> None:
    formulas = {"loss": "sum(where(actual == 1, monthly, 0))", "revenue": "sum(monthly)"}
    absences = []
    for labelled in (0.0, 0.3, 0.9):
        found = business(formulas, {0: customers(100, seed=3, labelled=labelled)}, hours=[0])
        absences.append([signal.absence for signal in found])
    assert absences == [[Absence.NO_LABELS_YET, None], [Absence.LABELS_IMMATURE, None], [None, None]]


def test_dividing_by_zero_is_undefined_and_an_error_of_one_formula_is_its_own() -> None:
    formulas = {"roi": "sum(monthly) / count(score > 2)", "typo": "sum(montly)", "rows": "count()"}
    found = {signal.metric: signal for signal in business(formulas, {0: customers(50, seed=3)}, hours=[0])}
    assert found["business.roi"].absence is Absence.UNDEFINED
    assert found["business.typo"].absence is Absence.FAILED
    assert found["business.typo"].reason == "KeyError: \"the log has no column 'montly'\""
    assert found["business.rows"].value == 50
    assert found["business.rows"].low == found["business.rows"].high == 50


def test_windows_warm_up_and_hours_alone_give_what_a_range_gives() -> None:
    tables = {at: customers(20 + at, seed=at, at=at) for at in range(6)}
    whole = business(CHURN, tables, hours=range(6), windows=[1, 3])
    for at in range(6):
        alone = business(CHURN, tables, hours=[at], windows=[1, 3])
        assert {each.key: each for each in alone} == {
            each.key: each for each in whole if each.window_end == hour(at + 1)
        }
    early = [signal for signal in whole if signal.window_end == hour(1) and signal.window == "3h"]
    assert {signal.absence for signal in early} == {Absence.WARMING_UP}


def test_hours_described_with_another_text_of_a_formula_do_not_count() -> None:
    old, new = Formula.parse("sum(score)"), Formula.parse("sum(score) * 2")
    rows = customers(20, seed=1)
    hourly = {hour(at): {VERSION: BusinessProfile.of(rows, {"f": each}, LOG)} for at, each in enumerate((old, new))}
    policy = BusinessPolicy((HOUR, 2 * HOUR), {"f": new})
    found = business_by_version(MODEL, hourly, {}, [hour(1)], policy)
    assert [signal.absence for signal in found] == [None, Absence.WARMING_UP]


def test_the_value_of_the_reference_rows_stands_beside_that_of_the_window() -> None:
    (signal,) = business(
        {"average": "mean(monthly)"}, {0: customers(50, seed=1)}, hours=[0], baseline=customers(500, seed=2)
    )
    assert signal.baseline_value == pytest.approx(customers(500, seed=2).to_pandas()["monthly"].mean())


def test_a_formula_of_the_settings_has_a_unit_and_limits_on_both_sides() -> None:
    forms = {
        "revenue": BusinessFormula.model_validate(
            {"formula": "sum(monthly) / count()", "unit": "EUR", "below": {"warning": 60, "critical": 10}}
        ),
        "rows": BusinessFormula.model_validate({"formula": "count()", "above": {"critical": 40}}),
    }
    policy = business_policy(forms, (HOUR,), min_coverage=0.5)
    hourly = {START: {VERSION: BusinessProfile.of(customers(50, seed=1), policy.formulas, LOG)}}
    limits = business_limits(forms)
    found = business_by_version(MODEL, hourly, {}, [START], policy)
    assert [signal.unit for signal in found] == ["EUR", "1"]
    assert [judge_by_limits(signal, limits[signal.metric]).level for signal in found] == ["ok", "critical"]


@pytest.mark.parametrize(
    "form",
    [
        {"formula": "sum(x.y)"},
        {"formula": "count()", "above": {"warning": 5, "critical": 4}},
        {"formula": "count()", "below": {"warning": 4, "critical": 5}},
    ],
)
def test_settings_refuse_what_is_no_formula_and_levels_in_the_wrong_order(form: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"is not allowed|swap the two"):
        BusinessFormula.model_validate(form)


LOST = "max((labelled_at - predicted_at) / 60 - scheduled_minutes, 0)"
MINUTES = {
    "announced_share": f"sum(where(prediction == 1, {LOST}, 0)) / sum({LOST})",
    "false_alarm_cost": "1000 * 50 * count(prediction == 1 and actual == 0) / count()",
}


def test_minutes_lost_that_were_announced_follow_from_the_times_of_the_log() -> None:
    end = datetime(2013, 4, 2, tzinfo=UTC)
    day = [("scheduled_departure", ">=", end - timedelta(days=1)), ("scheduled_departure", "<", end)]
    frame = pq.read_table(FLIGHTS, filters=day).to_pandas()
    frame["prediction"] = (frame["minute_of_day"] > 1000).astype(int)
    frame["actual"] = (frame["arr_delay"] > 15).astype(float).where(frame["arr_delay"].notna())
    renamed = frame.rename(columns={"scheduled_departure": "predicted_at", "known_at": "labelled_at"})
    rows = pa.Table.from_pandas(renamed, preserve_index=False)
    late = frame["arr_delay"].clip(lower=0)
    wrong = (frame["prediction"] == 1) & (frame["actual"] == 0)
    assert pd.notna(frame["arr_delay"]).mean() > 0.9
    assert values(business(MINUTES, {0: rows}, hours=[0])) == pytest.approx(
        {
            "announced_share": late[frame["prediction"] == 1].sum() / late.sum(),
            "false_alarm_cost": 50_000 * wrong.mean(),
        }
    )

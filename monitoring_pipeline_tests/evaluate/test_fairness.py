from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.describe.outcome_plan import OutcomePlan
from monitoring_pipeline.evaluate.fairness import FairnessPolicy, fairness_by_version
from monitoring_pipeline.evaluate.signals import Absence, Signal
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline_tests.traffic import hour

GROUPING = Grouping(("sex", "age"))
PLAN = OutcomePlan(grouping=GROUPING)


def people(rows: int, seed: int, *, against: float = 0.0, **columns: Any) -> dict[str, Any]:
    """Applicants; women's scores are lowered by `against`."""
    generator = np.random.default_rng(seed)
    sex, age = generator.choice(["F", "M"], rows), generator.choice(["old", "young", "middle"], rows)
    score = np.clip(generator.beta(3, 3, rows) - against * (sex == "F"), 0.0, 1.0)
    truth = (generator.random(rows) < score).astype(float)
    usual = {"sex": sex, "age": age, "score": score, "prediction": (score > 0.5).astype(float), "actual": truth}
    return usual | columns


def signals(rows: dict[str, Any], **more: Any) -> dict[tuple[str, str, str], Signal]:
    size = len(rows["score"])
    table = pa.table({name: pa.array(values) for name, values in rows.items()})
    table = table.append_column("labelled_at", pa.nulls(size, pa.timestamp("us", tz="UTC")))
    policy = FairnessPolicy((HOUR,), GROUPING, PLAN, **more)
    found = fairness_by_version("m", {hour(0): {"1": PLAN.of(table)}}, {}, [hour(0)], policy)
    return {(signal.metric.removeprefix("fairness."), signal.column, signal.segment): signal for signal in found}


def test_rates_ratios_and_differences_are_those_of_fairlearn() -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    rows = people(4000, 1, against=0.1)
    found = signals(rows)
    truth, served = rows["actual"], rows["prediction"]
    for column, sensitive in (("sex", rows["sex"]), ("age", rows["age"])):
        asked = {"y_true": truth, "y_pred": served, "sensitive_features": sensitive}
        frame = fairlearn.MetricFrame(
            metrics={
                "selection_rate": fairlearn.selection_rate,
                "true_positive_rate": fairlearn.true_positive_rate,
                "false_positive_rate": fairlearn.false_positive_rate,
            },
            **asked,
        )
        for metric in frame.by_group.columns:
            for group, value in frame.by_group[metric].items():
                assert found[metric, column, f"{column}={group}"].value == pytest.approx(value, rel=1e-12)
            assert found[f"{metric}_ratio", column, ""].value == pytest.approx(frame.ratio()[metric], rel=1e-12)
            assert found[f"{metric}_difference", column, ""].value == pytest.approx(
                frame.difference()[metric], rel=1e-9
            )
        for kind in ("ratio", "difference"):
            parity = getattr(fairlearn, f"demographic_parity_{kind}")(**asked)
            odds = getattr(fairlearn, f"equalized_odds_{kind}")(**asked)
            assert found[f"selection_rate_{kind}", column, ""].value == pytest.approx(parity, rel=1e-9)
            assert found[f"equalized_odds_{kind}", column, ""].value == pytest.approx(odds, rel=1e-9)


def test_pairs_of_attributes_make_groups_of_their_own() -> None:
    found = signals(people(4000, 2))
    groups = {segment for metric, column, segment in found if column == "sex & age" and segment}
    assert groups == {f"sex={sex} & age={age}" for sex in "FM" for age in ("middle", "old", "young")}
    assert found["selection_rate_ratio", "sex & age", ""].value is not None


def test_a_model_that_favours_a_group_breaks_the_four_fifths_rule_and_says_which() -> None:
    unfair = signals(people(4000, 3, against=0.15))["selection_rate_ratio", "sex", ""]
    verdict = judge_by_limits(unfair, LIMITS["fairness.selection_rate_ratio"])
    assert verdict.level == "warning"
    assert verdict.reason.startswith("selection rate is 0.")
    assert "for sex=F and 0." in verdict.reason


def test_of_many_equal_groups_the_rule_cries_wolf_in_fewer_than_one_report_of_forty() -> None:
    alarms = 0
    for seed in range(120):
        rows = people(900, seed)
        # As unequal as the rule allows: what lies exactly on the line must not count as below it.
        rows["prediction"] = np.random.default_rng(seed).random(900) < np.where(rows["sex"] == "F", 0.4, 0.5)
        ratio = signals(rows)["selection_rate_ratio", "sex", ""]
        alarms += judge_by_limits(ratio, LIMITS["fairness.selection_rate_ratio"]).level != "ok"
    assert alarms <= 8, alarms  # 3 are expected


def test_selection_is_known_before_labels_and_errors_are_not() -> None:
    found = signals(people(2000, 4, actual=pa.nulls(2000, pa.float64())))
    assert found["selection_rate", "sex", "sex=F"].value is not None
    assert found["true_positive_rate", "sex", "sex=F"].absence is Absence.NO_LABELS_YET
    assert found["equalized_odds_ratio", "sex", ""].absence is Absence.TOO_FEW_ROWS


def test_a_group_with_few_rows_is_left_out_and_named() -> None:
    rows = people(1000, 5)
    rows["sex"] = np.array(["X"] * 20 + rows["sex"][20:].tolist())
    found = signals(rows)
    assert found["selection_rate", "sex", "sex=X"].absence is Absence.TOO_FEW_ROWS
    assert found["selection_rate_ratio", "sex", ""].detail["left_out"] == ["sex=X"]


def test_who_is_not_told_is_a_group_too_and_a_missing_column_says_so() -> None:
    rows = people(1000, 6)
    rows["sex"] = pa.array([None] * 300 + rows["sex"][300:].tolist())
    assert signals(rows)["selection_rate", "sex", "sex=(missing)"].rows == 300
    del rows["age"]
    found = signals(rows)
    assert found["selection_rate_ratio", "age", ""].reason == "no row says age"
    assert found["selection_rate_ratio", "sex", ""].value is not None


def test_rare_values_are_one_group_together() -> None:
    rows = people(1000, 7)
    rows["age"] = np.array([f"{number % 50}" for number in range(1000)])
    found = signals(rows, min_rows=1)
    groups = {segment for metric, column, segment in found if column == "age" and segment}
    assert len(groups) == GROUPING.most + 1
    assert found["selection_rate", "age", "age=(other)"].rows == 600

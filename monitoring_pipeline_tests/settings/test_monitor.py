from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.distances import METRICS
from monitoring_pipeline.describe.reference_building import ReferencePlan
from monitoring_pipeline.describe.spans import FixedPeriod, SameHoursOfWeek, TrailingWeeks
from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.evaluate.drift import DriftPolicy
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.condition_outcomes import evaluate
from monitoring_pipeline.judge.conditions import All, AtLeast, Not, SignalCondition
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.thresholds import TEXTBOOK, JudgingPolicy, Thresholds
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline_tests.verdicts import signal, verdict


def monitor(**sections: Any) -> Monitor:
    shortest = {"model": "churn", "start": "2026-04-01T02:00+02:00", "features": {"numeric": ["tenure", "charges"]}}
    return parse_monitor(shortest | sections)


def rules(**sections: Any) -> dict[str, Rule]:
    return {rule.name: rule for rule in monitor(**sections).alert_rules()}


def holds(rule: Rule, *verdicts: Verdict) -> str:
    return evaluate(rule.condition, verdicts).state


def test_a_short_file_has_the_documented_defaults() -> None:
    short = monitor()

    assert short.start == datetime(2026, 4, 1, tzinfo=UTC)
    assert short.windows == ("1h", "24h", "7d")
    assert (short.drift.min_rows, short.drift.bins, short.drift.score_bins) == (1000, 10, 20)
    assert (short.performance.min_rows, short.performance.min_coverage) == (100, 0.6)
    assert short.labels.max_delay == timedelta(days=7)
    assert short.labels.columns() == LabelColumns()
    assert short.registry_name == "churn"
    assert short.drift.false_alarms_per_month == 2.0
    assert short.judging_policy() == JudgingPolicy(false_alarms_per_month=2.0, alpha=0.01, calibrated=True)
    assert short.drift_policy() == DriftPolicy((HOUR, 24 * HOUR, 7 * 24 * HOUR), 1000)
    plan = ReferencePlan((HOUR, 24 * HOUR, 7 * 24 * HOUR), outcomes=short.outcome_plan(), intake=short.intake_plan())
    assert short.reference_plan() == plan


def test_features_keep_their_kind_and_the_order_of_the_kinds() -> None:
    features = {"categorical": ["plan"], "numeric": ["tenure"], "boolean": ["paid"], "datetime": ["joined"]}

    assert monitor(features=features).features.kinds() == {
        "tenure": ColumnKind.NUMERIC,
        "plan": ColumnKind.CATEGORICAL,
        "paid": ColumnKind.BOOLEAN,
        "joined": ColumnKind.DATETIME,
    }


def test_the_default_rules_are_the_published_ones() -> None:
    defaults = rules(owners=["team:growth", "ann@example.org"])

    assert {name: published(rule) for name, rule in defaults.items()} == {
        "feature_drift": ("3 in a row", "warning 12h, critical 4h"),
        "performance_decline": ("5 in a row", "warning 1h, critical 1h"),
        "score_drift": ("3 in a row", "warning 6h"),
        "feature_changed_meaning": ("1 in a row", "critical 6h"),
        "data_missing": ("1 in a row", "critical 6h"),
        "traffic_lost": ("2 in a row", "critical 1h"),
        "bad_rows": ("3 in a row", "warning 12h"),
        "labels_stopped": ("3 in a row", "warning 12h"),
        "feature_leaks": ("1 in a row", "warning 24h"),
    }
    assert all(rule.runbook.startswith("docs/runbooks/") for rule in defaults.values())
    assert {rule.owner for rule in defaults.values()} == {"team:growth"}


def test_what_is_logged_and_searched_decides_which_default_rules_there_are() -> None:
    status = {"status": "status", "latency_ms": {"total": "ms"}}
    source = {"sources": [{"name": "users", "column": "seen_at", "max_age": "6h"}]}
    money = {"margin": {"formula": "sum(score)", "below": {"warning": 1.0}}, "plain": {"formula": "count()"}}
    more = rules(columns=status, freshness=source, slices={"enabled": False}, business=money)

    assert {name: published(more[name]) for name in more.keys() - rules().keys()} == {
        "serving_errors": ("2 in a row", "warning 1h, critical 1h"),
        "serving_slow": ("3 in a row", "warning 0.25h"),
        "features_stale": ("2 in a row", "warning 1h"),
        "business_decline": ("3 in a row", "warning 12h, critical 12h"),
        "availability_budget_burns": ("1 in a row", "critical 1h"),
        "availability_budget_shrinks": ("1 in a row", "warning 12h"),
        "freshness_budget_burns": ("1 in a row", "critical 1h"),
        "freshness_budget_shrinks": ("1 in a row", "warning 12h"),
    }
    assert rules().keys() <= more.keys()
    assert more["business_decline"].metrics == {"business.margin"}


def published(rule: Rule) -> tuple[str, str]:
    cooldowns = (f"{level} {rule.cooldown_of(level) / HOUR:g}h" for level, _ in reversed(rule.bands))
    return rule.patience, ", ".join(cooldowns)


def test_drift_alone_warns_and_pages_only_with_a_breach_of_performance() -> None:
    defaults = rules(business={"margin": {"formula": "sum(score)", "below": {"warning": 1.0}}})
    drifted, steady = (verdict(level, column="tenure") for level in (Level.CRITICAL, Level.OK))
    fine = [verdict(Level.OK, name) for name in ("performance.accuracy", "performance.roc_auc", "business.margin")]
    declined = [verdict(Level.WARNING, "performance.accuracy"), *fine[1:]]
    dropped = [verdict(Level.CRITICAL, "performance.accuracy"), *fine[1:]]
    poorer = [*fine[:2], verdict(Level.WARNING, "business.margin")]

    assert worst(defaults["feature_drift"], drifted, *fine) == "warning"
    assert worst(defaults["feature_drift"], drifted, *declined) == "critical"
    assert worst(defaults["feature_drift"], drifted, *poorer) == "critical"
    assert worst(defaults["feature_drift"], steady, *declined) == ""
    assert worst(defaults["performance_decline"], steady, *declined) == "warning"

    week = [verdict(Level.OK, name, window="7d") for name in ("performance.accuracy", "performance.roc_auc")]
    bad_week = [verdict(Level.WARNING, "performance.accuracy", window="7d"), week[1]]
    assert worst(defaults["performance_decline"], *dropped, *week) == "warning", "one bad day is not yet a bad model"
    assert worst(defaults["performance_decline"], *dropped, *bad_week) == "critical"
    assert worst(defaults["performance_decline"], *dropped) == "critical", "a first week excuses nothing"
    lost = verdict(Level.CRITICAL, "performance.accuracy", value=0.5, baseline_value=0.8)
    assert worst(defaults["performance_decline"], lost, *fine[1:], *week) == "critical", "nobody waits for the week"


def worst(rule: Rule, *verdicts: Verdict) -> str:
    return next((level.value for level, condition in rule.bands if evaluate(condition, verdicts).state == "true"), "")


def test_the_default_rule_on_leaks_sees_any_column_and_only_what_is_plain() -> None:
    leak = verdict(Level.CRITICAL, "attribution.leakage", column="tenure")
    hint = verdict(Level.WARNING, "attribution.leakage", column="tenure")
    assert worst(rules()["feature_leaks"], leak) == "warning"
    assert worst(rules()["feature_leaks"], hint) == ""


def test_a_model_logged_without_a_signature_does_not_leave_changed_meanings_unknown() -> None:
    defaults = rules()
    names = ("skew.changed_meaning", "skew.missing", "skew.retyped")
    fine = [verdict(Level.OK, name, window="1h", column="tenure") for name in names]
    nothing = signal("schema.missing_columns", None, window="1h", absence=Absence.NO_REFERENCE, reason="no signature")

    unsigned = Verdict(nothing, Level.UNKNOWN, None, "none", "no signature")
    assert holds(defaults["feature_changed_meaning"], *fine, unsigned) == "false"


def test_the_score_has_a_rule_of_its_own_and_is_no_feature() -> None:
    defaults = rules()
    moved = verdict(Level.WARNING, column="score", value=0.14)
    moved_far = verdict(Level.WARNING, column="score", value=0.16)

    assert holds(defaults["feature_drift"], moved_far) == "unknown"
    assert holds(defaults["score_drift"], moved) == "false"
    assert holds(defaults["score_drift"], moved_far) == "true"


def test_the_default_rules_follow_the_windows_and_columns_there_are() -> None:
    without_score = rules(columns={"score": None}, windows=["1h", "7d"])

    assert "score_drift" not in without_score
    assert holds(without_score["feature_drift"], verdict(Level.WARNING, column="tenure", window="7d")) == "true"
    assert (
        holds(without_score["performance_decline"], verdict(Level.OK, "performance.accuracy", window="7d")) == "false"
    )


def test_an_empty_list_of_rules_means_none() -> None:
    assert monitor(rules=[]).alert_rules() == ()


def test_a_feature_whose_name_looks_like_a_pattern_is_matched_as_it_is() -> None:
    odd = rules(features={"numeric": ["load[0]", "load0"]})["feature_drift"]

    assert [v.signal.column for v in evaluate(odd.condition, [verdict(Level.WARNING, column="load[0]")]).evidence] == [
        "load[0]"
    ]


def test_every_form_of_condition_becomes_its_record() -> None:
    drift = {"metric": "drift.psi", "window": "168h", "level": "warning", "columns_at_least": 2}
    f1 = {"metric": "performance.f1", "window": "24h", "below_baseline": 0.05}
    condition = {"all": [{"any": [drift, f1]}, {"not": f1}, {"at_least": 1, "of": [drift | {"column": "score"}]}]}

    (rule,) = monitor(
        rules=[{"name": "a", "condition": condition, "for": 4, "cooldown": "90m", "resolve_after": 2}]
    ).alert_rules()

    as_drift = SignalCondition("drift.psi", "7d", column=("tenure", "charges"), level=Level.WARNING, columns_at_least=2)
    as_score = SignalCondition("drift.psi", "7d", column="score", level=Level.WARNING, columns_at_least=2)
    as_f1 = SignalCondition("performance.f1", "24h", below_baseline=0.05)
    assert rule == Rule(
        "a",
        All((AnyOf((as_drift, as_f1)), Not(as_f1), AtLeast(1, (as_score,)))),
        for_=4,
        cooldown=timedelta(minutes=90),
        resolve_after=2,
    )


def one_rule(condition: dict[str, Any], **more: Any) -> Rule:
    (rule,) = monitor(rules=[{"name": "a", "condition": condition} | more], owners=["team:growth"]).alert_rules()
    return rule


def test_a_rule_may_be_as_severe_as_the_level_that_is_reached() -> None:
    errors = {"metric": "operations.error_rate", "above": {"warning": 0.01, "critical": 0.05}, "clear": 0.5}
    drift = {"metric": "performance.f1", "window": "24h", "level": "warning", "above": 0.1}

    limits, levels = (one_rule(each, severity="by_level") for each in (errors, drift))

    assert limits.bands == (
        (Level.CRITICAL, SignalCondition("operations.error_rate", "1h", above=0.05)),
        (Level.WARNING, SignalCondition("operations.error_rate", "1h", above=0.01, clear=0.5)),
    )
    assert [condition for _, condition in levels.bands] == [
        SignalCondition("performance.f1", "24h", level=level, above=0.1) for level in (Level.CRITICAL, Level.WARNING)
    ]


def test_a_rule_may_name_what_makes_a_warning_critical() -> None:
    drift = {"metric": "drift.psi", "window": "24h", "column": "tenure", "level": "warning"}
    f1 = {"metric": "performance.f1", "window": "24h", "above_baseline": 0.1, "p_below": 0.01}

    rule = one_rule(drift, critical={"all": [drift, f1]}, cooldown={"warning": "12h", "critical": "4h"})

    as_drift = SignalCondition("drift.psi", "24h", column="tenure", level=Level.WARNING)
    as_f1 = SignalCondition("performance.f1", "24h", above_baseline=0.1, p_below=0.01)
    assert rule.bands == ((Level.CRITICAL, All((as_drift, as_f1))), (Level.WARNING, as_drift))
    assert published(rule) == ("1 in a row", "warning 12h, critical 4h")


def test_a_rule_waits_for_breaches_in_a_row_or_among_the_last_and_knows_its_owner() -> None:
    slow = {"metric": "operations.latency_p95", "above": 2, "clear_below": 1.5}

    some = one_rule(slow, **{"for": {"breaches": 3, "of": 5}, "owner": "ann@example.org"})
    in_a_row = one_rule(slow, **{"for": 3})

    assert [(rule.patience, rule.owner) for rule in (some, in_a_row)] == [
        ("3 of 5", "ann@example.org"),
        ("3 in a row", "team:growth"),
    ]
    assert some.condition == SignalCondition("operations.latency_p95", "1h", above=2, clear_below=1.5)


def test_the_default_triggers_are_performance_drift_age_and_new_labels() -> None:
    policy = monitor().trigger_policy()

    assert [(trigger.name, trigger.for_) for trigger in policy.triggers] == [
        ("performance", 3),
        ("drift", 5),
        ("age", 1),
        ("new_labels", 1),
    ]
    assert (policy.mode, policy.at_least, policy.minimum_labelled_rows) == ("at_least", 2, 5000)
    assert (policy.cooldown, policy.daily_cap) == (timedelta(days=7), 1)


def test_triggers_of_the_file_replace_the_default_ones() -> None:
    age = {"name": "old", "condition": {"metric": "model.age_days", "above": 14}}

    policy = monitor(retraining={"mode": "any", "triggers": [age], "cooldown": "2d"}).trigger_policy()

    assert [trigger.condition for trigger in policy.triggers] == [SignalCondition("model.age_days", "1h", above=14)]
    assert (policy.clauses_needed, policy.cooldown) == (1, timedelta(days=2))


def test_own_bands_and_floors_reach_the_judgement() -> None:
    policy = monitor(
        drift={"alpha": 0.05, "bands": {"psi": {"warning": 0.3, "critical": 0.6}, "std_ratio": {"warning": 1.5}}},
        performance={
            "baseline": {"warning": 0.1, "critical": 0.2},
            "floors": {"accuracy": {"warning": 0.85, "critical": 0.75}, "log_loss": {"warning": 0.7}},
            "significant_only": False,
        },
    ).judging_policy()

    assert policy.bands["drift.psi"] == Thresholds(0.3, 0.6, "absolute", "above")
    assert policy.bands["drift.std_ratio"] == Thresholds(1.5, None, "absolute", "above")
    assert policy.bands["drift.ks"] == TEXTBOOK["drift.ks"]
    assert policy.floors["accuracy"] == Thresholds(0.85, 0.75, "absolute", "below")
    assert policy.floors["log_loss"] == Thresholds(0.7, None, "absolute", "above")
    assert (policy.alpha, policy.baseline_warning, policy.baseline_critical) == (0.05, 0.1, 0.2)
    assert policy.significant_only is False


def test_what_is_measured_of_drift_and_against_what_follows_the_file() -> None:
    asked = monitor(
        features={"categorical": ["plan"]},
        segments={"columns": ["plan"], "most": 3},
        drift={
            "metrics": ["psi", "kl"],
            "segment_metrics": ["psi", "js"],
            "last_predictions": 10_000,
            "baselines": [
                {"kind": "trailing", "weeks": 2},
                {"kind": "same_hours"},
                {"kind": "period", "start": "2026-05-01T02:00+02:00", "end": "2026-05-08T00:00Z"},
            ],
        },
    )
    period = FixedPeriod(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 8, tzinfo=UTC))

    policy = asked.drift_policy()

    assert policy.baselines == (TrailingWeeks(2), SameHoursOfWeek(4), period)
    assert (policy.metrics, policy.segment_metrics, policy.last_predictions) == (("psi", "kl"), ("psi", "js"), 10_000)
    assert (policy.reach, policy.periods) == (timedelta(days=35), ((period.start, period.end),))
    plan = asked.reference_plan()
    assert (plan.recurring, plan.segments, plan.most) == (True, ("plan",), 3)


def test_every_distance_can_be_asked_for_and_no_other() -> None:
    names = tuple(METRICS)

    assert monitor(drift={"metrics": names}).drift.metrics == names
    with pytest.raises(SettingsError, match="'psy' cannot be used"):
        monitor(drift={"metrics": ["psy"]})


def test_the_alarm_budget_and_the_correction_reach_the_judgement() -> None:
    strict = {"false_alarms_per_month": 0.5, "correction": "benjamini_yekutieli", "calibrated": False}
    policy = monitor(drift=strict).judging_policy()
    assert (policy.false_alarms_per_month, policy.dependent, policy.calibrated) == (0.5, True, False)

    single = monitor(drift={"false_alarms_per_month": None, "alpha": 0.02}).judging_policy()
    assert single.alarm_rate(24 * HOUR) == single.alarm_rate(HOUR) == 0.02


def test_a_date_and_time_is_watched_by_its_parts_in_rules_too() -> None:
    dated = monitor(features={"numeric": ["tenure"], "datetime": ["joined"]})
    parts = ("joined.hour_of_day", "joined.day_of_week", "joined.age_days")

    assert dated.feature_columns() == ("tenure", *parts)
    (rule, *_) = dated.alert_rules()
    for name in parts:
        assert holds(rule, verdict(Level.WARNING, column=name)) == "true"


def test_a_rule_can_look_at_segments_baselines_the_last_predictions_and_the_share_of_features() -> None:
    conditions = [
        {"metric": "drift.psi", "window": "24h", "segment": "plan=*", "level": "warning"},
        {"metric": "drift.psi", "window": "24h", "baseline": "same_hours_4w", "level": "warning"},
        {"metric": "drift.psi", "window": "last_10000", "level": "warning"},
        {"metric": "drift.drifted_share", "window": "24h", "level": "critical"},
    ]
    found = monitor(
        features={"categorical": ["plan"]},
        segments={"columns": ["plan"]},
        drift={"baselines": [{"kind": "same_hours"}], "last_predictions": 10_000},
        rules=[{"name": str(place), "condition": condition} for place, condition in enumerate(conditions)],
    ).alert_rules()

    drift = SignalCondition("drift.psi", "24h", column=("plan",), level=Level.WARNING)
    assert [rule.condition for rule in found] == [
        replace(drift, segment="plan=*"),
        replace(drift, baseline="same_hours_4w"),
        replace(drift, window="last_10000"),
        SignalCondition("drift.drifted_share", "24h", level=Level.CRITICAL),
    ]


@pytest.mark.parametrize("end", ["2026-05-01T00:00Z", "2026-04-30T00:00Z"])
def test_a_period_that_does_not_end_after_it_starts_is_refused(end: str) -> None:
    with pytest.raises(SettingsError, match="A period ends after it starts"):
        monitor(drift={"baselines": [{"kind": "period", "start": "2026-05-01T00:00Z", "end": end}]})


@pytest.mark.parametrize("text", ["24h", "1d", "1440m"])
def test_durations_have_several_spellings(text: str) -> None:
    assert monitor(retraining={"cooldown": text}).retraining.cooldown == timedelta(days=1)

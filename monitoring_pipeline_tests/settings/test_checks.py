from typing import Any

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.settings.load import parse_monitor

SHORTEST: dict[str, Any] = {"model": "churn", "start": "2026-04-01T00:00Z", "features": {"numeric": ["tenure", "age"]}}
DRIFT = {"metric": "drift.psi", "window": "24h", "level": "warning"}
BREACH = {"metric": "performance.f1", "window": "24h", "level": "critical"}
JS = DRIFT | {"metric": "drift.js"}
ONE = {"warning": 1.0}
SAME_HOURS = {"kind": "same_hours", "weeks": 2}
LEVEL = {"after": "0m", "role": "on call"}
ANA = {"name": "Ana Costa", "email": "ana@example.org"}
BY_PLAN = {"features": {"categorical": ["plan"]}, "segments": {"columns": ["plan"]}}


def found(**sections: Any) -> list[str]:
    try:
        parse_monitor(SHORTEST | sections)
    except SettingsError as error:
        return [f"{problem.where} {problem.message}" for problem in error.problems]
    return []


def rule(condition: Any, **more: Any) -> dict[str, Any]:
    return {"name": "a", "condition": condition} | more


@pytest.mark.parametrize(
    ("condition", "pages_on_drift_alone"),
    [
        (DRIFT, True),
        ({"any": [DRIFT, BREACH]}, True),
        ({"all": [DRIFT, {"any": [DRIFT, BREACH]}]}, True),
        ({"all": [DRIFT, {"not": BREACH}]}, True),
        ({"at_least": 1, "of": [DRIFT, BREACH]}, True),
        (BREACH, False),
        ({"all": [DRIFT, BREACH]}, False),
        ({"any": [BREACH, {"all": [DRIFT, BREACH]}]}, False),
        ({"at_least": 2, "of": [DRIFT, BREACH]}, False),
    ],
)
def test_drift_pages_only_together_with_a_breach(condition: Any, pages_on_drift_alone: bool) -> None:
    expected = ["rules[0].severity drift alone may be harmless and must not page."] if pages_on_drift_alone else []

    assert found(rules=[rule(condition, severity="critical")]) == expected
    assert found(rules=[rule(condition, severity="warning")]) == []
    in_band = ["rules[0].critical drift alone may be harmless and must not page."] if pages_on_drift_alone else []
    assert found(rules=[rule(BREACH, critical=condition)]) == in_band


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"severity": "by_level"}, "rules[0].severity drift alone may be harmless and must not page."),
        ({"critical": {"metric": "drift.psy"}}, "rules[0].critical.metric no metric is called 'drift.psy'."),
        (
            {"critical": {"at_least": 3, "of": [BREACH]}},
            "rules[0].critical.at_least asks for 3 of 1 parts: it is never true.",
        ),
    ],
)
def test_the_critical_band_is_checked_like_the_warning(more: dict[str, Any], expected: str) -> None:
    assert expected in found(rules=[rule(DRIFT, **more)])


@pytest.mark.parametrize(
    ("condition", "more", "fix"),
    [
        (BREACH, {"severity": "by_level"}, "nothing else has levels that severity could follow."),
        (BREACH | {"above": {"warning": 1, "critical": 2}}, {}, "are for rules with severity: by_level"),
        (BREACH, {"critical": BREACH, "severity": "critical"}, "makes a warning critical: leave severity out."),
        (BREACH | {"above": {"warning": 2, "critical": 1}}, {}, "the further above, the worse."),
        (BREACH | {"below": {"warning": 1, "critical": 2}}, {}, "the further below, the worse."),
        (BREACH | {"clear": 0.8}, {}, "not with level critical."),
        (BREACH, {"for": {"breaches": 3, "of": 2}}, "2 evaluations never hold 3 breaches: ask for fewer, or of more."),
        (BREACH, {"for": {"breaches": 3, "off": 5}}, "Did you mean 'of'? Known here: breaches, of."),
        (BREACH, {"cooldown": {"warning": "1h", "critikal": "2h"}}, "Did you mean 'critical'? Known here: critical,"),
        ({"metric": "performance.f1", "window": "24h"}, {}, "Say what is bad: add level, above, below, below_baseline"),
    ],
)
def test_forms_that_contradict_themselves_are_refused_with_what_to_write(
    condition: Any, more: dict[str, Any], fix: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_monitor(SHORTEST | {"rules": [rule(condition, **more)]})

    (problem,) = caught.value.problems
    assert fix in problem.fix


def test_a_trigger_has_one_limit() -> None:
    trigger = rule({"metric": "model.age_days", "above": {"warning": 30, "critical": 60}})

    with pytest.raises(SettingsError, match="give one number"):
        parse_monitor(SHORTEST | {"retraining": {"mode": "any", "triggers": [trigger]}})


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"features": {}}, "features names no feature."),
        (
            {"columns": {"score": None, "prediction": None}},
            "columns has neither a score nor a prediction: nothing can be judged.",
        ),
        (
            {"features": {"numeric": ["age"], "boolean": ["age"]}},
            "features.boolean[0] feature 'age' is already in numeric.",
        ),
        (
            {"features": {"numeric": ["churned"]}, "labels": {"actual": "churned"}},
            "features.numeric[0] feature 'churned' is also the column of labels.actual.",
        ),
        ({"windows": ["24h", "1d"]}, "windows[1] 1d is the same length as an earlier one."),
        (
            {"windows": ["1h", "24h"], "rules": [rule(DRIFT | {"window": "7d"})]},
            "rules[0].condition.window 7d is not among this monitor's windows.",
        ),
        (
            {"rules": [rule({"metric": "drift.wasserstein", "level": "warning"})]},
            "rules[0].condition.level drift.wasserstein has no band, so it is always ok.",
        ),
        (
            {"rules": [rule({"metric": "shadow.roc_auc_gain", "window": "24h", "below": 0})]},
            "rules[0].condition.metric shadow.roc_auc_gain is of two versions side by side, and rules look at the one "
            "that serves.",
        ),
        (
            {"rules": [rule({"metric": "drift.kl", "above": 0.1})]},
            "rules[0].condition.metric drift.kl is not measured.",
        ),
        (
            {"rules": [rule(DRIFT | {"window": "last_10000"})]},
            "rules[0].condition.window last_10000 is not among this monitor's windows.",
        ),
        (
            {"rules": [rule(DRIFT | {"baseline": "same_hours_4w"})]},
            "rules[0].condition.baseline 'same_hours_4w' is not among this monitor's baselines.",
        ),
        (
            {"rules": [rule(DRIFT | {"segment": "plan=*"})]},
            "rules[0].condition.segment 'plan=*' matches no segment.",
        ),
        (
            BY_PLAN | {"rules": [rule(DRIFT | {"metric": "drift.js", "segment": "plan=*"})]},
            "rules[0].condition.segment drift.js is not measured per segment.",
        ),
        (
            BY_PLAN
            | {"drift": {"last_predictions": 900}, "rules": [rule(DRIFT | {"segment": "*", "window": "last_900"})]},
            "rules[0].condition.segment segment and window are not measured together.",
        ),
        (
            {"rules": [rule({"metric": "attribution.leakage", "window": "7d", "level": "warning"})]},
            "rules[0].condition.window attribution.leakage is measured on the sample of a day, not over 7d.",
        ),
        (
            {"rules": [rule({"metric": "performance.slice_worsened", "window": "24h", "level": "warning"})]},
            "rules[0].condition.metric performance.slice_worsened is measured of slices, each a segment of its own.",
        ),
        (
            {"rules": [rule({"metric": "multivariate.mmd", "window": "24h", "level": "warning"}, severity="critical")]},
            "rules[0].severity drift alone may be harmless and must not page.",
        ),
        (
            {"segments": {"columns": ["tenure"]}},
            "segments.columns[0] 'tenure' is not a categorical or boolean feature.",
        ),
        (
            {"drift": {"bands": {"std_ratio": {"warning": 2.0, "critical": 1.5}}}},
            "drift.bands.std_ratio is critical before it warns.",
        ),
        (
            {"rules": [rule({"metric": "drift.drifted_share", "level": "critical"}, severity="critical")]},
            "rules[0].severity drift alone may be harmless and must not page.",
        ),
        (
            {"rules": [rule(DRIFT), rule(BREACH)]},
            "rules[1].name 'a' is the name of entry 0 too.",
        ),
        (
            {"rules": [rule({"at_least": 3, "of": [DRIFT, BREACH]})]},
            "rules[0].condition.at_least asks for 3 of 2 parts: it is never true.",
        ),
        (
            {"retraining": {"at_least": 2, "triggers": [rule(DRIFT)]}},
            "retraining.at_least asks for 2 of 1 triggers: it would never fire.",
        ),
        (
            {"retraining": {"holdout": "2w", "training_window": "14d"}},
            "retraining.holdout leaves nothing of retraining.training_window to train on.",
        ),
        ({"performance": {"baseline": {"warning": 0.2}}}, "performance.baseline is critical before it warns."),
        (
            {"performance": {"floors": {"log_loss": {"warning": 0.9, "critical": 0.5}}}},
            "performance.floors.log_loss is critical before it warns.",
        ),
        (
            {"notifications": {"routes": {"warning": ["slack"]}}},
            "notifications.routes.warning[0] no slack channel is described.",
        ),
        (
            {"escalation": {"levels": [LEVEL | {"channels": ["slack"]}]}},
            "escalation.levels[0].channels[0] no slack channel is described.",
        ),
        (
            {"escalation": {"levels": [LEVEL | {"channels": ["pager"]}]}},
            "escalation.levels[0].channels[0] no channel is called 'pager'.",
        ),
        (
            {"escalation": {"levels": [LEVEL | {"people": ["ana"]}]}},
            "escalation.levels[0].people[0] 'ana' is not under on_call.people.",
        ),
        (
            {"on_call": {"people": {"ana": ANA}, "schedules": {"first": {"people": ["bne"]}}}},
            "on_call.schedules.first.people[0] 'bne' is not under on_call.people.",
        ),
        *(
            ({"objectives": {name: {}}}, f"objectives.{name} is promised, and nothing measures it.")
            for name in ("availability", "latency_p99", "fallback", "freshness", "fairness")
        ),
        (
            {"objectives": {"model_age": {}}, "retraining": {"mode": "any", "triggers": [rule(DRIFT)]}},
            "objectives.model_age is promised, and nothing measures it.",
        ),
        (
            {"objectives": {"latency_p99": {"stage": "total"}}, "columns": {"latency_ms": {"model": "ms"}}},
            "objectives.latency_p99.stage 'total' is not under columns.latency_ms.",
        ),
        (
            {"objectives": {"performance": {"metric": "bias"}}},
            "objectives.performance.metric 'bias' is no metric of performance that is judged.",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_found(sections: dict[str, Any], expected: str) -> None:
    assert found(**sections) == [expected]


@pytest.mark.parametrize(
    "sections",
    [
        {"windows": ["1h", "7d"], "rules": [rule(DRIFT | {"window": "168h"})]},
        {"rules": [rule({"metric": "model.age_days", "above": 30})], "windows": ["24h"]},
        {"rules": [rule(DRIFT | {"column": ["ten*", "score"]})]},
        {"rules": [rule(DRIFT | {"role": "challenger"})]},
        {"retraining": {"mode": "any", "triggers": [rule(DRIFT)]}},
        {"performance": {"floors": {"accuracy": {"warning": 0.85, "critical": 0.75}}}},
        {"notifications": {"routes": {"warning": ["slack"]}, "slack": {"channel": "#ml"}}},
        {"features": {"numeric": ["score"]}, "columns": {"score": "probability"}},
        {"objectives": dict.fromkeys(("availability", "latency_p99", "fallback", "freshness", "fairness"))},
        {"objectives": {"model_age": {}, "drift": {}, "performance": {}}},
        {"objectives": {"model_age": {"below_days": 5}}, "retraining": {"mode": "any", "triggers": [rule(DRIFT)]}},
        {"objectives": {"availability": {}}, "columns": {"status": "status"}},
        {"escalation": {"levels": [LEVEL | {"channels": ["console"]}]}},
        {"rules": []},
        {"rules": [rule({"metric": "drift.drifted_share", "level": "critical"})]},
        {
            "rules": [rule({"metric": "drift.wasserstein", "level": "warning"})],
            "drift": {"bands": {"wasserstein": ONE}},
        },
        {"rules": [rule({"metric": "drift.kl", "above": 0.1})], "drift": {"metrics": ["kl"]}},
        {"rules": [rule(DRIFT | {"window": "last_900"})], "drift": {"last_predictions": 900}},
        {"rules": [rule(DRIFT | {"baseline": "same_hours_2w"})], "drift": {"baselines": [SAME_HOURS]}},
        BY_PLAN | {"rules": [rule(DRIFT | {"segment": "plan=*"}), rule(DRIFT | {"segment": "*"}) | {"name": "b"}]},
        BY_PLAN | {"drift": {"segment_metrics": ["js"]}, "rules": [rule(JS | {"segment": "plan=pro"})]},
    ],
)
def test_settings_that_agree_pass(sections: dict[str, Any]) -> None:
    assert found(**sections) == []


@pytest.mark.parametrize(
    "nonsense", [None, 3, "text", [], [1, None], {"numeric": 3}, {"condition": [[]]}, [{"all": 1}]]
)
@pytest.mark.parametrize(
    "section",
    [
        *("features", "columns", "labels", "windows", "rules", "aliases", "retraining", "performance", "drift"),
        *("segments", "objectives", "notifications", "on_call", "escalation", "incidents"),
    ],
)
def test_checks_survive_data_of_any_shape(section: str, nonsense: Any) -> None:
    accepted = section == "rules" and nonsense in (None, [])

    assert bool(found(**{section: nonsense})) is not accepted


def test_conditions_may_speak_of_a_day_whatever_the_windows() -> None:
    leak = {"metric": "attribution.leakage", "window": "24h", "column": "tenure", "level": "critical"}
    worse = {"metric": "performance.slice_worsened", "window": "1d", "segment": "*", "level": "warning"}
    assert found(windows=["1h"], rules=[rule({"any": [leak, worse]})]) == []


@pytest.mark.parametrize(
    ("retraining", "task", "said"),
    [
        ({"trainer": "refit"}, "ranking", "retraining.trainer there is no gate for ranking."),
        ({"trainer": "none"}, "ranking", ""),
        ({"metric": "mae"}, "regression", ""),
        ({"metric": "mae"}, "binary_classification", "retraining.metric a challenger of binary_classification is not"),
        ({}, "ranking", ""),
    ],
)
def test_a_retraining_is_asked_only_for_what_the_gate_can_judge(
    retraining: dict[str, Any], task: str, said: str
) -> None:
    columns = {"request": "query", "item": "item"} if task == "ranking" else {}
    problems = found(task=task, retraining=retraining, columns=columns)
    assert len(problems) == bool(said)
    assert all(problem.startswith(said) for problem in problems)


def test_a_database_describes_its_own_rows_as_they_are() -> None:
    table = {"kind": "sql", "url_env": "DWH", "predictions": {"table": "served"}}
    engine = {"kind": "sql"}
    assert found(engine=engine, log=table) == []
    assert found(engine=engine) == ["engine.kind sql counts in the table of a log of kind sql."]
    hidden = {"privacy": {"drop": ["full_name"]}}
    assert found(log=table, **hidden) == []
    assert found(engine=engine, log=table, **hidden) == [
        "privacy.drop cannot be kept by a database that describes its rows itself."
    ]

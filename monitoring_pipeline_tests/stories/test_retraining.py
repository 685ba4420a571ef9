"""What becomes of a challenger: promoted, held back by a spent budget, rejected, or left alone when others moved on."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from monitoring_pipeline.definitions import deployment_definitions
from monitoring_pipeline.judge.objectives import BUDGET
from monitoring_pipeline.judge.rules import RuleState
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline_tests.deployments import ASKED, MODEL, ROWS, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

pytestmark = pytest.mark.slow

RETRAINING = "churn__retraining"
SERVED_HOURS = 24
AGED = {"name": "age", "condition": {"metric": "model.age_days", "above": 1}}


def serve_a_day(deployment: Deployment, *, turned: bool, outage: int = 0, **retraining: Any) -> None:
    """Serve, process and label a day, with a retraining due at its last hour; requests fail in the `outage` last."""
    asked = {"triggers": [AGED], "minimum_labelled_rows": 500, **retraining}
    logged = {"columns": {"status": "status"}, "rules": None} if outage else {}
    deployment.watch({"retraining": ASKED["retraining"] | asked, **logged})
    for number in range(SERVED_HOURS):
        rows = customers([hour(number)], turned=turned)
        deployment.log(rows.assign(status="500" if number >= SERVED_HOURS - outage else "200") if outage else rows)
        deployment.label(rows)
    deployment.set_clock(hour(SERVED_HOURS) + timedelta(minutes=45))
    deployment.compute(0, SERVED_HOURS - 1)


def retrain(deployment: Deployment, job: dg.JobDefinition | None = None) -> tuple[dg.ExecuteInProcessResult, Episode]:
    """Execute the run the sensor asks for, tick once more, and return the run and its episode."""
    (request,) = deployment.tick(RETRAINING).run_requests
    job = job or deployment.defs.resolve_job_def(RETRAINING)
    result = job.execute_in_process(instance=deployment.instance, tags=request.tags, raise_on_error=False)
    assert deployment.tick(RETRAINING).run_requests == []
    (episode,) = deployment.monitoring.database.episodes(MODEL)
    return result, episode


def champion_of(deployment: Deployment) -> str:
    return deployment.monitoring.registry.version(MODEL, "champion").version


def test_a_better_challenger_is_promoted_and_has_its_reference(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=True)
    result, episode = retrain(deployment)
    assert result.success
    assert champion_of(deployment) == "2"
    assert (episode.status, episode.run_id) == (EpisodeStatus.PROMOTED, result.run_id)
    comparisons: Any = episode.outcome["comparisons"]
    auc = comparisons["roc_auc"]
    assert auc["challenger"] > 0.7 > 0.3 > auc["champion"]
    old, new = deployment.monitoring.registry.versions(MODEL)
    assert (old.tags["replaced_by"], new.tags["retrain_episode"]) == ("2", episode.id)
    assert "roc_auc" in new.tags["promotion_reason"]

    reference = deployment.monitoring.references.load(MODEL, "2")
    assert reference is not None
    deployment.log(customers([hour(SERVED_HOURS)], turned=True), version="2")
    deployment.set_clock(hour(SERVED_HOURS + 2))
    assert deployment.process(SERVED_HOURS, SERVED_HOURS).success
    signals = deployment.store.read_signals("drift", MODEL, hour(SERVED_HOURS), hour(SERVED_HOURS + 1))
    known = {each.version for each in signals[hour(SERVED_HOURS)] if each.window == "1h" and each.value is not None}
    assert known == {"2"}, "the first hour of the new champion is measured against its own reference"


def test_a_worse_challenger_is_rejected_with_the_reason_on_record(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=False, trainer="monitoring_pipeline_tests.trainers:fit_backwards")
    result, episode = retrain(deployment)
    assert result.success, "a challenger that is no better is a result, not a failure"
    assert champion_of(deployment) == "1"
    assert episode.status is EpisodeStatus.REJECTED
    found: Any = episode.outcome["reasons"]
    reasons = "; ".join(found)
    assert "the margin is +0.0050" in reasons
    challenger = deployment.monitoring.registry.version(MODEL, "challenger")
    assert challenger.tags["rejection_reason"] == reasons
    assert "promotion_reason" not in challenger.tags


def test_a_better_challenger_waits_while_a_budget_is_spent_and_a_person_may_override_it(
    deployment: Deployment,
) -> None:
    serve_a_day(deployment, turned=True, outage=3)
    last = hour(SERVED_HOURS - 1)
    (budget,) = [
        verdict
        for verdict in deployment.store.read_verdicts(MODEL, last, hour(SERVED_HOURS), {BUDGET})[last]
        if verdict.signal.column == "availability"
    ]
    assert (budget.level, budget.signal.detail["bad"]) == (Level.WARNING, 3 * ROWS)
    allowed = 0.001 * 28 * 24 * ROWS
    assert budget.signal.value == pytest.approx(1 - 3 * ROWS / allowed)
    result, episode = retrain(deployment)
    assert result.success, "a challenger that has to wait is a result, not a failure"
    assert champion_of(deployment) == "1"
    assert (episode.status, episode.outcome["outcome"]) == (EpisodeStatus.REJECTED, "budget_spent")
    found: Any = episode.outcome["budgets"]
    assert found["availability"] == budget.signal.value
    challenger = deployment.monitoring.registry.version(MODEL, "challenger")
    assert budget.reason in challenger.tags["rejection_reason"]
    assert "with the tags monitoring/override_gate (why)" in challenger.tags["rejection_reason"]

    why = {"monitoring/override_gate": "the network failed, not the model"}
    promote_again(deployment, result.run_id, why)
    assert champion_of(deployment) == "1", "nobody signed for it"
    promote_again(deployment, result.run_id, why | {"monitoring/override_by": "anna"})
    assert champion_of(deployment) == "2"
    promoted = deployment.monitoring.registry.version(MODEL, "champion")
    assert promoted.tags["promotion_reason"].endswith("overridden by anna: the network failed, not the model")
    assert budget.reason in promoted.tags["promotion_reason"]


def test_an_outage_that_burns_the_budget_of_a_day_is_an_incident_within_the_hour(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=False, outage=1)
    last = hour(SERVED_HOURS - 1)
    apply_rule_outcomes(deployment.monitoring, deployment.monitor, hour(0), hour(SERVED_HOURS))
    outcomes = deployment.store.read_rules(MODEL, last, hour(SERVED_HOURS))[last]
    fired = {each.rule for each in outcomes if each.state is RuleState.FIRING}
    assert "availability_budget_burns" in fired
    alerts = {each.rule: each for each in deployment.monitoring.database.alerts(MODEL)}
    burns = alerts["availability_budget_burns"]
    assert (burns.severity, burns.first_hour) == (Level.CRITICAL, last)
    assert {(entry["metric"], entry["column"]) for entry in burns.evidence_summary} == {
        ("slo.burn_rate", "availability")
    }
    (incident,) = [each for each in deployment.monitoring.database.incidents(MODEL) if burns.rule in each.rules]
    assert incident.severity is Level.CRITICAL


def retraining_job() -> dg.JobDefinition:
    return deployment_definitions().resolve_job_def(RETRAINING)


def promote_again(deployment: Deployment, run_id: str, tags: dict[str, str]) -> None:
    """Execute the last step of a run once more, with tags."""
    options = dg.ReexecutionOptions(run_id, step_selection=["churn__promotion"])
    job = dg.reconstructable(retraining_job)
    with dg.execute_job(job, deployment.instance, reexecution_options=options, tags=tags) as result:
        assert result.success


def test_an_alias_somebody_else_moved_meanwhile_is_not_overwritten(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=True)
    other = deployment.add_version(customers([START - timedelta(hours=1)]), trained_until=START, alias="shadow")
    uri = deployment.monitoring.deployment.tracking_uri

    @dg.success_hook
    def somebody_else(context: dg.HookContext) -> None:
        if context.op.name.endswith("challenger_evaluation"):
            MlflowClient(uri, uri).set_registered_model_alias(MODEL, "champion", other)

    result, episode = retrain(deployment, deployment.defs.resolve_job_def(RETRAINING).with_hooks({somebody_else}))
    assert result.success, "somebody who was faster is a reason, not a failure"
    assert champion_of(deployment) == other
    assert (episode.status, episode.outcome["outcome"]) == (EpisodeStatus.REJECTED, "champion_moved")
    assert f"moved to version {other} meanwhile, and version 3 was compared with version 1" in str(episode.outcome)


def test_too_little_to_train_on_ends_the_episode_and_leaves_no_version(deployment: Deployment) -> None:
    serve_a_day(deployment, turned=True, holdout="20h")
    result, episode = retrain(deployment)
    assert not result.success
    assert episode.status is EpisodeStatus.FAILED
    assert [each.version for each in deployment.monitoring.registry.versions(MODEL)] == ["1"]

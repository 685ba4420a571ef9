"""Changes as Dagster, MLflow and the log recorded them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from mlflow import MlflowClient

from monitoring_pipeline.judge.recorded_facts import Change, ChangeKind
from monitoring_pipeline.workflow.recorded_changes import (
    EVENTS_PER_ASSET,
    changes_before,
    logs_of,
    upstream_in,
    upstream_of,
    versions_that_began,
)
from monitoring_pipeline_tests.deployments import MODEL, TRAINED_UNTIL, Deployment, customers
from monitoring_pipeline_tests.traffic import START, hour

USERS = dg.AssetKey(["warehouse", "users"])
LOG, LABELS = (dg.AssetKey([MODEL, name]) for name in ("prediction_log", "label_log"))


def recorded(deployment: Deployment, start: datetime, end: datetime, **more: Any) -> list[Change]:
    return changes_before(deployment.instance, deployment.monitoring, deployment.monitor, start, end, **more)


def test_a_version_begins_when_it_answers_most_requests() -> None:
    served = {
        hour(0): {"1": 60},
        hour(1): {"1": 50, "2": 10},
        hour(2): {},
        hour(3): {"1": 10, "2": 50},
        hour(4): {"2": 60},
    }
    (began,) = versions_that_began(served)
    assert began == Change(hour(3), ChangeKind.MODEL_VERSION, "version 2", "began to serve instead of version 1")


def test_the_versions_that_served_are_compared_and_promotions_told(deployment: Deployment) -> None:
    uri = deployment.monitoring.deployment.tracking_uri
    client = MlflowClient(uri, uri)
    version = deployment.add_version(customers([hour(-1)]), trained_until=TRAINED_UNTIL)
    run = client.get_model_version(MODEL, version).run_id
    assert run is not None
    client.log_param(run, "solver", "saga")
    client.log_text(run, "scikit-learn==1.0\n", "model/requirements.txt")
    client.log_text(run, "others", "model/model.skops")
    tags = {"deployed_at": hour(1), "rejected_at": START - timedelta(days=40), "promotion_reason": "it ranks better"}
    for name, value in tags.items():
        client.set_model_version_tag(MODEL, version, name, str(value))
    for number, served_by in enumerate(["1", "1", version]):
        deployment.log(customers([hour(number)]), version=served_by)
    deployment.monitoring.stages(deployment.monitor).describe([hour(number) for number in range(3)])

    promoted, began, *different = recorded(deployment, hour(0), hour(3))
    assert promoted == Change(hour(1), ChangeKind.ALIAS, "version 2", "became champion (it ranks better)")
    assert began == Change(hour(2), ChangeKind.MODEL_VERSION, "version 2", "began to serve instead of version 1")
    told = {change.kind: change.detail for change in different}
    assert {change.at for change in different} == {hour(2)}
    assert "scikit-learn any → 1.0" in told[ChangeKind.REQUIREMENTS]
    assert told[ChangeKind.CONFIGURATION] == "solver none → saga"
    assert "model.skops" in told[ChangeKind.ARTIFACT]


def test_versions_that_cannot_be_compared_are_still_told(
    deployment: Deployment,
) -> None:
    version = deployment.add_version(customers([hour(-1)]), trained_until=TRAINED_UNTIL)
    deployment.log(customers([hour(0)]))
    deployment.log(customers([hour(1)]), version=version)
    deployment.monitoring.stages(deployment.monitor).describe([hour(0), hour(1)])
    assert [change.what for change in recorded(deployment, hour(0), hour(2))] == ["version 2"]


def test_a_version_is_told_when_it_was_registered(deployment: Deployment) -> None:
    now = datetime.now(UTC)
    (change,) = recorded(deployment, now - timedelta(hours=1), now + timedelta(hours=1))
    assert (change.kind, change.what) == (ChangeKind.REGISTERED, "version 1")


def test_events_of_assets_upstream_are_told_with_their_run_or_partition(deployment: Deployment) -> None:
    before = datetime.now(UTC)
    instance = deployment.instance
    instance.report_runless_asset_event(dg.AssetMaterialization(USERS, partition="2026-11-20"))
    instance.report_runless_asset_event(dg.AssetObservation(LOG))
    instance.report_runless_asset_event(dg.AssetMaterialization("elsewhere"))
    after = datetime.now(UTC) + timedelta(seconds=1)
    found = recorded(deployment, before, after, upstream=[USERS, LOG])
    assert [(change.kind, change.what, change.detail) for change in found] == [
        (ChangeKind.UPSTREAM_ASSET, "warehouse/users", "materialised, partition 2026-11-20"),
        (ChangeKind.UPSTREAM_ASSET, "churn/prediction_log", "observed"),
    ]
    assert [change.what for change in recorded(deployment, before, after)] == ["churn/prediction_log"]
    assert recorded(deployment, after, after + timedelta(hours=9), upstream=[USERS]) == []


def test_of_an_asset_with_many_events_the_newest_are_read(deployment: Deployment) -> None:
    before = datetime.now(UTC)
    for number in range(EVENTS_PER_ASSET + 3):
        deployment.instance.report_runless_asset_event(dg.AssetMaterialization(USERS, partition=f"{number:02d}"))
    found = recorded(deployment, before, datetime.now(UTC) + timedelta(seconds=1), upstream=[USERS])
    assert len(found) == EVENTS_PER_ASSET
    assert found[-1].detail == "materialised, partition 27"


def test_all_ancestors_of_the_logs_are_upstream_whatever_their_keys(deployment: Deployment) -> None:
    specs = [
        dg.AssetSpec("raw"),
        dg.AssetSpec(USERS, deps=["raw"]),
        dg.AssetSpec(LOG, deps=[USERS]),
        dg.AssetSpec(LABELS),
        dg.AssetSpec("elsewhere", deps=[LOG]),
    ]
    graph = dg.Definitions(assets=specs).get_repository_def()
    assert upstream_of(graph, deployment.monitor) == sorted([dg.AssetKey("raw"), USERS, LOG, LABELS])
    assert upstream_of(deployment.defs.get_repository_def(), deployment.monitor) == sorted(logs_of(deployment.monitor))


def test_a_run_outside_a_code_location_knows_the_logs_alone(deployment: Deployment) -> None:
    @dg.op
    def look(context: dg.OpExecutionContext) -> list[str]:
        return [key.to_user_string() for key in upstream_in(context, deployment.monitor)]

    @dg.job
    def looking() -> None:
        look()

    found = looking.execute_in_process(instance=deployment.instance).output_for_node("look")
    assert found == ["churn/prediction_log", "churn/label_log"]

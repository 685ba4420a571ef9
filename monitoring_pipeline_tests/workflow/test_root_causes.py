"""Root causes from what the stores of a deployment hold."""

from monitoring_pipeline.judge.drift_types import DriftType
from monitoring_pipeline.workflow.root_causes import find_root_causes
from monitoring_pipeline_tests.deployments import MODEL, TRAINED_UNTIL, Deployment, customers
from monitoring_pipeline_tests.traffic import hour


def test_a_column_that_stops_coming_is_the_cause_of_its_own_drift(deployment: Deployment) -> None:
    deployment.serve(0, 5)
    rows = customers([hour(6), hour(7)])
    rows["plan"] = None  # what the model makes of it is no error of the service
    deployment.log(rows)
    deployment.label(rows)
    deployment.set_clock(hour(9))
    deployment.compute(0, 7)
    stages = deployment.monitoring.stages(deployment.monitor)
    diagnosed = stages.hourly.read_diagnoses(MODEL, hour(7), hour(8))[hour(7)]
    assert DriftType.COVARIATE in {each.type for each in diagnosed}
    first, *others = find_root_causes(deployment.monitoring, deployment.monitor, hour(7), instance=deployment.instance)
    assert (first.name, first.kind, first.since) == ("column missing, plan", "data", hour(6))
    assert first.confidence > 0.9
    assert any("skew.missing of plan over 1h is 1" in each for each in first.evidence)
    drift = next(cause for cause in others if cause.name == "covariate drift, plan")
    assert "times 0.4: column missing explains it" in drift.evidence
    before = find_root_causes(deployment.monitoring, deployment.monitor, hour(5))
    assert all(cause.confidence < 0.5 for cause in before)


def test_performance_that_falls_with_a_version_is_told_with_what_it_was_before(deployment: Deployment) -> None:
    version = deployment.add_version(customers([hour(-1 - back) for back in range(72)]), trained_until=TRAINED_UNTIL)
    stages = deployment.monitoring.stages(deployment.monitor)
    deployment.monitoring.references.save(stages.references.load(MODEL, "1").for_version(version))  # type: ignore[union-attr]
    deployment.serve(0, 5)
    rows = customers([hour(number) for number in range(6, 11)], turned=True)
    deployment.log(rows, version=version)
    deployment.label(rows)
    deployment.set_clock(hour(12))
    deployment.compute(0, 10)
    first = find_root_causes(
        deployment.monitoring, deployment.monitor, hour(10), instance=deployment.instance, alarmed=["performance.auc"]
    )[0]
    assert (first.name, first.since) == (f"bad model version: {version}", hour(6))
    assert first.actions[0].endswith("to version 1.")
    told = next(each for each in first.evidence if " with version 1, " in each)
    assert told.startswith("performance.")

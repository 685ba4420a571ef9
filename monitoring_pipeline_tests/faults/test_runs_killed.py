"""Runs of the hourly job are killed, or run twice at once: the hours come out as if nothing had happened."""

import pytest

from monitoring_pipeline.workflow.partitions import range_tags
from monitoring_pipeline.workflow.sensors import GRACE, RETRY_EVERY
from monitoring_pipeline_tests.deployments import MODEL, Deployment, requested_hours
from monitoring_pipeline_tests.faults.invariants import computed_alike, no_hour_is_missing, prove, stored_hours
from monitoring_pipeline_tests.traffic import hour
from monitoring_pipeline_tests.workers import NEVER, killed, run_hours, start

pytestmark = pytest.mark.slow

MISSED = f"{MODEL}__missed_hours"
POINTS = ("file.before_rename", "file.before_rename:25", "asset.before_done", "asset.before_done:5")
LOGGED = {hour(number): 60 for number in range(3)}


@pytest.fixture
def served(deployment: Deployment) -> Deployment:
    deployment.serve(0, 2)
    deployment.set_clock(hour(3) + GRACE)
    return deployment


def prove_all(deployment: Deployment) -> None:
    hours, before = stored_hours(deployment.store, MODEL, LOGGED), deployment.files()
    deployment.compute(0, 2)
    prove(no_hour_is_missing(hours), computed_alike(before, deployment.files()))


@pytest.mark.parametrize(
    "point", ["file.before_rename", "file.before_rename:25", "asset.before_done", "asset.before_done:5"]
)
def test_a_run_killed_at_this_point_is_run_again_and_leaves_no_half_hour(served: Deployment, point: str) -> None:
    (request,) = served.tick(MISSED).run_requests
    killed(run_hours, point, served.home / "dagster", request.tags)
    assert served.tick(MISSED).run_requests == [], "nobody knows yet that it is dead"
    (run,) = served.instance.get_runs()
    served.instance.report_run_failed(run)  # as Dagster's run monitoring does
    served.set_clock(hour(3) + GRACE + RETRY_EVERY)
    again = served.tick(MISSED)
    assert requested_hours(again)
    assert all(result.success for result in served.start(MISSED, again))
    prove_all(served)


def test_a_backfill_and_the_schedule_on_the_same_hours_leave_what_either_would(served: Deployment) -> None:
    home = served.home / "dagster"
    both = [start(run_hours, NEVER, home, range_tags(hour(first), hour(2))) for first in (0, 1)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    prove_all(served)

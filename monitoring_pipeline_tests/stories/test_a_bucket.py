"""All that is kept in files is in a bucket: hours are described, measured, judged and compacted, and expire there."""

from datetime import timedelta

import pytest

from monitoring_pipeline.stores.objects import ObjectPath, names, sizes
from monitoring_pipeline.workflow.storage import tidy
from monitoring_pipeline_tests.buckets import bucket, bucket_server
from monitoring_pipeline_tests.deployments import HOURLY_FILES, MODEL, Deployment
from monitoring_pipeline_tests.traffic import hour

__all__ = ["bucket", "bucket_server"]
pytestmark = pytest.mark.slow


def test_hours_are_judged_and_tidied_with_all_files_in_a_bucket(
    deployment: Deployment, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = deployment.monitoring.data
    deployment.serve(0, 5)
    deployment.set_clock(hour(7))
    deployment.compute(0, 5)
    wanted = {kind: deployment.store.read(kind, MODEL, hour(0), hour(6)) for kind in HOURLY_FILES}
    before = sorted(names(local))

    monkeypatch.setenv("MONITORING_DATA", str(bucket))
    deployment.serve(0, 5)
    assert deployment.process(0, 5).success
    found = {kind: deployment.store.read(kind, MODEL, hour(0), hour(6)) for kind in HOURLY_FILES}
    assert {kind: list(tables) for kind, tables in found.items()} == {kind: list(each) for kind, each in wanted.items()}
    assert [
        kind for kind in HOURLY_FILES if any(not found[kind][at].equals(wanted[kind][at]) for at in found[kind])
    ] == []
    assert {"predictions", "labels", "references", *HOURLY_FILES} <= set(names(bucket))
    assert sorted(names(local)) == before, "nothing is kept beside the bucket"

    deployment.watch({"retention": {"hot": "1d", "warm": "1d", "cold": "1d"}, "retraining": {"trainer": "none"}})
    done = tidy(deployment.monitor, bucket, hour(24 * 9), dry_run=False)
    assert done.files_saved > 50
    assert {kind: deployment.store.read(kind, MODEL, hour(0), hour(6)) for kind in HOURLY_FILES}.keys() == wanted.keys()
    done = tidy(deployment.monitor, bucket, hour(0) + timedelta(days=400), dry_run=False)
    assert {each.kind for each in done.removed} >= set(HOURLY_FILES)
    kinds = {name.partition("/")[0] for name in sizes(bucket)}
    assert kinds == {"references", "calibrations", "labels", "expired"} & kinds

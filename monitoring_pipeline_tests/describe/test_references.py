from monitoring_pipeline.describe.reference_building import ReferencePlan
from monitoring_pipeline_tests.traffic import log_rows, reference


def test_one_reference_can_stand_for_other_versions_in_all_its_segments() -> None:
    segmented = reference(log_rows(2400, seed=1), plan=ReferencePlan(segments=["plan"], most=2))
    other = segmented.for_version("9")
    assert len(other.segments) == 3
    assert {other.version, *(segment.version for segment in other.segments.values())} == {"9"}

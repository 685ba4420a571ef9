from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.served import served_verdicts
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.verdicts import MORNING, verdict


def test_only_the_version_that_served_counts_and_in_a_quiet_hour_the_one_that_served_last() -> None:
    old, new = verdict(Level.CRITICAL, version="1"), verdict(Level.OK, version="2")
    hours = [MORNING + step * HOUR for step in range(3)]
    served = {hours[0]: {"1": 90, "2": 10}, hours[1]: {"1": 10, "2": 90}, hours[2]: {"1": 0, "2": 0}}
    found = served_verdicts({hour: [old, new] for hour in hours}, served)
    assert [found[hour] for hour in hours] == [[old], [new], [new]]


def test_where_nothing_ever_served_no_verdict_counts() -> None:
    assert served_verdicts({MORNING: [verdict(Level.CRITICAL)]}, {}) == {MORNING: []}

from datetime import timedelta

import pytest

from monitoring_pipeline.notify.alerts import Step
from monitoring_pipeline.notify.delivery import Claim, DeliveryPolicy, retry_delay
from monitoring_pipeline.notify.messages import message_of
from monitoring_pipeline_tests.incidents import opened

MESSAGE = message_of(opened(), Step.OPENED)
POLICY = DeliveryPolicy()


def claim(attempts: int, *, number: int = 1) -> Claim:
    return Claim(number, "slack", MESSAGE, "k", attempts, token=attempts)


def test_the_delay_doubles_up_to_the_longest_one() -> None:
    delays = [retry_delay(claim(attempt), POLICY) for attempt in range(1, 31)]
    plain = [min(POLICY.first_delay * 2**place, POLICY.longest_delay) for place in range(30)]
    assert all(low <= delay <= low * 1.25 for low, delay in zip(plain, delays, strict=True))


def test_the_default_attempts_outlast_an_outage_of_most_of_a_day() -> None:
    assert sum((retry_delay(claim(attempt), POLICY) for attempt in range(1, 30)), timedelta(0)) > timedelta(hours=20)


def test_the_same_row_waits_the_same_and_a_backlog_is_spread() -> None:
    assert retry_delay(claim(3), POLICY) == retry_delay(claim(3), POLICY)
    delays = [retry_delay(claim(3, number=number), POLICY) for number in range(100)]
    assert max(delays) - min(delays) > timedelta(seconds=20), "a quarter of the two minutes of a third attempt is 30 s"


@pytest.mark.parametrize(
    ("wish", "least"),
    [
        (None, timedelta(seconds=30)),
        (5.0, timedelta(seconds=30)),
        (120.0, timedelta(seconds=120)),
        (1e9, timedelta(hours=1)),
        (-3.0, timedelta(seconds=30)),
    ],
)
def test_a_wish_to_wait_longer_is_granted_within_reason(wish: float | None, least: timedelta) -> None:
    delay = retry_delay(claim(1), POLICY, retry_after=wish)
    assert least <= delay <= least * 1.25

import base64
from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.notify.channels.signatures import keys, signature, verify

# The example that the libraries of Standard Webhooks are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
NOW = datetime.fromtimestamp(1614265330, UTC)
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_published_example_has_the_published_signature() -> None:
    found = signature(SECRET, webhook_id=HEADERS["webhook-id"], timestamp=1614265330, body=BODY)
    assert found == HEADERS["webhook-signature"]


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f"{OTHER} {SECRET}", f"{SECRET}\n"])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=5), timedelta(minutes=-5)])
def test_what_is_signed_and_fresh_passes_with_its_id(secret: str, late: timedelta) -> None:
    shouted = {name.title(): value for name, value in HEADERS.items()}
    assert verify(secret, shouted, BODY, now=NOW + late) == HEADERS["webhook-id"]


def test_one_good_signature_among_others_is_enough() -> None:
    several = f"v1a,zzzz v1,AAAA {HEADERS['webhook-signature']} ü"
    assert verify(SECRET, HEADERS | {"webhook-signature": several}, BODY, now=NOW)


def test_two_secrets_sign_so_that_a_reader_with_either_is_served() -> None:
    signed = signature(f"{OTHER} {SECRET}", webhook_id="a", timestamp=1614265330, body=BODY)
    headers = {"webhook-id": "a", "webhook-timestamp": "1614265330", "webhook-signature": signed}
    assert [verify(secret, headers, BODY, now=NOW) for secret in (SECRET, OTHER)] == ["a", "a"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"webhook-id": "msg_other"}, "none of its signatures"),
        ({"webhook-timestamp": "1614265331"}, "none of its signatures"),
        ({"webhook-signature": "v1,g0hM9SsE"}, "none of its signatures"),
        ({"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v2,")}, "none of its signatures"),
        ({"webhook-signature": ""}, "is not signed"),
        ({"webhook-id": ""}, "is not signed"),
        ({"webhook-timestamp": "yesterday"}, "not a number"),
        ({"webhook-timestamp": "-1614265330"}, "not a number"),
        ({"webhook-timestamp": "9" * 30}, "not a number"),
        ({"webhook-timestamp": "²"}, "not a number"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(changed: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        verify(SECRET, HEADERS | changed, BODY, now=NOW)


def test_another_body_or_another_secret_is_refused() -> None:
    for secret, body in ((SECRET, BODY + b" "), (OTHER, BODY)):
        with pytest.raises(ValueError, match="none of its signatures"):
            verify(secret, HEADERS, body, now=NOW)


@pytest.mark.parametrize("late", [timedelta(minutes=5, seconds=1), timedelta(minutes=-5, seconds=-1)])
def test_what_was_signed_at_another_time_is_refused(late: timedelta) -> None:
    with pytest.raises(ValueError, match="0:05:00 from now"):
        verify(SECRET, HEADERS, BODY, now=NOW + late)


@pytest.mark.parametrize("secret", ["", " ", "hunter2", "whsec_", "whsec_" + base64.b64encode(b"short").decode(), "é"])
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="a signing secret") as caught:
        keys(secret)
    assert "hunter2" not in str(caught.value)

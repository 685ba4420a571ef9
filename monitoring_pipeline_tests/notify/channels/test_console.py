import io

import pytest

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.console import ConsoleChannel
from monitoring_pipeline.notify.incidents import Step
from monitoring_pipeline.notify.messages import message_of
from monitoring_pipeline_tests.incidents import opened

MESSAGE = message_of(opened(), Step.OPENED)


def test_the_console_shows_the_text_of_the_message() -> None:
    stream = io.StringIO()
    ConsoleChannel(stream).send(MESSAGE, dedup_key="k")
    assert stream.getvalue() == MESSAGE.text()


def test_a_closed_stream_is_a_failure_that_may_pass() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(DeliveryError, match="was not written") as caught:
        ConsoleChannel(stream).send(MESSAGE, dedup_key="k")
    assert caught.value.retryable

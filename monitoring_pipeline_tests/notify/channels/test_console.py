import io

import pytest

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.console import ConsoleChannel
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.told import MESSAGES, OPENED


@pytest.mark.parametrize("name", MESSAGES)
def test_the_console_shows_the_text_that_was_read_and_found_good(name: str) -> None:
    stream = io.StringIO()
    ConsoleChannel(stream).send(MESSAGES[name], dedup_key="k")
    assert_golden(f"{name}_console.txt", stream.getvalue())


def test_a_closed_stream_is_a_failure_that_may_pass() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(DeliveryError, match="was not written") as caught:
        ConsoleChannel(stream).send(OPENED, dedup_key="k")
    assert caught.value.retryable

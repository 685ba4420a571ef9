"""The console channel: messages as plain text on a stream.

Add nothing here; another medium is another file in this folder.
"""

from typing import TextIO

from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.messages import Message


class ConsoleChannel:
    """Writes each message to a stream."""

    name = "console"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Write the message and flush; a stream shows what it was told, so `dedup_key` is not needed."""
        try:
            self._stream.write(message.text())
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            raise DeliveryError(f"console: {message.incident_id} was not written: {error}", retryable=True) from error
        return None

"""Messages that are sent while there is no connection, kept for the next one."""

from collections import deque
from typing import Any, Literal, cast

from . import _core
from ._connection import Connection
from .config import WebSocketConfig
from .exceptions import SendQueueFull

__all__ = ["HeldMessages"]

# A client's longest frame header: 2 bytes, 8 of length, 4 of mask (RFC 6455 §5.2).
_MAX_HEADER = 14


class HeldMessages:
    """A queue bounded in messages (`message_buffer_size`) and bytes (`max_send_queue`: all has to fit at once later).

    Messages are encoded when they are put in: a fault has a caller, and what the caller changes afterwards changes
    nothing here.
    """

    __slots__ = ("_bytes", "_codec", "_encoder", "_max_bytes", "_max_messages", "_messages")

    def __init__(self, codec: Literal["json", "msgpack", "protobuf"], config: WebSocketConfig) -> None:
        self._codec = codec
        self._encoder = _core.Encoder(codec)
        self._messages: deque[tuple[str | bytes, bool | None, int]] = deque()
        self._bytes = 0
        self._max_messages = config.message_buffer_size
        self._max_bytes = config.max_send_queue

    def put(self, message: Any, compress: bool | None) -> None:
        """Keep one message, and how it is to be compressed.

        Raises:
            SendQueueFull: If it would pass a bound. It is not kept.
            EncodeError: If it has no form in the codec. It is not kept.
        """
        if isinstance(message, (bytes, bytearray, memoryview)):
            encoded: str | bytes = bytes(cast("bytes | bytearray | memoryview[int]", message))
        elif isinstance(message, str):
            encoded = message
        else:
            packed = self._encoder.encode(message)
            encoded = packed.decode() if self._codec == "json" else packed
        if len(self._messages) >= self._max_messages:
            raise SendQueueFull(len(self._messages), 1, self._max_messages, unit="messages")
        # At most 4 bytes in UTF-8 for a character: the bound need not be exact.
        size = len(encoded) * (4 if isinstance(encoded, str) and not encoded.isascii() else 1) + _MAX_HEADER
        if self._messages and self._bytes + size > self._max_bytes:
            raise SendQueueFull(self._bytes, size, self._max_bytes)
        self._messages.append((encoded, compress, size))
        self._bytes += size

    def send_all(self, connection: Connection) -> None:
        """Send what is kept, in the order it came, until the connection ends; the rest stays."""
        while self._messages and connection.is_open:
            message, compress, size = self._messages.popleft()
            self._bytes -= size
            connection.send(message, compress=compress)

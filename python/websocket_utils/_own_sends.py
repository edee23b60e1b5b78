"""Messages that a client sends on its own account, such as subscriptions: counted apart from those of its user."""

from collections import Counter
from typing import Any

from ._connection import Connection
from ._core import Sent

__all__ = ["OwnSends"]

# So many may be undecided before those that have ended are looked for.
_FOLD_FROM = 64


class OwnSends:
    """Sends on a connection, and keeps the books of what it sent; has what `Heartbeat` needs of a connection too."""

    __slots__ = ("_bytes", "_connection", "_ended", "_open", "_sent")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = 0
        self._bytes = 0
        self._open: list[Sent] = []
        self._ended: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        """As the connection's."""
        return self._connection.is_open

    def take_activity(self) -> bool:
        """As the connection's."""
        return self._connection.take_activity()

    def has_socket_error(self) -> bool:
        """As the connection's."""
        return self._connection.has_socket_error()

    def ping(self, payload: bytes = b"", /) -> None:
        """As the connection's."""
        self._connection.ping(payload)

    def send(self, message: Any, /) -> Sent:
        """Send one message.

        Raises:
            ConnectionClosed: If the connection is closing.
            SendQueueFull: If more than `max_send_queue` bytes wait.
        """
        before = self._connection.sent_counters()[1]
        sent = self._connection.send(message)
        self._sent += 1
        self._bytes += self._connection.sent_counters()[1] - before
        self._open.append(sent)
        if len(self._open) >= _FOLD_FROM:
            self._fold()
        return sent

    def _fold(self) -> None:
        undecided: list[Sent] = []
        for sent in self._open:
            outcome = sent.outcome
            if outcome is None:
                undecided.append(sent)
            else:
                self._ended[outcome.fate] += 1
        self._open = undecided

    def counted(self) -> tuple[int, ...]:
        """What was sent: messages, bytes; and how the messages ended: accepted, written, dropped, unknown."""
        self._fold()
        fates = (self._ended[fate] for fate in ("written", "dropped", "unknown"))
        return (self._sent, self._bytes, self._sent, *fates)

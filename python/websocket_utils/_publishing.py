"""The half of a server that publishes."""

from typing import Any, TypeVar, cast, overload

from ._core import Broadcaster, Channel, Receipt
from .namespaces import namespace_of

__all__ = ["Publishing"]

T = TypeVar("T")


class Publishing:
    """Publishes to the connections of a server: to all, or to the subscribers of a channel."""

    _broadcaster: Broadcaster
    # The only namespaces there are; None where all are served.
    _declared: set[str] | None

    def broadcast(self, message: Any, compress: bool | None = None) -> int:
        """Queue a message for every connection; never waits for any of them.

        It is encoded once for each codec in use and leaves with everything else of this event loop turn. It stands in
        no channel: it has no sequence and no history, and no policy but `max_lag`.

        Args:
            message: A message object, `str` (a text message) or bytes-like (a binary one).
            compress: For clients that agreed to `compression`: None compresses from `compression_threshold` on, True
                always, False never (a secret beside text that an attacker chooses must not be compressed). It is done
                once, whatever the number of clients.

        Returns:
            Connections it is queued for.

        Raises:
            EncodeError: If the message has no form in any codec that these clients speak. If it has one in some, those
                who speak them get it and the error is logged: what codec a client chose is nobody else's concern.
        """
        return self._broadcaster.broadcast(message, compress=compress)

    def publish(self, channel: str, message: Any, compress: bool | None = None) -> Receipt:
        """Publish a message to the subscribers of one channel; never waits for any of them.

        Where the namespace keeps history the message is kept too: don't change it afterwards.

        Args:
            channel: Its exact name.
            message: As for `broadcast`.
            compress: As for `broadcast`.

        Returns:
            Where it stands in the channel, and how many subscribers it is queued for.

        Raises:
            TypeError: If the namespace is for another type. Nothing is published.
            ValueError: If `channel` is no name, or of a namespace that is not served.
            EncodeError: As for `broadcast`.
        """
        if self._declared is not None:
            self._check_declared(channel)
        return self._broadcaster.publish(channel, message, compress=compress)

    @overload
    def channel(self, name: str) -> Channel[Any]: ...
    @overload
    def channel(self, name: str, type_: type[T]) -> Channel[T]: ...
    def channel(self, name: str, type_: Any = None) -> Channel[Any]:
        """Return the handle of a channel: `publish` on it is the fastest way, and knows the type.

        Args:
            name: Its exact name.
            type_: Class of its messages, for type checkers; what is checked is the type of the namespace.

        Raises:
            ValueError: If `name` is none, or of a namespace that is not served.
        """
        del type_
        if self._declared is not None:
            self._check_declared(name)
        return cast("Channel[Any]", self._broadcaster.channel(name))

    def _check_declared(self, channel: str) -> None:
        if namespace_of(channel) not in (self._declared or ()):
            raise ValueError(f"{channel!r} can't be published to: no such namespace, and undeclared ones are refused")

"""The half of a server that publishes."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from ._core import Broadcaster, Channel, Receipt
from ._opening import Opening
from ._server_channels import ServerChannels
from .namespaces import namespace_of
from .recording import Recording
from .replay import Replay, publishing

__all__ = ["Publishing"]

T = TypeVar("T")


class Publishing:
    """Publishes to the connections of a server: to all, or to the subscribers of a channel."""

    _broadcaster: Broadcaster
    _channels: ServerChannels
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
        return self._broadcaster.channel(name)

    def record(
        self,
        channels: str,
        path: str | os.PathLike[str],
        *,
        max_buffer: int = 16 * 1024 * 1024,
        max_file_size: int | None = None,
    ) -> Opening[Recording]:
        """Write every publication of some channels to a file, until the recording is closed.

        Publishing never waits for the disk: what doesn't fit `max_buffer` is not recorded, and counted.

        Args:
            channels: A name or a pattern; what is `broadcast` stands in no channel.
            path: The file, which must not be there yet. Its form is told in `docs/guides/recording.md`.
            max_buffer: Bytes that may wait for the disk.
            max_file_size: Bytes after which the recording goes on in `FILE.1`, `FILE.2` and so on; None never does.

        Returns:
            To be entered with `async with`, which closes it at the end, or awaited. Closing raises `RecordingError` if
            the disk failed.

        Raises:
            ValueError: If `channels` is no name or pattern, or a size is below 1.
            FileExistsError: When awaited, if the file is there.
        """
        recording = Recording(
            path,
            channels=channels,
            tap=self._broadcaster.tap,
            untap=self._broadcaster.untap,
            max_buffer=max_buffer,
            max_file_size=max_file_size,
        )
        return Opening(recording, recording.open)

    def replay(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float | None = 1.0,
        channels: str | Sequence[str] = "*",
        prefix: str = "",
        loop: bool = False,
    ) -> Replay:
        """Publish a recording again, to the channels it was recorded from; subscribers notice no difference.

        Messages are of the type of their namespace, as it was recorded: without `prefix`.

        Args:
            path: The file.
            speed: Factor on the recorded pace; None: as fast as the slowest client takes it.
            channels: Name or pattern, or several, of what is replayed.
            prefix: What to put in front of the names of channels, such as `replay:`.
            loop: Whether to begin again at its end, for ever.

        Returns:
            The replay, which has begun: await it for its end, or `async with` it to end it with the block.

        Raises:
            ValueError: If `speed`, `channels` or `prefix` is none.
        """
        return Replay(
            path,
            publishing(self.publish, prefix),
            speed=speed,
            channels=channels,
            loop=loop,
            type_of=self._channels.type_of,
            is_behind=(lambda: self._broadcaster.counters()["lagging"]) if speed is None else None,
        )

    def _check_declared(self, channel: str) -> None:
        if namespace_of(channel) not in (self._declared or ()):
            raise ValueError(f"{channel!r} can't be published to: no such namespace, and undeclared ones are refused")

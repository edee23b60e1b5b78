"""Whether channels that must not fall silent do: the inbox tells what it has seen, `Freshness` what that means."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, get_args

from . import _core
from ._freshness import Freshness
from .events import Restored, Stale

__all__ = ["HEARD", "Watching", "Where"]

# Loops round timers to milliseconds.
_SHORTEST = 0.001
_NOT_HEARD = object()

HEARD = "heard"
"""In place of a class of messages: somebody says when one has come."""

Where = Callable[[Any], bool] | Mapping[str, Any]
"""Which messages of a class: those that a callable says True to, or whose fields have these values."""


class Watching:
    """The data plane of liveness, over all connections of a client.

    Args:
        loop: Its timers are all that is used.
        inbox: Where messages of every connection end up.
        tell: Takes each `Stale` and `Restored`.
        silence: Is told of each channel that a connection has brought nothing of for too long, and of its age.
        confirm: Is told of channels whose data has come.
        is_held: Whether this side does not read at the moment: silence is its own then.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: _core.Inbox,
        tell: Callable[[Stale | Restored], None],
        silence: Callable[[str, float], None],
        confirm: Callable[[str], None],
        is_held: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._inbox = inbox
        self._tell = tell
        self._silence = silence
        self._confirm = confirm
        self._is_held = is_held
        self._freshness = Freshness()
        self._channels: dict[int, str] = {}
        self._tokens: dict[str, int] = {}
        # Channels without a class of their own: any message counts for them.
        self._any: set[str] = set()
        # Channels whose messages somebody else knows, each with the time of the first one since the last look.
        self._heard: dict[str, float | None] = {}
        self._next_token = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_connected = False

    def check_alone(self, channels: tuple[str, ...]) -> None:
        """Refuse what could not tell one channel's silence from another's data.

        Raises:
            ValueError: If a channel is watched by any message, and there are others.
        """
        if (self._any and set(channels) - self._any) or len(self._any) > 1:
            raise ValueError(
                f"stale_after of {sorted(self._any)[0]!r} counts any message, but there are other channels whose "
                "messages would hide its silence: say which are its own with `of=`, and `where=`"
            )

    def watch(self, channel: str, stale_after: float, of: Any, where: Where | None) -> None:
        """Watch a channel. Watched already: its messages are told as is said now, and the shorter time holds.

        Raises:
            ValueError: If `stale_after` is no positive number of seconds, or `where` comes without `of`, or names a
                field that no such message has.
            TypeError: If `of` is no type that messages can be decoded as.
        """
        if of == HEARD:
            if where is not None:
                raise ValueError("where needs a class of messages: who calls `heard` has looked at them")
            self._freshness.watch(channel, stale_after, self._loop.time())
            self._heard.setdefault(channel, None)
            self._plan()
            return
        if where is not None and of is None:
            raise ValueError("where needs `of`: the class of the channel's messages")
        match: Any = where
        if where is not None and not callable(where):
            _check_fields(of, where)
            match = tuple(where.items())
        token, self._next_token = self._next_token, self._next_token + 1
        self._inbox.watch(token, of, match)
        try:
            self._freshness.watch(channel, stale_after, self._loop.time())
        except ValueError:
            self._inbox.unwatch(token)
            raise
        before = self._tokens.pop(channel, None)
        if before is not None:
            del self._channels[before]
            self._inbox.unwatch(before)
            self._any.discard(channel)
        self._channels[token] = channel
        self._tokens[channel] = token
        if of is None:
            self._any.add(channel)
        self._plan()

    def unwatch(self, channel: str) -> None:
        """End watching a channel; does nothing for one that is not watched."""
        if self._heard.pop(channel, _NOT_HEARD) is not _NOT_HEARD:
            self._freshness.unwatch(channel)
        token = self._tokens.pop(channel, None)
        if token is not None:
            del self._channels[token]
            self._inbox.unwatch(token)
            self._freshness.unwatch(channel)
            self._any.discard(channel)

    def heard(self, channel: str) -> None:
        """A message of a channel has come, says who looks at them; does nothing for one that is not watched so."""
        if self._heard.get(channel, _NOT_HEARD) is None:
            self._heard[channel] = self._loop.time()

    @property
    def stale(self) -> tuple[str, ...]:
        """Channels that are silent for too long."""
        return self._freshness.stale

    def connected(self) -> None:
        """There is a connection: silence counts from now."""
        self._is_connected = True
        self._inbox.take_seen()
        self._heard = dict.fromkeys(self._heard)
        self._freshness.resumed(self._loop.time())
        self._plan()

    def disconnected(self) -> None:
        """There is none, which is told of already: silence says nothing."""
        self._look()
        self._is_connected = False
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        self.stop()
        if not self._is_connected:
            return
        due = self._freshness.next_check(self._loop.time())
        if due is not None:
            # Not at once: between two looks the loop has to have read what waits.
            self._timer = self._loop.call_at(max(due, self._loop.time() + _SHORTEST), self._check)

    def _check(self) -> None:
        self._timer = None
        self._look()
        now = self._loop.time()
        if self._is_held():
            self._freshness.resumed(now)
        for event in self._freshness.check(now):
            self._tell(event)
        # Told once, but each connection that brings nothing is one to be replaced.
        stale = self._freshness.stale
        for channel in self._freshness.silent:
            if channel in stale:
                self._silence(channel, self._freshness.age(channel, now))
        self._plan()

    def _look(self) -> None:
        now, now_ns = self._loop.time(), time.monotonic_ns()
        for token, at_ns in self._inbox.take_seen():
            channel = self._channels.get(token)
            if channel is not None:
                # By its age: the loop's clock may be a virtual one.
                self._freshness.seen(channel, now - max(0, now_ns - at_ns) / 1e9)
                self._confirm(channel)
        for channel, at in self._heard.items():
            if at is not None:
                self._heard[channel] = None
                self._freshness.seen(channel, at)
                self._confirm(channel)


def _check_fields(of: Any, where: Mapping[str, Any]) -> None:
    """Refuse the name of a field that no message has: nothing would match, and the channel be stale for ever."""
    of = of.type if isinstance(of, _core.Decoder) else of
    names: set[str] = set()
    for kind in get_args(of) or (of,):
        fields = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None)
        if fields is None:
            return
        names.update(fields)
    unknown = [name for name in where if name not in names]
    if unknown:
        raise ValueError(f"where: no message has a field {unknown[0]!r}; there are {', '.join(sorted(names))}")

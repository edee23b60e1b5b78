"""Requests to peers, and the answers to theirs."""

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

from websocket_utils import _core
from websocket_utils._faults import Faults
from websocket_utils.exceptions import (
    ConnectionClosed,
    DecodeError,
    PeerUnavailable,
    RequestFailed,
    RequestsFull,
    RequestTimeout,
    SendQueueFull,
)
from websocket_utils.messages import Message

from ._link import Answer, Link, LinkConnection
from ._links import Links, PeerCodec
from ._messages import PeerFailure

__all__ = ["Asking"]

Answerer = Callable[[Any, str], Any]
_Answered = Callable[[LinkConnection, tuple[int, float, Any]], Awaitable[None] | None]

_MAX_REASON = 500
_MAX_KIND = 64
# A deadline beyond this is a peer's joke, and timers take it for an error.
_MOST_SECONDS = 86_400.0


def tag_of(type_: type) -> str:
    """What names a message class on the wire.

    Raises:
        TypeError: If it is no message class with a tag.
    """
    tag = getattr(getattr(type_, "__struct_config__", None), "tag", None)
    if not isinstance(tag, str) or not 0 < len(tag) <= _MAX_KIND or "\n" in tag:
        raise TypeError(f"{type_!r} is no message class with a name of 1 to {_MAX_KIND} characters on one line")
    return tag


class Asking:
    """Both sides of requests, over all links.

    Args:
        links: The links.
        loop: The event loop.
        inbox: Where messages come.
        faults: Takes what handlers raise, and runs those that take time.
        codec: How messages are sent.
        max_requests: Requests of one peer that are worked on at once.

    Attributes:
        expired: Requests that were past their deadline before they were answered.
    """

    def __init__(
        self,
        links: Links,
        *,
        loop: asyncio.AbstractEventLoop,
        inbox: _core.Inbox,
        faults: Faults,
        codec: PeerCodec,
        max_requests: int,
    ) -> None:
        self.expired = 0
        self._links = links
        self._loop = loop
        self._inbox = inbox
        self._now = loop.time
        self._create_future = loop.create_future
        self._faults = faults
        self._codec: PeerCodec = codec
        self._max_requests = max_requests
        self._decoders: dict[Any, _core.Decoder[Any]] = {}
        # Message classes by the names that answers had: as many as there are classes, whatever peers send.
        self._classes: dict[str, type] = {}
        self._answerers: dict[str, tuple[_core.Decoder[Any], _Answered]] = {}
        self._tags: dict[type, str] = {}
        # One timer over all requests: when the first of them may be due.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        # Requests of each peer that are worked on.
        self._working: dict[str, int] = {}
        inbox.on_envelopes(self._on_request, self._on_answer)
        inbox.on(PeerFailure, self._on_failure)

    def _tag(self, message: object) -> str:
        tag = self._tags.get(type(message))
        if tag is None:
            tag = self._tags[type(message)] = tag_of(type(message))
        return tag

    # --- asking ---

    async def ask(self, link: Link, connection: LinkConnection, message: object, within: float, of: Any) -> Any:
        """Ask, and wait for the answer."""
        decoder = None if of is None else self._decoders.get(of) or self._decoder(of)
        kind = self._tags.get(type(message)) or self._tag(message)
        answer: asyncio.Future[Answer] = self._create_future()
        due = self._now() + within
        requests = link.requests
        number = requests.open((answer, within), due)
        if not number:
            raise RequestsFull(link.name, len(requests))
        try:
            try:
                connection.ask(message, number, within, kind)
            except ConnectionClosed as error:
                raise PeerUnavailable(link.name) from error
            if due < self._timer_due:
                self._arm(due)
            _, kind, body = await answer
        except BaseException:
            requests.forget(number)
            raise
        if decoder is None:
            found = self._classes.get(kind)
            if found is None:
                found = self._classes[kind] = _class_of(link.name, kind)
            decoder = self._decoder(found)
        try:
            return decoder.decode(body)
        except DecodeError as error:
            reason = f"the answer is no {decoder.type}: {error}"[:_MAX_REASON]
            raise RequestFailed(link.name, "type", reason) from error

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._expire) if due < math.inf else None
        self._timer_due = due

    def _expire(self) -> None:
        self._timer = None
        now, first = self._now(), math.inf
        for link in self._links.all.values():
            expired, due = link.requests.take_due(now)
            for answer, within in expired:
                if not answer.done():
                    answer.set_exception(RequestTimeout(link.name, within))
            if due is not None and due < first:
                first = due
        self._arm(first)

    def close(self) -> None:
        """Every request has ended."""
        self._arm(math.inf)

    def _decoder(self, of: Any) -> "_core.Decoder[Any]":
        found = self._decoders.get(of)
        if found is None:
            found = self._decoders[of] = _core.Decoder(of, format=self._codec)
        return found

    def _on_answer(self, connection: LinkConnection, answer: Answer) -> None:
        link = connection.link
        if link is None:
            return
        found = link.requests.settle(answer[0])
        if found is not None and not found[0].done():
            found[0].set_result(answer)

    def _on_failure(self, connection: LinkConnection, message: PeerFailure) -> None:
        link = connection.link
        found = None if link is None else link.requests.settle(message.number)
        if found is not None and not found[0].done():
            error = RequestFailed(connection.peer, message.kind[:_MAX_KIND], message.reason[:_MAX_REASON])
            found[0].set_exception(error)

    # --- answering ---

    def answer(self, type_: type[Any], handler: Answerer) -> None:
        """Answer requests of that class with what the handler returns.

        Raises:
            TypeError: If it is no message class with a tag.
            ValueError: If such requests are answered already.
        """
        tag = tag_of(type_)
        if tag in self._answerers:
            raise ValueError(f"requests of class {tag} are answered already")
        decoder: _core.Decoder[Any] = _core.Decoder(type_, format=self._codec)
        tags, working = self._tags, self._working

        # All that most requests need, without one more call.
        def answered(connection: LinkConnection, request: tuple[int, float, Any]) -> Awaitable[None] | None:
            number, within, message = request
            peer = connection.peer
            if working and working.get(peer, 0) >= self._max_requests:
                self._fail(connection, number, "busy", f"{self._max_requests} requests are worked on")
                return None
            try:
                reply: object = handler(message, peer)
            except Exception as error:  # noqa: BLE001  # it is the asker's
                self._raised(connection, number, error)
                return None
            reply_tag = tags.get(type(reply))
            if reply_tag is None or connection.link is None:
                return self._finish(connection, number, within, reply)
            try:
                connection.reply(reply, number, reply_tag)
            except Exception as error:  # noqa: BLE001  # it is looked at there
                self._unsent(connection, number, error)
            return None

        self._answerers[tag] = decoder, answered
        self._inbox.on_request(tag, decoder, answered)

    def _on_request(self, connection: LinkConnection, request: tuple[int, float, str, bytes]) -> Awaitable[None] | None:
        """Take one that nobody answers, that is too late, or that is no such message."""
        number, within, kind, body = request
        found = self._answerers.get(kind)
        if found is None:
            self._fail(connection, number, "unknown", "nobody answers such requests")
            return None
        if not within:
            self.expired += 1
            self._fail(connection, number, "expired", "no time is left to answer")
            return None
        decoder, answered = found
        try:
            message = decoder.decode(body)
        except DecodeError as error:
            self._faults.report(error)
            self._fail(connection, number, "DecodeError", str(error))
            return None
        return answered(connection, (number, within, message))

    def _finish(self, connection: LinkConnection, number: int, within: float, reply: object) -> Awaitable[None] | None:
        if not inspect.isawaitable(reply):
            self._reply(connection, number, reply)
            return None
        # The inbox keeps the task, and reads no more from this peer while too many bytes are worked on.
        peer = connection.peer
        self._working[peer] = self._working.get(peer, 0) + 1
        task = self._loop.create_task(self._answer_later(connection, number, within, reply))
        task.add_done_callback(lambda _: self._worked(peer))
        return task

    async def _answer_later(
        self, connection: LinkConnection, number: int, within: float, reply: Awaitable[Any]
    ) -> None:
        limit = asyncio.timeout(min(within, _MOST_SECONDS))
        try:
            async with limit:
                result = await reply
        except Exception as error:  # noqa: BLE001  # it is the asker's
            if limit.expired():
                # It has given up by now.
                self.expired += 1
                self._fail(connection, number, "expired", "the answer took too long")
            else:
                self._raised(connection, number, error)
        else:
            self._reply(connection, number, result)

    def _worked(self, peer: str) -> None:
        left = self._working[peer] - 1
        if left:
            self._working[peer] = left
        else:
            del self._working[peer]

    def _reply(self, connection: LinkConnection, number: int, reply: object) -> None:
        # Of a link that is lost nobody waits for the answer.
        if connection.link is None:
            return
        try:
            connection.reply(reply, number, self._tag(reply))
        except Exception as error:  # noqa: BLE001  # it is looked at there
            self._unsent(connection, number, error)

    def _unsent(self, connection: LinkConnection, number: int, error: Exception) -> None:
        if isinstance(error, SendQueueFull):
            # It asks, and reads no answers.
            self._links.cut(connection, error)
        elif not isinstance(error, ConnectionClosed):
            # What was returned is no message.
            self._raised(connection, number, error)

    def _raised(self, connection: LinkConnection, number: int, error: Exception) -> None:
        if not isinstance(error, RequestFailed):
            self._faults.report(error)
            self._fail(connection, number, type(error).__name__, str(error))
        else:
            # A refusal in the handler's own words.
            self._fail(connection, number, error.kind, error.reason)

    def _fail(self, connection: LinkConnection, number: int, kind: str, reason: str) -> None:
        if connection.link is None:
            return
        text = reason.encode("utf-8", "backslashreplace").decode()[:_MAX_REASON]
        try:
            connection.send(PeerFailure(number, kind[:_MAX_KIND], text))
        except ConnectionClosed:
            return
        except SendQueueFull as error:
            self._links.cut(connection, error)


def _class_of(peer: str, tag: str) -> type:
    """The message class of that name.

    Raises:
        RequestFailed: If there is none, or there are several.
    """
    found: list[type] = []
    waiting: list[type] = [Message]
    while waiting:
        children: list[type] = waiting.pop().__subclasses__()
        waiting += children
        found += [one for one in children if getattr(one, "__struct_config__").tag == tag]  # noqa: B009  # msgspec's own
    if len(found) == 1:
        return found[0]
    how = "no message class is called" if not found else "several message classes are called"
    raise RequestFailed(peer, "type", f"{how} {tag[:_MAX_KIND]!r} here: say which with `of=`")

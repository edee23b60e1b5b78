"""How a client's messages are received: pulled one by one, in batches, or handed to callbacks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal, TypeVar, overload

from . import _core
from ._event_handlers import EventHandlers, event_classes
from ._faults import Faults
from ._slow import Backpressure, SlowPolicy, describe
from .events import Event
from .exceptions import DecodeError
from .messages import WsMessage

__all__ = ["Receiving"]

T = TypeVar("T")


class Receiving:
    """The receiving half of a client, over all its connections."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        faults: Faults,
        max_inbox: int,
        max_inbox_messages: int = 65536,
        slow: SlowPolicy = Backpressure(),  # noqa: B008  # it is frozen
    ) -> None:
        self._faults = faults
        self._event_handlers = EventHandlers(faults)
        self._inbox = _core.Inbox(
            loop, faults.report, faults.run, limit=max_inbox, max_messages=max_inbox_messages, slow=describe(slow)
        )

    @property
    def last_received_ns(self) -> int:
        """When the message that was handed out last came off the socket, in nanoseconds since 1970; 0 before the first.

        Inside a callback it is that of the callback's message. Taken once a read: messages that came together share it.
        """
        return self._inbox.last_received_ns

    @overload
    def receive(self) -> Coroutine[Any, Any, WsMessage | None]: ...
    @overload
    def receive(self, type_: type[T] | _core.Decoder[T]) -> Coroutine[Any, Any, T | None]: ...
    @overload
    def receive(self, type_: Any) -> Coroutine[Any, Any, Any]: ...
    def receive(self, type_: Any = WsMessage) -> Coroutine[Any, Any, Any]:
        """Wait for the next message.

        Args:
            type_: What it shall be: a message class, a union of them, `str` (a text message as it is), `bytes` (any
                message as it is), `str | bytes` (each as it came), or any type that msgspec decodes. A `Decoder` of one
                says more: `Decoder(BookTicker, strict=False)` reads prices in quotes.

        Returns:
            The message; None once the client is closed and all that had come is taken.

        Raises:
            DecodeError: If the message is no `type_`. It is consumed; the connection stays open.
            ConnectionClosedError, HandshakeError, ReconnectGaveUp: Once, if the client ended with an error.

        Cancelling it loses no message.
        """
        return self._inbox.receive(type_)

    @overload
    def messages(self) -> AsyncIterator[WsMessage]: ...
    @overload
    def messages(self, *, with_timestamps: Literal[True]) -> AsyncIterator[tuple[int, WsMessage]]: ...
    @overload
    def messages(self, type_: type[T] | _core.Decoder[T]) -> AsyncIterator[T]: ...
    @overload
    def messages(
        self, type_: type[T] | _core.Decoder[T], *, with_timestamps: Literal[True]
    ) -> AsyncIterator[tuple[int, T]]: ...
    @overload
    def messages(self, type_: Any, *, with_timestamps: Literal[True]) -> AsyncIterator[tuple[int, Any]]: ...
    @overload
    def messages(self, type_: Any, *, with_timestamps: bool = False) -> AsyncIterator[Any]: ...
    def messages(self, type_: Any = WsMessage, *, with_timestamps: bool = False) -> AsyncIterator[Any]:
        """Iterate over messages: `async for update in client.messages(PriceUpdate)`. Types and errors as `receive`.

        Ends when the client is closed; goes on over a reconnect, and may be called again after a `DecodeError`.

        Args:
            type_: As `receive`.
            with_timestamps: Yield `(received_ns, message)`: when it came off the socket, as `last_received_ns`.
        """
        return self._inbox.messages(type_, with_timestamps)

    @overload
    def events(self) -> AsyncIterator[WsMessage | Event]: ...
    @overload
    def events(self, *, with_timestamps: Literal[True]) -> AsyncIterator[tuple[int, WsMessage | Event]]: ...
    @overload
    def events(self, type_: type[T] | _core.Decoder[T]) -> AsyncIterator[T | Event]: ...
    @overload
    def events(
        self, type_: type[T] | _core.Decoder[T], *, with_timestamps: Literal[True]
    ) -> AsyncIterator[tuple[int, T | Event]]: ...
    @overload
    def events(self, type_: Any, *, with_timestamps: Literal[True]) -> AsyncIterator[tuple[int, Any]]: ...
    @overload
    def events(self, type_: Any, *, with_timestamps: bool = False) -> AsyncIterator[Any]: ...
    def events(self, type_: Any = WsMessage, *, with_timestamps: bool = False) -> AsyncIterator[Any]:
        """Iterate over messages and, in order with them, what happens to the link: `Disconnected`, `Gap`, `Stale`...

        Events are kept from the first call on, the latest 4096 of them. They stand behind all messages that came before
        them and before all that came later; the last of them comes before the stream ends. Use one such stream of a
        client: what takes messages beside it (`messages`, `receive`, `batches`, `columns`) drops the events it passes.

        Args:
            type_: As `receive`, for the messages.
            with_timestamps: Yield `(ns, item)`: when a message came off the socket, or when an event happened.
        """
        return self._inbox.events(type_, with_timestamps)

    @overload
    def batches(self) -> AsyncIterator[list[WsMessage]]: ...
    @overload
    def batches(self, *, with_timestamps: Literal[True]) -> AsyncIterator[list[tuple[int, WsMessage]]]: ...
    @overload
    def batches(self, type_: type[T] | _core.Decoder[T]) -> AsyncIterator[list[T]]: ...
    @overload
    def batches(
        self, type_: type[T] | _core.Decoder[T], *, with_timestamps: Literal[True]
    ) -> AsyncIterator[list[tuple[int, T]]]: ...
    @overload
    def batches(self, type_: Any, *, with_timestamps: Literal[True]) -> AsyncIterator[list[tuple[int, Any]]]: ...
    @overload
    def batches(self, type_: Any, *, with_timestamps: bool = False) -> AsyncIterator[list[Any]]: ...
    def batches(self, type_: Any = WsMessage, *, with_timestamps: bool = False) -> AsyncIterator[list[Any]]:
        """Iterate over lists of all messages that wait: at least one, usually what one read brought.

        The cheapest way to receive many. Before a message that is no `type_` a list ends; the next step raises for it.

        Args:
            type_: As `receive`.
            with_timestamps: Yield lists of `(received_ns, message)`, as `messages`.
        """
        return self._inbox.batches(type_, with_timestamps)

    def columns(self, type_: Any) -> AsyncIterator[_core.Columns]:
        """Iterate over messages of one class as columns: one typed array for each field, no object for any message.

        For who computes with NumPy, Polars, pandas or PyArrow, which take the columns as they are. Each step has at
        least one message, usually what one read brought; at most 4096. Errors as `batches`.

        Args:
            type_: A message class whose fields are all `bool`, `int`, `float`, `str`, `bytes`, enums or literals, or
                None; or a `Decoder` of one.

        Raises:
            TypeError: If `type_` is no such class; it names the field.
        """
        return self._inbox.columns(type_)

    @overload
    def on(self, type_: type[T] | _core.Decoder[T], callback: Callable[[T], object]) -> Callable[[T], object]: ...
    @overload
    def on(self, type_: type[T] | _core.Decoder[T]) -> Callable[[Callable[[T], object]], Callable[[T], object]]: ...
    @overload
    def on(self, type_: Any, callback: Callable[[Any], object] | None = None) -> Any: ...
    def on(self, type_: Any, callback: Callable[[Any], object] | None = None) -> Any:
        """Call `callback` with every message of a class, inside the read that brings it: the lowest latency.

        What it raises is logged and counted; the connection goes on. It may be a coroutine function, which runs as a
        task. Once there is a handler, messages without one are dropped (and counted as `unhandled`) unless somebody
        has pulled.

        Args:
            type_: A message class, a union of them, or a `Decoder` of a class; `DecodeError` for messages that a
                handler could not be given. Dataclasses and TypedDicts have no tag: messages without one go to the only
                class that has none either.
            callback: None makes this a decorator: `@client.on(PriceUpdate)`.

        Returns:
            `callback`, or a decorator.

        Raises:
            TypeError: If `type_` is nothing that messages can be told apart by.
        """
        if callback is None:

            def register(function: Callable[[Any], object]) -> Any:
                return self.on(type_, function)

            return register
        events = event_classes(type_)
        if events:
            self._event_handlers.add(events, callback)
        elif type_ is DecodeError:
            self._faults.on_decode_error(callback)
        else:
            self._inbox.on(type_, callback)
            self._registered(type_)
        return callback

    def _registered(self, type_: Any) -> None:
        """A callback for messages was registered."""

"""What the Rust extension offers. `tests/meta/test_stubs.py` compares it with the extension."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from types import GenericAlias
from typing import Any, Generic, Literal, Self, TypeVar, final, overload

from typing_extensions import Buffer, disjoint_base

from .messages import AccountUpdate, SlotUpdate
from .outcomes import SendOutcome

_Format = Literal["json", "msgpack", "protobuf"]
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_T_contra = TypeVar("_T_contra", contravariant=True)

# (send_window_bits, send_takeover, receive_window_bits, receive_takeover), seen from this end.
_Agreement = tuple[int, bool, int, bool]

__all__ = [
    "Broadcaster",
    "Channel",
    "Column",
    "Columns",
    "Connection",
    "Decoder",
    "Encoder",
    "HandshakeRefusal",
    "HeadReader",
    "Histogram",
    "Inbox",
    "Positions",
    "PubSubDecoder",
    "Receipt",
    "Sent",
    "decode_columns",
    "deflate_accept",
    "deflate_confirm",
    "deflate_offer",
]

@disjoint_base
class Connection:
    """One WebSocket connection after its opening handshake: the protocol object of an asyncio transport."""

    def __new__(
        cls,
        *,
        is_client: bool,
        format: str,
        inbox: Inbox,
        # Is told: `connection_closing(connection)`, `connection_lost(connection, error)`.
        owner: Any,
        transport: asyncio.Transport,
        event_loop: asyncio.AbstractEventLoop,
        descriptor: int,
        watched_descriptor: int,
        transport_busy: bool,
        max_message_size: int,
        max_send_queue: int,
        broadcaster: Broadcaster | None = None,
        deflate: _Agreement | None = None,
        compression_threshold: int = 1024,
        epoch: int = 0,
        # Has `record(nanoseconds: int)`.
        rtt: Any = None,
        positions: Positions | None = None,
        # The peer reads positions: a server's connections alone.
        sequenced: bool = False,
        # The peer's inbox takes envelopes.
        enveloped: bool = False,
    ) -> Self: ...
    def is_buffered_protocol(self) -> bool: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def feed_bytes(self, data: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None = None) -> None: ...
    def settle_reading(self) -> None: ...
    def read_deferred(self) -> None: ...
    def begin_handling(self, nbytes: int) -> None: ...
    def end_handling(self, nbytes: int) -> None: ...
    def send(self, message: Any, /, *, compress: bool | None = None) -> Sent: ...
    def ask(self, message: Any, number: int, within: float, kind: str, /) -> None: ...
    def reply(self, message: Any, number: int, kind: str, /) -> None: ...
    def drain(self) -> Awaitable[None]: ...
    def ping(self, payload: bytes = ...) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def abort(self) -> None: ...
    def stop_delivering(self) -> None: ...
    def mute(
        self,
        on_stray: Callable[[Any], object] | None = None,
        max_message_size: int | None = None,
        *,
        follows: bool = False,
    ) -> None: ...
    def unmute(self) -> None: ...
    @property
    def is_held(self) -> bool: ...
    def has_socket_error(self) -> bool: ...
    def take_activity(self) -> bool: ...
    def end_turn(self) -> None: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def send_queue_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def awaits_pong(self) -> bool: ...
    @property
    def last_rtt_ns(self) -> int: ...
    @property
    def messages_received(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    def sent_counters(self) -> tuple[int, int]: ...
    def fate_counters(self) -> tuple[int, int, int, int]: ...
    # Typed in `exceptions`, which a stub of Rust's side can't import without a cycle.
    def closed_error(self) -> Any: ...
    @property
    def fault(self) -> tuple[int, str] | None: ...

@final
class Sent(Coroutine[Any, Any, SendOutcome]):
    """How one message ends that a connection accepted.

    Awaiting it returns the outcome `written` once the operating system has all of the message; what waits for the end
    of the turn is written for that. It raises `MessageNotWritten` if the connection ends before.
    """

    @property
    def outcome(self) -> SendOutcome | None:
        """How it ended; None while that is open."""

    def __await__(self) -> Generator[Any, None, SendOutcome]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, _value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> None: ...
    def close(self) -> None: ...

@final
class Inbox:
    """Received messages of a client or a server, and the handlers that are called without waiting."""

    def __new__(
        cls,
        event_loop: asyncio.AbstractEventLoop,
        on_fault: Callable[[BaseException], object],
        on_awaitable: Callable[[Any, Connection, int], object],
        *,
        limit: int,
        max_messages: int = 65536,
        pass_connection: bool = False,
        # None: hold the connection. Else `("drop_oldest",)` or `("conflate", type or Decoder, key)`.
        slow: tuple[Any, ...] | None = None,
    ) -> Self: ...
    def on(self, type_: Any, callback: Callable[..., object]) -> None: ...
    # Numbers, seconds that are left, messages.
    def on_request(
        self, kind: str, decoder: Decoder[Any], callback: Callable[[Any, tuple[int, float, Any]], object]
    ) -> None: ...
    # Numbers, seconds that are left, kinds, and bodies as they came.
    def on_envelopes(
        self,
        on_request: Callable[[Any, tuple[int, float, str, bytes]], object],
        on_answer: Callable[[Any, tuple[int, str, bytes]], object],
    ) -> None: ...
    def receive(self, type_: Any) -> Coroutine[Any, Any, Any]: ...
    def messages(self, type_: Any, with_timestamps: bool = False) -> AsyncIterator[Any]: ...
    def events(self, type_: Any, with_timestamps: bool = False) -> AsyncIterator[Any]: ...
    def batches(self, type_: Any, with_timestamps: bool = False) -> AsyncIterator[list[Any]]: ...
    def columns(self, type_: Any) -> AsyncIterator[Columns]: ...
    def tell(self, event: object, /) -> None: ...
    # `format` is that of `bytes`; text is JSON.
    def feed(self, payload: bytes | str, received_ns: int = 0, *, format: str = "msgpack") -> None: ...
    # Whether more waits than may, and nothing else is done about it.
    def end_feed(self) -> bool: ...
    def control(
        self, type_: Any, callback: Callable[[Any, Any], object], *, consume: bool, longest: int | None = None
    ) -> None: ...
    def uncontrol(self, type_: Any) -> None: ...
    # `wanted`: None, pairs of a field and its value, or a function of the message. Without a type: any message.
    def watch(
        self,
        token: int,
        type_: Any,
        wanted: tuple[tuple[str, object], ...] | Callable[[Any], object] | None,
        /,
    ) -> None: ...
    def unwatch(self, token: int, /) -> None: ...
    def take_seen(self) -> list[tuple[int, int]]: ...
    @property
    def last_received_ns(self) -> int: ...
    @property
    def last_read_ns(self) -> int: ...
    def begin_epoch(self) -> None: ...
    @property
    def epoch_messages(self) -> int: ...
    @property
    def first_message_ns(self) -> int: ...
    @property
    def ages(self) -> Histogram: ...
    def close(self, error: BaseException | None = None) -> None: ...
    def forget_connection(self) -> None: ...
    # messages, bytes, decode errors, handler errors, unhandled, queued, queued bytes; lost: dropped, conflated, events
    def counters(self) -> tuple[int, int, int, int, int, int, int, int, int, int]: ...

@final
class Positions:
    """Where each channel stands that a link receives, and what its publications prove by that.

    At most 65 536 channels and 8 MiB of names are known; for a new one beyond that the longest unused is forgotten,
    which is a gap too. `on_gap` is called with the channel, the last sequence, and the next one, None where unknown.
    """

    def __new__(cls, on_gap: Callable[[str, int | None, int | None], object]) -> Self: ...
    def set(self, channel: str, epoch: int, sequence: int, /) -> None:
        """Say where a channel goes on."""

    def lag(self, channel: str, last: int, /) -> None:
        """Expect publications of a channel to be missing, up to that one."""

    def position(self, channel: str, /) -> tuple[int, int] | None:
        """Return epoch and sequence of the last publication of a channel; None where that is not known."""

    def matching(self, names: list[str], /) -> list[str]:
        """Return the positions of the channels that names or patterns mean: `<epoch> <sequence> <channel>`."""

    def forget(self, names: list[str], /, kept: list[str] = ...) -> None:
        """Forget the channels that names or patterns mean, but for those that `kept` means."""

    @property
    def current(self) -> tuple[str, int, int, int] | None:
        """Channel, epoch, sequence and previous of the message that a handler is called with now; else None."""

    @property
    def duplicates(self) -> int:
        """Publications dropped because they had come before."""

    def __len__(self) -> int: ...

@final
class PubSubDecoder:
    """Notifications of one socket of Solana's JSON-RPC PubSub as messages.

    Numbers of subscriptions are the node's, from 0 to 2**64 - 1, and mean something on their socket alone.
    """

    def __new__(cls) -> Self: ...
    def watch_account(self, subscription: int, pubkey: str, route: Any) -> None:
        """Take notifications of a subscription for those of an account, whose address they don't have."""

    def watch(self, subscription: int, route: Any) -> None:
        """Take notifications of a subscription to a program, to slots or to roots."""

    def forget(self, subscription: int) -> None:
        """Leave notifications of a subscription to the caller again; one that is not watched is ignored."""

    def decode(self, frame: Buffer | str, timestamp: int, /) -> tuple[Any, AccountUpdate | SlotUpdate | int] | None:
        """Decode one text frame. Nothing of it is kept.

        Args:
            frame: As it came from the socket.
            timestamp: When it came, in milliseconds since 1970: that of the message.

        Returns:
            The route of the subscription, and an `AccountUpdate` (accounts and programs), a `SlotUpdate` or the number
            of a root. None for everything else, which a complete decoder decides: answers, other notifications,
            those of subscriptions that are not watched or are watched as another kind, and what is not well formed
            or not plainly written (escapes in keys, `1e3`).

        Raises:
            TypeError: The frame is no text and has no buffer, or the timestamp is no `int`.
        """

@final
class Histogram:
    """Durations in nanoseconds: count, least, most and mean are exact, quantiles true to 1 %. At most an hour."""

    def __new__(cls) -> Self: ...
    def record(self, value_ns: int, /) -> None:
        """Count one duration; below zero counts as zero."""

    @property
    def count(self) -> int:
        """How many were recorded."""

    @property
    def min(self) -> int:
        """The least of them; 0 where there is none."""

    @property
    def max(self) -> int:
        """The most of them; 0 where there is none."""

    @property
    def mean(self) -> float:
        """Their mean; 0.0 where there is none."""

    def quantile(self, q: float, /) -> int:
        """Tell what the part `q` of them does not exceed; 0 where there is none.

        Raises:
            ValueError: If `q` is not from 0 to 1.
        """

    def copy(self) -> Self:
        """Take what it holds now, as one of its own: for a snapshot."""

@final
class Receipt:
    """Where a publication stands in its channel, and how many subscribers it is queued for."""

    @property
    def epoch(self) -> int:
        """Number of the channel's incarnation: sequences of two epochs have nothing to do with each other."""

    @property
    def sequence(self) -> int:
        """Number of the publication in its channel, from 1."""

    @property
    def subscribers(self) -> int:
        """Connections that it is queued for."""

    def __hash__(self) -> int: ...

@final
class Channel(Generic[_T_contra]):
    """One channel of a server. Publishing by it looks nothing up.

    Made by `server.channel(name)`; belongs to the thread of the server's event loop.
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    @property
    def name(self) -> str:
        """Its name."""

    @property
    def epoch(self) -> int:
        """Number of its incarnation: sequences of two epochs have nothing to do with each other."""

    @property
    def sequence(self) -> int:
        """Number of its last publication; 0 before the first."""

    @property
    def subscribers(self) -> int:
        """Subscriptions that it matches, patterns among them."""

    def publish(self, message: _T_contra, compress: bool | None = None) -> Receipt:
        """Number a message and queue it for the subscribers. Never waits for one.

        Args:
            message: An object of the channel's type.
            compress: Whether it leaves compressed for those who take it so; None from `compression_threshold` on.

        Raises:
            TypeError: If the channel's namespace has a type, and the message is of another.
            EncodeError: If it has no form in any codec that the subscribers speak.
        """

# As `_slow.policy` makes it: ("disconnect", size, age), ("drop_oldest", most) or ("conflate", key).
_Policy = tuple[Any, ...]

@final
class Broadcaster:
    """The broadcast logs of a server, its connections, its channels and who is subscribed to them."""

    def __new__(
        cls,
        event_loop: asyncio.AbstractEventLoop,
        # Gets the connection, the bytes it is behind, and whether "size" or "age" is too much.
        on_lag: Callable[[Any, int, str], object],
        on_fault: Callable[[Exception], object],
        *,
        max_lag: int,
        first_epoch: int = 1,
        compression_window_bits: int = 15,
        compression_threshold: int = 1024,
        threads: int = 1,
    ) -> Self: ...
    def declare(
        self,
        namespace: str,
        *,
        classes: tuple[type, ...] | None,
        policy: _Policy,
        history: int,
        history_age: float | None,
        history_size: int,
        snapshot: bool,
    ) -> None: ...
    def add(self, connection: Connection) -> None: ...
    def remove(self, connection: Connection, channels: list[str]) -> None: ...
    # Whether it is new; (channel, epoch, sequence it goes on behind, whether all behind the named position comes).
    def subscribe(
        self,
        connection: Connection,
        name: str,
        *,
        policy: _Policy | None = None,
        positions: list[tuple[str, int, int]] | None = None,
    ) -> tuple[bool, list[tuple[str, int, int, bool]]]: ...
    def replay(self, connection: Connection) -> int: ...
    def unsubscribe(self, connection: Connection, name: str) -> bool: ...
    def broadcast(self, message: Any, /, *, compress: bool | None = None) -> int: ...
    def publish(
        self,
        channel: str,
        message: Any,
        /,
        *,
        compress: bool | None = None,
        at: tuple[int, int, int] | None = None,
    ) -> Receipt: ...
    def channel(self, name: str) -> Channel[Any]: ...
    # The callback gets channel, epoch, sequence, previous and message.
    def tap(self, pattern: str, callback: Callable[[str, int, int, int, Any], object]) -> int: ...
    def untap(self, token: int) -> bool: ...
    def position(self, channel: str) -> tuple[int, int] | None: ...
    def history(self, channel: str) -> list[tuple[int, Any]]: ...
    def channel_table(self, limit: int) -> list[tuple[str, int, int, int]]: ...
    # (connection, bytes that wait, nanoseconds since it is blocked)
    def slowest(self, limit: int) -> list[tuple[Any, int, int]]: ...
    def check_ages(self) -> None: ...
    def flush(self) -> None: ...
    def channel_sizes(self) -> dict[str, int]: ...
    def counters(self) -> dict[str, int]: ...

@final
class Decoder(Generic[_T_co]):
    """Decodes payloads into one type, without a connection; also what a client is asked for in place of the type.

    Args:
        type_: A message class, a union of them, or any type that msgspec decodes.
        format: Wire format of the payloads.
        strict: False reads numbers in quotes too (`"price":"25.35"`), and whatever else msgspec converts then.
        dec_hook: Decides about types that msgspec does not know, as msgspec's own `dec_hook`.

    Raises:
        TypeError: If `type_` can't be decoded.
    """

    @overload
    def __new__(
        cls,
        type_: type[_T],
        /,
        *,
        format: _Format = "json",
        strict: bool = True,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ) -> Decoder[_T]: ...
    # Any: unions and other type forms, which `type[T]` can't name before PEP 747.
    @overload
    def __new__(
        cls,
        type_: Any,
        /,
        *,
        format: _Format = "json",
        strict: bool = True,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ) -> Decoder[Any]: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    @property
    def type(self) -> Any: ...
    @property
    def plan(self) -> Literal["compiled", "msgspec", "raw"]:
        """How payloads are decoded: by a plan compiled in Rust, by msgspec, or not at all."""

    def decode(self, buffer: Buffer, /) -> _T_co:
        """Decode one payload out of any object with a buffer; nothing of the buffer is kept.

        Raises:
            DecodeError: If it is no such message.
        """

@final
class Encoder:
    """Encodes messages, without a connection.

    Each value is written by its class, as msgspec writes it. `enc_hook` is called with every object that neither has a
    form for, and returns what to write in its place, or raises `NotImplementedError`.
    """

    def __new__(cls, format: _Format = "json", *, enc_hook: Callable[[Any], Any] | None = None) -> Self: ...
    def encode(self, message: Any, /) -> bytes:
        """Return the encoded message.

        Raises:
            EncodeError: If the message, or a value in it, has no form in the format, nests deeper than 128 levels, or
                changes size meanwhile. Whatever else `enc_hook` raises passes.
        """

    def encode_into(self, message: Any, buffer: Buffer, offset: int = 0, /) -> int:
        """Encode into `buffer` from `offset` on (-1: from its end on), and return the bytes written.

        A bytearray is cut or grown to end behind them; any other writable buffer of one piece keeps its size.

        Raises:
            EncodeError: As `encode`. The buffer is unchanged, as it is on the other errors.
            ValueError: If `offset` lies behind the buffer's end or below -1, or if the message does not fit.
            BufferError: If the buffer can't be written, is in pieces, or is a bytearray in use that must grow.
        """

@final
class Columns:
    """Messages of one class as columns, a row for each; it never changes.

    Polars and PyArrow take it as it is (`polars.DataFrame(columns)`, `pyarrow.table(columns)`), without a copy of the
    numbers and codes: it has the Arrow PyCapsule interface. `len(columns)` is the number of rows, iteration goes over
    the names.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: those of the fields, in their order."""

    def __len__(self) -> int: ...
    def __getitem__(self, name: str, /) -> Column: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def to_dict(self) -> dict[str, Column]:
        """Return the columns by name."""

    # Any: a PyCapsule, which has no type of its own before Python 3.13.
    def __arrow_c_schema__(self) -> Any: ...
    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

@final
class Column(Buffer):
    """The values of one field: a sequence, and what NumPy and Arrow libraries take without a copy.

    Numbers and truth values lie in memory one behind the other: `numpy.asarray(column)` and `memoryview(column)` are
    views of them, read-only. Text and bytes are kept once each: row `i` has `categories[codes[i]]`. A row without a
    value is None as an item, NaN in a view of floats and -1 in `codes`; integers and truth values have no view then.
    """

    @property
    def name(self) -> str:
        """Name of the field."""

    @property
    def dtype(self) -> str:
        """Type of the values: `float64`, `int64` and so on as NumPy names it, or `text` or `bytes`."""

    @property
    def null_count(self) -> int:
        """Rows without a value."""

    @property
    def codes(self) -> Column:
        """For each row the place of its text among `categories`, as `int32`.

        Raises:
            AttributeError: If the column holds numbers.
        """

    # Any: `str`, or `bytes`.
    @property
    def categories(self) -> tuple[Any, ...]:
        """The different texts, among them those of batches before.

        Raises:
            AttributeError: If the column holds numbers.
        """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def tolist(self) -> list[Any]:
        """Return the values as Python objects."""

    # Any: NumPy is no dependency.
    def to_numpy(self) -> Any:
        """Return `numpy.asarray(column)`: a view of numbers, or an array of objects.

        Raises:
            ImportError: If NumPy is not installed.
        """

    @property
    def __array_interface__(self) -> dict[str, Any]: ...
    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Any: ...
    def __arrow_c_schema__(self) -> Any: ...
    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

# Any: `type[T]` or a `Decoder`.
def decode_columns(
    type_: Any, frames: Iterable[Buffer], /, *, format: _Format = "json", strict: bool = True
) -> Columns:
    """Decode payloads of messages of one class into columns, with no object for any of them.

    Args:
        type_: A message class whose fields are all `bool`, `int`, `float`, `str`, `bytes`, enums or literals, or None.
        frames: The payloads.
        format: Wire format of the payloads.
        strict: False reads numbers in quotes too (`"price":"25.35"`).

    Raises:
        TypeError: If `type_` is no such class; it names the field.
        DecodeError: If a payload is no such message, or has an integer that its column can't hold.
    """

class HandshakeRefusal(Exception):
    """A handshake that must not be completed; `args` are status and reason, both our own words.

    The status is what a server answers: 400, 405, 426, 431 or 505. A client sees 101 where the server switched
    protocols in a way that must not be followed, and 400 or 431 where its answer can't be read.
    """

@final
class HeadReader:
    """Collects the head of a request or a response out of segments of any size, and reads it."""

    def __new__(cls) -> Self: ...
    def feed(self, data: Buffer, /) -> int | None:
        """Take the next bytes.

        Returns:
            How many of them belong to the head once that is complete, None before.

        Raises:
            HandshakeRefusal: If this can't become a head. All that is fed later raises it, too.
        """

    def request(self) -> tuple[str, str, list[tuple[str, str]]]:
        """Return target, key and headers (names in lower case, values as latin-1) of a request that may be accepted.

        Raises:
            HandshakeRefusal: If it may not; the status is the one to answer.
            RuntimeError: If the head is not complete.
        """

    def response(self, accept: str, subprotocols: Sequence[str]) -> tuple[int, str, list[tuple[str, str]]]:
        """Return status, reason phrase and headers (names in lower case, values as latin-1) of a response.

        A 101 is checked in full but for its extensions, which `deflate_confirm` reads. A status of 1xx other than 101
        is interim: the final response follows, for a new reader.

        Args:
            accept: What `Sec-WebSocket-Accept` has to be.
            subprotocols: Those offered.

        Raises:
            HandshakeRefusal: If it is malformed, or a 101 that must not be followed.
            RuntimeError: If the head is not complete.
        """

def deflate_offer(window_bits: int, takeover: bool, /) -> str:
    """Return a client's `Sec-WebSocket-Extensions`.

    Raises:
        ValueError: If `window_bits` is not 9 to 15.
    """

def deflate_accept(window_bits: int, takeover: bool, values: Sequence[str], /) -> tuple[_Agreement, str] | None:
    """Return what a server agrees to and answers, None where no offer of permessage-deflate can be accepted.

    Args:
        window_bits: Largest window in either direction, 9 to 15.
        takeover: Whether messages may refer to those before them.
        values: Those of all `Sec-WebSocket-Extensions` lines of the request.

    Raises:
        HandshakeRefusal: If a value is no list of extensions (400).
        ValueError: If `window_bits` is not 9 to 15.
    """

def deflate_confirm(window_bits: int, takeover: bool, values: Sequence[str], /) -> _Agreement | None:
    """Return what the server agreed to, None where it does without compression.

    Args:
        window_bits: As offered.
        takeover: As offered.
        values: Those of all `Sec-WebSocket-Extensions` lines of the response.

    Raises:
        HandshakeRefusal: If the answer does not correspond to the offer.
        ValueError: If `window_bits` is not 9 to 15.
    """

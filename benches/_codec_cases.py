"""The codec's rows: one kind of call on one kind of message, ours beside its peers; for benches and profiles alike.

A row's sides read the same bytes, or write the same values. Each side's result is checked before it is timed. What the
sides make differs, as what their libraries can make does: ours and msgspec's make an object of a class; the others make
a dict (`orjson`, `ormsgpack`, `msgpack`), or a message that turns a field into a Python object when it is read
(`protobuf`).
"""

import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

import websocket_utils
from benches import _payload
from benches._results import Bar, is_installed
from websocket_utils import Message, PriceUpdate, WsMessage

OURS: Final = "websocket_utils"
Format = Literal["json", "msgpack", "protobuf"]
# Messages that one call of the columns' row reads.
FRAMES: Final = 256


class Work(NamedTuple):
    """What one side does: `call(*arguments)`, whose result `right` tells right or wrong."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    right: Callable[[Any], bool]
    # How many messages one call reads.
    messages: int = 1

    def repeat(self, times: int) -> None:
        """Call so many times with nothing else in the loop; each result is dropped before the next call."""
        call = self.call
        match self.arguments:
            case ():
                for _ in itertools.repeat(None, times):
                    call()
            case (only,):
                for _ in itertools.repeat(None, times):
                    call(only)
            case (first, second):
                for _ in itertools.repeat(None, times):
                    call(first, second)
            case _:
                raise ValueError("a call has at most two arguments")


class Peer(NamedTuple):
    """One side of a row."""

    # The module that must be installed; the side is left out where it isn't.
    needs: str
    prepare: Callable[[], Work]


# Messages ---------------------------------------------------------------------------------------------------------


class PriceArray(Message, array_like=True, gc=False):
    """`PriceUpdate` as an array in place of a map."""

    input_mint: str
    output_mint: str
    price: float
    volume: int
    timestamp: int


_TICKER_KEYS: Final = {
    "event": "e",
    "update": "u",
    "symbol": "s",
    "bid": "b",
    "bid_size": "B",
    "ask": "a",
    "ask_size": "A",
    "traded": "T",
    "sent": "E",
}


class BookTicker(msgspec.Struct, rename=_TICKER_KEYS, gc=False):
    """The best bid and ask as exchanges send it: keys of one letter, numbers in quotes."""

    event: str
    update: int
    symbol: str
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    traded: int
    sent: int


class TupleBook(msgspec.Struct):
    """An order book of 20 levels a side, each `[price, size]`."""

    symbol: str
    sequence: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    timestamp: int


class ListBook(msgspec.Struct):
    """The same with a list for each level."""

    symbol: str
    sequence: int
    bids: list[list[float]]
    asks: list[list[float]]
    timestamp: int


PRICE: Final = PriceUpdate("So1111111", "USDC", 187.4, 1500, 1732340000123)
ARRAY: Final = PriceArray("So1111111", "USDC", 187.4, 1500, 1732340000123)
FIELDS: Final = msgspec.to_builtins(PRICE)
PRICE_JSON: Final = msgspec.json.encode(PRICE)
PRICE_MSGPACK: Final = msgspec.msgpack.encode(PRICE)
ARRAY_MSGPACK: Final = msgspec.msgpack.encode(ARRAY)
# The tag first, as ours is written: field 2047, then those of the class in their order.
PRICE_PROTOBUF: Final = (
    b"\xfa\x7f\x0bPriceUpdate\n\tSo1111111\x12\x04USDC\x19\xcd\xcc\xcc\xcc\xcclg@ \xdc\x0b(\xfb\xca\x8a\xbc\xb52"
)
assert len(PRICE_JSON) == _payload.SIZE

TICKER_JSON: Final = (
    b'{"e":"bookTicker","u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000",'
    b'"A":"40.66000000","T":1568014460891,"E":1568014460893}'
)
TICKER: Final = BookTicker(
    "bookTicker", 400_900_217, "BNBUSDT", 25.3519, 31.21, 25.3652, 40.66, 1_568_014_460_891, 1_568_014_460_893
)

# Prices have two digits behind the point, as exchanges send them.
_BIDS: Final = [(round(187.4 - level / 100, 2), 12.5 + level * 0.75) for level in range(20)]
_ASKS: Final = [(round(187.41 + level / 100, 2), 8.25 + level * 1.5) for level in range(20)]
TUPLE_BOOK: Final = TupleBook("SOLUSDC", 90_211, _BIDS, _ASKS, 1_732_340_000_123)
LIST_BOOK: Final = ListBook(
    "SOLUSDC", 90_211, [list(level) for level in _BIDS], [list(level) for level in _ASKS], 1_732_340_000_123
)
BOOK_JSON: Final = msgspec.json.encode(TUPLE_BOOK)


# Sides ------------------------------------------------------------------------------------------------------------


def _equals(expected: Any) -> Callable[[Any], bool]:
    # Of the same class, too: a dict is no message.
    return lambda result: type(result) is type(expected) and result == expected


def _our_decode(format_: Format, type_: Any, payload: bytes, expected: Any, *, strict: bool = True) -> Work:
    decoder = websocket_utils.Decoder(type_, format=format_, strict=strict)
    return Work(decoder.decode, (payload,), _equals(expected))


def _our_encode(format_: Format, message: Any, payload: bytes) -> Work:
    return Work(websocket_utils.Encoder(format_).encode, (message,), _equals(payload))


def _decode(format_: Format, type_: Any, payload: bytes, expected: Any, *, strict: bool = True) -> dict[str, Peer]:
    """Ours and msgspec's decode of one payload into an object."""

    def peer() -> Work:
        decoder = getattr(msgspec, format_).Decoder(type_, strict=strict)
        return Work(decoder.decode, (payload,), _equals(expected))

    return {
        OURS: Peer(OURS, lambda: _our_decode(format_, type_, payload, expected, strict=strict)),
        "msgspec": Peer("msgspec", peer),
    }


def _encode(format_: Format, message: Any, payload: bytes) -> dict[str, Peer]:
    """Ours and msgspec's encode of one object."""

    def peer() -> Work:
        return Work(getattr(msgspec, format_).Encoder().encode, (message,), _equals(payload))

    return {
        OURS: Peer(OURS, lambda: _our_encode(format_, message, payload)),
        "msgspec": Peer("msgspec", peer),
    }


def _encode_into(format_: Format, message: Any, payload: bytes) -> dict[str, Peer]:
    """Ours and msgspec's encode of one object into a buffer that is there."""

    def into(encoder: Any) -> Work:
        buffer = bytearray(2 * len(payload))
        return Work(encoder.encode_into, (message, buffer), lambda _: buffer[: len(payload)] == payload)

    return {
        OURS: Peer(OURS, lambda: into(websocket_utils.Encoder(format_))),
        "msgspec": Peer("msgspec", lambda: into(getattr(msgspec, format_).Encoder())),
    }


def _plain(module: str, function: str, argument: Any, expected: Any) -> dict[str, Peer]:
    """A library that knows dicts and lists only."""

    def peer() -> Work:
        return Work(getattr(importlib.import_module(module), function), (argument,), _equals(expected))

    return {f"{module}, no class": Peer(module, peer)}


# Protocol Buffers -------------------------------------------------------------------------------------------------


def _protobuf_class() -> Any:
    """`PriceUpdate` as a message class of Google's library, made as `protoc` would make it."""
    descriptors, pool, factory = (
        importlib.import_module(f"google.protobuf.{name}")
        for name in ("descriptor_pb2", "descriptor_pool", "message_factory")
    )
    kinds = descriptors.FieldDescriptorProto
    file = descriptors.FileDescriptorProto(name="price_update.proto", syntax="proto3")
    message = file.message_type.add(name="PriceUpdate")
    fields = (
        ("input_mint", 1, kinds.TYPE_STRING),
        ("output_mint", 2, kinds.TYPE_STRING),
        ("price", 3, kinds.TYPE_DOUBLE),
        ("volume", 4, kinds.TYPE_UINT64),
        ("timestamp", 5, kinds.TYPE_INT64),
        ("type", 2047, kinds.TYPE_STRING),
    )
    for name, number, kind in fields:
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    made = pool.DescriptorPool()
    made.Add(file)
    return factory.GetMessageClass(made.FindMessageTypeByName("PriceUpdate"))


def _protobuf_fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in FIELDS}


def _protobuf_decode() -> dict[str, Peer]:
    def parsed() -> Work:
        return Work(_protobuf_class().FromString, (PRICE_PROTOBUF,), lambda result: _protobuf_fields(result) == FIELDS)

    def read() -> Work:
        parse = _protobuf_class().FromString

        def decode(data: bytes) -> PriceUpdate:
            found = parse(data)
            return PriceUpdate(found.input_mint, found.output_mint, found.price, found.volume, found.timestamp)

        return Work(decode, (PRICE_PROTOBUF,), _equals(PRICE))

    return {
        OURS: Peer(OURS, lambda: _our_decode("protobuf", PriceUpdate, PRICE_PROTOBUF, PRICE)),
        "protobuf": Peer("google.protobuf", parsed),
        "protobuf, fields read into an object": Peer("google.protobuf", read),
    }


def _protobuf_encode() -> dict[str, Peer]:
    def written(make: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]) -> Work:
        """Google's library writes the tag behind the other fields, as its number has it."""
        made = _protobuf_class()
        call, arguments = make(made)
        return Work(call, arguments, lambda result: _protobuf_fields(made.FromString(result)) == FIELDS)

    def filled(made: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        def encode(update: PriceUpdate) -> Any:
            return made(
                type="PriceUpdate",
                input_mint=update.input_mint,
                output_mint=update.output_mint,
                price=update.price,
                volume=update.volume,
                timestamp=update.timestamp,
            ).SerializeToString()

        return encode, (PRICE,)

    return {
        OURS: Peer(OURS, lambda: _our_encode("protobuf", PRICE, PRICE_PROTOBUF)),
        "protobuf": Peer("google.protobuf", lambda: written(lambda made: (made(**FIELDS).SerializeToString, ()))),
        "protobuf, filled from an object": Peer("google.protobuf", lambda: written(filled)),
    }


# Columns ----------------------------------------------------------------------------------------------------------


def _columns() -> dict[str, Peer]:
    updates = (_payload.cycle(PriceUpdate) * FRAMES)[:FRAMES]
    frames = [msgspec.json.encode(update) for update in updates]

    def ours() -> Work:
        add = _payload.column_sum()

        def right(result: Any) -> bool:
            # Sixteenths: their sum is the same in any order.
            return len(result) == FRAMES and add(result["price"]) == sum(update.price for update in updates)

        return Work(websocket_utils.decode_columns, (PriceUpdate, frames), right, FRAMES)

    def objects(decode: Callable[[bytes], Any]) -> Work:
        def every(payloads: Sequence[bytes]) -> list[Any]:
            return [decode(payload) for payload in payloads]

        return Work(every, (frames,), _equals(updates), FRAMES)

    return {
        OURS: Peer(OURS, ours),
        "websocket_utils, a list of objects": Peer(OURS, lambda: objects(websocket_utils.Decoder(PriceUpdate).decode)),
        "msgspec, a list of objects": Peer("msgspec", lambda: objects(msgspec.json.Decoder(PriceUpdate).decode)),
    }


# Rows -------------------------------------------------------------------------------------------------------------

_BOOK: Final = msgspec.json.decode(BOOK_JSON)
_TICKER: Final = msgspec.json.decode(TICKER_JSON)
_PLAIN_ARRAY: Final = msgspec.to_builtins(ARRAY)

ROWS: Final[dict[str, dict[str, Peer]]] = {
    "json/decode/price": _decode("json", PriceUpdate, PRICE_JSON, PRICE)
    | _plain("orjson", "loads", PRICE_JSON, FIELDS),
    "json/decode/union": _decode("json", WsMessage, PRICE_JSON, PRICE),
    # Without a class prices stay text.
    "json/decode/ticker": _decode("json", BookTicker, TICKER_JSON, TICKER, strict=False)
    | _plain("orjson", "loads", TICKER_JSON, _TICKER),
    "json/decode/book-tuples": _decode("json", TupleBook, BOOK_JSON, TUPLE_BOOK)
    | _plain("orjson", "loads", BOOK_JSON, _BOOK),
    "json/decode/book-lists": _decode("json", ListBook, BOOK_JSON, LIST_BOOK)
    | _plain("orjson", "loads", BOOK_JSON, _BOOK),
    "json/encode/price": _encode("json", PRICE, PRICE_JSON) | _plain("orjson", "dumps", FIELDS, PRICE_JSON),
    "json/encode-into/price": _encode_into("json", PRICE, PRICE_JSON),
    "json/encode/book": _encode("json", TUPLE_BOOK, BOOK_JSON) | _plain("orjson", "dumps", _BOOK, BOOK_JSON),
    "msgpack/decode/price": _decode("msgpack", PriceUpdate, PRICE_MSGPACK, PRICE)
    | _plain("ormsgpack", "unpackb", PRICE_MSGPACK, FIELDS)
    | _plain("msgpack", "unpackb", PRICE_MSGPACK, FIELDS),
    "msgpack/decode/price-array": _decode("msgpack", PriceArray, ARRAY_MSGPACK, ARRAY)
    | _plain("ormsgpack", "unpackb", ARRAY_MSGPACK, _PLAIN_ARRAY)
    | _plain("msgpack", "unpackb", ARRAY_MSGPACK, _PLAIN_ARRAY),
    "msgpack/encode/price": _encode("msgpack", PRICE, PRICE_MSGPACK)
    | _plain("ormsgpack", "packb", FIELDS, PRICE_MSGPACK)
    | _plain("msgpack", "packb", FIELDS, PRICE_MSGPACK),
    "msgpack/encode/price-array": _encode("msgpack", ARRAY, ARRAY_MSGPACK)
    | _plain("ormsgpack", "packb", _PLAIN_ARRAY, ARRAY_MSGPACK)
    | _plain("msgpack", "packb", _PLAIN_ARRAY, ARRAY_MSGPACK),
    "msgpack/encode-into/price": _encode_into("msgpack", PRICE, PRICE_MSGPACK),
    "protobuf/decode/price": _protobuf_decode(),
    "protobuf/encode/price": _protobuf_encode(),
    "json/columns/price": _columns(),
}


def _bar(scenario: str, row: str, at_most: float, peer: str = "msgspec", text: str | None = None) -> Bar:
    return Bar(
        scenario=scenario,
        text=f"<= {at_most:.2f}x {text or peer}",
        ours=f"{row}/{OURS}",
        peer=f"{row}/{peer}",
        metric="ns",
        at_most=at_most,
    )


BARS: Final = (
    _bar("JSON decode, `PriceUpdate` (122 B), to object", "json/decode/price", 0.60),
    _bar("JSON decode, 9-field book ticker with quoted prices", "json/decode/ticker", 0.60),
    _bar("MessagePack decode, `PriceUpdate`", "msgpack/decode/price", 0.60),
    _bar("Protocol Buffers decode, `PriceUpdate`", "protobuf/decode/price", 0.35, "protobuf", "`protobuf` (upb)"),
    _bar("JSON encode, `PriceUpdate`", "json/encode/price", 0.70),
    _bar("MessagePack encode, `PriceUpdate`", "msgpack/encode/price", 0.70),
    _bar("Protocol Buffers encode, `PriceUpdate`", "protobuf/encode/price", 0.50, "protobuf", "`protobuf` (upb)"),
    _bar("JSON decode, order book (2 x 20 levels `[price, size]`), tuples", "json/decode/book-tuples", 0.70),
    _bar("JSON decode, order book (2 x 20 levels `[price, size]`), lists", "json/decode/book-lists", 0.70),
    _bar(
        "columns of `PriceUpdate`, per message",
        "json/columns/price",
        0.35,
        "msgspec, a list of objects",
        "msgspec's object decode",
    ),
)


def installed(row: str) -> dict[str, Peer]:
    """Return the sides of a row that can run here."""
    return {name: peer for name, peer in ROWS[row].items() if is_installed(peer.needs)}


def left_out() -> list[str]:
    """Return what can't run here, as `row/side`."""
    return [f"{row}/{name}" for row, peers in ROWS.items() for name in peers if name not in installed(row)]

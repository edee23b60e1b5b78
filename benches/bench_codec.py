"""Decode and encode of one message, without any connection: ours beside msgspec, and orjson where it is installed.

Measured: one call from Python on a `PriceUpdate` (122 bytes of JSON), the result's disposal included. Not measured:
frames, sockets, the core's own calls of the codec (which save the Python call, about 40 ns).
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from websocket_utils._core import Decoder, Encoder
from websocket_utils.messages import PriceUpdate, WsMessage

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # a peer that is shown where it is there

PRICE = PriceUpdate("So1111111", "USDC", 187.4, 1500, 1732340000123)
JSON = msgspec.json.encode(PRICE)
MSGPACK = msgspec.msgpack.encode(PRICE)
FIELDS = msgspec.to_builtins(PRICE)

assert len(JSON) == 122

DECODERS: dict[str, tuple[Callable[[bytes], Any], bytes, Any]] = {
    "json-class-ours": (Decoder(PriceUpdate).decode, JSON, PRICE),
    "json-class-msgspec": (msgspec.json.Decoder(PriceUpdate).decode, JSON, PRICE),
    "json-union-ours": (Decoder(WsMessage).decode, JSON, PRICE),
    "json-union-msgspec": (msgspec.json.Decoder(WsMessage).decode, JSON, PRICE),
    "msgpack-class-ours": (Decoder(PriceUpdate, format="msgpack").decode, MSGPACK, PRICE),
    "msgpack-class-msgspec": (msgspec.msgpack.Decoder(PriceUpdate).decode, MSGPACK, PRICE),
}
ENCODERS: dict[str, tuple[Callable[[Any], bytes], Any, bytes]] = {
    "json-ours": (Encoder("json").encode, PRICE, JSON),
    "json-msgspec": (msgspec.json.Encoder().encode, PRICE, JSON),
    "msgpack-ours": (Encoder("msgpack").encode, PRICE, MSGPACK),
    "msgpack-msgspec": (msgspec.msgpack.Encoder().encode, PRICE, MSGPACK),
}
if orjson is not None:
    DECODERS["json-dict-orjson"] = (orjson.loads, JSON, FIELDS)
    ENCODERS["json-dict-orjson"] = (orjson.dumps, FIELDS, JSON)


@pytest.mark.parametrize("case", DECODERS)
@pytest.mark.benchmark(group="codec/decode/122B")
def test_decode(benchmark: Any, case: str) -> None:
    decode, payload, expected = DECODERS[case]
    assert decode(payload) == expected
    benchmark(decode, payload)


@pytest.mark.parametrize("case", ENCODERS)
@pytest.mark.benchmark(group="codec/encode/122B")
def test_encode(benchmark: Any, case: str) -> None:
    encode, message, expected = ENCODERS[case]
    assert encode(message) == expected
    benchmark(encode, message)

"""The standard messages and classes of users' own."""

import pickle

import msgspec
import pytest

from websocket_utils.messages import (
    AccountUpdate,
    Message,
    Ping,
    Pong,
    PriceUpdate,
    SlotUpdate,
    Subscribe,
    Unsubscribe,
    WsMessage,
)

MESSAGES = [
    (
        PriceUpdate("SOL", "USDC", 187.25, 12, 5),
        b'{"type":"PriceUpdate","input_mint":"SOL","output_mint":"USDC","price":187.25,"volume":12,"timestamp":5}',
    ),
    (AccountUpdate("key", 1, 2, 3), b'{"type":"AccountUpdate","pubkey":"key","lamports":1,"slot":2,"timestamp":3}'),
    (SlotUpdate(3, 2, 1, 4), b'{"type":"SlotUpdate","slot":3,"parent":2,"root":1,"timestamp":4}'),
    (Subscribe(["a", "b"]), b'{"type":"Subscribe","channels":["a","b"]}'),
    (Unsubscribe(["a"]), b'{"type":"Unsubscribe","channels":["a"]}'),
    (Ping(), b'{"type":"Ping"}'),
    (Pong(), b'{"type":"Pong"}'),
]


@pytest.mark.parametrize(("message", "text"), MESSAGES)
def test_standard_messages_have_their_json_form(message: Message, text: bytes) -> None:
    assert msgspec.json.encode(message) == text
    assert msgspec.json.decode(text, type=WsMessage | SlotUpdate) == message
    assert pickle.loads(pickle.dumps(message)) == message


def test_volume_defaults_to_zero() -> None:
    assert PriceUpdate("a", "b", 1.0, timestamp=5).volume == 0
    assert (
        msgspec.json.decode(b'{"input_mint":"a","output_mint":"b","price":1,"timestamp":5}', type=PriceUpdate).volume
        == 0
    )


def test_timestamp_is_required() -> None:
    with pytest.raises(TypeError, match="missing required field `timestamp`"):
        PriceUpdate("a", "b", 1.0)
    with pytest.raises(msgspec.ValidationError, match="missing required field `timestamp`"):
        msgspec.json.decode(b'{"input_mint":"a","output_mint":"b","price":1}', type=PriceUpdate)


def test_own_class_is_constructed_by_position_and_keyword() -> None:
    class Fill(Message):
        order_id: str
        qty: float

    assert Fill("o-1", 2.0) == Fill(order_id="o-1", qty=2.0)
    assert msgspec.json.encode(Fill("o-1", 2.0)) == b'{"type":"Fill","order_id":"o-1","qty":2.0}'

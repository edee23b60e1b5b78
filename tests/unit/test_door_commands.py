"""Bodies of the door's commands, against channels in memory."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from websocket_utils import EncodeError, Message, PriceUpdate
from websocket_utils.door._commands import MAX_CHANNELS, Commands
from websocket_utils.door._idempotency import Results
from websocket_utils.door._refusals import Refusal


class Fill(Message):
    order_id: str
    qty: float


class Note(Message):
    text: str


class Channels:
    def __init__(self, *, allows_undeclared: bool = True) -> None:
        self.types: Mapping[str, Any] = {"prices": PriceUpdate, "orders": Fill | Note, "any": None, "all": Any}
        self.allows_undeclared = allows_undeclared
        self.is_closed = False
        self.published: list[tuple[str, Any]] = []
        self.formless: set[str] = set()

    def publish(self, channel: str, message: Any) -> tuple[int, int]:
        if channel in self.formless:
            raise EncodeError("no form in protobuf", format="protobuf")
        self.published.append((channel, message))
        return 7, len(self.published)


PRICE = {"input_mint": "SOL", "output_mint": "USDC", "price": 25.35, "volume": 3, "timestamp": 5}


@pytest.fixture
def channels() -> Channels:
    return Channels()


@pytest.fixture
def commands(channels: Channels) -> Commands:
    return Commands(channels, Results())


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal_of(commands: Commands, api: str, data: bytes) -> Refusal:
    with pytest.raises(Refusal) as raised:
        getattr(commands, api)(data, 0.0)
    return raised.value


def test_publish_answers_with_offset_and_epoch_as_centrifugo_does(commands: Commands, channels: Channels) -> None:
    answer = commands.publish(body(channel="news", data={"text": "hello"}, tags={"a": "b"}), 0.0)
    assert json.loads(answer) == {"result": {"offset": 1, "epoch": "7"}}
    assert channels.published == [("news", {"text": "hello"})]


@pytest.mark.parametrize("value", [None, 3, 2.5, "hello", [1, [2]], {"a": {"b": None}}, True])
def test_data_of_an_untyped_namespace_is_any_json(commands: Commands, channels: Channels, value: Any) -> None:
    for channel in ("undeclared:x", "any:x", "all:x"):
        commands.publish(body(channel=channel, data=value), 0.0)
    assert channels.published == [("undeclared:x", value), ("any:x", value), ("all:x", value)]


def test_data_of_a_typed_namespace_is_published_as_its_class(commands: Commands, channels: Channels) -> None:
    commands.publish(body(channel="prices:SOL-USDC", data=PRICE), 0.0)
    commands.publish(body(channel="orders:1", data={"type": "Note", "text": "x"}), 0.0)
    assert channels.published == [("prices:SOL-USDC", PriceUpdate(**PRICE)), ("orders:1", Note("x"))]  # type: ignore[arg-type]  # fields of various types


def test_data_of_the_wrong_type_is_a_400_that_names_the_place_and_nothing_is_published(
    commands: Commands, channels: Channels
) -> None:
    refusal = refusal_of(commands, "publish", body(channel="prices:SOL-USDC", data=PRICE | {"price": "much"}))
    assert refusal.body == {"error": {"code": 107, "message": "Expected `float`, got `str`", "path": "$.data.price"}}
    assert refusal.status == 400
    refusal = refusal_of(commands, "publish", body(channel="orders:1", data={"type": "Loan"}))
    assert (refusal.status, refusal.code, refusal.path) == (400, 107, "$.data.type")
    assert channels.published == []


def test_base64_data_is_published_as_bytes(commands: Commands, channels: Channels) -> None:
    commands.publish(body(channel="raw", b64data="AP8="), 0.0)
    assert channels.published == [("raw", b"\x00\xff")]


@pytest.mark.parametrize(
    ("data", "status", "code", "path"),
    [
        (b"", 400, 107, ""),
        (b"{", 400, 107, ""),
        (b"\xff\xfe", 400, 107, ""),
        (b"[]", 400, 107, "$"),
        (b'{"channel":"x","data":1}x', 400, 107, ""),
        (b'{"data":1}', 400, 107, "$"),
        (b'{"channel":"x"}', 400, 107, "$"),
        (b'{"channel":3,"data":1}', 400, 107, "$.channel"),
        (b'{"channel":"","data":1}', 400, 107, "$.channel"),
        (b'{"channel":"' + b"x" * 257 + b'","data":1}', 400, 107, "$.channel"),
        (b'{"channel":"prices:*","data":1}', 400, 107, "$.channel"),
        (b'{"channel":"a\\nb","data":1}', 400, 107, "$.channel"),
        (b'{"channel":"x","data":{"a":\xff}}', 400, 107, ""),
        (b'{"channel":"x","data":"\xff"}', 400, 107, "$.data"),
        (b'{"channel":"x","data":1e999}', 400, 107, "$"),
        (b'{"channel":"x","data":99999999999999999999999}', 400, 107, "$.data"),
        (b'{"channel":"x","data":' + b"[" * 200 + b"]" * 200 + b"}", 400, 107, "$.data"),
        (b'{"channel":"x","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, 107, ""),
        (b'{"channel":"x","data":1,"b64data":"aGk="}', 400, 107, "$"),
        (b'{"channel":"x","b64data":"aGk"}', 400, 107, "$.b64data"),
        (b'{"channel":"x","b64data":"a!k="}', 400, 107, "$.b64data"),
        (b'{"channel":"prices:x","b64data":"aGk="}', 400, 107, ""),
        (b'{"channel":"x","data":1,"idempotency_key":5}', 400, 107, "$.idempotency_key"),
        (b'{"channel":"x","data":1,"idempotency_key":"' + b"k" * 257 + b'"}', 400, 107, "$.idempotency_key"),
        (b'{"channel":"x","data":1,"tags":{"a":1}}', 400, 107, "$.tags[...]"),
        (b'{"channel":"x","data":1,"skip_history":true}', 400, 108, "$.skip_history"),
        (b'{"channel":"x","data":1,"version":4}', 400, 108, "$.version"),
        (b'{"channel":"x","data":1,"version_epoch":"e"}', 400, 108, "$.version_epoch"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_malformed_body_is_refused_with_its_place_and_nothing_is_published(
    commands: Commands, channels: Channels, data: bytes, status: int, code: int, path: str
) -> None:
    refusal = refusal_of(commands, "publish", data)
    assert (refusal.status, refusal.code, refusal.path) == (status, code, path)
    assert refusal.message
    assert channels.published == []


def test_unknown_namespace_is_a_404_with_centrifugo_s_code_where_undeclared_ones_are_refused() -> None:
    channels = Channels(allows_undeclared=False)
    commands = Commands(channels, Results())
    refusal = refusal_of(commands, "publish", body(channel="nope:1", data=1))
    assert (refusal.status, refusal.code, refusal.path) == (404, 102, "$.channel")
    refusal = refusal_of(commands, "broadcast", body(channels=["any:1", "nope:1"], data=1))
    assert (refusal.status, refusal.code, refusal.path) == (404, 102, "$.channels[1]")
    assert channels.published == []


def test_broadcast_answers_for_each_channel_in_order(commands: Commands, channels: Channels) -> None:
    answer = commands.broadcast(body(channels=["prices:a", "x", "prices:b"], data=PRICE), 0.0)
    assert json.loads(answer) == {
        "result": {"responses": [{"result": {"offset": number, "epoch": "7"}} for number in (1, 2, 3)]}
    }
    price = PriceUpdate(**PRICE)  # type: ignore[arg-type]  # fields of various types
    assert channels.published == [("prices:a", price), ("x", PRICE), ("prices:b", price)]


@pytest.mark.parametrize(
    ("names", "path"),
    [
        ([], "$.channels"),
        (["x"] * (MAX_CHANNELS + 1), "$.channels"),
        (["x", ""], "$.channels[1]"),
        (["x", "y*"], "$.channels[1]"),
        (["x", 3], "$.channels["),
        (["x", "prices:a"], "$.data"),
        (["x", "orders:a"], "$.data"),
    ],
    ids=["none", "too many", "no name", "pattern", "number", "wrong type", "wrong types"],
)
def test_broadcast_with_one_fault_publishes_to_none_of_its_channels(
    commands: Commands, channels: Channels, names: list[Any], path: str
) -> None:
    refusal = refusal_of(commands, "broadcast", body(channels=names, data={"a": 1}))
    assert (refusal.status, refusal.code) == (400, 107)
    assert refusal.path.startswith(path)
    assert channels.published == []


def test_broadcast_of_much_data_to_many_channels_is_a_413(commands: Commands, channels: Channels) -> None:
    refusal = refusal_of(commands, "broadcast", body(channels=["x"] * 1000, data="y" * 20_000))
    assert (refusal.status, refusal.path) == (413, "$.channels")
    assert channels.published == []


def test_broadcast_without_a_form_for_some_subscribers_says_so_for_their_channel_alone(
    commands: Commands, channels: Channels
) -> None:
    channels.formless.add("b")
    responses = json.loads(commands.broadcast(body(channels=["a", "b", "c"], data=1), 0.0))["result"]["responses"]
    assert [list(response) for response in responses] == [["result"], ["error"], ["result"]]
    assert responses[1]["error"]["code"] == 107
    assert refusal_of(commands, "publish", body(channel="b", data=1)).status == 400


@pytest.mark.parametrize(("api", "fields"), [("publish", {"channel": "x"}), ("broadcast", {"channels": ["x", "y"]})])
def test_same_idempotency_key_again_is_answered_alike_and_publishes_nothing(
    commands: Commands, channels: Channels, api: str, fields: dict[str, Any]
) -> None:
    request = body(**fields, data={"a": 1}, idempotency_key="once")
    first = getattr(commands, api)(request, 0.0)
    count = len(channels.published)
    assert getattr(commands, api)(request, 299.0) == first
    assert len(channels.published) == count
    getattr(commands, api)(request, 300.0)
    assert len(channels.published) == 2 * count


def test_same_idempotency_key_with_another_body_is_a_conflict(commands: Commands, channels: Channels) -> None:
    commands.publish(body(channel="x", data=1, idempotency_key="once"), 0.0)
    refusal = refusal_of(commands, "publish", body(channel="x", data=2, idempotency_key="once"))
    assert (refusal.status, refusal.code, refusal.path) == (409, 113, "$.idempotency_key")
    assert len(channels.published) == 1


def test_idempotency_key_of_a_refused_request_is_free_again(commands: Commands, channels: Channels) -> None:
    refusal_of(commands, "publish", body(channel="prices:a", data=1, idempotency_key="once"))
    commands.publish(body(channel="prices:a", data=PRICE, idempotency_key="once"), 0.0)
    assert len(channels.published) == 1


def test_idempotency_keys_of_publish_and_broadcast_are_apart(commands: Commands, channels: Channels) -> None:
    commands.publish(body(channel="x", data=1, idempotency_key="once"), 0.0)
    commands.broadcast(body(channels=["x"], data=1, idempotency_key="once"), 0.0)
    assert len(channels.published) == 2


def test_nothing_is_published_once_the_server_is_closed(commands: Commands, channels: Channels) -> None:
    commands.publish(body(channel="x", data=1, idempotency_key="once"), 0.0)
    channels.is_closed = True
    refusal = refusal_of(commands, "publish", body(channel="x", data=1))
    assert (refusal.status, refusal.code) == (503, 108)
    assert len(channels.published) == 1
    # What was done before can still be said.
    assert b'"offset":1' in commands.publish(body(channel="x", data=1, idempotency_key="once"), 1.0)

"""Notifications of Solana's PubSub: what is decoded is what `json` and msgspec find, or it is left to them."""

import json
import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples

from websocket_utils import AccountUpdate, SlotUpdate
from websocket_utils._core import PubSubDecoder

pytestmark = BOUNDED

NOW = 1_800_000_000_123
MOST = 2**64 - 1
WATCHED = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
KINDS = ["accountNotification", "programNotification", "slotNotification", "rootNotification"]
# What has a meaning in one of the objects, and so can't be an extra field there.
NAMES = {"method", "params", "result", "subscription", "context", "value", "slot", "parent", "root"}
NAMES |= {"lamports", "data", "owner", "pubkey", "account", "executable", "rentEpoch", "space", "jsonrpc"}

numbers = st.integers(0, MOST) | st.integers(MOST - 5, MOST) | st.integers(0, 1000) | st.integers(2**53, 2**53 + 9)
texts = st.text(max_size=40)
extra_values = st.recursive(
    st.none() | st.booleans() | texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
plain_names = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=24)


class Account(msgspec.Struct):
    lamports: int


class Value(msgspec.Struct):
    lamports: int = -1
    pubkey: str = ""
    account: Account | None = None


class Context(msgspec.Struct):
    slot: int


class Result(msgspec.Struct):
    context: Context | None = None
    value: Value | None = None
    slot: int = -1
    parent: int = -1
    root: int = -1


class Params(msgspec.Struct):
    subscription: int
    result: Result | int


class Notification(msgspec.Struct):
    method: str
    params: Params


class Wrong(Exception):
    """A frame is no notification."""


def number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise Wrong
    return value


def fields(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Wrong
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong
    return value


def by_json(frame: bytes) -> tuple[int, AccountUpdate | SlotUpdate | int] | None:
    """Subscription and message, looked up by hand."""
    try:
        notification = fields(json.loads(frame))
        params = fields(notification.get("params"))
        subscription, result = number(params.get("subscription")), params.get("result")
        match notification.get("method"):
            case "rootNotification":
                return subscription, number(result)
            case "slotNotification":
                slot, parent, root = (number(fields(result).get(name)) for name in ("slot", "parent", "root"))
                return subscription, SlotUpdate(slot, parent, root, NOW)
            case "accountNotification":
                pubkey, account = WATCHED, fields(result).get("value", 0)
            case "programNotification":
                value = fields(fields(result).get("value"))
                pubkey, account = text(value.get("pubkey")), value.get("account", 0)
            case _:
                return None
        slot = number(fields(fields(result).get("context")).get("slot"))
        lamports = 0 if account is None else number(fields(account).get("lamports"))
        return subscription, AccountUpdate(pubkey, lamports, slot, NOW)
    except (ValueError, Wrong):
        return None


def by_msgspec(frame: bytes) -> tuple[int, AccountUpdate | SlotUpdate | int]:
    """The same with classes, for frames that are right."""
    notification = msgspec.json.decode(frame, type=Notification)
    subscription, result = notification.params.subscription, notification.params.result
    if isinstance(result, int):
        return subscription, result
    if notification.method == "slotNotification":
        return subscription, SlotUpdate(result.slot, result.parent, result.root, NOW)
    assert result.context is not None
    value = result.value if result.value is not None else Value(lamports=0)
    if notification.method == "accountNotification":
        return subscription, AccountUpdate(WATCHED, value.lamports, result.context.slot, NOW)
    lamports = 0 if value.account is None else value.account.lamports
    return subscription, AccountUpdate(value.pubkey, lamports, result.context.slot, NOW)


def decoded(frame: bytes, kind: str, *subscriptions: int) -> tuple[Any, Any] | None:
    """What ours makes of a frame on a socket with these subscriptions, whose routes are their numbers."""
    decoder = PubSubDecoder()
    for subscription in subscriptions:
        if kind == "accountNotification":
            decoder.watch_account(subscription, WATCHED, subscription)
        else:
            decoder.watch(subscription, subscription)
    return decoder.decode(frame, NOW)


@st.composite
def frames(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[str, int, bytes]:
    """Method, subscription and text of a notification."""
    shuffle = random.Random(draw(st.integers(0, 2**32))).shuffle
    extra = st.dictionaries(names.filter(lambda name: name not in NAMES), extra_values, max_size=2)

    def together(**members: Any) -> dict[str, Any]:
        # In the order of the node or in any, with fields that nobody knows or without.
        if draw(st.booleans()):
            return members
        pairs = [*members.items(), *draw(extra).items()]
        shuffle(pairs)
        return dict(pairs)

    def account() -> dict[str, Any] | None:
        if draw(st.integers(0, 7)) == 0:
            return None
        data = st.sampled_from([["AQI=", "base64"], ["", "base64"], "3yZe", {"parsed": {"info": {}}, "space": 82}])
        # An owner is a key, and is not looked at.
        owner = draw(st.text(BASE58, min_size=32, max_size=44) | texts)
        rest = {"owner": owner, "executable": draw(st.booleans()), "rentEpoch": draw(numbers)}
        rest |= {"space": draw(st.none() | numbers)} if draw(st.booleans()) else {}
        return together(lamports=draw(numbers), data=draw(data), **rest)

    kind, subscription = draw(st.sampled_from(KINDS)), draw(numbers)
    result: dict[str, Any] | int
    match kind:
        case "rootNotification":
            result = draw(numbers)
        case "slotNotification":
            result = together(slot=draw(numbers), parent=draw(numbers), root=draw(numbers))
        case "accountNotification":
            result = together(context=together(slot=draw(numbers)), value=account())
        case _:
            pubkey = draw(st.text(BASE58, min_size=1, max_size=44))
            value = together(pubkey=pubkey, account=account())
            result = together(context=together(slot=draw(numbers)), value=value)
    params = together(result=result, subscription=subscription)
    notification = together(jsonrpc="2.0", method=kind, params=params)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\n:\r")]))
    written = json.dumps(
        notification, separators=separators, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
    )
    return kind, subscription, written.encode()


@given(frames(plain_names))
@examples(100)
def test_notification_in_any_order_and_with_any_fields_is_what_json_and_msgspec_find(
    case: tuple[str, int, bytes],
) -> None:
    kind, subscription, frame = case
    expected = by_json(frame)
    assert expected is not None
    found = decoded(frame, kind, subscription)
    assert found is not None
    assert found == expected == by_msgspec(frame)
    assert type(found[1]) is type(expected[1])
    assert decoded(frame, kind, subscription ^ 1) is None


@given(frames(texts))
@examples(60)
def test_notification_with_fields_of_any_name_is_what_json_finds_or_left_to_it(case: tuple[str, int, bytes]) -> None:
    kind, subscription, frame = case
    assert decoded(frame, kind, subscription) in (None, by_json(frame))


@given(frames(plain_names), st.data())
@examples(150)
def test_broken_notification_is_what_json_finds_or_left_to_it(
    case: tuple[str, int, bytes], data: st.DataObject
) -> None:
    kind, subscription, frame = case
    broken = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        piece = data.draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"}", b"{", b",", b"0", b"9", b"\\", b" ", b"[", b"e1"])
        )
        broken[at : at + data.draw(st.integers(0, 3))] = piece
        if not broken:
            return
    expected = by_json(bytes(broken))
    others = () if expected is None else (expected[0],)
    assert decoded(bytes(broken), kind, subscription, *others) in (None, expected)


@given(frames(plain_names))
@examples(10)
def test_part_of_a_notification_is_none(case: tuple[str, int, bytes]) -> None:
    kind, subscription, frame = case
    for end in range(len(frame.rstrip())):
        assert decoded(frame[:end], kind, subscription) is None

"""Notifications of Solana's PubSub, decoded for one socket: whom they are for, and the object that they become."""

import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from websocket_utils import AccountUpdate, SlotUpdate
from websocket_utils._core import PubSubDecoder

NOW = 1_800_000_000_123
PUBKEY = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
STATE = (
    b'{"lamports":18446744073709551615,"data":["AQI=","base64"],"owner":"11111111111111111111111111111111",'
    b'"executable":false,"rentEpoch":18446744073709551615,"space":2}'
)
ACCOUNT = (
    b'{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":9007199254740993},"value":'
    + STATE
    + b'},"subscription":4743323479349712}}'
)
PROGRAM = (
    b'{"jsonrpc":"2.0","method":"programNotification","params":{"result":{"context":{"slot":7},"value":{"pubkey":"'
    + PUBKEY.encode()
    + b'","account":'
    + STATE
    + b'}},"subscription":18446744073709551615}}'
)
SLOT = (
    b'{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":76,"parent":75,"root":44},'
    b'"subscription":0}}'
)
ROOT = b'{"jsonrpc":"2.0","method":"rootNotification","params":{"result":42,"subscription":0}}'
ACCOUNT_ID, PROGRAM_ID = 4743323479349712, 2**64 - 1
UPDATE = AccountUpdate(PUBKEY, 2**64 - 1, 9007199254740993, NOW)


class Route:
    """Whom a subscription is for."""

    of: Any = None


def watching(route: object = "route") -> PubSubDecoder:
    decoder = PubSubDecoder()
    decoder.watch_account(ACCOUNT_ID, PUBKEY, route)
    return decoder


@pytest.mark.parametrize(
    "frame",
    [ACCOUNT, bytearray(ACCOUNT), memoryview(ACCOUNT), ACCOUNT.decode(), type("Sub", (bytes,), {})(ACCOUNT)],
    ids=["bytes", "bytearray", "memoryview", "str", "subclass"],
)
def test_account_notification_is_an_update_of_the_watched_account_for_its_route(frame: Any) -> None:
    route = Route()
    found = watching(route).decode(frame, NOW)
    assert found is not None
    assert found[0] is route
    assert found[1] == UPDATE
    assert type(found[1]) is AccountUpdate


def test_program_slot_and_root_notifications_are_for_whom_their_subscription_watches() -> None:
    decoder = PubSubDecoder()
    decoder.watch(PROGRAM_ID, "program")
    decoder.watch(0, "chain")
    assert decoder.decode(PROGRAM, NOW) == ("program", AccountUpdate(PUBKEY, 2**64 - 1, 7, NOW))
    assert decoder.decode(SLOT, NOW) == ("chain", SlotUpdate(76, 75, 44, NOW))
    assert decoder.decode(ROOT, NOW) == ("chain", 42)


def test_account_that_is_gone_has_no_lamports() -> None:
    gone = ACCOUNT.replace(STATE, b"null")
    assert watching().decode(gone, NOW) == ("route", AccountUpdate(PUBKEY, 0, 9007199254740993, NOW))


@pytest.mark.parametrize(
    "frame",
    [
        b'{"jsonrpc":"2.0","result":23784,"id":1}',
        b'{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid"},"id":1}',
        b'{"jsonrpc":"2.0","method":"logsNotification","params":{"result":{},"subscription":4743323479349712}}',
        ACCOUNT.replace(b"4743323479349712", b"4743323479349713"),
        ACCOUNT.replace(b"18446744073709551615", b"18446744073709551616"),
        ACCOUNT.replace(b"}}", b"}"),
        ACCOUNT + b"}",
        ACCOUNT.decode().replace("AQI", "A\ud800I"),
        b"",
        b"\x00" * 100,
        "nicht",
    ],
)
def test_what_is_no_notification_of_a_watched_subscription_is_left_to_the_caller(frame: Any) -> None:
    assert watching().decode(frame, NOW) is None


def test_notification_of_another_kind_than_is_watched_is_left_to_the_caller() -> None:
    decoder = PubSubDecoder()
    for subscription in (PROGRAM_ID, 0):
        decoder.watch_account(subscription, PUBKEY, "route")
    decoder.watch(ACCOUNT_ID, "route")
    for frame in (ACCOUNT, PROGRAM, SLOT, ROOT):
        assert decoder.decode(frame, NOW) is None


def test_subscription_that_is_watched_anew_is_for_the_new_route_and_a_forgotten_one_for_nobody() -> None:
    decoder = watching("old")
    decoder.watch_account(ACCOUNT_ID, "other", "new")
    assert decoder.decode(ACCOUNT, NOW) == ("new", AccountUpdate("other", 2**64 - 1, 9007199254740993, NOW))
    decoder.forget(ACCOUNT_ID)
    decoder.forget(ACCOUNT_ID)
    assert decoder.decode(ACCOUNT, NOW) is None


def test_thousands_of_subscriptions_keep_their_routes() -> None:
    decoder = PubSubDecoder()
    # Alike in their low bits, as a node may choose them.
    numbers = [number << 48 | number for number in range(5000)]
    for number in numbers:
        decoder.watch(number, number)
    for number in numbers[::7]:
        decoder.forget(number)
    for place, number in enumerate(numbers):
        frame = ROOT.replace(b'"subscription":0', b'"subscription":%d' % number)
        assert decoder.decode(frame, NOW) == (None if place % 7 == 0 else (number, 42))


def test_updates_are_not_followed_by_the_collector_and_pubkeys_are_shared() -> None:
    decoder = watching()
    decoder.watch(PROGRAM_ID, "program")
    decoder.watch(0, "chain")
    for frame in (ACCOUNT, PROGRAM, SLOT):
        found = decoder.decode(frame, NOW)
        assert found is not None
        assert not gc.is_tracked(found[1])
    one, other = decoder.decode(PROGRAM, NOW), decoder.decode(bytearray(PROGRAM), NOW)
    assert one is not None
    assert other is not None
    assert isinstance(one[1], AccountUpdate)
    assert isinstance(other[1], AccountUpdate)
    assert one[1].pubkey is other[1].pubkey


def test_references_are_given_back() -> None:
    route, pubkey, now = Route(), "".join(["pub", "key"]), int("1800000000123")
    decoder = PubSubDecoder()
    decoder.watch_account(ACCOUNT_ID, pubkey, route)
    decoder.watch(0, route)
    held = sys.getrefcount(route)
    before = [sys.getrefcount(each) for each in (route, pubkey, now, ACCOUNT)]
    for _ in range(100):
        for frame in (ACCOUNT, SLOT, ROOT, PROGRAM, ACCOUNT[:-1], ACCOUNT.replace(b"4743", b"4744")):
            decoder.decode(frame, now)
    assert [sys.getrefcount(each) for each in (route, pubkey, now, ACCOUNT)] == before
    decoder.forget(0)
    decoder.watch_account(ACCOUNT_ID, "other", None)
    assert sys.getrefcount(route) == held - 2


def test_route_that_holds_its_decoder_is_collected_with_it() -> None:
    route = Route()
    route.of = watching(route)
    gone = weakref.ref(route)
    del route
    gc.collect()
    assert gone() is None


def test_route_that_comes_back_when_it_goes_finds_the_table_in_order() -> None:
    decoder = PubSubDecoder()

    class Last(Route):
        def __del__(self) -> None:
            decoder.watch(0, "after")

    decoder.watch(0, Last())
    decoder.forget(0)
    assert decoder.decode(ROOT, NOW) == ("after", 42)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        ((ACCOUNT,), TypeError),
        ((ACCOUNT, NOW, 1), TypeError),
        ((1, NOW), TypeError),
        ((None, NOW), TypeError),
        ((ACCOUNT, 1.5), TypeError),
        ((ACCOUNT, True), TypeError),
        ((ACCOUNT, None), TypeError),
        ((memoryview(ACCOUNT)[::2], NOW), BufferError),
    ],
)
def test_call_with_anything_else_raises(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        watching().decode(*arguments)


@pytest.mark.parametrize("subscription", [-1, 2**64])
def test_number_that_no_subscription_has_is_an_overflow_error(subscription: int) -> None:
    decoder = PubSubDecoder()
    with pytest.raises(OverflowError):
        decoder.watch(subscription, None)
    with pytest.raises(OverflowError):
        decoder.watch_account(subscription, PUBKEY, None)
    with pytest.raises(OverflowError):
        decoder.forget(subscription)


def test_call_from_another_thread_says_so() -> None:
    decoder, said = watching(), []

    def call() -> None:
        try:
            decoder.decode(ACCOUNT, NOW)
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(5)
    assert len(said) == 1
    assert "thread" in said[0]

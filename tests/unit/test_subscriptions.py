import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from websocket_utils import (
    Ping,
    StandardSubscriptions,
    Subscribe,
    Subscribed,
    SubscribeRejected,
    SubscriptionProtocol,
    SubscriptionRejected,
    Unsubscribe,
)
from websocket_utils._subscriptions import Acknowledgements, Subscriptions, Waiters

# --- what is wanted ---


def test_channel_added_twice_and_removed_once_stays() -> None:
    wanted = Subscriptions()
    assert wanted.add(["a", "b"]) == ("a", "b")
    assert wanted.add(["b"]) == ()
    assert wanted.remove(["a", "b"]) == ("a",)
    assert wanted.channels == ("b",)
    assert wanted.remove(["b"]) == ("b",)
    assert len(wanted) == 0


def test_name_repeated_within_a_call_counts_once() -> None:
    wanted = Subscriptions()
    assert wanted.add(["a", "a"]) == ("a",)
    wanted.add(["a"])
    assert wanted.remove(["a", "a"]) == ()
    assert wanted.remove(["a", "a"]) == ("a",)


def test_last_is_what_a_removal_would_return() -> None:
    wanted = Subscriptions()
    wanted.add(["a", "b"])
    wanted.add(["b"])
    assert wanted.last(["b", "a", "a", "c"]) == ("a",)
    assert wanted.channels == ("a", "b")
    assert wanted.remove(["b", "a", "a", "c"]) == ("a",)


def test_removing_what_is_not_wanted_changes_nothing() -> None:
    wanted = Subscriptions()
    assert wanted.remove(["a"]) == ()
    wanted.add(["a"])
    assert wanted.channels == ("a",)


def test_order_of_renewal_is_that_of_the_first_add() -> None:
    wanted = Subscriptions()
    wanted.add(["c", "a"])
    wanted.add(["b", "c"])
    wanted.remove(["c"])
    assert wanted.channels == ("c", "a", "b")
    wanted.remove(["c"])
    wanted.add(["c"])
    assert wanted.channels == ("a", "b", "c")


def test_refused_channel_is_forgotten_whatever_its_count() -> None:
    wanted = Subscriptions()
    wanted.add(["a"])
    wanted.add(["a"])
    assert wanted.forget("a")
    assert "a" not in wanted
    assert not wanted.forget("a")
    assert wanted.add(["a"]) == ("a",)


def test_who_held_a_forgotten_channel_does_not_hold_who_wants_it_anew() -> None:
    wanted = Subscriptions()
    wanted.add(["a", "b"])
    is_held = wanted.holder(["a", "b", "never added"])
    wanted.add(["b"])
    wanted.remove(["b"])
    assert is_held("a")
    assert is_held("b")
    assert not is_held("never added")
    wanted.forget("a")
    wanted.add(["a"])
    assert not is_held("a")
    assert wanted.holder(["a"])("a")


# --- the standard protocol ---


def test_standard_protocol_cuts_long_lists_into_messages_of_512() -> None:
    standard = StandardSubscriptions()
    channels = [f"{number}" for number in range(1025)]
    for messages, type_ in ((standard.subscribe(channels), Subscribe), (standard.unsubscribe(channels), Unsubscribe)):
        assert [type(message) for message in messages] == [type_] * 3
        assert [len(message.channels) for message in messages] == [512, 512, 1]
        assert [channel for message in messages for channel in message.channels] == channels
    assert standard.subscribe(()) == []


def test_standard_protocol_reads_both_answers_and_no_other() -> None:
    standard = StandardSubscriptions()
    assert isinstance(standard, SubscriptionProtocol)
    assert standard.replies == (Subscribed, SubscriptionRejected)
    assert standard.settle(Subscribed(channels=["a", "b"])) == [("a", None), ("b", None)]
    ((channel, error),) = standard.settle(SubscriptionRejected(channels=["c"], code=1008, reason="too long"))
    assert channel == "c"
    assert error is not None
    assert (error.channel, error.code, error.reason) == ("c", 1008, "too long")
    assert standard.settle(Ping()) == []


@pytest.mark.parametrize(
    ("subprotocol", "speaks"),
    [
        ("websocket-utils.json", True),
        ("websocket-utils.msgpack", True),
        ("websocket-utils.protobuf", True),
        ("websocket-utils.xml", False),
        ("", False),
        (None, False),
    ],
)
def test_answers_are_expected_of_who_agreed_to_our_subprotocols(subprotocol: str | None, speaks: bool) -> None:
    assert StandardSubscriptions().speaks(subprotocol) is speaks


def test_protocol_of_ones_own_needs_no_base_class() -> None:
    class Silent:
        replies: tuple[type, ...] = ()

        def subscribe(self, channels: Sequence[str], /) -> list[str]:
            return [f"+{channel}" for channel in channels]

        def unsubscribe(self, channels: Sequence[str], /) -> list[str]:
            return [f"-{channel}" for channel in channels]

        def settle(self, reply: Any, /) -> list[tuple[str, SubscribeRejected | None]]:
            return []

        def speaks(self, subprotocol: str | None, /) -> bool:
            return False

    silent: SubscriptionProtocol = Silent()
    assert isinstance(silent, SubscriptionProtocol)
    assert silent.subscribe(["a"]) == ["+a"]
    assert not isinstance(object(), SubscriptionProtocol)


# --- acknowledgements ---


def test_acknowledgements_are_complete_once_all_is_settled() -> None:
    due = Acknowledgements()
    due.expect(["a", "b"], 10.0, 5.0)
    assert due.settle("a")
    assert not due.settle("a")
    assert not due.settle("never asked for")
    assert due.channels == ("b",)
    assert (due.is_complete, due.deadline) == (False, 15.0)
    assert due.settle("b")
    assert (due.is_complete, due.deadline) == (True, None)


def test_deadline_is_the_first_and_overdue_are_those_behind_it() -> None:
    due = Acknowledgements()
    due.expect(["a", "b"], 10.0, 5.0)
    due.expect(["c"], 11.0, 1.0)
    assert due.deadline == 12.0
    assert due.overdue(11.9) == ()
    assert due.overdue(12.0) == ("c",)
    assert due.overdue(15.0) == ("a", "b", "c")
    due.settle("c")
    assert due.deadline == 15.0


def test_channel_asked_for_again_has_its_time_again() -> None:
    due = Acknowledgements()
    due.expect(["a"], 10.0, 5.0)
    due.expect(["a"], 13.0, 5.0)
    assert due.deadline == 18.0
    assert due.overdue(15.0) == ()
    assert due.settle("a")
    assert due.is_complete


# --- those who wait ---


async def test_waiter_is_done_when_all_its_channels_are_settled() -> None:
    waiters = Waiters()
    waiter = waiters.waiter(asyncio.get_running_loop(), ["a", "b", "a"])
    assert waiters.settle("a")
    assert not waiter.done()
    # The connection may end here, and another one's server say the rest.
    assert waiters.settle("b")
    async with asyncio.timeout(5):
        await waiter
    assert len(waiters) == 0
    assert not waiters.settle("a")


async def test_waiter_for_nothing_is_done() -> None:
    waiters = Waiters()
    assert waiters.waiter(asyncio.get_running_loop(), []).done()
    assert len(waiters) == 0


async def test_waiter_fails_with_the_first_rejection_and_has_heard_of_the_others() -> None:
    waiters = Waiters()
    waiter = waiters.waiter(asyncio.get_running_loop(), ["good", "long", "more", "late"])
    first, second = (SubscribeRejected(channel, 1008, "no") for channel in ("long", "more"))
    assert waiters.settle("long", first)
    assert waiters.settle("more", second)
    with pytest.raises(SubscribeRejected) as caught:
        await waiter
    assert caught.value is first
    # A turn later nobody waits any more.
    await asyncio.sleep(0)
    assert len(waiters) == 0
    assert not waiters.settle("late", second)


async def test_rejection_reaches_all_who_wait_and_nobody_else() -> None:
    waiters = Waiters()
    loop = asyncio.get_running_loop()
    one, two, other = (waiters.waiter(loop, channels) for channels in (["a", "b"], ["a"], ["b"]))
    assert waiters.settle("a", SubscribeRejected("a", 1008, "no"))
    for waiter in (one, two):
        with pytest.raises(SubscribeRejected):
            await waiter
    await asyncio.sleep(0)
    assert not other.done()
    assert waiters.settle("b")
    await other


async def test_cancelled_waiter_is_dropped_and_hears_of_nothing() -> None:
    waiters = Waiters()
    loop = asyncio.get_running_loop()
    cancelled, patient = waiters.waiter(loop, ["a", "b"]), waiters.waiter(loop, ["b"])
    cancelled.cancel()
    assert not waiters.settle("a", SubscribeRejected("a", 1008, "no"))
    await asyncio.sleep(0)
    assert len(waiters) == 1
    assert waiters.settle("b")
    await patient


async def test_end_of_the_client_fails_all_who_wait() -> None:
    waiters = Waiters()
    loop = asyncio.get_running_loop()
    found = [waiters.waiter(loop, channels) for channels in (["a", "b"], ["c"])]
    waiters.fail(ConnectionError("over"))
    assert len(waiters) == 0
    for waiter in found:
        with pytest.raises(ConnectionError, match="over"):
            await waiter

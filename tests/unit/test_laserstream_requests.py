"""What a stream asks a node for, when, and how often; and what it makes of refusals."""

import asyncio
import random

import pytest
from tests.support.golden_node import ACCOUNT, KEY, OTHER, PROGRAM, SYSTEM, linked, refusal, started
from tests.support.waiting import until

from websocket_utils import ConfigError, InvalidPubkey, InvalidURL, RequestRejected, RequestTooBig, SubscribeRejected
from websocket_utils.config import ConfigOverrides
from websocket_utils.feeds.laserstream import LaserStream
from websocket_utils.feeds.laserstream._base58 import check_pubkey
from websocket_utils.feeds.laserstream._stream import StreamSettings

pytestmark = pytest.mark.timeout(5)

DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data: bytes) -> str:
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = DIGITS[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


# --- addresses ---


def test_32_bytes_in_base58_are_an_address_whatever_they_are() -> None:
    source = random.Random(7)
    for zeros in range(33):
        key = base58(bytes(zeros) + source.randbytes(32 - zeros))
        assert check_pubkey(key) == key
    assert check_pubkey(SYSTEM) == "1" * 32
    assert check_pubkey(base58(b"\xff" * 32))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "0 characters"),
        ("CM78", "4 characters"),
        (f"{KEY}1", "45 characters"),
        (KEY[:-1] + "0", "'0' is no digit"),
        (KEY[:-1] + "l", "'l' is no digit"),
        (f" {KEY[1:]}", "' ' is no digit"),
        ("\u0661" * 32, "is no digit"),
        ("1" * 33, "33 bytes"),
        ("z" * 44, "33 bytes"),
        ("2" * 32, "23 bytes"),
        (base58(b"\1" * 31), "31 bytes"),
    ],
)
def test_what_is_no_address_is_refused_by_name(key: str, reason: str) -> None:
    with pytest.raises(InvalidPubkey, match=reason) as caught:
        check_pubkey(key)
    assert caught.value.key == key


async def test_bad_address_is_found_before_anything_is_asked_for() -> None:
    async with linked() as (stream, node):
        for call in (
            lambda: stream.accounts([KEY, "0x1234"]),
            lambda: stream.program("nope"),
            lambda: stream.logs("nope"),
            lambda: stream.transactions(account_required=["nope"]),
            lambda: stream.accounts([KEY, 7]),  # type: ignore[list-item]  # callers without a type checker
        ):
            with pytest.raises(InvalidPubkey):
                call()
        with pytest.raises(TypeError, match="list of addresses"):
            stream.accounts(KEY)
        with pytest.raises(ValueError, match="no address"):
            stream.accounts([])
        with pytest.raises(ConfigError, match="commitment"):
            stream.accounts([KEY], commitment="recent")  # type: ignore[arg-type]  # the same
        await started(stream.slots(), node)
        assert [request["method"] for request in node.requests] == ["slotSubscribe"]


async def test_bad_settings_are_found_before_anything_is_opened() -> None:
    with pytest.raises(ConfigError, match="commitment"):
        LaserStream("ws://node.test/", commitment="max")  # type: ignore[arg-type]  # callers without a type checker
    with pytest.raises(InvalidURL):
        LaserStream("https://node.test/?api-key=s3cret")
    for url in ("ws://node.test/", "node.test", "https://:x/?api-key=s3cret"):
        with pytest.raises(ConfigError, match="seed_url") as caught:
            LaserStream("ws://node.test/", seed_url=url)
        assert "s3cret" not in str(caught.value)


def test_connect_takes_what_the_class_takes() -> None:
    names = set(LaserStream.__init__.__annotations__) - {"url", "return", "overrides"}
    assert names == set(StreamSettings.__annotations__) - set(ConfigOverrides.__annotations__)


# --- size ---


async def test_request_over_the_nodes_limit_is_never_sent() -> None:
    async with linked() as (stream, node):
        filters = [{"memcmp": {"offset": 0, "bytes": "1" * 4000}}]
        with pytest.raises(RequestTooBig, match="4096") as caught:
            stream.program(PROGRAM, filters=filters)
        assert (caught.value.what, caught.value.limit) == (f"programs:{PROGRAM}", 4096)
        assert (caught.value.size or 0) > 4096
        await started(stream.slots(), node)
        assert [request["method"] for request in node.requests] == ["slotSubscribe"]


async def test_limit_is_the_streams_to_say_and_what_fits_is_sent() -> None:
    async with linked(max_request_size=20_000) as (stream, node):
        await started(stream.program(PROGRAM, filters=[{"memcmp": {"offset": 0, "bytes": "1" * 4000}}]), node)
        await started(stream.transactions(account_include=[KEY, OTHER] * 100), node)
        assert len(node.requests) == 2


# --- refusals ---


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        (-32602, "Invalid Request: Invalid pubkey provided", "does not take these parameters"),
        (-32603, "Internal Error: Subscription refused. Node subscription limit reached", "as many subscriptions"),
        (-32601, "Method not found", "does not offer this method"),
        (-1, "break\nlog", r"break\\nlog \(code -1\)"),
    ],
)
async def test_refusal_is_raised_with_what_was_asked_and_what_the_node_said(
    code: int, message: str, advice: str
) -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.slots())
        request = await node.request()
        node.send(refusal(request["id"], code, message))
        with pytest.raises(RequestRejected, match=advice) as caught:
            await waiting
        error = caught.value
        assert isinstance(error, SubscribeRejected)
        assert (error.channel, error.code, error.reason, error.method) == ("slots", code, message, "slotSubscribe")
        assert stream.channels == ()
        # What was refused can be asked for again.
        await started(stream.slots(), node)


async def test_refusal_of_one_account_leaves_none_of_them_subscribed() -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.accounts([KEY, OTHER]))
        (number,) = await node.acknowledge()
        node.send(refusal((await node.request())["id"], -32602, "no"))
        with pytest.raises(RequestRejected) as caught:
            await waiting
        assert caught.value.channel == f"accounts:{OTHER}"
        assert await node.acknowledge() == [number]
        assert node.requests[-1]["method"] == "accountUnsubscribe"
        assert stream.channels == ()


async def test_iteration_raises_the_refusal() -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(anext(stream.slots()))
        node.send(refusal((await node.request())["id"], -32601, "no"))
        with pytest.raises(RequestRejected):
            await waiting


@pytest.mark.parametrize("result", [True, None, -1, 1.5, 2**64, "7", [7]], ids=repr)
async def test_acknowledgement_without_a_number_of_a_subscription_is_a_refusal(result: object) -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.slots())
        node.answer(await node.request(), result)
        with pytest.raises(RequestRejected, match="no number"):
            await waiting


async def test_number_that_another_subscription_has_is_a_refusal() -> None:
    async with linked() as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        node.answer(await node.request(), number)
        with pytest.raises(RequestRejected, match="another subscription"):
            await waiting
        assert stream.channels == slots.channels


# --- sharing ---


async def test_what_is_asked_for_twice_is_one_subscription_that_both_hear() -> None:
    async with linked() as (stream, node):
        one, (number,) = await started(stream.accounts([KEY]), node)
        # It is acknowledged already: nothing to wait for.
        other = await stream.accounts([KEY])
        node.send(ACCOUNT % (1, 2, number))
        assert (await anext(one)) == (await anext(other))
        await one.unsubscribe()
        node.send(ACCOUNT % (2, 3, number))
        assert (await anext(other)).lamports == 3
        with pytest.raises(StopAsyncIteration):
            await anext(one)
        await other.unsubscribe()
        assert await node.acknowledge() == [number]
        assert [request["method"] for request in node.requests] == ["accountSubscribe", "accountUnsubscribe"]
        assert stream.stats().subscriptions == 0


async def test_two_who_ask_at_once_are_one_request() -> None:
    async with linked() as (stream, node):
        both = asyncio.gather(stream.accounts([KEY]), stream.accounts([KEY, KEY]))
        await node.acknowledge()
        await both
        await started(stream.slots(), node)
        assert [request["method"] for request in node.requests] == ["accountSubscribe", "slotSubscribe"]


async def test_one_call_that_two_wait_for_is_subscribed_to_once() -> None:
    async with linked() as (stream, node):
        slots = stream.slots()
        both = asyncio.gather(slots, slots)
        await node.acknowledge()
        assert set(await both) == {slots}
        await slots.unsubscribe()
        await slots.unsubscribe()
        await node.acknowledge()
        with pytest.raises(RuntimeError, match="ended"):
            await slots


async def test_other_parameters_are_another_subscription_with_another_channel() -> None:
    async with linked() as (stream, node):
        plain, _ = await started(stream.program(PROGRAM), node)
        sized, _ = await started(stream.program(PROGRAM, filters=[{"dataSize": 80}]), node)
        sure, _ = await started(stream.program(PROGRAM, commitment="finalized"), node)
        channels = (*plain.channels, *sized.channels, *sure.channels)
        assert channels == (f"programs:{PROGRAM}", f"programs:{PROGRAM}#2", f"programs:{PROGRAM}@finalized")
        assert stream.program(PROGRAM, filters=[{"dataSize": 80}]).channels == sized.channels


# --- ending ---


async def test_leaving_ends_the_subscription_by_its_number() -> None:
    async with linked() as (stream, node):
        await started(stream.slots(), node)
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        async with accounts:
            pass
        request = await node.request()
        assert (request["method"], request["params"]) == ("accountUnsubscribe", [number])
        # Its last ones are on their way while the node does not know.
        node.send(ACCOUNT % (9, 9, number))
        node.answer(request, True)
        await until(lambda: stream.stats().link.messages_received == 4)
        assert stream.stats().unexpected == 0
        assert stream.channels == ("slots",)
        # Behind the node's word that it is ended nothing of it is to be expected.
        node.send(ACCOUNT % (9, 9, number))
        await until(lambda: stream.stats().unexpected == 1)


async def test_subscription_that_nobody_wants_any_more_is_ended_when_it_is_acknowledged() -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        request = await node.request()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert stream.channels == ()
        node.answer(request, 5)
        ending = await node.request()
        assert (ending["method"], ending["params"]) == ("accountUnsubscribe", [5])
        node.answer(ending, True)


async def test_subscription_that_is_wanted_again_before_its_acknowledgement_is_asked_for_once() -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        request = await node.request()
        waiting.cancel()
        await asyncio.wait([waiting])
        again = asyncio.ensure_future(stream.accounts([KEY]))
        await until(lambda: stream.channels)
        node.answer(request, 5)
        accounts = await again
        node.send(ACCOUNT % (1, 2, 5))
        assert (await anext(accounts)).lamports == 2
        assert len(node.requests) == 1


async def test_subscription_that_is_ended_and_asked_for_anew_may_get_the_same_number() -> None:
    async with linked() as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        await accounts.unsubscribe()
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        await node.acknowledge()
        node.answer(await node.request(), number)
        again = await waiting
        node.send(ACCOUNT % (1, 2, number))
        assert (await anext(again)).lamports == 2


async def test_call_that_is_ended_while_it_waits_leaves_no_subscription() -> None:
    async with linked() as (stream, node):
        accounts = stream.accounts([KEY])
        waiting = asyncio.ensure_future(accounts)
        request = await node.request()
        await accounts.unsubscribe()
        node.answer(request, 5)
        ending = await node.request()
        assert (ending["method"], ending["params"]) == ("accountUnsubscribe", [5])
        node.answer(ending, True)
        await waiting
        assert stream.channels == ()
        assert [update async for update in accounts] == []

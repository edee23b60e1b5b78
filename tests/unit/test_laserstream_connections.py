"""A stream over the connections that it takes: numbers that mean nothing on another one, gaps, forks, and silence."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.support.golden_node import (
    ACCOUNT,
    KEY,
    LOGS,
    OTHER,
    PROGRAM,
    SIGNATURE,
    SLOT,
    URL,
    GoldenNode,
    ack,
    linked,
    refusal,
    started,
)
from tests.support.waiting import until

from websocket_utils import (
    ConnectionClosedError,
    DecodeError,
    Disconnected,
    Gap,
    HandshakeError,
    HeartbeatTimeout,
    Reconnected,
    RequestRejected,
    SlotUpdate,
    Stale,
    StaleData,
    SubscriptionLost,
)
from websocket_utils.feeds.laserstream import Fork, LaserStream, StreamEvent, Unexpected
from websocket_utils.testing import HttpAnswer, MemoryNetwork, MemoryServer, Serve

pytestmark = pytest.mark.timeout(5)

ROOT = '{"jsonrpc":"2.0","method":"rootNotification","params":{"result":42,"subscription":%d}}'


@contextlib.asynccontextmanager
async def network_of(**options: Any) -> AsyncGenerator[tuple[LaserStream, MemoryServer, list[StreamEvent]], None]:
    """A stream without its guard, the server of its nodes, and all that happens to the stream."""
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        events: list[StreamEvent] = []
        stream = LaserStream(URL, **{"stale_after": None, **options})
        stream.on(StreamEvent, events.append)
        async with stream:
            yield stream, server, events


# --- connections ---


async def test_numbers_of_one_connection_mean_nothing_on_the_next() -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer(), first=5)
        accounts, numbers = await started(stream.accounts([KEY, OTHER]), node)
        assert numbers == [5, 6]
        node.peer.close(1011, "client has lagged behind (notification is gone)")
        node = GoldenNode(await server.peer(), first=6)
        # The same requests, from 1 on, in the order in which they were wanted first.
        assert await node.acknowledge(2) == [6, 7]
        assert [request["id"] for request in node.requests] == [1, 2]
        assert [request["params"][0] for request in node.requests] == [KEY, OTHER]
        node.send(ACCOUNT % (9, 1, 6))
        node.send(ACCOUNT % (9, 2, 7))
        assert [((await anext(accounts)).pubkey) for _ in range(2)] == [KEY, OTHER]
        await until(lambda: isinstance(events[-1], Reconnected))
    disconnected, *gaps, reconnected = events
    assert isinstance(disconnected, Disconnected)
    assert isinstance(disconnected.error, ConnectionClosedError)
    assert gaps == [Gap(f"accounts:{KEY}"), Gap(f"accounts:{OTHER}")]
    assert isinstance(reconnected, Reconnected)
    assert not reconnected.recovered


async def test_exchange_of_the_connection_keeps_both_tables_apart() -> None:
    async with network_of() as (stream, server, events):
        old = GoldenNode(await server.peer(), first=5)
        accounts, _ = await started(stream.accounts([KEY, OTHER]), old)
        exchange = asyncio.create_task(stream.reconnect())
        new = GoldenNode(await server.peer(), first=5)
        requests = [await new.request(), await new.request()]
        # The other way round, while the old one still delivers by its own numbers.
        new.answer(requests[0], 6)
        old.send(ACCOUNT % (1, 1, 5))
        assert (await anext(accounts)).pubkey == KEY
        new.answer(requests[1], 5)
        assert await exchange
        new.send(ACCOUNT % (2, 2, 5))
        new.send(ACCOUNT % (2, 3, 6))
        assert [(await anext(accounts)).pubkey for _ in range(2)] == [OTHER, KEY]
        assert Disconnected not in map(type, events)
        assert [event.channel for event in events if isinstance(event, Gap)] == list(accounts.channels)
        # Ended by the number of the new one.
        await accounts.unsubscribe()
        assert await new.acknowledge(2) == [6, 5]


async def test_what_is_unsubscribed_from_while_the_connection_is_exchanged_is_ended_on_both() -> None:
    async with network_of() as (stream, server, _):
        old = GoldenNode(await server.peer(), first=5)
        slots, _ = await started(stream.slots(), old)
        await started(stream.accounts([KEY]), old)
        exchange = asyncio.create_task(stream.reconnect())
        new = GoldenNode(await server.peer(), first=50)
        first, second = await new.request(), await new.request()
        await slots.unsubscribe()
        assert await old.acknowledge() == [5]
        new.answer(first, 60)
        ending = await new.request()
        assert (ending["method"], ending["params"]) == ("slotUnsubscribe", [60])
        new.answer(second, 61)
        assert await exchange


async def test_connection_that_is_lost_while_its_successor_subscribes_is_followed_by_it() -> None:
    async with network_of() as (stream, server, _):
        old = GoldenNode(await server.peer(), first=5)
        accounts, _ = await started(stream.accounts([KEY]), old)
        exchange = asyncio.create_task(stream.reconnect())
        new = GoldenNode(await server.peer(), first=70)
        request = await new.request()
        old.peer.reset()
        new.answer(request, 70)
        await exchange
        new.send(ACCOUNT % (2, 2, 70))
        assert (await anext(accounts)).lamports == 2


async def test_subscription_that_a_new_connection_refuses_ends_the_iteration_with_the_refusal() -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        slots, (number,) = await started(stream.slots(), node)
        accounts, _ = await started(stream.accounts([KEY]), node)
        node.send(SLOT % (2, 1, number))
        await until(lambda: slots.waiting)
        node.peer.reset()
        node = GoldenNode(await server.peer())
        node.send(refusal((await node.request())["id"], -32603, "limit"))
        (number,) = await node.acknowledge()
        node.send(ACCOUNT % (2, 2, number))
        assert (await anext(accounts)).lamports == 2
        # What had come, the error once, the end.
        assert (await anext(slots)).slot == 2
        with pytest.raises(RequestRejected):
            await anext(slots)
        with pytest.raises(StopAsyncIteration):
            await anext(slots)
        lost = next(event for event in events if isinstance(event, SubscriptionLost))
        assert lost.channel == "slots"
        assert stream.channels == accounts.channels


async def test_refusal_that_somebody_waits_for_is_told_to_those_who_had_the_subscription_too() -> None:
    async with network_of() as (stream, server, _):
        node = GoldenNode(await server.peer())
        first, _numbers = await started(stream.slots(), node)
        node.peer.reset()
        node = GoldenNode(await server.peer())
        request = await node.request()
        second = asyncio.ensure_future(stream.slots())
        await asyncio.sleep(0)
        node.send(refusal(request["id"], -32603, "limit"))
        with pytest.raises(RequestRejected):
            await second
        with pytest.raises(RequestRejected):
            await anext(first)


async def test_close_ends_all_iterations_behind_what_waits() -> None:
    async with linked() as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        slots, _ = await started(stream.slots(), node)
        events = stream.events()
        node.send(ACCOUNT % (2, 2, number))
        await until(lambda: accounts.waiting)
        waiting = asyncio.ensure_future(anext(slots, None))
        await stream.close()
        await stream.close()
        assert await waiting is None
        assert [update.lamports async for update in accounts] == [2]
        assert [event async for event in events] == []
        assert [event async for event in stream.events()] == []
        assert stream.state == "closed"


async def test_stream_that_gives_up_raises_why_in_every_iteration() -> None:
    async with network_of(reconnect=False) as (stream, server, _):
        node = GoldenNode(await server.peer())
        slots, _ = await started(stream.slots(), node)
        events = stream.events()
        node.peer.close(1011, "bye")
        with pytest.raises(ConnectionClosedError):
            await anext(slots)
        with pytest.raises(StopAsyncIteration):
            await anext(slots)
        with pytest.raises(ConnectionClosedError):
            async for _ in events:
                pass


async def test_step_that_is_cancelled_when_a_message_has_come_loses_nothing() -> None:
    async with linked() as (stream, node):
        slots, _ = await started(stream.slots(), node)
        waiting = asyncio.ensure_future(anext(slots))
        await asyncio.sleep(0)
        # In one turn: it is awake, and has not run.
        slots.take(SlotUpdate(2, 1, 0, 0), 10)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert (await anext(slots)).slot == 2


# --- what comes unasked ---


async def test_notification_before_its_acknowledgement_is_delivered_behind_it() -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        request = await node.request()
        node.send(ACCOUNT % (1, 10, 99))
        node.send(LOGS % (1, "null", 98))
        node.send(ACCOUNT % (2, 20, 99))
        node.answer(request, 99)
        accounts = await waiting
        assert [(await anext(accounts)).lamports for _ in range(2)] == [10, 20]
        # The other one belonged to nobody.
        assert stream.stats().unexpected == 1


@pytest.mark.parametrize("size", [1, 40_000], ids=["many", "big"])
async def test_what_is_kept_for_an_acknowledgement_is_bounded(size: int) -> None:
    async with linked() as (stream, node):
        waiting = asyncio.ensure_future(stream.accounts([KEY]))
        request = await node.request()
        frame = (LOGS % (1, "null", 98)).replace("5h6x", "5" * size)
        count = 300 if size == 1 else 40
        for _ in range(count):
            node.send(frame)
            await asyncio.sleep(0)
        await until(lambda: stream.stats().link.messages_received == count)
        kept = 256 if size == 1 else (1 << 20) // len(frame)
        assert stream.stats().unexpected == count - kept
        node.answer(request, 99)
        await waiting
        assert stream.stats().unexpected == count


async def test_what_nobody_asked_for_is_counted_and_told_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        for _ in range(11):
            node.send(SIGNATURE % 7)
        node.send(SLOT % (2, 1, number))
        node.send('{"jsonrpc":"2.0","method":"goodbyeNotification"}')
        node.send(ack(77, 5))
        node.send(refusal(None, -32700, "Parse error\nforged line"))
        node.send(ACCOUNT % (1, 1, number))
        assert (await anext(accounts)).lamports == 1
        assert events == [
            Unexpected("signatureNotification", "of subscription 7, which there is not", 1),
            Unexpected("signatureNotification", "of subscription 7, which there is not", 10),
            Unexpected("slotNotification", f"of subscription {number}, which is accounts:{KEY}", 1),
            Unexpected("goodbyeNotification", "without parameters", 1),
            Unexpected("answer to no request", "number 77", 1),
            Unexpected("error about no request", "Parse error\nforged line (code -32700)", 1),
        ]
        assert stream.stats().unexpected == 15
    lines = [record.getMessage() for record in caplog.records if record.name == "websocket_utils.laserstream"]
    assert len(lines) == len(events)
    assert "\n" not in "".join(lines)


async def test_kinds_of_what_nobody_asked_for_are_bounded() -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        for number in range(200):
            node.send(f'{{"method":"{number}{"x" * 1000}"}}')
        await until(lambda: stream.stats().unexpected == 200)
        assert len({event.what for event in events if isinstance(event, Unexpected)}) == 65
        assert max(len(event.what) for event in events if isinstance(event, Unexpected)) == 120


async def test_notification_of_another_kind_under_a_known_number_is_never_delivered() -> None:
    async with network_of() as (stream, server, _):
        node = GoldenNode(await server.peer())
        slots, (slot,) = await started(stream.slots(), node)
        program, (owned,) = await started(stream.program(PROGRAM), node)
        for frame in (ROOT % slot, ROOT % owned, SLOT % (2, 1, owned), ACCOUNT % (1, 1, slot), ACCOUNT % (1, 1, owned)):
            node.send(frame)
        node.send(SLOT % (7, 6, slot))
        assert (await anext(slots)).slot == 7
        assert program.waiting == 0
        assert stream.stats().unexpected == 5


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[1,2]",
        "null",
        '"text"',
        "[" * 100_000,
        '{"jsonrpc":"2.0","method":7}',
        '{"jsonrpc":"2.0","method":"slotNotification","params":[]}',
        '{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":-1,"parent":0,"root":0},"subscription":0}}',
        SLOT.replace("44", "18446744073709551616") % (2, 1, 0),
        SLOT.replace("44", '"44"') % (2, 1, 0),
        SLOT.replace(',"root":44', "") % (2, 1, 0),
        '{"id":"one","result":1}',
    ],
    ids=range(12),
)
async def test_frame_that_can_not_be_read_is_a_decode_error_and_the_connection_goes_on(frame: str) -> None:
    async with linked() as (stream, node):
        errors: list[DecodeError] = []
        stream.on(DecodeError, errors.append)
        node.next = 0
        slots, _ = await started(stream.slots(), node)
        node.send(frame)
        node.send(SLOT % (2, 1, 0))
        assert (await anext(slots)).slot == 2
        assert len(errors) == 1
        assert errors[0].raw == frame.encode()
        assert stream.stats().malformed == 1
        assert stream.stats().link.connects == 1


async def test_binary_frames_are_read_as_text_ones() -> None:
    async with linked() as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        node.peer.send((SLOT % (2, 1, number)).encode())
        assert (await anext(slots)).slot == 2


# --- forks ---


async def test_slot_that_does_not_build_on_the_last_one_is_a_fork_and_is_delivered() -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        slots, (number,) = await started(stream.slots(), node)
        # In order, one skipped, some missed; then a sibling, and one that goes back.
        for slot, parent in [(75, 74), (77, 75), (90, 89), (91, 88), (80, 79)]:
            node.send(SLOT % (slot, parent, number))
        assert [(await anext(slots)).slot for _ in range(5)] == [75, 77, 90, 91, 80]
        assert events == [Fork("slots", 91, 90), Fork("slots", 80, 91)]
        assert stream.stats().forks == 2


async def test_account_whose_slot_goes_back_is_a_fork_and_is_delivered() -> None:
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        accounts, (one, other) = await started(stream.accounts([KEY, OTHER]), node)
        node.send(ACCOUNT % (10, 1, one))
        node.send(ACCOUNT % (10, 2, one))
        node.send(ACCOUNT % (8, 3, other))
        node.send(ACCOUNT % (9, 4, one))
        assert [(await anext(accounts)).lamports for _ in range(4)] == [1, 2, 3, 4]
        assert events == [Fork(f"accounts:{KEY}", 9, 10)]


# --- silence ---


@pytest.mark.virtual_clock
async def test_stream_without_slots_is_stale_and_dials_anew() -> None:
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        opening = asyncio.ensure_future(LaserStream.connect(URL))
        node = GoldenNode(await server.peer())
        (number,) = await node.acknowledge()
        stream = await opening
        assert stream.channels == ("slots",)
        events: list[StreamEvent] = []
        stream.on(StreamEvent, events.append)
        _, (account,) = await started(stream.accounts([KEY]), node)
        for slot in range(1, 6):
            await asyncio.sleep(4)
            node.send(SLOT % (slot, slot - 1, number))
        assert events == []
        # Accounts say nothing about the node's being there: 4 s later it has one more.
        await asyncio.sleep(4)
        node.send(ACCOUNT % (5, 1, account))
        began = asyncio.get_running_loop().time()
        node = GoldenNode(await server.peer())
        assert asyncio.get_running_loop().time() - began < 2
        await node.acknowledge(2)
        node.send(SLOT % (9, 8, 23784))
        await until(lambda: stream.state == "live")
        stale, disconnected, *_ = events
        assert isinstance(stale, Stale)
        assert (stale.channel, 5 <= stale.age < 6) == ("slots", True)
        assert isinstance(disconnected, Disconnected)
        assert isinstance(disconnected.error, StaleData)
        await stream.close()


@pytest.mark.virtual_clock
async def test_node_that_refuses_slots_is_told_of_when_the_stream_opens() -> None:
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        opening = asyncio.ensure_future(LaserStream.connect(URL))
        node = GoldenNode(await server.peer())
        node.send(refusal((await node.request())["id"], -32601, "Method not found"))
        with pytest.raises(RequestRejected, match="slotSubscribe"):
            await opening
        await until(lambda: not server.peers)


@pytest.mark.virtual_clock
async def test_node_is_pinged_and_taken_for_dead_after_30_silent_seconds() -> None:
    async with network_of() as (stream, server, events):
        await server.peer()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(60)
        assert events == []
        assert stream.stats().link.rtt.count >= 2
        server.peers[0].vanish()
        began = loop.time()
        await server.peer()
        # A ping leaves when a round of 10 s has brought nothing.
        assert 30 <= loop.time() - began <= 55
        assert isinstance(events[0], Disconnected)
        assert isinstance(events[0].error, HeartbeatTimeout)


# --- the opening handshake, and the key ---


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_refused_handshake_is_a_typed_error_without_the_key(status: int) -> None:
    async with MemoryNetwork() as network:
        network.serve(URL, [HttpAnswer(status, headers={"Retry-After": "7"})])
        with pytest.raises(HandshakeError) as caught:
            await LaserStream.connect(URL)
        assert caught.value.status == status
        notes = getattr(caught.value, "__notes__", [])
        assert "s3cret" not in f"{caught.value}{caught.value!r}{vars(caught.value)}{notes}"


@pytest.mark.virtual_clock
async def test_retry_after_of_a_node_is_honoured() -> None:
    async with MemoryNetwork() as network:
        server = network.serve(URL, [HttpAnswer(429, headers={"Retry-After": "7"}), Serve()])
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with LaserStream(URL, stale_after=None, timeout=60) as stream:
            assert stream.state == "live"
            assert loop.time() - began >= 7
        assert len(server.dials) == 2


async def test_key_in_the_path_is_not_shown_either() -> None:
    stream = LaserStream("wss://node.test/0a1b2c3d4e5f60718293a4b5/")
    assert repr(stream) == "<LaserStream wss://node.test/.../ idle>"


async def test_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    async with network_of() as (stream, server, events):
        node = GoldenNode(await server.peer())
        assert node.peer.request.path.endswith("?api-key=s3cret")
        slots, (number,) = await started(stream.slots(), node)
        node.send("{")
        node.send(SIGNATURE % 7)
        node.send(SLOT % (2, 1, number))
        await anext(slots)
        shown += [stream, stream.url, repr(stream), slots, stream.stats(), *asyncio.all_tasks()]
        node.peer.reset()
        node = GoldenNode(await server.peer())
        node.send(refusal((await node.request())["id"], -32603, "limit"))
        with pytest.raises(RequestRejected) as caught:
            await anext(slots)
        shown += [caught.value, vars(caught.value), *events]
    assert caplog.records
    assert "s3cret" not in f"{shown!r}{[str(one) for one in shown]}{caplog.text}"

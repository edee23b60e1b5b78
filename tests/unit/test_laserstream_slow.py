"""What becomes of a stream's messages that nobody takes: held back, dropped, conflated, or handled."""

import asyncio

import pytest
from tests.support.golden_node import ACCOUNT, KEY, OTHER, SLOT, linked, started
from tests.support.waiting import until

from websocket_utils import AccountUpdate, Backpressure, Conflate, DropOldest, SlotUpdate
from websocket_utils.feeds.laserstream import LaserStream

pytestmark = pytest.mark.timeout(10)


def is_held(stream: LaserStream) -> bool:
    session = stream._client._links[0].session
    return session is not None and session.connection.is_held


async def test_full_iteration_holds_the_stream_and_gets_everything() -> None:
    async with linked(max_inbox_messages=10) as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        for slot in range(100):
            node.send(SLOT % (slot, slot, number))
            await asyncio.sleep(0)
        await until(lambda: is_held(stream))
        waiting = slots.waiting
        assert 10 < waiting < 100
        assert [(await anext(slots)).slot for _ in range(100)] == list(range(100))
        assert not is_held(stream)
        assert slots.dropped == 0


async def test_bytes_are_bounded_too() -> None:
    async with linked(max_inbox=1000) as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        for slot in range(20):
            node.send(SLOT % (slot, slot, number))
            await asyncio.sleep(0)
        await until(lambda: is_held(stream))
        # About 130 bytes each.
        assert 7 <= slots.waiting < 20
        assert [(await anext(slots)).slot for _ in range(20)] == list(range(20))


async def test_stream_goes_on_when_the_full_one_is_ended() -> None:
    async with linked(max_inbox_messages=2) as (stream, node):
        slots, (slot,) = await started(stream.slots(), node)
        accounts, (account,) = await started(stream.accounts([KEY]), node)
        for number in range(10):
            node.send(SLOT % (number, number, slot))
            await asyncio.sleep(0)
        node.send(ACCOUNT % (1, 1, account))
        await until(lambda: is_held(stream))
        await slots.unsubscribe()
        assert (await anext(accounts)).lamports == 1


async def test_new_connection_of_a_full_stream_is_held_too() -> None:
    async with linked(max_inbox_messages=2) as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        for slot in range(10):
            node.send(SLOT % (slot, slot, number))
            await asyncio.sleep(0)
        await until(lambda: is_held(stream))
        session = stream._client._links[0].session
        assert session is not None
        session.connection.abort()
        await until(lambda: stream.stats().link.connects == 2)
        assert is_held(stream)
        async for update in slots:
            if not slots.waiting:
                assert update.slot < 10
                break
        assert not is_held(stream)


async def test_oldest_are_dropped_and_counted_where_that_is_asked_for() -> None:
    async with linked(slow=DropOldest(3)) as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        for slot in range(10):
            node.send(SLOT % (slot, slot, number))
        await until(lambda: stream.stats().dropped == 7)
        assert slots.waiting == stream.stats().waiting == 3
        assert [(await anext(slots)).slot for _ in range(3)] == [7, 8, 9]
        assert not is_held(stream)
        await slots.unsubscribe()
        assert stream.stats().dropped == 7


async def test_latest_of_each_account_is_kept_where_that_is_asked_for() -> None:
    async with linked() as (stream, node):
        call = stream.accounts([KEY, OTHER], slow=Conflate("pubkey"))
        accounts, (one, other) = await started(call, node)
        for number in range(10):
            node.send(ACCOUNT % (number, number, one))
        node.send(ACCOUNT % (1, 100, other))
        node.send(ACCOUNT % (11, 11, one))
        await until(lambda: accounts.conflated == 10)
        assert stream.stats().conflated == 10
        taken = [await anext(accounts) for _ in range(2)]
        assert [(update.pubkey, update.lamports) for update in taken] == [(OTHER, 100), (KEY, 11)]
        assert accounts.waiting == 0


async def test_what_was_conflated_takes_no_room() -> None:
    async with linked(max_inbox=1000, slow=Conflate("pubkey")) as (stream, node):
        accounts, (one, other) = await started(stream.accounts([KEY, OTHER]), node)
        node.send(ACCOUNT % (1, 7, other))
        for number in range(100):
            node.send(ACCOUNT % (number, number, one))
        await until(lambda: accounts.conflated == 99)
        assert accounts.dropped == 0
        assert [(await anext(accounts)).lamports for _ in range(2)] == [7, 99]


async def test_key_may_be_a_function_and_what_it_raises_loses_no_message(caplog: pytest.LogCaptureFixture) -> None:
    def parity(update: SlotUpdate) -> int:
        if update.slot == 3:
            raise ValueError("no key for 3")
        return update.slot % 2

    async with linked() as (stream, node):
        slots, (number,) = await started(stream.slots(slow=Conflate(parity)), node)
        for slot in range(6):
            node.send(SLOT % (slot, slot, number))
        await until(lambda: slots.waiting == 3)
        assert [(await anext(slots)).slot for _ in range(3)] == [3, 4, 5]
    assert "no key for 3" in caplog.text


async def test_policy_that_is_none_is_refused() -> None:
    async with linked() as (stream, _):
        for slow in (Conflate(), "drop"):
            with pytest.raises(TypeError, match="slow"):
                stream.slots(slow=slow)  # type: ignore[arg-type]  # callers without a type checker
        assert isinstance(stream._slow, Backpressure)


async def test_callback_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    async with linked() as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        taken: list[int] = []

        def broken(update: SlotUpdate) -> None:
            raise ValueError(f"cannot take {update.slot}")

        slots.on(broken)
        slots.on(lambda update: taken.append(update.slot))
        node.send(SLOT % (7, 6, number))
        node.send(SLOT % (8, 7, number))
        await until(lambda: taken == [7, 8])
        assert "cannot take 7" in caplog.text


async def test_coroutine_callback_runs_and_its_work_is_bounded() -> None:
    async with linked(max_inbox=1000) as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        go = asyncio.Event()
        taken: list[int] = []

        @accounts.on
        async def take(update: AccountUpdate) -> None:
            await go.wait()
            taken.append(update.lamports)

        for lamports in range(20):
            node.send(ACCOUNT % (1, lamports, number))
            await asyncio.sleep(0)
        await until(lambda: is_held(stream))
        go.set()
        await until(lambda: taken == list(range(20)) and not is_held(stream))

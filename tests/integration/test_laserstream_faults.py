"""LaserStream against a node that forks, dies, refuses, drops laggards and says what nobody asked for."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.solana_ledger import pubkey
from tests.support.solana_node import Refusal, SolanaNode
from tests.support.waiting import until

from websocket_utils import (
    AccountUpdate,
    Disconnected,
    HandshakeError,
    InvalidPubkey,
    Reconnected,
    ReconnectPolicy,
    RequestRejected,
    RequestTooBig,
)
from websocket_utils.feeds.laserstream import Fork, LaserStream, Seeded, SeedFailed, Unexpected

SECONDS = 10
MILLION = 1_000_000
KEY, OTHER = str(pubkey(1)), str(pubkey(2))
SECRET = "0f1e2d3c-secret"


@asynccontextmanager
async def streaming(node: SolanaNode, **settings: Any) -> AsyncIterator[LaserStream]:
    # How often a node is dialled while it starts again is the machine's affair; `SECONDS` is the bound.
    given: dict[str, Any] = {"max_reconnect_attempts": None, **settings}
    async with asyncio.timeout(SECONDS), LaserStream(node.url, **given) as stream:
        yield stream


class Told:
    """Everything that a stream's events say, from now on."""

    def __init__(self, stream: LaserStream) -> None:
        self.all: list[Any] = []
        self._task = asyncio.create_task(self._read(stream))

    async def _read(self, stream: LaserStream) -> None:
        async for event in stream.events():
            self.all.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.all if isinstance(event, kind)]

    async def one(self, kind: type[Any]) -> Any:
        await until(lambda: self.of(kind))
        return self.of(kind)[0]

    async def __aenter__(self) -> "Told":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_undone_fork_brings_the_older_state_at_a_lower_slot_and_is_told() -> None:
    async with SolanaNode() as node, streaming(node) as stream, Told(stream) as told:
        accounts = await stream.accounts([KEY])
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        base = node.ledger.tip.slot
        node.ledger.skip(2)
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        node.ledger.fork(base, slot=base + 1)
        node.end_slot()
        seen = [await anext(accounts) for _ in range(3)]
        assert [(one.slot - base, one.lamports) for one in seen] == [(0, MILLION), (3, 2 * MILLION), (1, MILLION)]
        await told.one(Fork)
        forks = {(fork.channel, fork.slot, fork.before) for fork in told.of(Fork)}
        assert forks == {("slots", base + 1, base + 3), (f"accounts:{KEY}", base + 1, base + 3)}


@pytest.mark.usefixtures("eager")
async def test_node_that_dies_and_comes_back_is_asked_anew_and_seeding_brings_what_was_missed() -> None:
    async with SolanaNode() as node, streaming(node, seed=True) as stream, Told(stream) as told:
        accounts = await stream.accounts([KEY, OTHER])
        await stream.slots()
        assert [(await anext(accounts)).lamports for _ in range(2)] == [0, 0]
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert (await anext(accounts)).lamports == MILLION
        await node.stop()
        # What nobody is told of.
        node.ledger.transfer(pubkey(1), MILLION)
        node.ledger.transfer(pubkey(2), 5 * MILLION)
        missed = node.end_slot()
        assert missed == []
        # Its ids mean other things now.
        await node.start(first_id=1)
        await told.one(Reconnected)
        seen: dict[str, tuple[int, int]] = {}
        while len(seen) < 2:
            one = await anext(accounts)
            seen[one.pubkey] = (one.lamports, one.slot)
        assert seen == {KEY: (2 * MILLION, node.ledger.tip.slot), OTHER: (5 * MILLION, node.ledger.tip.slot)}
        assert len(node.pubsub) == 3
        node.ledger.transfer(pubkey(2), MILLION)
        node.end_slot()
        last = await anext(accounts)
        assert (last.pubkey, last.lamports) == (OTHER, 6 * MILLION)
        kinds = [type(event) for event in told.all if isinstance(event, Disconnected | Reconnected)]
        assert kinds == [Disconnected, Reconnected]


async def test_seed_that_comes_behind_a_newer_notification_is_left_out() -> None:
    async with SolanaNode() as node:
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        node.answers_calls.clear()
        async with streaming(node, seed=True, stale_after=None) as stream, Told(stream) as told:
            accounts = stream.accounts([KEY])
            beginning = asyncio.ensure_future(accounts)
            await until(lambda: len(node.pubsub))
            node.ledger.transfer(pubkey(1), MILLION)
            node.end_slot()
            newest = await anext(accounts)
            assert newest.lamports == 2 * MILLION
            node.answers_calls.set()
            await told.one(Seeded)
            await beginning
            node.ledger.transfer(pubkey(1), MILLION)
            node.end_slot()
            # The slots of all that came: none goes back.
            assert (await anext(accounts)).lamports >= 2 * MILLION


async def test_seeding_that_fails_is_told_and_the_stream_goes_on() -> None:
    async with SolanaNode() as node:
        node.call_refusals += [Refusal(500)] * 100
        async with streaming(node, seed=True) as stream, Told(stream) as told:
            accounts = await stream.accounts([KEY])
            await told.one(SeedFailed)
            node.ledger.transfer(pubkey(1), MILLION)
            node.end_slot()
            assert (await anext(accounts)).lamports == MILLION


@pytest.mark.usefixtures("eager")
async def test_laggard_is_dropped_told_and_goes_on_behind_it() -> None:
    async with SolanaNode(queue_capacity=50) as node, streaming(node) as stream, Told(stream) as told:
        accounts = await stream.accounts([KEY])
        # All in one turn of the loop: nobody reads.
        for number in range(200):
            node.ledger.write(pubkey(1), MILLION + number)
            node.end_slot()
        assert node.lagged
        assert isinstance(await told.one(Disconnected), Disconnected)
        await told.one(Reconnected)
        node.ledger.write(pubkey(1), 2**60 + 1)
        node.end_slot()
        async for one in accounts:
            if one.lamports == 2**60 + 1:
                break


@pytest.mark.parametrize(("status", "headers"), [(401, ()), (429, (("Retry-After", "3"),))])
async def test_refused_handshake_is_an_error_with_its_status(status: int, headers: tuple[tuple[str, str], ...]) -> None:
    async with SolanaNode() as node:
        node.refusals.append(Refusal(status, headers))
        with pytest.raises(HandshakeError) as caught:
            async with streaming(node):
                pass
    assert caught.value.status == status
    assert {name.lower(): text for name, text in caught.value.headers.items()}.get("retry-after") == (
        "3" if status == 429 else None
    )


@pytest.mark.usefixtures("eager")
async def test_too_many_requests_on_a_reconnect_is_asked_again() -> None:
    soon = ReconnectPolicy(late_floor=0.0)
    async with SolanaNode() as node, streaming(node, reconnect=soon) as stream, Told(stream) as told:
        accounts = await stream.accounts([KEY])
        node.refusals += [Refusal(429, (("Retry-After", "0"),)), Refusal(503)]
        node.drop()
        await told.one(Reconnected)
        assert len(node.handshakes) == 4
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert (await anext(accounts)).lamports == MILLION


async def test_what_is_no_pubkey_is_refused_here_and_what_the_node_refuses_is_an_error() -> None:
    async with SolanaNode(limit=1) as node, streaming(node, stale_after=None) as stream:
        for wrong in ("0x1234", "", "l" * 44, KEY + "1"):
            with pytest.raises(InvalidPubkey):
                await stream.accounts([KEY, wrong])
        assert node.requests == []
        accounts = await stream.accounts([KEY])
        with pytest.raises(RequestRejected) as caught:
            await stream.accounts([OTHER])
        assert (caught.value.code, caught.value.channel) == (-32603, f"accounts:{OTHER}")
        # The rest goes on.
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert (await anext(accounts)).lamports == MILLION


async def test_what_nobody_asked_for_and_what_is_no_json_leave_the_stream_as_it_is() -> None:
    async with SolanaNode() as node, streaming(node) as stream, Told(stream) as told:
        accounts = await stream.accounts([KEY])
        node.say('{"jsonrpc":"2.0","method":"fooNotification","params":{"result":1,"subscription":0}}')
        node.say('{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{},"subscription":99}}')
        node.say('{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{},"subscription":0}}')
        node.say('{"jsonrpc":')
        node.say("[]")
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert (await anext(accounts)).lamports == MILLION
        assert (await told.one(Unexpected)).what == "fooNotification"
        assert not told.of(Disconnected)


@pytest.mark.one_loop
@pytest.mark.usefixtures("eager")
async def test_key_is_in_no_log_event_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    async with SolanaNode(api_key=SECRET) as node:
        node.call_refusals.append(Refusal(500))
        async with streaming(node, seed=True) as stream, Told(stream) as told:
            shown += [stream, stream.accounts([OTHER])]
            await stream.accounts([KEY])
            await node.restart()
            await told.one(Reconnected)
            node.refusals.append(Refusal(503))
            node.drop()
            await until(lambda: len(told.of(Reconnected)) == 2)
            await told.one(SeedFailed)
            shown += told.all
            shown += [getattr(event, "error", None) for event in told.all]
        with pytest.raises(HandshakeError) as caught:
            async with asyncio.timeout(SECONDS), LaserStream(node.url + "-wrong"):
                pass
        shown.append(caught.value)
    text = caplog.text + "".join(f"{one!r} {one!s} {vars(one) if hasattr(one, '__dict__') else ''}" for one in shown)
    assert SECRET not in text
    assert "api-key" not in text


async def test_request_over_the_cap_is_refused_here() -> None:
    async with SolanaNode() as node, streaming(node) as stream:
        accounts = await stream.accounts([KEY])
        with pytest.raises(RequestTooBig, match="4096"):
            await stream.program(OTHER, filters=[{"memcmp": {"offset": 0, "bytes": "A" * 4096, "encoding": "base64"}}])
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert isinstance(await anext(accounts), AccountUpdate)

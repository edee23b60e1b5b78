"""States of accounts that are fetched beside a stream: when, which are applied, and what a failure costs: nothing."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.golden_node import ACCOUNT, KEY, OTHER, SLOT, SYSTEM, URL, GoldenNode, ack, linked, refusal, started
from tests.support.waiting import until
from tests.unit.test_laserstream_requests import base58

from websocket_utils import DecodeError, RequestRejected
from websocket_utils._fetching import FetchFailed
from websocket_utils.feeds.laserstream import LaserStream, Seeded, SeedFailed, StreamEvent, _seeding
from websocket_utils.testing import MemoryNetwork

pytestmark = pytest.mark.timeout(5)

Answer = Callable[[list[str]], bytes]


def states(slot: int, *balances: int | None) -> bytes:
    value = [
        None
        if lamports is None
        else {"lamports": lamports, "data": ["", "base64"], "owner": SYSTEM, "executable": False, "rentEpoch": 0}
        for lamports in balances
    ]
    return json.dumps({"jsonrpc": "2.0", "result": {"context": {"slot": slot}, "value": value}, "id": 1}).encode()


class Door:
    """Stands in for HTTP: what was asked, and what is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[bytes | Exception] = []
        self.asked: list[dict[str, Any]] = []
        self.urls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.opened: asyncio.Event | None = None
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(_seeding, "fetch_bytes", self.fetch)

    def fetch(self, url: str, timeout: float, context: object, *, headers: Any, body: bytes, most: int) -> bytes:
        self.urls.append(url)
        self.headers.append(headers)
        self.asked.append(json.loads(body))
        if self.opened is not None:
            asyncio.run_coroutine_threadsafe(self.opened.wait(), self._loop).result(5)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def batches(self) -> list[list[str]]:
        return [asked["params"][0] for asked in self.asked]


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


def noted(stream: LaserStream) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    stream.on(StreamEvent, events.append)
    return events


async def test_states_are_fetched_behind_the_acknowledgement_and_delivered_as_updates(door: Door) -> None:
    door.answers = [states(50, 2**64 - 1, None)]
    async with linked(seed=True) as (stream, node):
        events = noted(stream)
        waiting = asyncio.ensure_future(stream.accounts([KEY, OTHER]))
        (await node.request(), await node.request())
        await asyncio.sleep(0.01)
        assert door.asked == []
        for request in node.requests:
            node.answer(request, request["id"])
        accounts = await waiting
        updates = [await anext(accounts) for _ in range(2)]
        # An account that does not exist has nothing, as nodes notify it.
        found = [(update.pubkey, update.lamports, update.slot) for update in updates]
        assert found == [(KEY, 2**64 - 1, 50), (OTHER, 0, 50)]
        assert events == [Seeded(2, 2, 50)]
        assert stream.stats().seeded == 2
    assert door.asked == [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "getMultipleAccounts",
            "params": [
                [KEY, OTHER],
                {"encoding": "base64", "commitment": "processed", "dataSlice": {"offset": 0, "length": 0}},
            ],
        }
    ]
    # The node itself, with its key.
    assert door.urls == [URL.replace("ws://", "http://")]


async def test_state_that_is_older_than_a_notification_is_not_applied(door: Door) -> None:
    door.opened = asyncio.Event()
    door.answers = [states(50, 1, 2, 3)]
    async with linked(seed=True) as (stream, node):
        events = noted(stream)
        accounts, (one, other, _) = await started(stream.accounts([KEY, OTHER, SYSTEM]), node)
        await until(lambda: door.asked)
        node.send(ACCOUNT % (51, 100, one))
        node.send(ACCOUNT % (50, 200, other))
        await until(lambda: accounts.waiting == 2)
        door.opened.set()
        await until(lambda: events)
        taken = [await anext(accounts) for _ in range(4)]
        assert [(update.lamports, update.slot) for update in taken] == [(100, 51), (200, 50), (2, 50), (3, 50)]
        assert events == [Seeded(3, 2, 50)]
        # A seed of a node that is ahead is no fork.
        node.send(ACCOUNT % (50, 300, other))
        assert (await anext(accounts)).lamports == 300
        assert stream.stats().forks == 0


@pytest.mark.virtual_clock
async def test_node_that_lags_behind_what_was_seen_is_asked_again(door: Door) -> None:
    behind = refusal(1, -32016, "Minimum context slot has not been reached").encode()
    door.answers = [states(50, 1, 2), behind, states(61, 9, 2)]
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        async with LaserStream(URL, stale_after=None, seed=True) as stream:
            events = noted(stream)
            node = GoldenNode(await server.peer())
            accounts, (one, _) = await started(stream.accounts([KEY, OTHER]), node)
            await until(lambda: Seeded(2, 2, 50) in events)
            node.send(ACCOUNT % (60, 100, one))
            taken = [await anext(accounts) for _ in range(3)]
            assert [update.lamports for update in taken] == [1, 2, 100]
            node.peer.reset()
            node = GoldenNode(await server.peer())
            for number in (1, 2):
                node.answer(await node.request(), number)
            assert [(await anext(accounts)).lamports for _ in range(2)] == [9, 2]
            failed = [event for event in events if isinstance(event, SeedFailed)]
            assert [getattr(event.error, "code", None) for event in failed] == [-32016]
    assert [asked["params"][1].get("minContextSlot") for asked in door.asked] == [None, 60, 60]


async def test_accounts_are_seeded_again_behind_each_reconnect(door: Door) -> None:
    door.answers = [states(1, 10), states(2, 20)]
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        async with LaserStream(URL, stale_after=None, seed=True) as stream:
            node = GoldenNode(await server.peer())
            accounts, _ = await started(stream.accounts([KEY]), node)
            assert (await anext(accounts)).lamports == 10
            node.peer.reset()
            node = GoldenNode(await server.peer())
            request = await node.request()
            assert len(door.asked) == 1
            node.answer(request, 1)
            assert (await anext(accounts)).lamports == 20
            assert len(door.asked) == 2


async def test_who_asks_for_what_others_have_already_is_told_how_it_stands(door: Door) -> None:
    door.answers = [states(1, 10), states(2, 20)]
    async with linked(seed=True) as (stream, node):
        first, _ = await started(stream.accounts([KEY]), node)
        assert (await anext(first)).lamports == 10
        second = await stream.accounts([KEY])
        assert (await anext(second)).lamports == 20


async def test_hundred_accounts_are_one_request_and_each_commitment_has_its_own(door: Door) -> None:
    keys = [base58(bytes([number + 1]) * 32) for number in range(150)]
    door.answers = [states(1, *range(100)), states(2, *range(100, 150)), states(3, 7)]
    async with linked(seed=True, slow=None) as (stream, node):
        events = noted(stream)
        both = asyncio.gather(stream.accounts(keys), stream.accounts([KEY], commitment="finalized"))
        await node.acknowledge(151)
        accounts, sure = await both
        await until(lambda: len(events) == 3)
        assert [len(asked) for asked in door.batches()] == [100, 50, 1]
        assert [asked["params"][1]["commitment"] for asked in door.asked] == ["processed", "processed", "finalized"]
        found = {update.pubkey: update.lamports for update in [await anext(accounts) for _ in range(150)]}
        assert found == dict(zip(keys, range(150), strict=True))
        assert (await anext(sure)).lamports == 7


async def test_slots_and_programs_are_not_seeded(door: Door) -> None:
    async with linked(seed=True) as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        node.send(SLOT % (2, 1, number))
        await anext(slots)
        assert door.asked == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (FetchFailed("HTTP Error 503"), FetchFailed),
        (b"<html>", DecodeError),
        (b"[" * 100_000, DecodeError),
        (b"\xff", DecodeError),
        (ack(1, None).encode(), DecodeError),
        (states(1), DecodeError),
        (states(1, 1, 2), DecodeError),
        (states(-1, 1), DecodeError),
        (states(1, 2**64), DecodeError),
        (states(1, -1), DecodeError),
        (refusal(1, -32005, "Node is behind").encode(), RequestRejected),
    ],
    ids=[*("refused", "no JSON", "nested", "no text", "no result", "too few", "too many"), *range(4)],
)
@pytest.mark.virtual_clock
async def test_failure_is_told_and_tried_again_and_the_stream_goes_on(
    door: Door, answer: bytes | Exception, error: type[Exception]
) -> None:
    door.answers = [answer, answer, states(9, 90)]
    async with linked(seed=True) as (stream, node):
        events = noted(stream)
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        await until(lambda: events)
        node.send(ACCOUNT % (5, 50, number))
        assert (await anext(accounts)).lamports == 50
        assert (await anext(accounts)).lamports == 90
        first, second, last = events
        assert isinstance(first, SeedFailed)
        assert isinstance(second, SeedFailed)
        assert isinstance(first.error, error)
        assert "s3cret" not in f"{first}{vars(first.error)}{first.error.__context__}"
        assert (first.attempts, second.attempts) == (1, 2)
        assert 0.25 <= first.retry_after <= 0.5 <= second.retry_after <= 1
        assert last == Seeded(1, 1, 9)
        assert stream.stats().seed_failures == 2


@pytest.mark.virtual_clock
async def test_retry_after_of_the_door_is_honoured_and_bounded(door: Door) -> None:
    door.answers = [FetchFailed("429", 7.0), FetchFailed("429", 1e9), states(9, 90)]
    async with linked(seed=True, ping_interval=None) as (stream, node):
        events = noted(stream)
        accounts, _ = await started(stream.accounts([KEY]), node)
        assert (await anext(accounts)).lamports == 90
        assert [event.retry_after for event in events if isinstance(event, SeedFailed)] == [7.0, 300.0]


@pytest.mark.virtual_clock
async def test_nothing_is_fetched_for_what_nobody_wants_any_more(door: Door) -> None:
    door.answers = [FetchFailed("no"), states(9, 90)]
    async with linked(seed=True) as (stream, node):
        events = noted(stream)
        accounts, _ = await started(stream.accounts([KEY]), node)
        other, _ = await started(stream.accounts([OTHER]), node)
        await until(lambda: events)
        await accounts.unsubscribe()
        assert (await anext(other)).lamports == 90
        assert door.batches() == [[KEY], [OTHER]]


async def test_other_door_may_be_named_and_gets_no_headers_of_the_node(door: Door) -> None:
    door.answers = [states(1, 10)]
    seed_url = "https://user:pass@door.test/path?key=k"
    async with linked(seed_url=seed_url, headers={"X-Token": "t"}) as (stream, node):
        accounts, _ = await started(stream.accounts([KEY]), node)
        await anext(accounts)
    assert door.urls == ["https://door.test/path?key=k"]
    assert door.headers == [{"Authorization": "Basic dXNlcjpwYXNz"}]


async def test_door_of_the_node_gets_its_headers_and_token(door: Door) -> None:
    door.answers = [states(1, 10)]
    async with linked(seed=True, headers={"X-Token": "t"}, token=lambda: "secret") as (stream, node):
        accounts, _ = await started(stream.accounts([KEY]), node)
        await anext(accounts)
    assert door.headers == [{"X-Token": "t", "Authorization": "Bearer secret"}]


async def test_closing_ends_what_is_being_fetched(door: Door) -> None:
    door.opened = asyncio.Event()
    door.answers = [states(1, 10)]
    async with linked(seed=True) as (stream, node):
        accounts, _ = await started(stream.accounts([KEY]), node)
        await until(lambda: door.asked)
        await stream.close()
        door.opened.set()
        assert [update async for update in accounts] == []

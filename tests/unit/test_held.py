"""Messages kept while there is no connection: their bounds, their order, and how each of them ends."""

import array
import asyncio
import contextlib
from collections.abc import Callable, Generator
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import Link

from websocket_utils import PriceUpdate
from websocket_utils._held import Delivery, HeldMessages, Overflow
from websocket_utils.exceptions import EncodeError, MessageNotWritten, SendQueueFull
from websocket_utils.outcomes import SendOutcome

WRITTEN = SendOutcome("written", 3)
EXPIRED = SendOutcome("expired")
SUPERSEDED = SendOutcome("dropped", reason="superseded")
OVERFLOWED = SendOutcome("dropped", reason="overflow")
UPDATE = PriceUpdate(input_mint="SOL", output_mint="USDC", price=1.5, volume=7, timestamp=9)


def held_messages(*, max_messages: int = 100, max_bytes: int = 10_000, overflow: Overflow = "raise") -> HeldMessages:
    return HeldMessages("json", max_messages=max_messages, max_bytes=max_bytes, overflow=overflow)


def put(held: HeldMessages, message: Any, *, now: float = 0.0, **options: Any) -> Delivery:
    return held.put(message, None, now=now, **options)


def outcomes(deliveries: list[Delivery]) -> list[SendOutcome | None]:
    return [one.outcome for one in deliveries]


def balance(held: HeldMessages) -> tuple[int, int, int, int]:
    assert held.accepted == held.dropped + held.expired + held.handed + len(held)
    return held.accepted, held.dropped, held.expired, held.handed


class _Sent:
    """What a connection's send returns, as much as is used."""

    outcome = WRITTEN

    def __await__(self) -> Generator[Any, None, SendOutcome]:
        yield from ()
        return WRITTEN


class Taking:
    """A connection that takes so many messages and is closing then; `on_send` is called inside each send."""

    def __init__(self, takes: int = 1000, on_send: Callable[[], None] = lambda: None) -> None:
        self.taken: list[str | bytes] = []
        self.compressed: list[bool | None] = []
        self._takes = takes
        self._on_send = on_send

    @property
    def is_open(self) -> bool:
        return len(self.taken) < self._takes

    def send(self, message: str | bytes, *, compress: bool | None) -> _Sent:
        self.taken.append(message)
        self.compressed.append(compress)
        self._on_send()
        return _Sent()


def send_all(held: HeldMessages, connection: Taking | None = None, *, now: float = 0.0) -> list[str | bytes]:
    connection = connection or Taking()
    held.send_all(cast("Any", connection), now)
    return connection.taken


# --- what is kept ---


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        ("text", "text"),
        (b"bytes", b"bytes"),
        (bytearray(b"mutable"), b"mutable"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (array.array("B", [1, 2]), b"\1\2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_message_is_handed_over_as_it_was_put_in(message: Any, payload: str | bytes) -> None:
    held = held_messages()
    held.put(message, True, now=0.0)
    held.put("second", None, now=0.0)
    if isinstance(message, bytearray):
        message[:] = b"changed"
    connection = Taking()
    assert send_all(held, connection) == [payload, "second"]
    assert connection.compressed == [True, None]


@pytest.mark.parametrize(("codec", "kind"), [("json", str), ("msgpack", bytes), ("protobuf", bytes)])
def test_message_object_is_kept_in_the_codec(codec: Literal["json", "msgpack", "protobuf"], kind: type) -> None:
    held = HeldMessages(codec, max_messages=1, max_bytes=1000)
    put(held, UPDATE)
    link = Link(format=codec)
    link.connection.send(UPDATE)
    (sent,) = link.sent()
    (taken,) = send_all(held)
    assert type(taken) is kind
    assert (taken.encode() if isinstance(taken, str) else taken) == sent.payload


@pytest.mark.parametrize(
    ("message", "error"),
    [(object(), EncodeError), ("\ud800", UnicodeEncodeError), (array.array("d", [1.5]), TypeError)],
    ids=["no message", "no text", "no bytes"],
)
def test_message_that_no_connection_would_take_is_refused_at_once(message: Any, error: type[Exception]) -> None:
    held = held_messages()
    with pytest.raises(error):
        put(held, message)
    with pytest.raises(error):
        Link().connection.send(message)
    assert balance(held) == (0, 0, 0, 0)


# --- bounds ---


def test_what_a_connection_did_not_take_counts_until_one_does() -> None:
    held = held_messages(max_bytes=1000)
    for number in range(3):
        put(held, str(number) * 300)
    for _ in range(5):
        with pytest.raises(SendQueueFull):
            put(held, "x" * 300)
        send_all(held, Taking(0))
    send_all(held, Taking(1))
    put(held, "x" * 300)
    with pytest.raises(SendQueueFull):
        put(held, "x" * 300)
    assert send_all(held) == ["1" * 300, "2" * 300, "x" * 300]
    for _ in range(3):
        put(held, "y" * 300)


def test_bounds_are_exact_and_their_figures_are_told() -> None:
    held = held_messages(max_messages=2, max_bytes=1000)
    put(held, "x" * 486)
    # The longest header there is counts for each: 2 * (486 + 14).
    put(held, "é" * 243)
    with pytest.raises(SendQueueFull) as caught:
        put(held, "")
    assert (caught.value.queued, caught.value.size, caught.value.limit, caught.value.unit) == (2, 1, 2, "messages")
    held = held_messages(max_bytes=1000)
    put(held, "x" * 486)
    with pytest.raises(SendQueueFull) as caught:
        put(held, "é" * 243 + "x")
    assert (caught.value.queued, caught.value.size, caught.value.limit, caught.value.unit) == (500, 501, 1000, "bytes")
    assert balance(held) == (1, 0, 0, 0)


@pytest.mark.parametrize("overflow", ["raise", "drop_oldest", "drop_newest"])
def test_one_message_always_fits_while_nothing_is_kept(overflow: Overflow) -> None:
    held = held_messages(max_bytes=10, overflow=overflow)
    assert put(held, "x" * 1000).outcome is None
    assert send_all(held) == ["x" * 1000]


@pytest.mark.parametrize("bounds", [{"max_messages": 3}, {"max_bytes": 3 * 15}], ids=["messages", "bytes"])
def test_oldest_are_dropped_for_new_ones(bounds: dict[str, int]) -> None:
    held = held_messages(overflow="drop_oldest", **bounds)
    kept = [put(held, text) for text in "abcde"]
    assert outcomes(kept) == [OVERFLOWED, OVERFLOWED, None, None, None]
    assert send_all(held) == ["c", "d", "e"]
    assert balance(held) == (5, 2, 0, 3)


@pytest.mark.parametrize("bounds", [{"max_messages": 3}, {"max_bytes": 3 * 15}], ids=["messages", "bytes"])
def test_newest_is_dropped_where_that_is_the_policy(bounds: dict[str, int]) -> None:
    held = held_messages(overflow="drop_newest", **bounds)
    kept = [put(held, text) for text in "abcde"]
    assert outcomes(kept) == [None, None, None, OVERFLOWED, OVERFLOWED]
    assert send_all(held) == ["a", "b", "c"]
    assert balance(held) == (5, 2, 0, 3)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_queue_for_no_message_drops_each(overflow: Overflow) -> None:
    held = held_messages(max_messages=0, overflow=overflow)
    assert put(held, "x").outcome == OVERFLOWED
    assert balance(held) == (1, 1, 0, 0)


# --- keys ---


def test_newer_message_with_the_same_key_takes_a_place_at_the_end() -> None:
    held = held_messages()
    kept = [put(held, text, key=key) for text, key in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("none", None)]]
    assert outcomes(kept) == [SUPERSEDED, None, None, None]
    assert send_all(held) == ["b1", "a2", "none"]
    assert balance(held) == (4, 1, 0, 3)
    put(held, "a3", key="a")
    assert send_all(held) == ["a3"], "what was handed over is not superseded"


@pytest.mark.parametrize("overflow", ["raise", "drop_oldest", "drop_newest"])
def test_message_that_supersedes_uses_the_room_of_the_older_one(overflow: Overflow) -> None:
    held = held_messages(max_messages=2, max_bytes=30, overflow=overflow)
    kept = [put(held, text, key=text[0]) for text in ("a", "b")]
    kept.append(put(held, "c", key="a"))
    assert outcomes(kept) == [SUPERSEDED, None, None]
    assert send_all(held) == ["b", "c"]


@pytest.mark.parametrize("overflow", ["raise", "drop_newest"])
def test_message_that_does_not_fit_supersedes_nothing(overflow: Overflow) -> None:
    held = held_messages(max_bytes=60, overflow=overflow)
    older = put(held, "a", key="a")
    put(held, "b")
    with pytest.raises(SendQueueFull) if overflow == "raise" else contextlib.nullcontext():
        assert put(held, "a" * 100, key="a").outcome == OVERFLOWED
    assert older.outcome is None
    assert send_all(held) == ["a", "b"]


def test_key_that_cannot_be_one_raises_and_nothing_is_kept() -> None:
    held = held_messages()
    with pytest.raises(TypeError):
        put(held, "x", key=[])
    assert balance(held) == (0, 0, 0, 0)


# --- time ---


def test_message_expires_when_its_time_has_passed_and_not_before() -> None:
    held = held_messages()
    kept = [put(held, text, now=100.0, ttl=ttl) for text, ttl in [("a", 2.0), ("b", None), ("c", 1.0)]]
    assert held.next_expiry == 101.0
    held.expire(100.999)
    assert outcomes(kept) == [None] * 3
    held.expire(101.0)
    assert outcomes(kept) == [None, None, EXPIRED]
    assert held.next_expiry == 102.0
    assert send_all(held, now=102.5) == ["b"]
    assert outcomes(kept) == [EXPIRED, WRITTEN, EXPIRED]
    assert balance(held) == (3, 0, 2, 1)
    assert [held.next_expiry] == [None]


def test_expired_message_makes_room_and_is_not_superseded() -> None:
    held = held_messages(max_messages=1)
    older = put(held, "a", ttl=1.0, key="k")
    newer = put(held, "b", now=1.0, key="k")
    assert outcomes([older, newer]) == [EXPIRED, None]
    assert balance(held) == (2, 0, 1, 0)


def test_message_without_any_time_expires_at_once_and_nothing_goes_for_it() -> None:
    held = held_messages(max_messages=1, overflow="drop_oldest")
    older = put(held, "a", key="k")
    assert put(held, "b", key="k", ttl=0).outcome == EXPIRED
    assert older.outcome is None


@pytest.mark.parametrize("ttl", [-1.0, float("nan")])
def test_ttl_that_is_none_raises_and_nothing_is_kept(ttl: float) -> None:
    held = held_messages()
    with pytest.raises(ValueError, match="ttl"):
        put(held, "x", ttl=ttl)
    assert balance(held) == (0, 0, 0, 0)


def test_deadlines_of_superseded_messages_do_not_pile_up() -> None:
    held = held_messages()
    for number in range(10_000):
        put(held, "x", key="k", ttl=1e6 + number)
    assert len(held._deadlines) < 200
    assert held.next_expiry == 1e6 + 9999


# --- hand-over ---


def test_rest_stays_when_the_connection_ends() -> None:
    held = held_messages()
    kept = [put(held, text) for text in "abc"]
    assert send_all(held, Taking(2)) == ["a", "b"]
    assert outcomes(kept) == [WRITTEN, WRITTEN, None]
    assert send_all(held) == ["c"]
    assert balance(held) == (3, 0, 0, 3)


def test_client_that_is_closed_inside_a_send_drops_the_rest_alone() -> None:
    held = held_messages()
    kept = [put(held, text) for text in "abc"]
    assert send_all(held, Taking(on_send=lambda: held.drop_all("closed"))) == ["a"]
    closed = SendOutcome("dropped", reason="closed")
    assert outcomes(kept) == [WRITTEN, closed, closed]
    assert balance(held) == (3, 2, 0, 1)


def test_message_without_room_in_the_connection_is_dropped_and_smaller_ones_behind_it_are_sent() -> None:
    held = held_messages()
    kept = [put(held, text) for text in ("a" * 10, "b" * 900, "c" * 10)]
    link = Link(max_send_queue=500, epoch=3)
    link.transport.room = 0
    link.connection.send("held by the transport")
    link.connection.send("waits")
    held.send_all(link.connection, 0.0)
    assert outcomes(kept) == [None, OVERFLOWED, None]
    link.transport.drain()
    assert outcomes(kept) == [WRITTEN, OVERFLOWED, WRITTEN]
    assert balance(held) == (3, 1, 0, 2)


def test_delivery_ends_as_the_connection_says() -> None:
    held = held_messages()
    kept = [put(held, text) for text in "abc"]
    link = Link(epoch=3)
    held.send_all(link.connection, 0.0)
    assert outcomes(kept) == [WRITTEN, None, None]
    link.transport.room = 0
    link.loop.turn()
    kept.append(put(held, "d"))
    held.send_all(link.connection, 0.0)
    link.connection.connection_lost(None)
    unknown, lost = SendOutcome("unknown", 3), SendOutcome("dropped", 3, "lost")
    assert outcomes(kept) == [WRITTEN, unknown, unknown, lost]


# --- awaiting ---


async def test_awaiting_waits_for_the_hand_over_and_then_for_the_connection() -> None:
    held = held_messages()
    kept = put(held, "x")
    tasks = [asyncio.ensure_future(kept) for _ in range(2)]
    await asyncio.sleep(0)
    link = Link(event_loop=asyncio.get_running_loop(), epoch=3)
    link.transport.room = 0
    held.send_all(link.connection, 0.0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    link.transport.drain()
    async with asyncio.timeout(1):
        assert await asyncio.gather(*tasks) == [WRITTEN, WRITTEN]
        assert await kept == WRITTEN


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda held: held.expire(10.0), EXPIRED),
        (lambda held: held.drop_all("closed"), SendOutcome("dropped", reason="closed")),
        (lambda held: put(held, "y", key="k"), SUPERSEDED),
    ],
    ids=["expired", "closed", "superseded"],
)
async def test_awaiting_raises_when_it_ends_without_a_connection(
    end: Callable[[HeldMessages], object], outcome: SendOutcome
) -> None:
    held = held_messages()
    kept = put(held, "x", ttl=10.0, key="k")
    task = asyncio.ensure_future(kept)
    await asyncio.sleep(0)
    end(held)
    async with asyncio.timeout(1):
        for awaited in (task, kept):
            with pytest.raises(MessageNotWritten) as caught:
                await awaited
            assert caught.value.outcome == outcome


async def test_cancelled_awaiting_leaves_the_message_and_the_others_who_await() -> None:
    held = held_messages()
    kept = put(held, "x")
    tasks = [asyncio.ensure_future(kept) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    assert send_all(held) == ["x"]
    async with asyncio.timeout(1):
        assert await tasks[1] == WRITTEN


STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.tuples(st.integers(0, 40), st.sampled_from([None, 0.0, 1.0, 3.0]), st.sampled_from([None, "a", "b"])),
    ),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0])),
    st.tuples(st.just("send"), st.integers(0, 4)),
)


@given(
    steps=st.lists(STEPS, max_size=60),
    overflow=st.sampled_from(["raise", "drop_oldest", "drop_newest"]),
    max_messages=st.integers(1, 5),
)
def test_each_message_ends_once_in_order_and_within_bounds(
    steps: list[tuple[str, Any]], overflow: Overflow, max_messages: int
) -> None:
    held = held_messages(max_messages=max_messages, max_bytes=100, overflow=overflow)
    now = 0.0
    kept: list[tuple[str, Delivery, float]] = []
    seen: dict[int, SendOutcome] = {}
    taken: list[str] = []
    for what, value in steps:
        if what == "put":
            size, ttl, key = value
            text = f"{len(kept):03}" + "x" * size
            try:
                delivery = put(held, text, now=now, ttl=ttl, key=key)
            except SendQueueFull:
                assert overflow == "raise"
            else:
                kept.append((text, delivery, float("inf") if ttl is None else now + ttl))
        elif what == "wait":
            now += value
            held.expire(now)
            late = [one for _, one, deadline in kept if deadline <= now]
            assert None not in outcomes(late)
        else:
            taken += cast("list[str]", send_all(held, Taking(value), now=now))
        for number, (_, delivery, _) in enumerate(kept):
            if delivery.outcome is not None:
                assert seen.setdefault(number, delivery.outcome) == delivery.outcome
        waiting = [text for text, delivery, _ in kept if delivery.outcome is None]
        assert len(waiting) == len(held) <= max_messages
        assert len(waiting) <= 1 or sum(len(text) + 14 for text in waiting) <= 100
        assert balance(held)[0] == len(kept)
    assert taken == sorted(taken)
    assert taken == [text for text, delivery, _ in kept if delivery.outcome == WRITTEN]

"""Watches and control routes: who has a look at messages before they are delivered."""

import gc
import time
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.memory import Link
from tests.support.pulling import take_all
from tests.support.wire import CLOSE, TEXT, frame

from websocket_utils import Message, Pong
from websocket_utils.messages import Ping


class Tick(Message):
    n: int
    symbol: str = ""


class Trade(Message):
    symbol: str = ""


def say(text: str) -> bytes:
    return frame(TEXT, text.encode(), masked=False)


def tick(number: int, symbol: str = "") -> bytes:
    return say(f'{{"type":"Tick","n":{number},"symbol":"{symbol}"}}')


def trade(symbol: str) -> bytes:
    return say(f'{{"type":"Trade","symbol":"{symbol}"}}')


PONG = say('{"type":"Pong"}')


def seen(link: Link) -> list[int]:
    return sorted(token for token, _ in link.inbox.take_seen())


# --- watches ---


def test_watch_sees_any_message_where_no_type_is_said() -> None:
    link = Link()
    link.inbox.watch(1, None, None)
    assert seen(link) == []
    link.receive(say("whatever"))
    assert seen(link) == [1]
    assert seen(link) == []
    link.receive(say("whatever"))
    assert seen(link) == [1]


def test_watch_sees_messages_of_its_type() -> None:
    link = Link()
    link.inbox.watch(1, Tick, None)
    link.inbox.watch(2, Trade, None)
    link.inbox.watch(3, Tick | Trade, None)
    link.receive(tick(1))
    assert seen(link) == [1, 3]
    link.receive(trade("A") + PONG)
    assert seen(link) == [2, 3]


def test_watch_of_a_type_without_a_tag_sees_what_decodes() -> None:
    link = Link()
    link.inbox.watch(1, list[int], None)
    link.receive(say('{"type":"Pong"}'))
    assert seen(link) == []
    link.receive(say("[1,2]"))
    assert seen(link) == [1]


def test_watch_sees_messages_with_its_values() -> None:
    link = Link()
    for token, symbol in enumerate("ABC"):
        link.inbox.watch(token, Tick, (("symbol", symbol),))
    link.inbox.watch(10, Tick, (("symbol", "A"), ("n", 5)))
    link.inbox.watch(11, Tick, (("symbol", "A"),))
    link.receive(tick(1, "B") + trade("C") + tick(1, "D"))
    assert seen(link) == [1]
    link.receive(tick(1, "A"))
    assert seen(link) == [0, 11]
    link.receive(tick(5, "A") + tick(6, "C"))
    assert seen(link) == [0, 2, 10, 11]


def test_watch_asks_its_function() -> None:
    link = Link()
    link.inbox.watch(1, Tick, lambda message: message.n > 5)
    link.receive(tick(1) + trade(""))
    assert seen(link) == []
    link.receive(tick(6))
    assert seen(link) == [1]


def test_function_that_raises_is_reported_and_has_seen_nothing() -> None:
    link = Link()

    def wanted(message: Tick) -> bool:
        raise ValueError(message.n)

    link.inbox.watch(1, Tick, wanted)
    link.receive(tick(1))
    assert [str(fault) for fault in link.faults] == ["1"]
    assert seen(link) == []
    assert len(link.queued()) == 1


def test_watch_has_the_time_of_the_first_read_that_brought_it() -> None:
    link = Link()
    link.inbox.watch(1, Tick, (("symbol", "A"),))
    link.receive(tick(0, "B"))
    before = time.monotonic_ns()
    link.receive(tick(1, "A"))
    after = time.monotonic_ns()
    link.receive(tick(2, "A"))
    ((token, first),) = link.inbox.take_seen()
    assert token == 1
    assert before <= first <= after


def test_watch_that_was_seen_does_not_look_again_until_it_is_asked() -> None:
    link = Link()
    looks: list[int] = []

    def wanted(message: Tick) -> bool:
        looks.append(message.n)
        return True

    link.inbox.watch(1, Tick, wanted)
    link.receive(tick(1) + tick(2))
    link.receive(tick(3))
    assert looks == [1]
    link.inbox.take_seen()
    link.receive(tick(4) + tick(5))
    assert looks == [1, 4]


def test_message_is_decoded_once_for_all_watches_of_its_type() -> None:
    link = Link()
    made: list[int] = []

    class Counted(Message):
        n: int

        def __post_init__(self) -> None:
            made.append(self.n)

    for token in range(20):
        link.inbox.watch(token, Counted, (("n", token),))
        link.inbox.watch(100 + token, Counted, lambda _: False)
    link.receive(say('{"type":"Counted","n":3}'))
    assert made == [3]
    assert seen(link) == [3]


def test_unwatch_ends_what_a_token_stands_for() -> None:
    link = Link()
    for token in (1, 2):
        link.inbox.watch(token, None, None)
        link.inbox.watch(token, Tick, None)
        link.inbox.watch(token, Tick, (("symbol", "A"),))
        link.inbox.watch(token, Tick, lambda _: True)
    link.inbox.unwatch(1)
    link.inbox.unwatch(99)
    link.receive(tick(1, "A"))
    assert seen(link) == [2, 2, 2, 2]
    link.inbox.unwatch(2)
    link.receive(tick(1, "A"))
    assert seen(link) == []


def test_watches_that_come_and_go_keep_nothing() -> None:
    link = Link()
    link.inbox.watch(0, Tick, (("symbol", "stays"),))
    values = [one for one in gc.get_referents(link.inbox) if type(one) is dict]
    for token in range(1, 500):
        link.inbox.watch(token, Tick, (("symbol", str(token)),))
        link.inbox.unwatch(token)
    assert [len(one) for one in values] == [1]
    link.receive(tick(1, "stays") + tick(1, "499"))
    assert seen(link) == [0]


def test_watches_see_what_handlers_and_readers_take() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: None)
    link.inbox.watch(1, Tick, (("symbol", "A"),))
    link.inbox.watch(2, Trade, None)
    link.receive(tick(1, "A") + trade("B"))
    assert seen(link) == [1, 2]


def test_watch_for_values_needs_a_type_and_values_that_can_be_looked_up() -> None:
    link = Link()
    refused: list[Any] = [(None, lambda _: True), (Tick, 5), (Tick, (("symbol", []),)), (Tick, (5,))]
    for type_, wanted in refused:
        with pytest.raises((TypeError, ValueError)):
            link.inbox.watch(1, type_, wanted)
    link.receive(tick(1))
    assert seen(link) == []


def test_function_may_end_its_watch() -> None:
    link = Link()

    def wanted(message: Tick) -> bool:
        link.inbox.unwatch(1)
        return True

    link.inbox.watch(1, Tick, wanted)
    link.inbox.watch(2, Tick, lambda _: True)
    link.receive(tick(1) + tick(2))
    assert seen(link) == [2]
    assert link.faults == []


def test_inbox_that_a_watch_or_a_route_leads_back_to_is_collected() -> None:
    class Callback:
        link: Link | None = None

        def __call__(self, *_arguments: object) -> bool:
            return True

    callbacks = [Callback(), Callback()]
    link = Link()
    for callback in callbacks:
        callback.link = link
    link.inbox.watch(1, Tick, callbacks[0])
    link.inbox.control(Pong, callbacks[1], consume=True)
    known = [weakref.ref(callback) for callback in callbacks]
    del callbacks, callback, link
    gc.collect()
    assert [one() for one in known] == [None, None]


# --- control routes ---


def test_consumed_message_goes_nowhere_else() -> None:
    link = Link()
    told: list[object] = []
    link.inbox.on(Pong, lambda _: told.append("handler"))
    link.inbox.watch(1, None, None)
    _ = link.inbox.receive(str)
    link.inbox.control(Pong, lambda connection, message: told.append((connection, message)), consume=True)
    link.receive(PONG)
    assert told == [(link.connection, Pong())]
    assert seen(link) == []
    assert link.inbox.counters()[5] == 0
    link.receive(tick(1))
    assert len(link.queued()) == 1


def test_message_that_is_not_consumed_goes_on_behind_the_route() -> None:
    link = Link()
    told: list[object] = []
    link.inbox.control(Ping, lambda _connection, _message: told.append("route"), consume=False)
    link.inbox.on(Ping, lambda _: told.append("handler"))
    link.inbox.watch(1, Ping, None)
    link.receive(say('{"type":"Ping"}'))
    assert told == ["route", "handler"]
    assert seen(link) == [1]
    queue = Link()
    queue.inbox.control(Ping, lambda _connection, _message: None, consume=False)
    queue.receive(say('{"type":"Ping"}') + tick(1))
    assert len(queue.queued()) == 2


def test_route_is_known_by_its_tag_alone() -> None:
    link = Link()
    told: list[object] = []
    link.inbox.control(Pong, lambda _connection, message: told.append(message), consume=True)
    link.receive(say("{}") + say("[1]") + tick(1) + say('{"typ'))
    assert told == []
    assert len(link.queued()) == 4


def test_route_looks_at_short_messages_alone() -> None:
    link = Link()
    told: list[object] = []
    exact = len('{"type":"Pong"}')
    link.inbox.control(Pong, lambda _connection, message: told.append(message), consume=True, longest=exact)
    link.inbox.control(Trade, lambda _connection, message: told.append(message), consume=True, longest=100)
    link.receive(PONG + say('{"type":"Pong" }') + trade("A"))
    assert told == [Pong(), Trade("A")]
    assert len(link.queued()) == 1


def test_uncontrol_ends_a_route() -> None:
    link = Link()
    told: list[str] = []
    link.inbox.control(Ping | Pong, lambda _connection, message: told.append(type(message).__name__), consume=True)
    link.inbox.uncontrol(Ping)
    link.receive(PONG + say('{"type":"Ping"}'))
    assert told == ["Pong"]
    link.inbox.uncontrol(Pong)
    link.inbox.uncontrol(Trade)
    link.receive(PONG)
    assert told == ["Pong"]
    assert len(link.queued()) == 2


def test_route_of_a_class_replaces_the_one_before() -> None:
    link = Link()
    told: list[str] = []
    link.inbox.control(Pong, lambda _connection, _message: told.append("first"), consume=True)
    link.inbox.control(Pong, lambda _connection, _message: told.append("second"), consume=False)
    link.receive(PONG)
    assert told == ["second"]
    assert len(link.queued()) == 1


def test_message_that_a_route_cannot_decode_goes_on() -> None:
    link = Link()
    told: list[object] = []
    link.inbox.control(Tick, lambda _connection, message: told.append(message), consume=True)
    link.receive(say('{"type":"Tick","n":"one"}') + tick(2))
    assert told == [Tick(2)]
    assert link.queued() == [b'{"type":"Tick","n":"one"}']


def test_route_that_raises_is_reported_and_the_read_goes_on() -> None:
    link = Link()

    def answer(_connection: object, _message: object) -> None:
        raise ValueError("no answer")

    link.inbox.control(Pong, answer, consume=True)
    link.receive(PONG + tick(1))
    assert [str(fault) for fault in link.faults] == ["no answer"]
    assert len(link.queued()) == 1


def test_route_may_send_and_change_routes() -> None:
    link = Link()

    def answer(connection: Any, _message: object) -> None:
        connection.send(b"answer")
        link.inbox.uncontrol(Pong)
        link.inbox.watch(1, None, None)

    link.inbox.control(Pong, answer, consume=True)
    link.receive(PONG + PONG)
    assert link.faults == []
    assert [one.payload for one in link.sent()] == [b"answer"]
    assert seen(link) == [1]


def test_nothing_is_delivered_behind_a_route_that_ends_the_connection() -> None:
    link = Link()

    def end(connection: Any, _message: object) -> None:
        connection.stop_delivering()
        connection.close(1000)

    link.inbox.control(Pong, end, consume=False)
    link.receive(PONG + tick(1))
    assert link.queued() == []
    assert [one.opcode for one in link.sent()] == [CLOSE]


def test_untagged_class_has_the_messages_without_tag() -> None:
    @dataclass
    class Reply:
        id: int

    link = Link()
    told: list[object] = []
    link.inbox.control(Reply, lambda _connection, message: told.append(message), consume=True)
    link.receive(say('{"id":5}') + tick(1))
    assert told == [Reply(5)]
    assert len(link.queued()) == 1


def test_routes_and_watches_end_with_the_inbox() -> None:
    link = Link()
    link.inbox.control(Pong, lambda _connection, _message: None, consume=True)
    link.inbox.watch(1, None, None)
    link.inbox.close()
    link.receive(PONG)
    assert seen(link) == []
    assert len(take_all(link.inbox.messages(Pong))) == 1

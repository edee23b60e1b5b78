"""Readers that are slower than their messages: what each policy does, at each bound."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import Link
from tests.support.pulling import take, take_all
from tests.support.wire import BINARY, TEXT, frame

from websocket_utils import Backpressure, Conflate, Decoder, DropOldest, Message
from websocket_utils._slow import describe


class Tick(Message):
    n: int
    symbol: str = ""
    venue: str = ""


class Trade(Message):
    n: int
    symbol: str = ""


def say(kind: str, number: int, symbol: str = "", venue: str = "") -> bytes:
    text = f'{{"type":"{kind}","n":{number},"symbol":"{symbol}","venue":"{venue}"}}'
    return frame(TEXT, text.encode(), masked=False)


def tick(number: int, symbol: str = "", venue: str = "") -> bytes:
    return say("Tick", number, symbol, venue)


def reads(link: Link) -> bool:
    link.loop.turn()
    return link.transport.reads()


def numbers(link: Link) -> list[int]:
    return [message.n for message in take_all(link.inbox.messages(Tick | Trade))]


def losses(link: Link) -> tuple[int, int]:
    """(dropped, conflated)."""
    return link.inbox.counters()[7], link.inbox.counters()[8]


# --- backpressure ---


def test_reading_pauses_over_the_bound_of_messages_and_resumes_under_half_of_it() -> None:
    link = Link(max_inbox_messages=10)
    for number in range(10):
        link.receive(tick(number))
    assert reads(link), "the bound itself is allowed"
    link.receive(tick(10))
    assert not reads(link)
    for taken in range(1, 12):
        take(link.inbox.receive(Tick))
        assert reads(link) is (11 - taken <= 5)
    assert losses(link) == (0, 0)


# --- drop_oldest ---


def test_oldest_go_over_the_bound_of_messages_and_reading_goes_on() -> None:
    link = Link(max_inbox_messages=3, slow=("drop_oldest",))
    link.receive(tick(0) + tick(1))
    link.receive(b"".join(tick(number) for number in range(2, 8)))
    assert reads(link)
    assert losses(link) == (5, 0)
    assert numbers(link) == [5, 6, 7]


def test_oldest_go_over_the_bound_of_bytes() -> None:
    link = Link(max_inbox=25_000, slow=("drop_oldest",))
    for size in (10_000, 100, 10_000, 9_000):
        link.receive(frame(BINARY, bytes(size), masked=False))
    assert [len(one) for one in link.queued()] == [100, 10_000, 9_000]
    assert losses(link) == (1, 0)


def test_latest_message_stays_however_big_it_is() -> None:
    link = Link(max_inbox=10, slow=("drop_oldest",))
    link.receive(frame(BINARY, bytes(100), masked=False))
    link.receive(frame(BINARY, bytes(200), masked=False))
    assert [len(one) for one in link.queued()] == [200]


@pytest.mark.parametrize("slow", [("drop_oldest",), ("conflate", Tick, "n")])
def test_events_are_never_dropped_for_messages(slow: tuple[Any, ...]) -> None:
    link = Link(max_inbox_messages=2, slow=slow)
    stream = link.inbox.events(Tick)
    for number in range(6):
        link.receive(tick(number))
        link.inbox.tell(f"behind {number}")
    items = [getattr(item, "n", item) for item in take_all(stream)]
    assert items == ["behind 0", "behind 1", "behind 2", "behind 3", 4, "behind 4", 5, "behind 5"]
    assert losses(link) == (4, 0)


def test_message_behind_dropped_ones_has_its_own_time() -> None:
    link = Link(max_inbox_messages=1, slow=("drop_oldest",))
    for number in range(3):
        link.receive(tick(number))
    stamps = [link.inbox.last_read_ns]
    ((received, message),) = take_all(link.inbox.messages(Tick, with_timestamps=True))
    assert message.n == 2
    assert received == link.inbox.last_received_ns
    assert link.inbox.ages.count == 1
    assert stamps == [link.inbox.last_read_ns]


# --- conflate ---


def test_newer_message_takes_the_place_of_an_older_one_of_its_key() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    link.receive(tick(1, "A") + tick(2, "B"))
    link.receive(tick(3, "C") + tick(4, "A"))
    assert numbers(link) == [4, 2, 3]
    assert losses(link) == (0, 1)
    assert link.inbox.counters()[5:7] == (0, 0)


def test_reader_that_keeps_up_gets_every_message() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    for number in range(5):
        link.receive(tick(number, "A"))
        assert numbers(link) == [number]
    assert losses(link) == (0, 0)


def test_message_that_has_left_is_replaced_by_nobody() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    link.receive(tick(1, "A") + tick(2, "B"))
    assert take(link.inbox.receive(Tick)).n == 1
    link.receive(tick(3, "A") + tick(4, "B"))
    assert numbers(link) == [4, 3]


def test_conflated_message_has_the_time_of_the_newer_one() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    link.receive(tick(1, "A") + tick(2, "B"))
    link.receive(tick(3, "A"))
    (first, one), (second, two) = take_all(link.inbox.messages(Tick, with_timestamps=True))
    assert (one.n, two.n) == (3, 2)
    assert first > second


def test_message_never_takes_a_place_before_an_event() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    stream = link.inbox.events(Tick)
    link.receive(tick(1, "A") + tick(2, "A") + tick(3, "B"))
    link.inbox.tell("gap")
    link.receive(tick(4, "A") + tick(5, "B"))
    link.receive(tick(6, "B"))
    assert [getattr(item, "n", item) for item in take_all(stream)] == [2, 3, "gap", 4, 6]
    assert losses(link) == (0, 2)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("symbol", [3, 4]),
        (("symbol", "venue"), [1, 3, 4]),
        (lambda message: message.n % 2, [3, 4]),
    ],
    ids=["field", "fields", "function"],
)
def test_key_is_a_field_or_fields_or_a_function(key: Any, expected: list[int]) -> None:
    link = Link(slow=("conflate", Tick, key))
    link.receive(tick(1, "A", "x") + tick(2, "B", "x") + tick(3, "A", "y") + tick(4, "B", "x"))
    assert sorted(numbers(link)) == expected


def test_other_messages_all_wait() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    broken = frame(TEXT, b'{"type":"Tick","n":"one","symbol":"A"}', masked=False)
    link.receive(say("Trade", 1, "A") + tick(2, "A") + broken + say("Trade", 3, "A") + tick(4, "A") + broken)
    assert len(link.queued()) == 5
    assert losses(link) == (0, 1)


def test_classes_of_a_union_are_told_apart() -> None:
    link = Link(slow=("conflate", Tick | Trade, "symbol"))
    link.receive(tick(1, "A") + say("Trade", 2, "A") + tick(3, "A") + say("Trade", 4, "A"))
    assert numbers(link) == [3, 4]


def test_decoder_says_how_messages_are_read() -> None:
    link = Link(slow=("conflate", Decoder(Tick, strict=False), "symbol"))
    quoted = b'{"type":"Tick","n":"%d","symbol":"A"}'
    link.receive(frame(TEXT, quoted % 1, masked=False) + frame(TEXT, quoted % 2, masked=False))
    assert link.queued() == [quoted % 2]


def test_messages_without_the_field_all_wait() -> None:
    link = Link(slow=("conflate", Tick | Trade, "venue"))
    link.receive(say("Trade", 1) + tick(2) + say("Trade", 3) + tick(4))
    assert numbers(link) == [1, 4, 3]


def test_key_that_raises_or_cannot_be_looked_up_is_reported_and_the_message_waits() -> None:
    def key(message: Tick) -> object:
        if message.n == 1:
            raise ValueError("no key")
        return [] if message.n == 2 else "key"

    link = Link(slow=("conflate", Tick, key))
    link.receive(b"".join(tick(number) for number in range(5)))
    assert numbers(link) == [4, 1, 2]
    assert [type(fault) for fault in link.faults] == [ValueError, TypeError]


def test_key_may_call_back() -> None:
    link: Link

    def key(message: Tick) -> str:
        link.inbox.counters()
        link.inbox.tell("from inside")
        link.connection.send(b"x")
        return message.symbol

    link = Link(slow=("conflate", Tick, key))
    link.receive(tick(1, "A") + tick(2, "A") + tick(3, "B"))
    assert numbers(link) == [2, 3]
    assert link.faults == []


def test_more_keys_than_may_wait_cost_the_oldest() -> None:
    link = Link(max_inbox_messages=3, slow=("conflate", Tick, "symbol"))
    link.receive(b"".join(tick(number, str(number)) for number in range(5)))
    assert reads(link)
    assert losses(link) == (2, 0)
    link.receive(tick(5, "3") + tick(6, "0"))
    assert numbers(link) == [5, 4, 6]
    assert losses(link) == (3, 1)


def test_bytes_of_conflated_messages_are_bounded() -> None:
    link = Link(max_inbox=50_000, slow=("conflate", Tick, "symbol"))
    for number in range(20):
        link.receive(tick(number, str(number % 8), "v" * 10_000))
        assert link.inbox.counters()[6] <= 50_000
    assert numbers(link) == [16, 17, 18, 19]


def test_keys_that_come_once_are_forgotten() -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    link.receive(tick(0, "stays") + tick(1, "too"))
    keys = next(one for one in gc.get_referents(link.inbox) if type(one) is dict)
    for number in range(3000):
        link.receive(tick(number, str(number)))
        take(link.inbox.receive(Tick))
    assert len(keys) < 2000
    assert len(numbers(link)) == 2


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("wre")), max_size=80))
def test_conflation_agrees_with_its_model(steps: list[tuple[str, str]]) -> None:
    link = Link(slow=("conflate", Tick, "symbol"))
    stream = link.inbox.events(Tick)
    model: list[object] = []
    for number, (symbol, step) in enumerate(steps):
        if step == "e":
            link.inbox.tell(f"event {number}")
            model.append(f"event {number}")
        elif step == "r" and model:
            item = take(anext(stream))
            assert model.pop(0) == (item if isinstance(item, str) else (item.symbol, item.n))
        else:
            link.receive(tick(number, symbol))
            behind = max((index for index, one in enumerate(model) if isinstance(one, str)), default=-1) + 1
            place = next((at for at in range(behind, len(model)) if model[at][0] == symbol), None)  # type: ignore[index]  # messages
            if place is None:
                model.append((symbol, number))
            else:
                model[place] = (symbol, number)
    rest = take_all(stream)
    assert [item if isinstance(item, str) else (item.symbol, item.n) for item in rest] == model


def test_inbox_that_its_key_leads_back_to_is_collected() -> None:
    class Key:
        link: Link | None = None

        def __call__(self, message: Tick) -> str:
            return message.symbol

    key = Key()
    key.link = Link(slow=("conflate", Tick, key))
    known = weakref.ref(key)
    del key
    gc.collect()
    assert known() is None


# --- as they are described ---


def test_policies_are_described_as_the_inbox_takes_them() -> None:
    def key(message: Tick) -> str:
        return message.symbol

    assert describe(Backpressure()) is None
    assert describe(DropOldest()) == ("drop_oldest",)
    assert describe(Conflate("symbol", Tick)) == ("conflate", Tick, "symbol")
    for policy in (DropOldest(), Conflate("symbol"), Conflate(("symbol", "venue"), Tick | Trade), Conflate(key, Tick)):
        Link(slow=describe(policy))


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match="slow takes"):
        describe("conflate")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize(
    "slow", [("keep_all",), ("conflate", Tick), ("conflate", Tick, 5), ("conflate", Tick, ("symbol", 5)), ()]
)
def test_what_the_inbox_cannot_take_is_refused(slow: tuple[Any, ...]) -> None:
    make: Callable[[], object] = lambda: Link(slow=slow)  # noqa: E731  # one expression under test
    with pytest.raises((TypeError, IndexError)):
        make()

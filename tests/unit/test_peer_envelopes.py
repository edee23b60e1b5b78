"""Requests and answers of peers: a head, and the message behind it as it is."""

import gc
import weakref
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, TEXT, Inflater, frame

from websocket_utils import Message, Raw, _core
from websocket_utils.exceptions import ConnectionClosed, DecodeError, EncodeError, SendQueueFull


class MayTrade(Message):
    symbol: str
    quantity: float


QUESTION = MayTrade("SOL", 2.5)
JSON = b'{"type":"MayTrade","symbol":"SOL","quantity":2.5}'


class Taken:
    """What an inbox gives out."""

    def __init__(self, link: Link, *, answers: bool = False) -> None:
        self.requests: list[Any] = []
        self.others: list[Any] = []
        self.answers: list[Any] = []
        self.messages: list[Any] = []
        link.inbox.on_envelopes(lambda _, it: self.others.append(it), lambda _, it: self.answers.append(it))
        link.inbox.on(MayTrade, lambda _, it: self.messages.append(it))
        link.inbox.on(str, lambda _, it: self.messages.append(it))
        link.inbox.on(bytes, lambda _, it: self.messages.append(it))
        if answers:
            link.inbox.on_request("MayTrade", _core.Decoder(MayTrade), lambda _, it: self.requests.append(it))

    @property
    def all(self) -> list[Any]:
        return self.requests + self.others + self.answers + self.messages


def linked(**options: Any) -> Link:
    return Link(pass_connection=True, enveloped=True, **options)


def read(payload: bytes, opcode: int = TEXT, *, answers: bool = True) -> tuple[Link, Taken]:
    link = linked()
    taken = Taken(link, answers=answers)
    link.receive(frame(opcode, payload, masked=False))
    return link, taken


# --- the way out ---


@BOTH_ROLES
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_request_and_answer_are_a_head_and_the_message(is_client: bool, format: str) -> None:
    link = linked(is_client=is_client, format=format)
    link.connection.ask(QUESTION, 7, 0.05, "MayTrade")
    link.connection.reply(QUESTION, 2**64 - 1, "MayTrade")
    body = JSON if format == "json" else msgspec.msgpack.encode(QUESTION)
    link.loop.turn()
    sent = link.sent()
    assert [one.payload for one in sent] == [
        b"\x1e?7 50000000 MayTrade\n" + body,
        b"\x1e=18446744073709551615 MayTrade\n" + body,
    ]
    assert {one.opcode for one in sent} == {TEXT if format == "json" else BINARY}


@pytest.mark.parametrize(("within", "written"), [(1e-12, b"1"), (1e300, b"18446744073709551615"), (1.5, b"1500000000")])
def test_deadline_is_written_in_whole_nanoseconds(within: float, written: bytes) -> None:
    link = linked()
    link.connection.ask(QUESTION, 1, within, "MayTrade")
    assert link.sent()[0].payload == b"\x1e?1 " + written + b" MayTrade\n" + JSON


@pytest.mark.parametrize("kind", ["", "a\nb", "k" * 257])
def test_kind_that_nobody_could_read_is_refused(kind: str) -> None:
    link = linked()
    with pytest.raises(ValueError, match="a kind is 1 to 256 bytes"):
        link.connection.ask(QUESTION, 1, 1.0, kind)
    assert link.sent() == []


def test_request_that_does_not_leave_leaves_nothing_behind() -> None:
    link = linked(max_send_queue=200, busy=True)
    with pytest.raises(EncodeError):
        link.connection.ask(object(), 1, 1.0, "MayTrade")
    link.connection.ask(QUESTION, 2, 1.0, "MayTrade")
    link.connection.reply(QUESTION, 3, "MayTrade")
    with pytest.raises(SendQueueFull):
        link.connection.reply(QUESTION, 4, "MayTrade")
    link.connection.abort()
    with pytest.raises(ConnectionClosed):
        link.connection.ask(QUESTION, 4, 1.0, "MayTrade")


def test_long_request_is_compressed_with_its_head() -> None:
    link = linked(deflate=(15, False, 15, False), compression_threshold=100)
    question = MayTrade("SOL" * 200, 1.0)
    link.connection.ask(question, 1, 1.0, "MayTrade")
    (sent,) = link.sent()
    assert sent.is_compressed
    assert Inflater().message(sent) == b"\x1e?1 1000000000 MayTrade\n" + msgspec.json.encode(question)


@BOTH_ROLES
@pytest.mark.parametrize("deflate", [None, (15, False, 15, False)], ids=["plain", "deflate"])
def test_payload_that_looks_like_an_envelope_arrives_as_it_is(is_client: bool, deflate: Any) -> None:
    forged = "\x1e=1 MayTrade\n{}"
    ours, theirs = linked(is_client=is_client, deflate=deflate), linked(is_client=not is_client, deflate=deflate)
    taken = Taken(theirs)
    said: list[Any] = [forged, forged.encode(), bytearray(forged.encode()), "plain", b"", QUESTION]
    for message in said:
        ours.connection.send(message)
    ours.loop.turn()
    theirs.receive(b"".join(ours.transport.writes))
    assert taken.all == said
    assert theirs.faults == []


def test_value_that_looks_like_an_envelope_is_escaped() -> None:
    link = linked(format="msgpack")
    link.connection.send(30)
    link.connection.send(Raw(b"\x1e=1 MayTrade\n\x80"))
    link.loop.turn()
    assert [one.payload for one in link.sent()] == [b"\x1e\n\x1e", b"\x1e\n\x1e=1 MayTrade\n\x80"]


def test_connection_without_envelopes_escapes_nothing() -> None:
    link = Link()
    link.connection.send("\x1e=1 MayTrade\n{}")
    assert link.sent()[0].payload == b"\x1e=1 MayTrade\n{}"


# --- the way in ---


def test_request_that_somebody_answers_comes_as_its_class() -> None:
    link, taken = read(b"\x1e?7 50000000 MayTrade\n" + JSON)
    assert taken.all == taken.requests == [(7, 0.05, QUESTION)]
    assert link.faults == []


@pytest.mark.parametrize(
    ("payload", "other"),
    [
        (b"\x1e?7 50000000 Other\n" + JSON, (7, 0.05, "Other", JSON)),
        (b"\x1e?7 0 MayTrade\n" + JSON, (7, 0.0, "MayTrade", JSON)),
        (b"\x1e?7 50000000 MayTrade\n{}", (7, 0.05, "MayTrade", b"{}")),
        (b"\x1e?7 50000000 MayTrade\n", (7, 0.05, "MayTrade", b"")),
    ],
)
def test_request_that_nobody_can_answer_comes_as_it_is(payload: bytes, other: object) -> None:
    link, taken = read(payload)
    assert taken.all == taken.others == [other]
    assert link.faults == []


def test_answers_come_with_their_numbers_and_kinds() -> None:
    link = linked()
    taken = Taken(link)
    for kind in (b"Verdict", b"Verdict", "größer".encode()):
        link.receive(frame(TEXT, b"\x1e=7 " + kind + b"\n{}", masked=False))
    assert taken.answers == [(7, "Verdict", b"{}"), (7, "Verdict", b"{}"), (7, "größer", b"{}")]


@pytest.mark.parametrize("payload", [b"\x1e", b"\x1e!1 a\n", b"\x1e?1 a\n{}", b"\x1e=1 a", b"\x1e?1 1e9 a\n{}"])
def test_envelope_that_is_none_is_a_fault_and_the_link_goes_on(payload: bytes) -> None:
    link, taken = read(payload)
    (fault,) = link.faults
    assert isinstance(fault, DecodeError)
    assert fault.raw == payload
    link.receive(frame(TEXT, JSON, masked=False))
    assert taken.all == [QUESTION]


def test_inbox_that_takes_no_envelopes_sees_payloads_as_they_are() -> None:
    link = Link(pass_connection=True)
    texts: list[str] = []
    link.inbox.on(str, lambda _, text: texts.append(text))
    link.receive(frame(TEXT, b"\x1e=1 a\n{}", masked=False))
    assert texts == ["\x1e=1 a\n{}"]


@given(st.binary(max_size=60))
def test_no_bytes_behind_the_mark_raise_or_are_lost(rest: bytes) -> None:
    link, taken = read(b"\x1e" + rest, BINARY)
    assert len(taken.all) + len(link.faults) == 1
    assert link.connection.is_open


def test_closed_inbox_calls_nobody_and_keeps_nobody() -> None:
    link = linked()
    taken = Taken(link, answers=True)
    link.inbox.close()
    link.receive(frame(TEXT, b"\x1e?7 1 MayTrade\n" + JSON, masked=False))
    assert taken.all == []
    kept = weakref.ref(taken)
    del taken
    gc.collect()
    assert kept() is None

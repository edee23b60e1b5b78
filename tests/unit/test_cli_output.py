import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import Ping
from websocket_utils.cli._output import LineWriter, OutputClosed, raw_line, standard_line, typed_line, unpacked_line


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("message", "piped", "shown"),
    [
        ("plain", b"plain\n", b"plain\n"),
        ("caf\u00e9 \u20ac", "caf\u00e9 \u20ac\n".encode(), "caf\u00e9 \u20ac\n".encode()),
        ("a\nb\r\nc", b"a\\nb\\r\\nc\n", b"a\\nb\\r\\nc\n"),
        ("a\u2028b", b"a\\u2028b\n", b"a\\u2028b\n"),
        ("tab\there", b"tab\there\n", b"tab\there\n"),
        ("\x1b[2Jgone\x07", b"\x1b[2Jgone\x07\n", b"\\x1b[2Jgone\\x07\n"),
        ("\x9b2J", "\x9b2J\n".encode(), b"\\x9b2J\n"),
        ("\ud800", b"\\ud800\n", b"\\ud800\n"),
    ],
)
def test_a_message_is_one_line_and_drives_no_terminal(message: str, piped: bytes, shown: bytes) -> None:
    for stream, expected in ((io.BytesIO(), piped), (Terminal(), shown)):
        LineWriter(stream).write([message])
        assert stream.getvalue() == expected


@given(st.lists(st.text()))
def test_as_many_lines_as_messages_whatever_they_hold(messages: list[str]) -> None:
    stream = io.BytesIO()
    LineWriter(stream).write(messages)
    assert len(stream.getvalue().decode().splitlines()) == len(messages)


def test_a_reader_that_is_gone_is_told() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    stream = open(writable, "wb", buffering=0)  # noqa: SIM115  # closed below
    with pytest.raises(OutputClosed):
        LineWriter(stream).write(["x"])
    stream.close()


def test_forms_of_a_message() -> None:
    packed = b"\x81\xa1a\x01"
    assert raw_line("text") == unpacked_line("text") == "text"
    assert raw_line(packed) == "81a16101"
    assert unpacked_line(packed) == '{"a":1}'
    assert typed_line(Ping()) == '{"type":"Ping"}'
    assert standard_line("text") == "text"
    assert standard_line(b"\xfa\x7f\x04Ping") == '{"type":"Ping"}'
    assert standard_line(b"\xfa\x7f\x05Other") == "fa7f054f74686572"


@given(st.binary())
def test_binary_that_is_no_messagepack_is_hexadecimal(data: bytes) -> None:
    line = unpacked_line(data)
    assert line == data.hex() or line

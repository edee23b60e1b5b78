"""Invalid UTF-8 is refused wherever a text is made of it, in JSON and MessagePack."""

from typing import Any, Literal

import msgspec
import pytest

from websocket_utils import Decoder, exceptions
from websocket_utils.messages import Message, Ping

# Table 3-7 of the Unicode standard from outside: what no character is written as.
INVALID = {
    "lone-continuation": b"\x80",
    "continuations": b"\xbf\xbf",
    "overlong-of-2": b"\xc0\xaf",
    "overlong-of-2-high": b"\xc1\xbf",
    "overlong-nul": b"\xc0\x80",
    "overlong-of-3": b"\xe0\x80\xaf",
    "overlong-of-3-high": b"\xe0\x9f\xbf",
    "overlong-of-4": b"\xf0\x80\x80\xaf",
    "overlong-of-4-high": b"\xf0\x8f\xbf\xbf",
    "surrogate-low": b"\xed\xa0\x80",
    "surrogate-high": b"\xed\xbf\xbf",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above-10ffff": b"\xf4\x90\x80\x80",
    "above-10ffff-lead": b"\xf5\x80\x80\x80",
    "of-5": b"\xf8\x88\x80\x80\x80",
    "of-6": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "truncated-2": b"\xc3",
    "truncated-3-after-1": b"\xe2",
    "truncated-3-after-2": b"\xe2\x82",
    "truncated-4-after-1": b"\xf0",
    "truncated-4-after-2": b"\xf0\x9f",
    "truncated-4-after-3": b"\xf0\x9f\x98",
    "wrong-continuation-2": b"\xc3(",
    "wrong-continuation-3": b"\xe2\x82(",
    "wrong-continuation-4": b"\xf0\x9f\x98(",
    "latin-1": b"caf\xe9",
    "utf-16": b"\xff\xfea\x00",
}
# Before and behind the wrong bytes: short texts, and such that are looked at many bytes at a time.
AROUND = [(b"", b""), (b"a", b"z"), (b"x" * 15, b""), (b"x" * 31, b"y" * 33), ("é€😀".encode(), "é".encode())]
Format = Literal["json", "msgpack"]


class Other(Message):
    a: str = ""


class Texts(Message):
    text: str = ""
    note: str | None = None
    many: list[str] = msgspec.field(default_factory=list)
    table: dict[str, str] = msgspec.field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    one: Other | None = None
    anything: Any = None


def packed(data: bytes) -> bytes:
    return b"\xd9" + bytes([len(data)]) + data


def texts(format: Format, data: bytes) -> dict[str, bytes]:
    """Messages with that text in each place."""
    text = b'"' + data + b'"' if format == "json" else packed(data)
    one = {"json": b"[%s]", "msgpack": b"\x91%s"}[format] % text
    value = {"json": b'{"k":%s}', "msgpack": b"\x81\xa1k%s"}[format] % text
    key = {"json": b'{%s:"v"}', "msgpack": b"\x81%s\xa1v"}[format] % text
    nested = {"json": b'{"a":%s}', "msgpack": b"\x81\xa1a%s"}[format] % text
    deep = {"json": b'[{"k":[1,%s]}]', "msgpack": b"\x91\x81\xa1k\x92\x01%s"}[format] % text
    places = {
        "text": ("text", text),
        "optional": ("note", text),
        "list": ("many", one),
        "dict value": ("table", value),
        "dict key": ("table", key),
        "literal": ("kind", text),
        "nested": ("one", nested),
        "any": ("anything", text),
        "any key": ("anything", key),
        "any deep": ("anything", deep),
    }
    return {name: in_message(format, field, value) for name, (field, value) in places.items()}


def in_message(format: Format, field: str, value: bytes) -> bytes:
    if format == "json":
        return b'{"type":"Texts","' + field.encode() + b'":' + value + b"}"
    return b"\x82\xa4type\xa5Texts" + packed(field.encode()) + value


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize("name", INVALID)
def test_invalid_utf8_is_refused_where_a_text_is_made_of_it(format: Format, name: str) -> None:
    for before, behind in AROUND:
        data = before + INVALID[name] + behind
        with pytest.raises(UnicodeDecodeError):
            data.decode()
        for place, payload in texts(format, data).items():
            for type_ in (Texts, Texts | Ping, Any):
                with pytest.raises(exceptions.DecodeError) as caught:
                    Decoder(type_, format=format).decode(payload)
                assert caught.value.raw == payload, place


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_valid_borders_of_utf8_are_accepted_in_the_same_places(format: Format) -> None:
    for text in ("\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"):
        for before, behind in AROUND:
            whole = before.decode() + text + behind.decode()
            for place, payload in texts(format, whole.encode()).items():
                if place != "literal":
                    module = msgspec.json if format == "json" else msgspec.msgpack
                    expected = module.decode(payload, type=Texts)
                    assert Decoder(Texts, format=format).decode(payload) == expected
                    assert repr(whole)[1:-1] in repr(expected)


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize("name", INVALID)
def test_text_that_is_skipped_is_looked_at_as_msgspec_does(format: Format, name: str) -> None:
    """No text is made of it. In a text message it was valid before it came here (RFC 6455 section 8.1)."""
    data = INVALID[name]
    text = b'"' + data + b'"' if format == "json" else packed(data)
    key = {"json": b"{%s:1}", "msgpack": b"\x81%s\x01"}[format] % text
    module = msgspec.json if format == "json" else msgspec.msgpack
    for value in (text, key):
        payload = in_message(format, "unknown", value)
        try:
            expected = module.decode(payload, type=Texts)
        except (msgspec.DecodeError, UnicodeDecodeError):
            with pytest.raises(exceptions.DecodeError):
                Decoder(Texts, format=format).decode(payload)
        else:
            assert Decoder(Texts, format=format).decode(payload) == expected


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize("name", INVALID)
def test_tag_with_invalid_utf8_is_refused(format: Format, name: str) -> None:
    data = INVALID[name]
    payload = b'{"type":"' + data + b'"}' if format == "json" else b"\x81\xa4type" + packed(data)
    for type_ in (Texts, Texts | Ping):
        with pytest.raises(exceptions.DecodeError):
            Decoder(type_, format=format).decode(payload)

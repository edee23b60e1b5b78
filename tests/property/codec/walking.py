"""Plain readers of payloads, which share nothing with what they are to judge: where values are, and how deep."""

import itertools
import json
import re
from typing import Final, NamedTuple

from tests.property.codec.chance import Format

__all__ = ["Span", "depth", "respelled", "snake_case", "spans"]

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[-\w.+]+|[\[\]{},:]|\s+|.', re.DOTALL)

# Bytes of MessagePack's values that have a size of their own, and bytes of the size behind the heads of the others.
_FIXED: Final = {
    **{0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9},
    **{0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9},
    **{0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18},
}
_WIDTHS: Final = {
    **{0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4},
    **{0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4},
}


class Span(NamedTuple):
    """A value, or the key of one, in a payload."""

    start: int
    end: int
    # Containers around it.
    depth: int
    is_key: bool
    is_container: bool


def spans(payload: bytes, format: Format, most: int = 1 << 30) -> list[Span]:
    """The first values and keys in the order in which they begin, as far as the payload is well formed."""
    return _json_spans(payload, most) if format == "json" else _msgpack_spans(payload, most)


def depth(payload: bytes, format: Format) -> int:
    """How deep its containers nest, as far as the payload is well formed."""
    return max((span.depth + 1 for span in spans(payload, format) if span.is_container), default=0)


def _json_spans(payload: bytes, most: int) -> list[Span]:
    found: list[Span] = []
    # Indices of containers that are open.
    opened: list[int] = []
    keyed = False
    for token in _TOKEN.finditer(payload):
        start, end = token.span()
        first = payload[start : start + 1]
        if first in b"[{":
            opened.append(len(found))
            found.append(Span(start, len(payload), len(opened) - 1, False, True))
            keyed = first == b"{"
        elif first in b"]}":
            if opened:
                at = opened.pop()
                found[at] = found[at]._replace(end=end)
            keyed = False
        elif first == b",":
            keyed = bool(opened) and payload[found[opened[-1]].start] == ord("{")
        elif first != b":" and not first.isspace():
            found.append(Span(start, end, len(opened), keyed, False))
            keyed = False
            if len(found) >= most:
                return [span for span in found if span.end < len(payload)]
    return found


def _sizes(payload: bytes, at: int) -> tuple[int, int, int]:
    """Bytes of the value at that place, children not included; how many those are, and those of a map among them."""
    head = payload[at]
    if head < 0x80 or head >= 0xE0:
        return 1, 0, 0
    if head < 0x90:
        return 1, (head & 15) * 2, 1
    if head < 0xA0:
        return 1, head & 15, 0
    if head < 0xC0:
        return 1 + (head & 31), 0, 0
    if head in _FIXED:
        return _FIXED[head], 0, 0
    if head == 0xC1:
        raise ValueError(head)
    width = _WIDTHS[head]
    size = int.from_bytes(payload[at + 1 : at + 1 + width], "big")
    if head in (0xDC, 0xDD):
        return 1 + width, size, 0
    if head in (0xDE, 0xDF):
        return 1 + width, size * 2, 1
    return 1 + width + size + (head in (0xC7, 0xC8, 0xC9)), 0, 0


def _msgpack_spans(payload: bytes, most: int) -> list[Span]:
    found: list[Span] = []
    # Of each container that is open: its index, children that are left, and whether it is a map.
    opened: list[list[int]] = []
    at = 0
    while at < len(payload) and len(found) < most:
        try:
            size, children, is_map = _sizes(payload, at)
        except ValueError:
            break
        is_key = bool(opened) and opened[-1][2] == 1 and opened[-1][1] % 2 == 0
        is_container = 0x80 <= payload[at] < 0xA0 or payload[at] in (0xDC, 0xDD, 0xDE, 0xDF)
        if opened:
            opened[-1][1] -= 1
        found.append(Span(at, min(at + size, len(payload)), len(opened), is_key, is_container))
        at += size
        if is_container:
            opened.append([len(found) - 1, children, is_map])
        while opened and opened[-1][1] == 0:
            index = opened.pop()[0]
            found[index] = found[index]._replace(end=at)
        if not opened:
            break
    for index, _, _ in opened:
        found[index] = found[index]._replace(end=len(payload))
    return found


def snake_case(name: str) -> str:
    """The other spelling of a tag."""
    return re.sub(r"(?<=[^_A-Z])(?=[A-Z])|(?<=[^_])(?=[A-Z][a-z])", "_", name).lower()


def respelled(payload: bytes, format: Format, field: str, tags: dict[str, str], *, plain: bool = False) -> bytes:
    """The payload with its own tag, if it is one of the keys of `tags`, written as the value of that key.

    With `plain`, only a tag without escapes, or in the shortest form, counts.
    """
    found = spans(payload, format)
    new, copied = b"", 0
    for key, value in itertools.pairwise(found):
        if key.depth != 1 or not key.is_key or value.is_container or _text(payload, key, format) != field:
            continue
        text = _text(payload, value, format) or "\0"
        tag = tags.get(text)
        written = payload[value.start : value.end]
        if tag is not None and not (plain and text.encode() not in (written[1:], written[1:-1])):
            written = json.dumps(tag).encode() if format == "json" else _packed(tag)
            new, copied = new + payload[copied : value.start] + written, value.end
    return new + payload[copied:]


def _text(payload: bytes, span: Span, format: Format) -> str | None:
    data = payload[span.start : span.end]
    try:
        if format == "json":
            return str(json.loads(data)) if data.startswith(b'"') else None
        if _sizes(data, 0)[0] != len(data):
            return None
        if 0xA0 <= data[0] < 0xC0:
            return data[1:].decode()
        heads = {0xD9: 2, 0xDA: 3, 0xDB: 5}
        return data[heads[data[0]] :].decode() if data[0] in heads else None
    except ValueError:
        return None


def _packed(text: str) -> bytes:
    data = text.encode()
    return b"\xdb" + len(data).to_bytes(4, "big") + data

"""What a fault server answers to an opening request."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from .._accepting import Request
from .._handshake import accept_value

__all__ = ["Codec", "accept_bytes", "chosen_subprotocol", "refusal_bytes"]

Codec = Literal["json", "msgpack", "protobuf"]

_CODECS: tuple[Codec, ...] = ("json", "msgpack", "protobuf")
_SUBPROTOCOLS: dict[str, Codec] = {f"websocket-utils.{codec}": codec for codec in _CODECS}


def chosen_subprotocol(request: Request) -> tuple[str | None, Codec]:
    """Choose as `WebSocketServer` does: the first of ours that was offered, and its codec; JSON without."""
    name = next((name for name in request.subprotocols if name in _SUBPROTOCOLS), None)
    return name, "json" if name is None else _SUBPROTOCOLS[name]


def accept_bytes(key: str, subprotocol: str | None) -> bytes:
    """Write a 101 (RFC 6455 §4.2.2)."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def refusal_bytes(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write an answer that is no 101."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

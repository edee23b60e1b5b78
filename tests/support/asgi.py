"""Requests to an ASGI application, without a socket."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Any,
    method: str,
    path: str,
    *chunks: bytes,
    headers: Iterable[tuple[str, str]] = (),
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    host: str = "127.0.0.1:9002",
    root_path: str = "",
) -> Answer:
    """Send one request, its body in these chunks."""
    waiting = list(chunks) or [b""]
    started: dict[str, Any] = {}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": root_path + path,
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", host.encode()), *((name.encode(), value.encode("latin-1")) for name, value in headers)],
        "client": client,
        "server": ("127.0.0.1", 9002),
    }
    await app(scope, receive, send)
    return Answer(started["status"], {name.decode(): value.decode() for name, value in started["headers"]}, bytes(body))

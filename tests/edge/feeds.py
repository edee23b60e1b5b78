"""Our Python server and the Workers, as one and the same to who connects; and a peer that sees what is on the wire."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import websockets
from tests.support.waiting import until
from tests.support.workerd import PUBLISH_KEY, Workerd

from websocket_utils import Namespace, TokenAuthentication, WebSocketServer

__all__ = ["JSON", "NAMESPACES", "TOKEN_KEY", "Feed", "Peer", "peer", "python_feed", "worker_feed"]

JSON = "websocket-utils.json"
NAMESPACES = ("prices", "accounts", "slots")
TOKEN_KEY = "a secret of thirty-two bytes or more"
_SECONDS = 5


@dataclass(frozen=True)
class Feed:
    """Where a feed is."""

    url: str
    http_url: str

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Ask the door for something; returns status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"X-API-Key": PUBLISH_KEY} if headers is None else dict(headers)
        return await asyncio.to_thread(_post, Request(self.http_url + path, data, sent))

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask with another method."""
        return await asyncio.to_thread(_post, Request(self.http_url + path, headers={"X-API-Key": PUBLISH_KEY}))

    async def publish(self, channel: str, *data: Any) -> str:
        """Publish, one after the other; returns the epoch."""
        epoch = ""
        for one in data:
            status, answer = await self.post("/api/publish", {"channel": channel, "data": one})
            assert status == 200, answer
            epoch = answer["result"]["epoch"]
        return epoch


def _post(request: Request) -> tuple[int, Any]:
    try:
        with urlopen(request, timeout=_SECONDS) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@asynccontextmanager
async def python_feed(*, asks_for_tokens: bool = False) -> AsyncIterator[Feed]:
    async with WebSocketServer.bind(
        "127.0.0.1:0",
        namespaces=[Namespace(name, history=100) for name in NAMESPACES],
        undeclared="refuse",
        http="127.0.0.1:0",
        http_key=PUBLISH_KEY,
        authenticate=TokenAuthentication(secret=TOKEN_KEY, leeway=0) if asks_for_tokens else None,
        authenticate_timeout=1,
        origins=("https://desk.example",),
    ) as server:
        assert server.http_url is not None
        yield Feed(server.url, server.http_url)


def worker_feed(*, asks_for_tokens: bool = False) -> Workerd:
    variables = {
        "NAMESPACES": " ".join(NAMESPACES),
        "LEEWAY": "0",
        "AUTHENTICATE_TIMEOUT": "1",
        "ALLOWED_ORIGINS": "https://desk.example",
    }
    return Workerd(variables={**variables, **({"TOKEN_KEY": TOKEN_KEY} if asks_for_tokens else {})})


class Peer:
    """A client that says and hears what is on the wire."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self._connection = connection

    @property
    def session(self) -> str:
        """What the Workers call it."""
        response = self._connection.response
        assert response is not None
        return response.headers["X-Session"]

    def stop_reading(self) -> None:
        """Take nothing from the socket any more."""
        self._connection.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take what waits."""
        self._connection.transport.resume_reading()

    async def say(self, *messages: Any) -> None:
        """Say messages: text or bytes as they are, anything else as JSON."""
        for one in messages:
            await self._connection.send(one if isinstance(one, str | bytes) else json.dumps(one))

    async def hear(self, count: int = 1) -> list[Any]:
        """Hear so many messages: JSON objects without their epochs, anything else as it is, also without."""
        async with asyncio.timeout(_SECONDS):
            return [_without_epochs(await self._connection.recv()) for _ in range(count)]

    async def ask(self, *messages: Any, answers: int = 1) -> list[Any]:
        """Say messages and hear what they are answered with, and that this is all."""
        await self.say(*messages, {"type": "Ping"})
        heard = await self.hear(answers + 1)
        assert heard[-1] == {"type": "Pong"}, heard
        return heard[:-1]

    async def close(self) -> int:
        """Close the connection; returns the code that the other side answers with."""
        await self._connection.close(1000)
        # 1006 where there was no answer.
        return self._connection.close_code or 1006

    async def closed(self) -> tuple[int, str]:
        """Wait for the other side's close frame; returns its code and reason."""
        # The end of the TCP connection, which `recv` waits for too, may come seconds later.
        await until(lambda: self._connection.protocol.close_rcvd, _SECONDS)
        close = self._connection.protocol.close_rcvd
        assert close is not None
        return close.code, close.reason


def _without_epochs(message: str | bytes) -> Any:
    if isinstance(message, bytes):
        return re.sub(rb"^\x1e[0-9]+ ", b"\x1eE ", message)
    if not message.startswith("{"):
        return re.sub("^\x1e[0-9]+ ", "\x1eE ", message)
    read = json.loads(message)
    if "positions" in read:
        read["positions"] = [re.sub("^[0-9]+ ", "E ", text) for text in read["positions"]]
    return read


@asynccontextmanager
async def peer(
    feed: Feed,
    *,
    subprotocols: Sequence[str] | None = (JSON,),
    headers: Mapping[str, str] | None = None,
    origin: str | None = None,
) -> AsyncIterator[Peer]:
    offered = [websockets.Subprotocol(name) for name in subprotocols] if subprotocols else None
    async with websockets.connect(
        feed.url,
        subprotocols=offered,
        additional_headers=headers,
        origin=None if origin is None else websockets.Origin(origin),
        proxy=None,
        max_queue=None,
        # Some ends leave the TCP connection open for a while behind the last frame.
        close_timeout=0.3,
    ) as connection:
        yield Peer(connection)

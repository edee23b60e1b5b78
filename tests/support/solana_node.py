"""A Solana node for tests on loopback: PubSub over WebSocket and JSON-RPC over HTTP, faithful to agave.

It is made of asyncio's streams and `wire.py`: what it says of the library's frames and requests is a judgement of its
own. It does nothing by itself: `end_slot` is its clock.

    async with SolanaNode(api_key="k") as node:
        node.ledger.transfer(key, 1_000_000)
        node.end_slot()
"""

import asyncio
import base64
import contextlib
import hashlib
import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import parse_qs

from tests.support.solana_frames import multiple_accounts
from tests.support.solana_ledger import Ledger
from tests.support.solana_params import Refused, account_config, parsed_key
from tests.support.solana_pubsub import Notification, PubSub, Session, answer_to
from tests.support.wire import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, FrameReader, close_payload, frame

__all__ = ["MAX_REQUEST", "Refusal", "SolanaNode"]

MAX_REQUEST: Final = 4096
"""Bytes of a message to the node; more ends the connection without a word, as soketto does for agave."""

# Of getMultipleAccounts (agave's MAX_MULTIPLE_ACCOUNTS), and of a request's body.
_MOST_KEYS: Final = 100
_MAX_BODY: Final = 50 * 1024
_MOST_CONNECTIONS: Final = 64
# A frame's head is at most 14 bytes.
_MAX_HEAD: Final = 14
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an opening request is answered in place of the handshake."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class _Peer:
    """One WebSocket connection: its session, and what waits to be written to it."""

    def __init__(self, node: "SolanaNode", writer: asyncio.StreamWriter) -> None:
        self._node = node
        self._writer = writer
        self.session = Session(node.pubsub)
        self._pending: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._is_dropped = False
        self.pings = 0

    def put(self, data: bytes) -> None:
        if self._is_dropped:
            return
        if len(self._pending) >= self._node.queue_capacity:
            # As agave does: nothing is said, the socket is dropped.
            self.drop()
            self._node.lagged += 1
            return
        self._pending.append(data)
        self._wake.set()

    def drop(self) -> None:
        self._is_dropped = True
        self._writer.transport.abort()

    async def write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                self._writer.write(self._pending.popleft())
                await self._writer.drain()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Answer what comes, to the end of the connection."""
        cutter, message = FrameReader(), bytearray()
        while data := await reader.read(MAX_REQUEST):
            for one in cutter.feed(data):
                assert one.masked, "a client's frames are masked (RFC 6455 section 5.1)"
                if not self._take(one, message):
                    return
            if cutter.rest > MAX_REQUEST + _MAX_HEAD:
                return

    def _take(self, one: Frame, message: bytearray) -> bool:
        if one.opcode == PING:
            self.pings += 1
            self.put(frame(PONG, one.payload, masked=False))
        elif one.opcode == CLOSE:
            self._writer.write(frame(CLOSE, one.payload[:2], masked=False))
            return False
        elif one.opcode in {TEXT, CONTINUATION}:
            message += one.payload
            if len(message) > MAX_REQUEST:
                return False
            if one.fin:
                text = message.decode()
                message.clear()
                answer = self.session.answer(text)
                if answer is not None:
                    self.put(frame(TEXT, answer.encode(), masked=False))
        return True


class SolanaNode:
    """A node on 127.0.0.1; its ledger outlives its restarts, its subscriptions don't.

    Args:
        ledger: What it tells of; None makes one.
        api_key: What `?api-key=` has to be; None asks for none.
        queue_capacity: Messages that wait for one client before it is dropped as a laggard.
        separate_http: JSON-RPC on a port of its own, as agave has it; else on the same, as Helius has it.
        options: Of `PubSub`: `first_id`, `limit`, `slices`, `confirmed`, `rooted`.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        api_key: str | None = None,
        queue_capacity: int = 10_000,
        separate_http: bool = False,
        **options: Any,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.queue_capacity = queue_capacity
        self.lagged = 0
        # Opening requests, and JSON-RPC's over HTTP, in order.
        self.handshakes: deque[str] = deque(maxlen=1000)
        self.calls: deque[Any] = deque(maxlen=1000)
        # Answers to the next opening requests, the next calls.
        self.refusals: deque[Refusal] = deque()
        self.call_refusals: deque[Refusal] = deque()
        # Calls wait for it, so that a test says what happens before their answer.
        self.answers_calls = asyncio.Event()
        self.answers_calls.set()
        self.api_key = api_key
        self._separate_http = separate_http
        self._options = options
        self._ports = [0, 0]
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: list[_Peer] = []
        self.pubsub = PubSub(self.ledger, **options)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._ports[0]}/{self._query}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[-1 if self._separate_http else 0]}/{self._query}"

    @property
    def _query(self) -> str:
        return "" if self.api_key is None else f"?api-key={self.api_key}"

    @property
    def requests(self) -> list[Any]:
        """What the connections of now have asked, each in its order."""
        return [request for peer in self.peers for request in peer.session.requests]

    async def start(self, **options: Any) -> None:
        """Listen, on the ports of before if there was a before; subscriptions and their ids begin anew."""
        self._options |= options
        self.pubsub = PubSub(self.ledger, **self._options)
        for index in range(1 + self._separate_http):
            listener = await asyncio.start_server(self._serve, "127.0.0.1", self._ports[index])
            self._ports[index] = listener.sockets[0].getsockname()[1]
            self._listeners.append(listener)

    async def stop(self) -> None:
        """Die: connections end without a word, and nobody listens."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        # What was accepted is handed to `_serve` in the turns that follow: the accept, `connection_made`, the task.
        for _ in range(3):
            await asyncio.sleep(0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def restart(self, **options: Any) -> None:
        """`stop` and `start`."""
        await self.stop()
        await self.start(**options)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def end_slot(self) -> list[Notification]:
        """End the ledger's slot, tell whoever subscribed; returns what the node has to tell, to anybody or not."""
        told = self.pubsub.end_slot()
        for one in told:
            self.tell(one)
        return told

    def tell(self, one: Notification) -> None:
        for peer in tuple(self.peers):
            if peer.session.takes(one):
                peer.put(frame(TEXT, one.text.encode(), masked=False))

    def say(self, text: str | bytes) -> None:
        """Send any text to every connection: unknown notifications, what is no JSON, what is no UTF-8."""
        for peer in tuple(self.peers):
            peer.put(frame(TEXT, text if isinstance(text, bytes) else text.encode(), masked=False))

    def drop(self) -> None:
        """End every connection without a Close frame."""
        for peer in tuple(self.peers):
            peer.drop()

    def close(self, code: int, reason: str = "") -> None:
        """End every connection with a Close frame."""
        for peer in tuple(self.peers):
            peer.put(frame(CLOSE, close_payload(code, reason), masked=False))

    # --- connections ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= _MOST_CONNECTIONS:
                await self._opened(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            # The client went, or the node dies.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        wrong_key = self.api_key is not None and parse_qs(target.partition("?")[2]).get("api-key") != [self.api_key]
        if method == "POST":
            await self._call(head, reader, writer, wrong_key)
            return
        self.handshakes.append(head)
        refusal = self.refusals.popleft() if self.refusals else None
        if wrong_key:
            refusal = Refusal(
                401, body='{"jsonrpc":"2.0","error":{"code":-32401,"message":"invalid api key provided"}}'
            )
        if refusal is not None:
            _respond(writer, refusal)
            await writer.drain()
            return
        writer.write(_handshake(head))
        await self._speak(reader, writer)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _Peer(self, writer)
        self.peers.append(peer)
        writing = asyncio.create_task(peer.write())
        try:
            await peer.read(reader)
        finally:
            self.peers.remove(peer)
            peer.session.end()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    # --- JSON-RPC over HTTP ---

    async def _call(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wrong_key: bool
    ) -> None:
        found = re.search(r"(?im)^content-length: *(\d+)\r$", head)
        size = int(found[1]) if found else 0
        if size > _MAX_BODY:
            _respond(writer, Refusal(413))
            return
        body = (await reader.readexactly(size)).decode()
        refusal = Refusal(401) if wrong_key else self.call_refusals.popleft() if self.call_refusals else None
        if refusal is None:
            await self.answers_calls.wait()
            refusal = Refusal(
                200, (("Content-Type", "application/json"),), answer_to(body, self._answer, self.calls.append) or ""
            )
        _respond(writer, refusal)
        await writer.drain()

    def _answer(self, method: str, params: list[Any]) -> object:
        if method != "getMultipleAccounts":
            raise Refused(-32601, "Method not found")
        config = params[1] if len(params) > 1 and params[1] else {}
        encoding, part, commitment = account_config(config, default="base64")
        keys = params[0] if params and isinstance(params[0], list) else []
        if len(keys) > _MOST_KEYS:
            raise Refused(-32602, f"Too many inputs provided; max {_MOST_KEYS}")
        parsed = []
        for key in keys:
            try:
                parsed.append(parsed_key(key))
            except Refused:
                raise Refused(-32602, "Invalid param: WrongSize") from None
        bank = self.pubsub.bank(commitment)
        least = config.get("minContextSlot") or 0
        if bank is None or bank.slot < least:
            slot = bank.slot if bank else 0
            raise Refused(-32016, "Minimum context slot has not been reached", {"contextSlot": slot})
        return multiple_accounts(bank, parsed, encoding, part)


def _handshake(head: str) -> bytes:
    found = re.search(r"(?im)^sec-websocket-key: *(\S+)\r$", head)
    assert found is not None, head
    accept = base64.b64encode(hashlib.sha1(found[1].encode() + _ACCEPT).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode()


def _respond(writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    body = refusal.body.encode()
    lines = [f"HTTP/1.1 {refusal.status} Answer", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in refusal.headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)

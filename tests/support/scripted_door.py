"""An HTTP door that does what it is told, in front of a real one: it is down, slow, or loses answers."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from time import monotonic
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Received:
    """A request that came to the door."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass
class Exchange:
    """A request and the connection that its answer goes to."""

    request: Received
    handler: BaseHTTPRequestHandler
    door: "ScriptedDoor"


Step = Callable[[Exchange], None]


@dataclass
class ScriptedDoor:
    """Each request takes the next step of the script, or is forwarded to the real door where there is none."""

    target: str | None = None
    # Speaks https with the context's certificate; None speaks http.
    ssl: SSLContext | None = None
    script: list[Step] = field(default_factory=list[Step])
    requests: list[Received] = field(default_factory=list[Received])
    # What requests take where the script has ended; None forwards them.
    fallback: Step | None = None
    # Set at the end of a test: whoever is made to wait goes on.
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.close_connection = True
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                named = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, named, body, monotonic())
                door.requests.append(received)
                step = door.script.pop(0) if door.script else (door.fallback or forward)
                # A caller that gave up reads nothing.
                with contextlib.suppress(OSError):
                    step(Exchange(received, self, door))

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # A peer that goes away in its handshake is no news.
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # as said
        if self.ssl is not None:
            self._server.socket = self.ssl.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'http' if self.ssl is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"

    def reset(self, target: str | None = None) -> None:
        """Begin anew, in front of another door."""
        self.over.set()
        self.over = threading.Event()
        self.target = target
        self.script.clear()
        self.requests.clear()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _forwarded(exchange: Exchange) -> tuple[int, bytes]:
    assert exchange.door.target is not None, "there is no door to forward to"
    request = exchange.request
    connection = http.client.HTTPConnection(urlsplit(exchange.door.target).netloc, timeout=5)
    try:
        key = {"X-API-Key": request.headers.get("x-api-key", "")}
        connection.request("POST", request.path, request.body, key)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _write(exchange: Exchange, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    handler = exchange.handler
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def forward(exchange: Exchange) -> None:
    """Ask the real door."""
    _write(exchange, *_forwarded(exchange))


def answer(status: int, body: str = "", headers: Mapping[str, str] | None = None) -> Step:
    """Answer without asking the real door."""
    return lambda exchange: _write(exchange, status, body.encode(), headers)


def forward_and_answer(status: int) -> Step:
    """Ask the real door, and answer something else."""

    def step(exchange: Exchange) -> None:
        _forwarded(exchange)
        _write(exchange, status, b"")

    return step


def _hang_up(exchange: Exchange) -> None:
    exchange.handler.connection.shutdown(socket.SHUT_RDWR)


def hang_up(exchange: Exchange) -> None:
    """Ask nobody, answer nothing."""
    _hang_up(exchange)


def forward_and_hang_up(exchange: Exchange) -> None:
    """Ask the real door; its answer is lost."""
    _forwarded(exchange)
    _hang_up(exchange)


def silent(exchange: Exchange) -> None:
    """Answer nothing until the test is over."""
    exchange.door.over.wait(10)


def forward_and_be_silent(exchange: Exchange) -> None:
    """Ask the real door, and keep its answer until the test is over."""
    _forwarded(exchange)
    exchange.door.over.wait(10)


def drip(exchange: Exchange) -> None:
    """Answer a byte at a time, without end: each step of it is quick."""
    exchange.handler.send_response(200)
    exchange.handler.end_headers()
    while not exchange.door.over.wait(0.02):
        exchange.handler.wfile.write(b" ")
        exchange.handler.wfile.flush()

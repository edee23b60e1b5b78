"""A client made of bytes: a blocking socket, one opening handshake, and an eye for how the connection ends."""

import contextlib
import select
import socket
import struct
import time
from typing import Self

from tests.support.wire import CLOSE, PING, PONG, FrameReader, close_code, frame

# A read takes what is there, up to this many bytes.
_READ = 1 << 16

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(*headers: str) -> bytes:
    """Return an opening handshake's request (RFC 6455 section 4.1) with more headers at its end."""
    lines = (
        "GET / HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


class Peer:
    """One TCP connection to 127.0.0.1; it ends with the block it belongs to, by a reset that leaves nothing behind."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", port))
        self.sent = 0
        self._reader = FrameReader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset the connection."""
        self.socket.close()

    def upgrade(self, *headers: str) -> str:
        """Do the opening handshake and return the head of the answer; what came behind it is kept."""
        self.socket.sendall(request(*headers))
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(_READ)
            if not data:
                break
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(head.partition(b"\r\n")[0].decode("latin-1") or "no answer")
        self._reader.feed(rest)
        return head.decode("latin-1")

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, reserved_bits: int = 0) -> bool:
        """Send one masked frame; as for `push`."""
        return self.push(frame(opcode, payload, masked=True, fin=fin, reserved_bits=reserved_bits), 5)

    def push(self, data: bytes, seconds: float) -> bool:
        """Send all of `data`; False where the other side has cut the connection or takes nothing for `seconds`."""
        self.socket.settimeout(seconds)
        view = memoryview(data)
        try:
            while view:
                done = self.socket.send(view)
                self.sent += done
                view = view[done:]
        except (ConnectionError, TimeoutError):
            return False
        return True

    def flood(self, data: bytes, seconds: float, most: int) -> None:
        """Send `data` over and over, up to `most` bytes, and never read."""
        deadline = time.monotonic() + seconds
        while self.sent < most and (left := deadline - time.monotonic()) > 0:
            if not self.push(data, left):
                return

    def round_trip(self, seconds: float) -> float:
        """Send a ping and return the seconds until its pong; `seconds` at the most."""
        began = time.monotonic()
        payload = struct.pack("d", began)
        self.send(PING, payload)
        while (left := began + seconds - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(_READ)
            except TimeoutError:
                break
            if not data:
                break
            if any(one.opcode == PONG and one.payload == payload for one in self._reader.feed(data)):
                return time.monotonic() - began
        return seconds

    def ending(self, seconds: float) -> str:
        """Read until the other side ends the connection and say how: by which close code, or how else."""
        found = "open"
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(_READ)
            except TimeoutError:
                break
            except ConnectionError:
                return found if found != "open" else "reset"
            if not data:
                return found if found != "open" else "end of stream"
            with contextlib.suppress(AssertionError):
                for one in self._reader.feed(data):
                    if one.opcode == CLOSE:
                        found = f"close {close_code(one.payload)}"
        return found

    def is_cut(self) -> bool:
        """Tell, without reading, whether the other side has cut the connection."""
        poller = select.poll()
        poller.register(self.socket, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        return bool(poller.poll(0))


def answers_honestly(port: int, *headers: str) -> bool:
    """Tell whether the server serves who keeps to the protocol: a handshake, an echo, a close."""
    payload = b"honest" * 20
    try:
        with Peer(port) as peer:
            peer.upgrade(*headers)
            peer.send(0x2, payload)
            echo = b""
            while len(echo) < len(payload) + 2:
                data = peer.socket.recv(_READ)
                if not data:
                    return False
                echo += data
            peer.send(CLOSE, (1000).to_bytes(2, "big"))
            return echo[2:] == payload and peer.ending(5) == "close 1000"
    except OSError:
        return False

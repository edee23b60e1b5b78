"""One client of a fault server: a protocol on any transport, made of bytes, that does what its faults say."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .. import _core
from .._accepting import Request
from ..exceptions import CodecError
from ..messages import Ping, Pong, Subscribe, Subscribed, SubscriptionRejected, Unsubscribe
from ._ending import abort_with_reset
from ._faults import (
    ByteByByte,
    Duplicate,
    FailTls,
    Fault,
    HttpAnswer,
    NeverAck,
    NoCloseReply,
    NoPong,
    RejectSubscriptions,
    Reorder,
    SlowHandshake,
    SlowReader,
    Stage,
    Strike,
)
from ._frames import BINARY, CLOSE, PING, PONG, TEXT, Frame, FrameReader, close_payload, frame
from ._heads import Codec, accept_bytes, chosen_subprotocol, refusal_bytes
from ._records import Records
from ._segments import Segments

__all__ = ["FaultConnection"]

F = TypeVar("F", bound=Fault)

_READ_BYTES = 1 << 16
# A slow reader's pieces: small enough for an even pace.
_READS_A_SECOND = 50
# RFC 8446 §6: an alert, fatal, handshake_failure.
_TLS_ALERT = bytes.fromhex("15 03 03 00 02 02 28")


@functools.cache
def _encoder(codec: Codec) -> _core.Encoder:
    return _core.Encoder(codec)


@functools.cache
def _requests(codec: Codec) -> _core.Decoder[Any]:
    return _core.Decoder(Subscribe | Unsubscribe | Ping, format=codec)


class FaultConnection(asyncio.BufferedProtocol):
    """One connection of a fault server.

    Attributes:
        number: 0 for the first connection that the server accepted, and so on.
        faults: What it does wrong.
        request: The client's opening request; None until it was read.
        subprotocol: The one of ours that the client offered first; None where it offered none.
        channels: What it is subscribed to, in the client's order.
        close_code: Code of the client's close frame (1005 if it had none); None until there was one.
        is_open: Whether messages can be sent.
        is_gone: Whether the connection has ended.
    """

    def __init__(self, records: Records, number: int, faults: tuple[Fault, ...]) -> None:
        self.number = number
        self.faults = faults
        self.request: Request | None = None
        self.subprotocol: str | None = None
        self.channels: dict[str, None] = {}
        self.close_code: int | None = None
        self.is_open: bool = False
        self.is_gone: bool = False
        self._records = records
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._head = _core.HeadReader()
        self._frames = FrameReader()
        self._codec: Codec = "json"
        self._strikes = [fault for fault in faults if isinstance(fault, Strike)]
        self._stages: Counter[Stage] = Counter()
        self._timers: list[asyncio.TimerHandle] = []
        self._is_silent = False
        self._is_hushed = False
        self._is_ending = False
        self._held_back: bytes | None = None
        self._segments: Segments | None = None
        slow = self._find(SlowReader)
        self._pace = None if slow is None else slow.bytes_per_second
        # Not yet the pace: the opening request is read at once.
        self._buffer = bytearray(_READ_BYTES)

    def _find(self, kind: type[F]) -> F | None:
        return next((fault for fault in self.faults if isinstance(fault, kind)), None)

    def _reach(self, stage: Stage) -> bool:
        """Let the strikes of this stage happen; True if there is nothing more to do on this connection."""
        self._stages[stage] += 1
        for one in self._strikes:
            if one.at == stage and one.nth == self._stages[stage]:
                one.strike(self)
        return self._is_silent or self._is_ending

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._segments = Segments(self._transport, one_by_one=self._find(ByteByByte) is not None)
        # Not from in here: a transport begins to read behind this call, whatever became of it meanwhile.
        self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        # Its first bytes may be read before.
        if not self._stages["accept"]:
            self._reach("accept")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(self._buffer)[:nbytes])
        self._begin()
        if self._is_silent or (self._is_ending and self.request is None):
            return
        if self.request is not None:
            self._read_frames(data)
            return
        if self._find(FailTls):
            self.write(_TLS_ALERT)
            self.drop()
            return
        try:
            end = self._head.feed(data)
            if end is None:
                return
            path, key, headers = self._head.request()
        except _core.HandshakeRefusal as refusal:
            self._answer(HttpAnswer(refusal.args[0]))
            return
        address = self._transport.get_extra_info("peername") if self._transport else None
        self.request = Request(path, headers, str(address[0]) if address else None)
        self._records.requested(self, self.request)
        if self._reach("request"):
            return
        self._answer_request(key, data[end:])

    def _answer_request(self, key: str, rest: bytes) -> None:
        slow = self._find(SlowHandshake)
        refusal = self._find(HttpAnswer)
        delay = slow.delay if slow else 0.0
        stops_after = slow.stops_after if slow else None
        if refusal is not None:
            self._later(delay, lambda: self._answer(refusal))
        else:
            self._later(delay, lambda: self._accept(key, stops_after, rest))

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        if delay > 0:
            self._timers.append(self._loop.call_later(delay, callback))
        else:
            callback()

    def eof_received(self) -> bool:
        # A silent host answers nothing, and a server that does not answer a close keeps its end open.
        return self._is_silent or self._find(NoCloseReply) is not None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._segments is not None:
            self._segments.drop()
        self._transport = self._segments = None
        self.is_open = False
        self.is_gone = True
        self.channels.clear()
        for timer in self._timers:
            timer.cancel()
        self._records.lost(self)

    # --- the opening handshake ---

    def _answer(self, refusal: HttpAnswer) -> None:
        self.write(refusal_bytes(refusal.status, refusal.headers, refusal.body))
        self.drop()

    def _accept(self, key: str, stops_after: int | None, rest: bytes) -> None:
        """Answer 101; `rest` came behind the request."""
        if self._transport is None or self._is_silent or self._is_ending or self.request is None:
            return
        self.subprotocol, self._codec = chosen_subprotocol(self.request)
        answer = accept_bytes(key, self.subprotocol)
        if stops_after is not None:
            self.write(answer[:stops_after])
            self._is_silent = True
            return
        half = len(answer) // 2
        self.write(answer[:half])
        if self._reach("answer"):
            return
        self.write(answer[half:])
        self.is_open = True
        self._records.answered(self)
        if self._pace is not None:
            self._slow_down()
        self._reach("open")
        if rest and not self._is_silent:
            self._read_frames(rest)

    def _slow_down(self) -> None:
        assert self._transport is not None  # noqa: S101  # for the type checker: called with a transport alone
        if not self._pace:
            self._transport.pause_reading()
            return
        self._buffer = bytearray(max(1, min(_READ_BYTES, int(self._pace / _READS_A_SECOND))))

    # --- reading ---

    def _read_frames(self, data: bytes) -> None:
        if self._pace and self._transport is not None and data:
            self._transport.pause_reading()
            self._later(len(data) / self._pace, self._read_on)
        for one in self._frames.feed(data):
            self._on_frame(one)
            if self._is_silent or self._transport is None:
                return

    def _read_on(self) -> None:
        if self._transport is not None and not self._is_silent:
            self._transport.resume_reading()

    def _on_frame(self, one: Frame) -> None:
        if one.opcode == PING:
            # Behind a close frame there is nothing to be sent (RFC 6455 §5.5.1).
            if self.is_open and not self._find(NoPong):
                self.write(frame(PONG, one.payload))
        elif one.opcode == CLOSE:
            self._on_close(one.payload)
        elif one.opcode in {TEXT, BINARY}:
            message = one.payload.decode(errors="replace") if one.opcode == TEXT else one.payload
            self._records.received_message(self, message)
            if self.is_open:
                self._on_message(one.payload)

    def _on_close(self, payload: bytes) -> None:
        self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
        self.is_open = False
        self._records.closed(self, self.close_code)
        if self._find(NoCloseReply):
            return
        if not self._is_ending:
            self.write(frame(CLOSE, payload[:2]))
        self.drop()

    def _on_message(self, payload: bytes) -> None:
        try:
            request = _requests(self._codec).decode(payload)
        except CodecError:
            return
        if isinstance(request, Ping):
            self.send(Pong())
        elif isinstance(request, Unsubscribe):
            for channel in request.channels:
                self.channels.pop(channel, None)
            self._records.subscribed(self, [])
        else:
            self._on_subscribe(request.channels)

    def _on_subscribe(self, channels: list[str]) -> None:
        if self._reach("subscribe"):
            self._records.subscribed(self, channels)
            return
        rejection = self._find(RejectSubscriptions)
        refused: list[str] = []
        if rejection is not None:
            listed = rejection.channels
            refused = [channel for channel in channels if listed is None or channel in listed]
        taken = [channel for channel in channels if channel not in refused]
        self.channels.update(dict.fromkeys(taken))
        # As our server does: who speaks no subprotocol of ours would take an acknowledgement for data.
        if self.subprotocol is not None and not self._find(NeverAck):
            if rejection is not None and refused:
                self._write_message(SubscriptionRejected(refused, rejection.code, rejection.reason))
            if taken:
                self._write_message(Subscribed(taken))
        self._records.subscribed(self, channels)
        if taken:
            self._reach("acknowledged")

    # --- sending ---

    def send(self, message: Any) -> None:
        """Send one message, as the connection's faults let it: an object, `str` or bytes. Nothing unless it is open."""
        if not self.is_open or self._is_hushed or self._is_silent:
            return
        data = self._message(message)
        number = self._stages["message"] + 1
        reorder, duplicate = self._find(Reorder), self._find(Duplicate)
        if duplicate is not None and number % duplicate.every == 0:
            data += data
        if reorder is not None and number % reorder.every == 0 and self._held_back is None:
            self._held_back = data
        else:
            late, self._held_back = self._held_back, None
            self.write(data if late is None else data + late)
        self._reach("message")

    def _message(self, message: Any) -> bytes:
        if isinstance(message, str):
            return frame(TEXT, message.encode())
        if isinstance(message, bytes | bytearray):
            return frame(BINARY, bytes(message))
        return frame(TEXT if self._codec == "json" else BINARY, _encoder(self._codec).encode(message))

    def _write_message(self, message: Any) -> None:
        self.write(self._message(message))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._segments is not None and not self._is_silent:
            self._segments.write(data)

    # --- ends ---

    def drop(self) -> None:
        """End the stream behind what was sent, without a close frame."""
        self.is_open = False
        self._is_ending = True
        if self._segments is not None:
            self._segments.then(self._close_transport)

    def _close_transport(self) -> None:
        if self._transport is not None and not self._is_silent:
            self._transport.close()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self.is_open = False
        self._is_ending = True
        if self._transport is not None and self._segments is not None:
            self._segments.drop()
            abort_with_reset(self._transport)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; the connection ends when the client has answered it."""
        if not self._is_ending:
            self.write(frame(CLOSE, close_payload(code, reason)))
            self.is_open = False
            self._is_ending = True

    def go_silent(self) -> None:
        """Stop reading and writing, and keep the socket."""
        self.is_open = False
        self._is_silent = True
        if self._transport is not None and self._segments is not None:
            self._segments.drop()
            self._transport.pause_reading()

    def hush(self) -> None:
        """Send no more messages; pongs, acknowledgements and closing go on."""
        self._is_hushed = True

    def abort(self) -> None:
        """End it at once, and without a word."""
        if self._transport is not None:
            self._transport.abort()

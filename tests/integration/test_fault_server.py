"""The fault server does what its script says, seen from raw bytes and from our client."""

import asyncio
import socket
import ssl

import pytest
from tests.integration.conftest import Certificates
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import UPGRADE, RawPeer, raw_client
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT, close_payload

from websocket_utils import (
    Decoder,
    HandshakeError,
    PriceUpdate,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
    WebSocketClient,
)
from websocket_utils.testing import (
    AckThenSilence,
    ByteByByte,
    CloseAfter,
    Drop,
    Duplicate,
    FailTls,
    Fault,
    FaultServer,
    HalfOpen,
    HttpAnswer,
    Malformed,
    NeverAck,
    NoCloseReply,
    NoPong,
    RejectSubscriptions,
    Reorder,
    Reset,
    Serve,
    SlowHandshake,
    SlowReader,
    Stage,
    Strike,
    TooBig,
)

SPEAKS_OURS = UPGRADE[:-2] + b"Sec-WebSocket-Protocol: chat, websocket-utils.json\r\n\r\n"
PRICE = PriceUpdate("SOL", "USDC", 150.0, timestamp=1)


def subscribe(peer: RawPeer, *channels: str) -> None:
    names = ",".join(f'"{channel}"' for channel in channels)
    peer.send(TEXT, f'{{"type":"Subscribe","channels":[{names}]}}'.encode())


async def texts(peer: RawPeer, count: int) -> list[str]:
    found = []
    for _ in range(count):
        one = await peer.read_frame()
        assert one.opcode == TEXT
        found.append(one.payload.decode())
    return found


async def ends(peer: RawPeer) -> str:
    """How the other side ends the stream."""
    try:
        while await peer.reader.read(65_536):
            pass
    except ConnectionResetError:
        return "reset"
    return "end of file"


async def stays_silent(peer: RawPeer) -> bool:
    """Whether nothing comes, not even an answer to a ping."""
    peer.send(PING, b"anybody?")
    done, _ = await asyncio.wait([asyncio.ensure_future(peer.reader.read(1))], timeout=0.1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if task not in done and "StreamReader.read" in repr(task.get_coro()):
            task.cancel()
            await asyncio.wait([task])
    return not done


async def test_server_without_faults_subscribes_acknowledges_publishes_and_records() -> None:
    async with asyncio.timeout(10), FaultServer() as server, raw_client(server.url, SPEAKS_OURS) as peer:
        assert b"Sec-WebSocket-Protocol: websocket-utils.json" in peer.request
        subscribe(peer, "b", "a")
        assert await texts(peer, 1) == ['{"type":"Subscribed","channels":["b","a"]}']
        await server.until_subscribed("a")
        assert (server.publish("for a", "a"), server.publish("for c", "c"), server.publish(b"for all")) == (1, 0, 1)
        assert await texts(peer, 1) == ["for a"]
        assert (await peer.read_frame())[:2] == (BINARY, b"for all")
        peer.send(TEXT, b'{"type":"Unsubscribe","channels":["a"]}')
        assert await peer.is_answered()
        assert server.publish("nobody is left", "a") == 0
        peer.send(CLOSE, close_payload(1000))
        assert (await peer.read_close()).close_code == 1000
        await server.until(lambda: not server.connections)
        assert server.accepted == server.opened == len(server.dials) == 1
        assert server.requests[0].path == "/"
        assert server.requests[0].values("sec-websocket-protocol") == ("chat, websocket-utils.json",)
        assert server.subscriptions == {0: ["b", "a"]}
        assert len(server.received) == 2


async def test_plain_peer_gets_no_acknowledgement() -> None:
    async with asyncio.timeout(10), FaultServer() as server, raw_client(server.url) as peer:
        subscribe(peer, "a")
        assert await peer.is_answered()
        assert server.publish("data", "a") == 1


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_our_client_receives_messages_in_its_codec(codec: str) -> None:
    async with asyncio.timeout(10), FaultServer() as server:
        async with WebSocketClient.connect(server.url, codec=codec, reconnect=False) as client:  # type: ignore[arg-type]  # one of its literals
            server.publish(PRICE)
            assert await client.receive(PriceUpdate) == PRICE
            client.send(PRICE)
            await server.received_at_least(1)
        message = server.received[0]
        data = message.encode() if isinstance(message, str) else message
        assert Decoder(PriceUpdate, format=codec).decode(data) == PRICE  # type: ignore[call-overload]  # as above


STAGES: list[Stage] = ["accept", "request", "answer", "open", "subscribe", "acknowledged", "message"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("fault", "end"), [(Drop, "end of file"), (Reset, "reset"), (HalfOpen, None)])
async def test_strike_happens_at_its_stage(stage: Stage, fault: type[Strike], end: str | None) -> None:
    async with asyncio.timeout(10), FaultServer([fault(at=stage)]) as server, raw_client(server.url, None) as peer:
        if stage != "accept":
            peer.write(SPEAKS_OURS)
        if stage in STAGES[3:]:
            assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
        if stage in STAGES[4:]:
            subscribe(peer, "a")
        if stage in STAGES[5:]:
            assert await texts(peer, 1) == ['{"type":"Subscribed","channels":["a"]}']
        if stage == "message":
            assert server.publish("one", "a") == 1
            assert await texts(peer, 1) == ["one"]
        assert server.opened == (stage in STAGES[3:])
        if end is None:
            await server.until(lambda: bool(server.connections))
            if stage == "answer":
                await peer.reader.readuntil(b"Upgrade")
                assert server.opened == 0
            else:
                assert await stays_silent(peer)
        else:
            seen = await ends(peer)
            # libuv tells of an end of file where a reset comes together with data.
            assert seen == end or (type(asyncio.get_running_loop()).__module__ == "uvloop" and end == "reset")
            await server.until(lambda: not server.connections)
            assert server.opened == (stage in STAGES[3:])


async def test_strike_on_the_nth_message_lets_the_others_pass() -> None:
    async with asyncio.timeout(10), FaultServer([Drop(at="message", nth=3)]) as server, raw_client(server.url) as peer:
        for number in range(5):
            server.publish(str(number))
        assert await texts(peer, 3) == ["0", "1", "2"]
        assert await ends(peer) == "end of file"


async def test_script_gives_each_connection_its_step_and_the_last_to_all_others() -> None:
    async with asyncio.timeout(10), FaultServer([CloseAfter(1008, "go away"), CloseAfter(4000), Serve()]) as server:
        codes = []
        for _ in range(2):
            async with raw_client(server.url) as peer:
                closed = await peer.read_close()
                codes.append((closed.close_code, closed.close_reason))
                peer.send(CLOSE, closed.payload, fin=True)
                assert await ends(peer) == "end of file"
        for _ in range(2):
            async with raw_client(server.url) as peer:
                assert await peer.is_answered()
        assert codes == [(1008, "go away"), (4000, "")]
        server.then(HttpAnswer(503))
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE)
            assert (await peer.read_head()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert server.accepted == 5


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_http_answer_reaches_the_client_with_its_headers(status: int) -> None:
    async with asyncio.timeout(10), FaultServer([HttpAnswer(status, {"Retry-After": "7"}, b"not now")]) as server:
        with pytest.raises(HandshakeError) as raised:
            await WebSocketClient.connect(server.url, reconnect=False)
    assert (raised.value.status, raised.value.headers["retry-after"], raised.value.body) == (status, "7", b"not now")


async def test_ack_then_silence_acknowledges_and_sends_nothing_but_pongs() -> None:
    script = [AckThenSilence()]
    async with asyncio.timeout(10), FaultServer(script) as server, raw_client(server.url, SPEAKS_OURS) as peer:
        server.publish("before")
        subscribe(peer, "a")
        assert await texts(peer, 2) == ["before", '{"type":"Subscribed","channels":["a"]}']
        server.publish("never sent", "a")
        assert await peer.is_answered()


async def test_rejected_channels_are_refused_and_the_others_taken() -> None:
    script = [RejectSubscriptions(4003, "no such market", frozenset({"bad"}))]
    async with asyncio.timeout(10), FaultServer(script) as server, raw_client(server.url, SPEAKS_OURS) as peer:
        subscribe(peer, "good", "bad")
        rejected, taken = await texts(peer, 2)
        assert Decoder(SubscriptionRejected).decode(rejected.encode()) == SubscriptionRejected(
            ["bad"], 4003, "no such market"
        )
        assert Decoder(Subscribed).decode(taken.encode()) == Subscribed(["good"])
        assert (server.publish("x", "bad"), server.publish("x", "good")) == (0, 1)


async def test_never_ack_subscribes_without_a_word() -> None:
    async with asyncio.timeout(10), FaultServer([NeverAck()]) as server, raw_client(server.url, SPEAKS_OURS) as peer:
        subscribe(peer, "a")
        assert await peer.is_answered()
        assert server.publish("x", "a") == 1


async def test_duplicate_and_reorder_change_every_nth_message() -> None:
    numbers = [str(number) for number in range(1, 7)]
    for fault, expected in [
        (Duplicate(every=3), ["1", "2", "3", "3", "4", "5", "6", "6"]),
        (Reorder(every=2), ["1", "3", "2", "5", "4"]),
    ]:
        async with asyncio.timeout(10), FaultServer([fault]) as server, raw_client(server.url) as peer:
            for number in numbers:
                server.publish(number)
            assert await texts(peer, len(expected)) == expected
            assert await peer.is_answered()


async def test_slow_handshake_answers_late_or_stops_in_the_head() -> None:
    script: list[Fault] = [SlowHandshake(0.05), SlowHandshake(stops_after=20)]
    async with asyncio.timeout(10), FaultServer(script) as server:
        begin = asyncio.get_running_loop().time()
        async with raw_client(server.url) as peer:
            assert asyncio.get_running_loop().time() - begin >= 0.045
            assert await peer.is_answered()
        with pytest.raises(TimeoutError):
            await WebSocketClient.connect(server.url, reconnect=False, open_timeout=0.1)
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE)
            assert await peer.reader.readexactly(20) == b"HTTP/1.1 101 Switchi"
            assert await stays_silent(peer)


async def test_byte_by_byte_is_understood_and_ends_behind_its_last_byte() -> None:
    async with asyncio.timeout(10), FaultServer([[ByteByByte(), Duplicate()]]) as server:
        async with WebSocketClient.connect(server.url, reconnect=False) as client:
            server.publish(PRICE)
            server.close_all(1001)
            assert await client.receive(PriceUpdate) == PRICE
            assert await client.receive(PriceUpdate) == PRICE
        server.then([ByteByByte(), CloseAfter(1001), NoCloseReply()])
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE)
            reads = [await peer.reader.read(65_536) for _ in range(20)]
            assert len(b"".join(reads)) < 100, "bytes come a few at a time"


@pytest.mark.parametrize(("fault", "code"), [(Malformed(), 1002), (TooBig(2000), 1009)])
async def test_client_fails_the_connection_on_what_breaks_its_rules(fault: Fault, code: int) -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([fault]) as server,
        WebSocketClient.connect(server.url, reconnect=False, max_message_size=1024),
    ):
        await server.until(lambda: server.close_codes == [code])


async def test_no_pong_and_no_close_reply_leave_the_client_waiting() -> None:
    async with asyncio.timeout(10), FaultServer([[NoPong(), NoCloseReply()]]) as server:
        async with raw_client(server.url) as peer:
            assert await stays_silent(peer)
            peer.send(CLOSE, close_payload(1000))
            assert await stays_silent(peer)
            assert server.connections[0].close_code == 1000
        async with WebSocketClient.connect(server.url, reconnect=False, close_timeout=0.05):
            pass


async def test_slow_reader_makes_the_sender_wait() -> None:
    async with asyncio.timeout(20), FaultServer([SlowReader(0), SlowReader(2 << 20)]) as server:
        for _ in range(2):
            async with raw_client(server.url) as peer:
                peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                peer.writer.transport.set_write_buffer_limits(high=1)
                for _ in range(96):
                    peer.send(TEXT, b"x" * 8192)
                waiting = asyncio.ensure_future(peer.writer.drain())
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done
                if server.accepted == 1:
                    assert server.received == []
                    waiting.cancel()
                    server.connections[0].abort()
                    await asyncio.wait([waiting])
                else:
                    await server.received_at_least(96)
                    await waiting


async def test_tls_failure_breaks_the_handshake_off(certificates: Certificates, quiet: Quiet) -> None:  # noqa: F811
    async with asyncio.timeout(10), FaultServer([FailTls(), Serve()], ssl=certificates.server) as server:
        with pytest.raises((ssl.SSLError, OSError)):
            await WebSocketClient.connect(server.url, ssl=certificates.client, reconnect=False)
        async with WebSocketClient.connect(server.url, ssl=certificates.client, reconnect=False) as client:
            server.publish(PRICE)
            assert await client.receive(PriceUpdate) == PRICE
        # A client that does not know who issued the certificate.
        with pytest.raises(ssl.SSLCertVerificationError):
            await WebSocketClient.connect(server.url, reconnect=False)
        await server.until(lambda: not server.connections)


async def test_commands_on_the_fly_hit_every_connection() -> None:
    async with asyncio.timeout(10), FaultServer() as server:
        for command, end in [
            (server.drop_all, "end of file"),
            (server.reset_all, "reset"),
            (lambda: server.close_all(1012), "end of file"),
        ]:
            async with raw_client(server.url) as one, raw_client(server.url) as other:
                assert len(server.connections) == 2
                command()
                for peer in (one, other):
                    if command.__name__ == "<lambda>":
                        assert (await peer.read_close()).close_code == 1012
                        peer.send(CLOSE, close_payload(1012))
                    assert await ends(peer) == end
            await server.until(lambda: not server.connections)
        async with raw_client(server.url) as peer:
            server.go_silent()
            assert await stays_silent(peer)
            async with raw_client(server.url) as new:
                assert await new.is_answered()
        async with raw_client(server.url) as peer:
            await server.opened_at_least(9)
            server.hush()
            server.publish("never sent")
            assert await peer.is_answered()


async def test_refusing_server_keeps_its_port_and_its_connections() -> None:
    async with asyncio.timeout(10), FaultServer() as server, raw_client(server.url) as peer:
        server.refuse()
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await WebSocketClient.connect(server.url, reconnect=False)
        assert await peer.is_answered()
        server.listen()
        async with raw_client(server.url) as other:
            assert await other.is_answered()


async def test_handler_of_messages_can_answer() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer(on_message=lambda connection, message: connection.send(message)) as server,
        WebSocketClient.connect(server.url, reconnect=False) as client,
    ):
        client.send(Subscribe(channels=["x"]))
        assert await client.receive(Subscribe) == Subscribe(channels=["x"])


async def test_bad_request_is_answered_with_its_status() -> None:
    async with asyncio.timeout(10), FaultServer() as server, raw_client(server.url, None) as peer:
        peer.write(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.read_head()).startswith(b"HTTP/1.1 405 ")


async def test_leaving_ends_connections_in_every_state() -> None:
    async with asyncio.timeout(10):
        script: list[Fault] = [HalfOpen(at="accept"), HalfOpen(), SlowHandshake(60), SlowReader(0), Serve()]
        server = FaultServer(script)
        async with server:
            peers = []
            for _ in script:
                reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
                writer.write(UPGRADE)
                peers.append(RawPeer(reader, writer, is_client=True))
            await server.until(lambda: len(server.requests) == 4)
        for peer in peers:
            await ends(peer)
            await peer.finish()
        assert server.connections == ()


def test_frames_of_every_length_are_written_and_read_at_every_split() -> None:
    from websocket_utils.testing._frames import FrameReader, frame

    assert frame(PONG, b"") == b"\x8a\x00"
    for size in (0, 125, 126, 65_535, 65_536):
        data = frame(TEXT, b"x" * size)
        assert FrameReader().feed(data)[0].payload == b"x" * size
        reader = FrameReader()
        assert [one for at in range(0, len(data), 1 + size // 9) for one in reader.feed(data[at : at + 1 + size // 9])]

import copy
import pickle
from pathlib import Path

import pytest

from websocket_utils import exceptions
from websocket_utils._redaction import without_credentials
from websocket_utils.exceptions import (
    AcknowledgementTimeout,
    AuthenticationFailed,
    BatchRefused,
    Close,
    CodecError,
    ConfigError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionFlapping,
    DecodeError,
    EncodeError,
    HandshakeError,
    HeartbeatTimeout,
    InvalidPubkey,
    InvalidURL,
    LocalProtocolError,
    MessageNotWritten,
    MessageTooBig,
    PeerError,
    PeerLost,
    PeerNameTaken,
    PeerNotProven,
    PeerRefused,
    PeerUnavailable,
    ProtocolError,
    ProviderError,
    PublisherBufferFull,
    PublisherSuperseded,
    ReconnectGaveUp,
    RecordingError,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    RequestsFull,
    RequestTimeout,
    RequestTooBig,
    SendQueueFull,
    StaleData,
    SubscribeRejected,
    SubscribeTimeout,
    Unauthorized,
    UpdatesUnacknowledged,
    WebSocketError,
)
from websocket_utils.outcomes import SendOutcome

# One example of every class, and a part of its text that only its own data can give.
EXAMPLES: list[tuple[WebSocketError, str]] = [
    (WebSocketError("plain"), "plain"),
    (ConfigError(["port: must be at most 65535, not 70000"]), "port: must be at most 65535, not 70000"),
    (InvalidURL("http://host/", "the scheme is http"), "'http://host/': the scheme is http; expected ws://"),
    (
        HandshakeError(
            "ws://host/feed", reason="the server answered", status=404, headers={"server": "x"}, body=b"no such feed"
        ),
        "ws://host/feed failed: the server answered (HTTP 404); the peer said b'no such feed'; check the path",
    ),
    (ProtocolError(1002, "a rule"), "a rule (close code 1002)"),
    (LocalProtocolError(1002, "a control frame of 126 bytes"), "this side would violate"),
    (
        RemoteProtocolError(1007, "invalid UTF-8"),
        "the peer violated the WebSocket protocol: invalid UTF-8 (close code 1007)",
    ),
    (MessageTooBig(17, 16), "a message of 17 bytes is over the limit of 16 bytes; raise max_message_size"),
    (
        InvalidPubkey("0x", "0 is no digit of base58"),
        "invalid public key '0x': 0 is no digit of base58; expected 32",
    ),
    (
        RequestTooBig("programs:a", 5000, 4096),
        "request for programs:a has 5000 bytes, and nodes take 4096",
    ),
    (CodecError("text", format="raw"), "text"),
    (PublisherBufferFull(1000, 50, 1024), "1000 bytes are not acknowledged and 50 more would pass the limit of 1024"),
    (PublisherSuperseded("adapter\n1", 17), "has taken the name adapter\\n1 from this one (epoch 17)"),
    (BatchRefused(4400, "line 3\nfails"), "refused a batch: line 3\\nfails (close code 4400)"),
    (AcknowledgementTimeout(7, 5.0), "no acknowledgement of 7 updates within 5 s (acknowledge_timeout)"),
    (UpdatesUnacknowledged(2, 5, 6), "2 updates (5 to 6) were not acknowledged by the edge in time"),
    (EncodeError("`volume` is over 2**64 - 1", format="json"), "as json: `volume` is over 2**64 - 1; nothing was sent"),
    (
        DecodeError("expected `float`, got `str`", format="json", offset=17, path="$.price", raw=b'{"price":"1"}'),
        'expected `float`, got `str` - at `$.price` (byte 17); it was b\'{"price":"1"}\'',
    ),
    (SendQueueFull(90, 20, 100), "90 bytes wait and 20 more would pass the limit of 100; await"),
    (ConnectionClosed(None, None, "transport"), "the transport was lost without a close frame"),
    (
        ConnectionClosedOK(Close(1000, "bye"), Close(1000), "peer"),
        "closed by the peer; received close frame 1000 (bye), sent 1000",
    ),
    (ConnectionClosedError(None, Close(1002), "local"), "received no close frame, sent 1002"),
    (HeartbeatTimeout(20.0), "no pong within 20 s (ping_timeout)"),
    (StaleData("prices:a", 2.5), "channel prices:a was silent for 2.5 s (stale_after)"),
    (SubscribeTimeout(["a", "b"], 5.0), "no acknowledgement of a and 1 more within 5 s (subscribe_timeout)"),
    (
        MessageNotWritten(SendOutcome("unknown", 3)),
        "(epoch 3) ended while the message was being written",
    ),
    (SubscribeRejected("prices:a", 1008, "not yours"), "subscription to prices:a refused: not yours (code 1008)"),
    (
        RequestRejected("slots", -32601, "Method not found", "slotSubscribe"),
        "slotSubscribe of slots refused: Method not found (code -32601); the node does not offer this method",
    ),
    (AuthenticationFailed("bad key"), "authentication failed: bad key; check the credentials"),
    (Unauthorized("no such key"), "not let in: no such key"),
    (ProviderError("token"), "the callable for token failed"),
    (ConnectionFlapping(1008, 3), "ended 3 connections in a row, each soon after it was opened, with close code 1008"),
    (
        ReconnectGaveUp(10, ConnectionRefusedError(111, "refused")),
        "after 10 failed attempts, the last with ConnectionRefusedError: [Errno 111] refused; max_reconnect_attempts=",
    ),
    (RecordingError(Path("ticks.jsonl"), 3, "no message"), "ticks.jsonl, line 3: no message"),
    (PeerError("guard"), "the link with 'guard' failed"),
    (PeerUnavailable("guard"), "no link with 'guard': nothing was sent"),
    (PeerLost("guard"), "the link with 'guard' was lost before the answer came"),
    (PeerRefused("guard", 4400, "no name"), "no link with 'guard': no name (close code 4400)"),
    (PeerNameTaken("guard", 4409, "there is another"), "there is another (close code 4409)"),
    (PeerNotProven("guard", 4401, "the key is another one"), "the key is another one (close code 4401)"),
    (RequestTimeout("guard", 0.05), "no answer from 'guard' within 0.05 s"),
    (RequestFailed("guard", "limit", "50 is over 10"), "'guard' did not answer: limit: 50 is over 10"),
    (RequestsFull("guard", 1024), "1024 requests to 'guard' wait for an answer"),
]
EACH = pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=lambda error: type(error).__name__)


def data(error: WebSocketError) -> dict[str, object]:
    # Two OSErrors with the same content are not equal; their text is what tells them apart here.
    return {name: str(value) if isinstance(value, OSError) else value for name, value in vars(error).items()}


def test_every_exception_has_an_example() -> None:
    public = {getattr(exceptions, name) for name in exceptions.__all__}
    classes = {item for item in public if isinstance(item, type) and issubclass(item, BaseException)}
    assert {type(error) for error, _ in EXAMPLES} == classes


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES])
def test_text_is_made_from_the_data(error: WebSocketError, text: str) -> None:
    assert text in str(error)


@EACH
def test_exception_survives_pickling_with_its_data_and_notes(error: WebSocketError) -> None:
    original = copy.copy(error)
    original.add_note("while connecting")
    restored = pickle.loads(pickle.dumps(original))
    assert type(restored) is type(original)
    assert data(restored) == data(original)
    assert str(restored) == str(original)
    assert restored.__notes__ == ["while connecting"]


@EACH
def test_exception_is_drawn_in_the_tree_of_the_module(error: WebSocketError) -> None:
    tree = exceptions.__doc__ or ""
    line = next(line for line in tree.splitlines() if type(error).__name__ in line.split())
    if type(error).__bases__[0] is WebSocketError:
        assert "├─" in line or "└─" in line


def test_config_error_lists_every_fault() -> None:
    error = ConfigError(["one", "two"])
    assert error.faults == ["one", "two"]
    assert str(error) == "invalid configuration, 2 faults:\n  - one\n  - two"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://host:80/path?token=secret", "ws://host:80/path?..."),
        ("ws://host?secret", "ws://host?..."),
        ("ws://user:secret@host?secret@secret", "ws://host?..."),
        ("/path?token=secret", "/path?..."),
        ("ws://host/#secret", "ws://host/#..."),
        ("ws://user:secret@host:80/path", "ws://host:80/path"),
        ("ws://user:sec@ret@host/", "ws://host/"),
        ("ws://secret@[::1]:80/", "ws://[::1]:80/"),
        ("ws://host/@not-a-credential", "ws://host/@not-a-credential"),
        ("ws://[::1]:80/@not-a-credential", "ws://[::1]:80/@not-a-credential"),
        ("ws://user:sec/ret@host/", "ws://host/"),
        ("ws://user:sec?ret@host/", "ws://host/"),
        ("ws:/user:secret@host/", "ws:/host/"),
        ("user:secret@host/", "user:host/"),
        ("localhost:8080", "localhost:8080"),
        ("", ""),
    ],
)
def test_credentials_never_get_into_an_exception(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    for error in (InvalidURL(url, "broken"), HandshakeError(url, reason="refused")):
        assert error.url == shown
        assert "ret" not in repr((str(error), error, error.args)).replace("refused", "")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (None, "check that a WebSocket server listens there"),
        (301, "it redirects to wss://other/?...: connect there"),
        (401, "check the credentials"),
        (404, "check the path"),
        (500, "the server's log"),
    ],
)
def test_handshake_error_says_what_to_do_now(status: int | None, advice: str) -> None:
    location = "wss://u:secret@other/?token=secret"
    error = HandshakeError("ws://h/?token=secret", reason="no", status=status, headers={"location": location})
    assert advice in str(error)
    assert "secret" not in str(error)


NASTY = "bye\n2026-01-01 ERROR all is lost\r\x1b[2J\x85\u2028\x00"


def test_words_of_a_peer_add_no_line_to_a_log() -> None:
    texts = [
        str(Close(1000, NASTY)),
        str(ConnectionClosedError(Close(1011, NASTY), None, "peer")),
        str(ReconnectGaveUp(1, ConnectionClosedError(Close(1011, NASTY), None, "peer"))),
        str(HandshakeError("ws://h", reason="no", status=302, headers={"location": NASTY}, body=NASTY.encode())),
        str(DecodeError(f"unknown type {NASTY}", format="json", path=f"$.{NASTY}", raw=NASTY.encode())),
        str(RecordingError(Path("ticks.jsonl"), 1, f"no channel {NASTY}")),
        str(PeerRefused("guard", 4400, NASTY)),
        str(RequestFailed("guard", NASTY, NASTY)),
    ]
    for text in texts:
        assert text.isprintable(), text
        assert "all is lost" in text
    # The data is what came.
    assert Close(1000, NASTY).reason == NASTY
    assert str(Close(1000, "grüße, 世界")) == "1000 (grüße, 世界)"


def test_redirect_without_location_still_says_what_to_do() -> None:
    assert "it redirects: connect there" in str(HandshakeError("ws://h/", reason="no", status=302))


def test_long_message_is_quoted_in_part() -> None:
    error = DecodeError("malformed", format="json", raw=b"x" * 1000)
    assert str(error).endswith("x'... (1000 bytes)")
    assert len(error.raw) == 1000
    assert " - at" not in str(error)


def test_queue_of_messages_names_its_own_setting() -> None:
    error = SendQueueFull(1000, 1, 1000, unit="messages")
    assert "1000 messages wait for the connection to come back" in str(error)
    assert "message_buffer_size" in str(error)


def test_message_of_unknown_size_names_its_limit() -> None:
    assert str(MessageTooBig(None, 16)).startswith("a message is over the limit of 16 bytes")


def test_reconnect_gave_up_without_an_attempt_has_no_last_error() -> None:
    assert "gave up after 0 failed attempts;" in str(ReconnectGaveUp(0))


def test_close_shows_its_reason_if_it_has_one() -> None:
    assert (str(Close(1000)), str(Close(1001, "restart"))) == ("1000", "1001 (restart)")

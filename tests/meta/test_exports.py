"""Holds the public names: what is exported is what is documented, here and in each module."""

import importlib
import subprocess
import sys

import pytest

import websocket_utils
import websocket_utils.peer
import websocket_utils.testing
from websocket_utils.feeds import laserstream

# The public surface. A name enters or leaves here on purpose, with a line in CHANGELOG.md.
DOCUMENTED = {
    "messages": [
        "AccountUpdate",
        "Authenticate",
        "Authenticated",
        "FieldId",
        "Float32",
        "GoAway",
        "Int32",
        "Int64",
        "LagNotice",
        "Message",
        "Ping",
        "Pong",
        "PriceUpdate",
        "Raw",
        "SlotUpdate",
        "Subscribe",
        "Subscribed",
        "SubscriptionRejected",
        "UInt32",
        "UInt64",
        "Unsubscribe",
        "WsMessage",
    ],
    "authentication": [
        "Credentials",
        "Grant",
        "Identity",
        "KeyAuthentication",
        "TokenAuthentication",
        "issue_token",
    ],
    "client": ["WebSocketClient"],
    "server": ["WebSocketServer"],
    "aggregator": ["Aggregator", "SourceFailed", "Sourced"],
    "config": ["WebSocketConfig"],
    "metrics": ["ClientStats", "Distribution", "Downtime", "LegStats", "SendCounts", "ServerStats"],
    "events": [
        "Disconnected",
        "Event",
        "Gap",
        "Lagged",
        "Promoted",
        "Reconnected",
        "Restored",
        "Stale",
        "SubscriptionLost",
    ],
    "outcomes": ["SendOutcome"],
    "exceptions": [
        "AcknowledgementTimeout",
        "AuthenticationFailed",
        "BatchRefused",
        "ConnectionFlapping",
        "MessageNotWritten",
        "ProviderError",
        "PublisherBufferFull",
        "PublisherSuperseded",
        "StaleData",
        "SubscribeRejected",
        "SubscribeTimeout",
        "Unauthorized",
        "UpdatesUnacknowledged",
        "Close",
        "CodecError",
        "ConfigError",
        "ConnectionClosed",
        "ConnectionClosedError",
        "ConnectionClosedOK",
        "DecodeError",
        "EncodeError",
        "HandshakeError",
        "HeartbeatTimeout",
        "InvalidPubkey",
        "InvalidURL",
        "LocalProtocolError",
        "MessageTooBig",
        "ProtocolError",
        "ReconnectGaveUp",
        "RecordingError",
        "RemoteProtocolError",
        "RequestRejected",
        "RequestTooBig",
        "SendQueueFull",
        "WebSocketError",
    ],
    "subscription": ["Subscription"],
    "_subscription_protocol": ["StandardSubscriptions", "SubscriptionProtocol"],
    "_connection": ["ServerConnection"],
    "_core": ["Channel", "Columns", "Decoder", "Encoder", "Histogram", "Receipt", "decode_columns"],
    "_in_band": ["in_band"],
    "_session": ["Login"],
    "_slow": ["Backpressure", "Conflate", "Disconnect", "DropOldest"],
    "namespaces": ["Namespace"],
    "recording": ["Recorded", "Recording", "read_recording"],
    "relay": ["Relay", "serve_relays"],
    "replay": ["Replay"],
    "_reconnect": ["ClosePolicy", "ReconnectPolicy", "Verdict"],
    "_transport": ["run"],
}
NAMES = sorted(name for names in DOCUMENTED.values() for name in names)


def test_all_is_the_documented_list() -> None:
    assert sorted(websocket_utils.__all__) == NAMES
    assert len(set(websocket_utils.__all__)) == len(websocket_utils.__all__)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in DOCUMENTED.items() for name in names])
def test_name_is_the_one_its_module_defines(module: str, name: str) -> None:
    source = importlib.import_module(f"websocket_utils.{module}")
    assert getattr(websocket_utils, name) is getattr(source, name)
    assert name in source.__all__


@pytest.mark.parametrize("name", NAMES)
def test_name_is_documented(name: str) -> None:
    # These are unions: what they hold is said where they are defined.
    documented = getattr(websocket_utils, name).__doc__ if name not in {"Event", "WsMessage"} else "a union"
    assert documented, f"{name} has no docstring"


# Aliases: what they hold is said where they are defined.
ALIASES = {"Direction", "Script", "Stage", "Step"}


@pytest.mark.parametrize("name", sorted(set(websocket_utils.testing.__all__) - ALIASES))
def test_name_for_tests_is_documented(name: str) -> None:
    assert getattr(websocket_utils.testing, name).__doc__


FEED = [
    "Commitment",
    "Fork",
    "LaserStream",
    "LogsUpdate",
    "SeedFailed",
    "Seeded",
    "StreamEvent",
    "StreamStats",
    "TransactionUpdate",
    "Unexpected",
    "Updates",
]


def test_names_of_the_feed_are_the_documented_ones() -> None:
    assert sorted(laserstream.__all__) == FEED
    for name in set(FEED) - {"Commitment", "StreamEvent"}:
        assert getattr(laserstream, name).__doc__


def test_feed_is_loaded_by_who_asks_for_it_alone() -> None:
    seen = "import sys, websocket_utils; print([name for name in sys.modules if 'feeds' in name])"
    done = subprocess.run([sys.executable, "-c", seen], check=True, capture_output=True, text=True, timeout=15)
    assert done.stdout == "[]\n"


PEER_NAMES = {
    "Peer",
    "PeerDialFailed",
    "PeerError",
    "PeerEvent",
    "PeerGap",
    "PeerJoined",
    "PeerLeft",
    "PeerLink",
    "PeerLost",
    "PeerNameTaken",
    "PeerNotProven",
    "PeerRefused",
    "PeerUnavailable",
    "Rendezvous",
    "RendezvousServer",
    "RequestFailed",
    "RequestTimeout",
    "RequestsFull",
    "serve_rendezvous",
}


def test_names_for_peers_are_the_documented_ones() -> None:
    assert set(websocket_utils.peer.__all__) == PEER_NAMES
    for name in PEER_NAMES - {"PeerEvent"}:
        assert getattr(websocket_utils.peer, name).__doc__, f"{name} has no docstring"


def test_testing_needs_nothing_of_the_tests() -> None:
    seen = "import sys, websocket_utils.testing; print({name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", seen], check=True, capture_output=True, text=True, timeout=15)
    assert "'msgspec'" in done.stdout
    for outsider in ("pytest", "hypothesis", "trustme", "websockets", "aiohttp"):
        assert f"'{outsider}'" not in done.stdout

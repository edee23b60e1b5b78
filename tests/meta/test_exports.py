"""Holds the public names: what is exported is what is documented, here and in each module."""

import importlib

import pytest

import websocket_utils

# The public surface. A name enters or leaves here on purpose, with a line in CHANGELOG.md.
DOCUMENTED = {
    "messages": [
        "AccountUpdate",
        "FieldId",
        "Float32",
        "Int32",
        "Int64",
        "Message",
        "Ping",
        "Pong",
        "PriceUpdate",
        "Raw",
        "Subscribe",
        "Subscribed",
        "SubscriptionRejected",
        "UInt32",
        "UInt64",
        "Unsubscribe",
        "WsMessage",
    ],
    "client": ["WebSocketClient"],
    "server": ["WebSocketServer"],
    "aggregator": ["Aggregator", "SourceFailed", "Sourced"],
    "config": ["WebSocketConfig"],
    "metrics": ["ClientStats", "Distribution", "Downtime", "LegStats", "SendCounts", "ServerStats"],
    "events": ["Disconnected", "Event", "Gap", "Promoted", "Reconnected", "Restored", "Stale", "SubscriptionLost"],
    "outcomes": ["SendOutcome"],
    "exceptions": [
        "AuthenticationFailed",
        "ConnectionFlapping",
        "MessageNotWritten",
        "ProviderError",
        "StaleData",
        "SubscribeRejected",
        "SubscribeTimeout",
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
        "InvalidURL",
        "LocalProtocolError",
        "MessageTooBig",
        "ProtocolError",
        "ReconnectGaveUp",
        "RemoteProtocolError",
        "SendQueueFull",
        "WebSocketError",
    ],
    "subscription": ["Subscription"],
    "_subscriptions": ["StandardSubscriptions", "SubscriptionProtocol"],
    "_connection": ["ServerConnection"],
    "_core": ["Columns", "Decoder", "Encoder", "Histogram", "decode_columns"],
    "_session": ["Login"],
    "_slow": ["Backpressure", "Conflate", "DropOldest"],
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

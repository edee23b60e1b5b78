"""WebSocket utilities for trading adapters and strategies.

A client and a server that speak typed messages, with framing and codec in Rust. Start with
`WebSocketClient.connect(url)` and `WebSocketServer.bind(address)`.
"""

from ._connection import ServerConnection
from ._core import Columns, Decoder, Encoder, decode_columns
from ._transport import run
from .client import WebSocketClient
from .config import WebSocketConfig
from .exceptions import (
    Close,
    CodecError,
    ConfigError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DecodeError,
    EncodeError,
    HandshakeError,
    HeartbeatTimeout,
    InvalidURL,
    LocalProtocolError,
    MessageTooBig,
    ProtocolError,
    ReconnectGaveUp,
    RemoteProtocolError,
    SendQueueFull,
    WebSocketError,
)
from .messages import (
    AccountUpdate,
    FieldId,
    Float32,
    Int32,
    Int64,
    Message,
    Ping,
    Pong,
    PriceUpdate,
    Raw,
    Subscribe,
    UInt32,
    UInt64,
    Unsubscribe,
    WsMessage,
)
from .metrics import ClientStats, ServerStats
from .server import WebSocketServer

__all__ = [
    "AccountUpdate",
    "ClientStats",
    "Close",
    "CodecError",
    "Columns",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DecodeError",
    "Decoder",
    "EncodeError",
    "Encoder",
    "FieldId",
    "Float32",
    "HandshakeError",
    "HeartbeatTimeout",
    "Int32",
    "Int64",
    "InvalidURL",
    "LocalProtocolError",
    "Message",
    "MessageTooBig",
    "Ping",
    "Pong",
    "PriceUpdate",
    "ProtocolError",
    "Raw",
    "ReconnectGaveUp",
    "RemoteProtocolError",
    "SendQueueFull",
    "ServerConnection",
    "ServerStats",
    "Subscribe",
    "UInt32",
    "UInt64",
    "Unsubscribe",
    "WebSocketClient",
    "WebSocketConfig",
    "WebSocketError",
    "WebSocketServer",
    "WsMessage",
    "decode_columns",
    "run",
]

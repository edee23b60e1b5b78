"""WebSocket utilities for trading adapters and strategies.

A client and a server that speak typed messages, with framing and codec in Rust. Start with
`WebSocketClient.connect(url)` and `WebSocketServer.bind(address)`.
"""

from ._connection import ServerConnection
<<<<<<< Updated upstream
from ._core import Columns, Decoder, Encoder, decode_columns
from ._reconnect import ClosePolicy, ReconnectPolicy, Verdict
from ._subscriptions import StandardSubscriptions, SubscriptionProtocol
=======
from ._core import Columns, Decoder, Encoder, Histogram, decode_columns
from ._reconnect import ClosePolicy, ReconnectPolicy, Verdict
from ._slow import Backpressure, Conflate, DropOldest
from ._subscriptions import StandardSubscriptions, SubscriptionProtocol
>>>>>>> Stashed changes
from ._transport import run
from .aggregator import Aggregator, Sourced, SourceFailed
from .client import WebSocketClient
from .config import WebSocketConfig
from .events import Disconnected, Event, Gap, Promoted, Reconnected, Restored, Stale, SubscriptionLost
from .exceptions import (
    AuthenticationFailed,
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
    InvalidURL,
    LocalProtocolError,
    MessageNotWritten,
    MessageTooBig,
    ProtocolError,
    ProviderError,
    ReconnectGaveUp,
    RemoteProtocolError,
    SendQueueFull,
    StaleData,
    SubscribeRejected,
    SubscribeTimeout,
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
    Subscribed,
    SubscriptionRejected,
    UInt32,
    UInt64,
    Unsubscribe,
    WsMessage,
)
from .metrics import ClientStats, LegStats, ServerStats
from .outcomes import SendOutcome
from .server import WebSocketServer
from .subscription import Subscription

__all__ = [
    "AccountUpdate",
    "Aggregator",
    "AuthenticationFailed",
    "Backpressure",
    "ClientStats",
    "Close",
    "ClosePolicy",
    "CodecError",
    "Columns",
    "ConfigError",
    "Conflate",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionFlapping",
    "DecodeError",
    "Decoder",
    "Disconnected",
    "DropOldest",
    "EncodeError",
    "Encoder",
    "Event",
    "FieldId",
    "Float32",
    "Gap",
    "HandshakeError",
    "HeartbeatTimeout",
    "Histogram",
    "Int32",
    "Int64",
    "InvalidURL",
    "LegStats",
    "LocalProtocolError",
    "Message",
    "MessageNotWritten",
    "MessageTooBig",
    "Ping",
    "Pong",
    "PriceUpdate",
    "Promoted",
    "ProtocolError",
    "ProviderError",
    "Raw",
    "ReconnectGaveUp",
    "ReconnectPolicy",
    "Reconnected",
    "RemoteProtocolError",
    "Restored",
    "SendOutcome",
    "SendQueueFull",
    "ServerConnection",
    "ServerStats",
    "SourceFailed",
    "Sourced",
    "Stale",
    "StaleData",
    "StandardSubscriptions",
    "Subscribe",
    "SubscribeRejected",
    "SubscribeTimeout",
    "Subscribed",
    "Subscription",
    "SubscriptionLost",
    "SubscriptionProtocol",
    "SubscriptionRejected",
    "UInt32",
    "UInt64",
    "Unsubscribe",
    "Verdict",
    "WebSocketClient",
    "WebSocketConfig",
    "WebSocketError",
    "WebSocketServer",
    "WsMessage",
    "decode_columns",
    "run",
]

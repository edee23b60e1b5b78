"""Every exception this package raises on its own account.

    WebSocketError
    ├─ ConfigError (ValueError)       .faults                       all bad settings at once
    ├─ InvalidURL (ValueError)        .url .reason                  nothing was connected
    ├─ HandshakeError                 .url .status .headers .body .reason
    ├─ ProtocolError                  .close_code .reason           the connection is over
    │  ├─ LocalProtocolError          we, or our caller, broke RFC 6455
    │  └─ RemoteProtocolError         the peer broke RFC 6455
    ├─ InvalidPubkey (ValueError)     .key .reason                  nothing was asked for
    ├─ MessageTooBig                  .size .limit                  close code 1009
    │  └─ RequestTooBig               .what                         nothing was asked for
    ├─ CodecError                     .format                       the connection stays open
    │  ├─ EncodeError
    │  └─ DecodeError                 .offset .path .expected .got .raw
    ├─ SendQueueFull                  .queued .size .limit .unit    nothing of the message was queued
    ├─ ConnectionClosed               .received .sent .initiator
    │  ├─ ConnectionClosedOK          both sides were done: 1000 or 1001
    │  └─ ConnectionClosedError       anything else
    │     ├─ HeartbeatTimeout         .timeout
    │     ├─ StaleData                .channel .age
    │     ├─ SubscribeTimeout         .channels .timeout
    │     ├─ AcknowledgementTimeout   .count .timeout               an edge took updates and said nothing
    │     └─ MessageNotWritten        .outcome                      of one accepted message
    ├─ SubscribeRejected              .channel .code .reason        the channel is not subscribed to
    │  └─ RequestRejected             .method                       by a node, of a call of JSON-RPC
    ├─ AuthenticationFailed           .reason                       the server refused who we say we are
    ├─ Unauthorized                   .reason                       raised by a server's `authenticate`
    ├─ ProviderError                  .what                         a callable for URL, headers or token failed
    ├─ ConnectionFlapping             .code .times                  the server ends each connection in the same way
    ├─ ReconnectGaveUp                .attempts .last_error
    ├─ PublisherBufferFull            .waiting .size .limit         the update was not taken
    ├─ PublisherSuperseded            .name .epoch                  a newer publisher has the name
    ├─ BatchRefused                   .code .reason                 the edge does not take what is sent
    ├─ UpdatesUnacknowledged          .count .first .last           not known to be at the edge
    ├─ PeerError                      .peer                         something failed with one peer
    │  ├─ PeerUnavailable             there is no link with it; nothing was sent
    │  ├─ PeerLost                    the link was lost before the answer to a request came
    │  ├─ PeerRefused                 .code .reason                 one side does not want the link
    │  │  ├─ PeerNameTaken            another peer has the name
    │  │  └─ PeerNotProven            one side has not proved that it knows the key
    │  ├─ RequestTimeout (TimeoutError) .timeout                    no answer came in time
    │  ├─ RequestFailed               .kind .reason                 the peer can't, or will not, answer
    │  └─ RequestsFull                .limit                        too many requests wait for an answer
    └─ RecordingError                 .path .line .reason           a file of recorded publications is at fault

`OSError` (refused, name not resolved, address in use), `TimeoutError` and `asyncio.CancelledError` pass through
unwrapped: a caller who handles them already need not learn new names.

Rules of this file: it imports nothing of ours but plain vocabulary, so that everyone (the
Rust binding too) can import it; an exception
carries data and `__str__` makes the text (what, where, limit, what now); every exception survives pickling, because
strategies run in process pools; no user, password or query of a URL gets into any attribute or text, and nothing that
a peer chose gets into a text unescaped, where a line break would begin another line of a log. Attributes hold a peer's
words as they came.
"""

from ._edge import (
    AcknowledgementTimeout,
    BatchRefused,
    PublisherBufferFull,
    PublisherSuperseded,
    UpdatesUnacknowledged,
)
from ._endings import (
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionFlapping,
    HeartbeatTimeout,
    MessageNotWritten,
    ProviderError,
    ReconnectGaveUp,
    RecordingError,
    SendQueueFull,
    StaleData,
    SubscribeRejected,
    SubscribeTimeout,
    Unauthorized,
)
from ._faults import (
    Close,
    CodecError,
    ConfigError,
    DecodeError,
    EncodeError,
    HandshakeError,
    Initiator,
    InvalidURL,
    LocalProtocolError,
    MessageTooBig,
    ProtocolError,
    RemoteProtocolError,
    WebSocketError,
    WireFormat,
)
from ._nodes import InvalidPubkey, RequestRejected, RequestTooBig
from ._peers import (
    PeerError,
    PeerLost,
    PeerNameTaken,
    PeerNotProven,
    PeerRefused,
    PeerUnavailable,
    RequestFailed,
    RequestsFull,
    RequestTimeout,
)

__all__ = [
    "AcknowledgementTimeout",
    "AuthenticationFailed",
    "BatchRefused",
    "Close",
    "CodecError",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionFlapping",
    "DecodeError",
    "EncodeError",
    "HandshakeError",
    "HeartbeatTimeout",
    "Initiator",
    "InvalidPubkey",
    "InvalidURL",
    "LocalProtocolError",
    "MessageNotWritten",
    "MessageTooBig",
    "PeerError",
    "PeerLost",
    "PeerNameTaken",
    "PeerNotProven",
    "PeerRefused",
    "PeerUnavailable",
    "ProtocolError",
    "ProviderError",
    "PublisherBufferFull",
    "PublisherSuperseded",
    "ReconnectGaveUp",
    "RecordingError",
    "RemoteProtocolError",
    "RequestFailed",
    "RequestRejected",
    "RequestTimeout",
    "RequestTooBig",
    "RequestsFull",
    "SendQueueFull",
    "StaleData",
    "SubscribeRejected",
    "SubscribeTimeout",
    "Unauthorized",
    "UpdatesUnacknowledged",
    "WebSocketError",
    "WireFormat",
]

# Where users import them from is what tracebacks and pickles name.
for _name in __all__:
    _exported = globals()[_name]
    if isinstance(_exported, type):
        _exported.__module__ = __name__

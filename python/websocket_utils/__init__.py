"""WebSocket utilities for trading adapters and strategies.

A client and a server that speak typed messages, with framing and codec in Rust. Start with `WebSocketClient.connect(url)`
and `WebSocketServer.bind(address)`.
"""

from . import exceptions as _exceptions
from ._core import Decoder, Encoder
from ._connection import ServerConnection
from ._transport import run
from .client import WebSocketClient
from .config import WebSocketConfig
from .exceptions import *  # noqa: F403  # the module's `__all__` is the list
from .messages import AccountUpdate, Message, Ping, Pong, PriceUpdate, Subscribe, Unsubscribe, WsMessage
from .metrics import ClientStats, ServerStats
from .server import WebSocketServer

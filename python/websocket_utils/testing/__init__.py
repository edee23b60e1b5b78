"""What strategies are tested with: servers that misbehave, networks that do, time that jumps, links in memory.

Part of the package, without a dependency of its own.
"""

from .._accepting import Request
from ._clock import VirtualClock
from ._fault_connection import FaultConnection
from ._fault_server import FaultServer, Step
from ._faults import (
    AckThenSilence,
    ByteByByte,
    CloseAfter,
    Drop,
    Duplicate,
    FailTls,
    Fault,
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
from ._network import MemoryFaultServer, MemoryNetwork, MemoryServer, Script, memory_link
from ._peer import MemoryPeer
from ._proxy import ChaosProxy, Direction
from ._proxy_connection import ProxyConnection

__all__ = [
    "AckThenSilence",
    "ByteByByte",
    "ChaosProxy",
    "CloseAfter",
    "Direction",
    "Drop",
    "Duplicate",
    "FailTls",
    "Fault",
    "FaultConnection",
    "FaultServer",
    "HalfOpen",
    "HttpAnswer",
    "Malformed",
    "MemoryFaultServer",
    "MemoryNetwork",
    "MemoryPeer",
    "MemoryServer",
    "NeverAck",
    "NoCloseReply",
    "NoPong",
    "ProxyConnection",
    "RejectSubscriptions",
    "Reorder",
    "Request",
    "Reset",
    "Script",
    "Serve",
    "SlowHandshake",
    "SlowReader",
    "Stage",
    "Step",
    "Strike",
    "TooBig",
    "VirtualClock",
    "memory_link",
]

"""Links between strategies: typed messages, requests with deadlines, and who is there.

    async with Peer("momentum", listen="127.0.0.1:0", peers={"guard": "ws://10.0.0.2:9000"}, key=KEY) as peer:
        peer.on(Fill, on_fill)
        verdict = await peer.request("guard", MayTrade("SOL-USDC", 5.0), timeout=0.05, of=Verdict)

One link stands for each pair, whoever dials. `docs/guides/peers.md` is the guide.
"""

from websocket_utils.exceptions import (
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

from ._events import PeerDialFailed, PeerEvent, PeerGap, PeerJoined, PeerLeft
from ._link import PeerLink
from ._peer import Peer
from ._rendezvous import Rendezvous, RendezvousServer, serve_rendezvous

__all__ = [
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
]

"""Peer to peer: what names, proofs, numbers and deadlines cost over a client and a server."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"
MODULE = "websocket_utils_peer"

BENCHES = (
    Bench(
        name="peer_round_trip",
        title="Round trip between two peers, one message in flight",
        kind="round_trip",
        method=(
            "Both ends run in the one process under test, on one loop, over TCP on loopback: a client and a server of "
            "this package, or two peers with a key. A 122-byte `PriceUpdate` is sent back from inside the callback "
            "that brings it. Requests are awaited; a client and a server that ask and answer have nothing that tells "
            "one answer from another, no deadline and no typed refusal."
        ),
        metrics=("p50_us", "p99_us", "cpu_ns"),
        sides=(
            Side(name="client and server, callback", module=MODULE, scenario="pair", needs=OURS),
            Side(name="two peers, callback", module=MODULE, scenario="peers", needs=OURS),
            Side(name="client and server, question awaited", module=MODULE, scenario="pair_await", needs=OURS),
            Side(name="two peers, request awaited", module=MODULE, scenario="peers_request", needs=OURS),
        ),
        bars=(
            Bar(
                scenario="peer link round trip p50",
                text="<= 1.15x a bare client/server pair",
                ours="two peers, callback",
                peer="client and server, callback",
                metric="p50_us",
                at_most=1.15,
            ),
            Bar(
                scenario="peer request round trip p50",
                text="<= 1.15x a question of a client that is awaited",
                ours="two peers, request awaited",
                peer="client and server, question awaited",
                metric="p50_us",
                at_most=1.15,
            ),
        ),
    ),
)

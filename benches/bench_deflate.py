"""permessage-deflate (RFC 7692): a client that receives compressed messages, a server that broadcasts them."""

from benches import _wires
from benches._results import Bar, Bench, Side

OURS = "websocket_utils"
CLIENTS = 1000


def _receiver(name: str, module: str, needs: str, *, scenario: str = "receive_raw_deflate", guess: int) -> Side:
    return Side(name=name, module=module, scenario=scenario, needs=needs, guess=guess)


def _broadcasts(burst: int, turn: str) -> Bench:
    return Bench(
        name=f"broadcast_deflate_{burst}",
        title=f"Compressed broadcast to {CLIENTS} clients, {turn} a turn",
        kind="broadcast",
        method=(
            f"{CLIENTS} bare sinks connect and offer permessage-deflate as browsers do; the server sends prepared "
            f"texts of 1 024 bytes of JSON to all of them, {turn} per turn of its event loop, and never runs further "
            "ahead of the slowest sink than 64 messages. The sinks compare what they get with each other; the first "
            "cycle of one of them is inflated and compared with what was sent. CPU is the server's, per delivery."
        ),
        metrics=("rate", "cpu_ns"),
        clients=CLIENTS,
        burst=burst,
        window=64,
        extensions="permessage-deflate; client_max_window_bits",
        sides=(
            Side(
                name="websocket_utils broadcast",
                module="websocket_utils_server",
                scenario="broadcast_deflate",
                needs=OURS,
                guess=256,
            ),
            Side(
                name="websockets broadcast",
                module="websockets_asyncio",
                scenario="broadcast_deflate",
                needs="websockets",
                guess=64,
            ),
            Side(
                name="bare send(2), no library",
                module="bare_sends",
                scenario="broadcast_deflate",
                needs="msgspec",
                guess=128,
            ),
        ),
        bars=(
            Bar(
                scenario=f"compressed broadcast of 1 KiB to {CLIENTS} clients, {turn} a turn: CPU per delivery",
                text="<= 0.05x (20 times less)",
                ours="websocket_utils broadcast",
                peer="websockets broadcast",
                metric="cpu_ns",
                at_most=0.05,
            ),
        ),
    )


BENCHES = (
    Bench(
        name="receive_deflate",
        title="Receive compressed messages, one connection, saturated",
        kind="receive",
        method=(
            "The feed writes order books of 1 024 bytes of JSON as text messages, compressed beforehand by zlib, each "
            f"by itself (`{_wires.DEFLATE}`, which every side agrees to). Each side has every message inflated, as "
            "bytes, and reads one of them; the sums are compared with what was sent."
        ),
        metrics=("cpu_ns", "rate"),
        per_write=128,
        wire="books_deflated",
        sides=(
            _receiver("websocket_utils batches", "websocket_utils_client", OURS, guess=200_000),
            _receiver("picows.websockets", "picows_websockets", "picows", guess=80_000),
            _receiver("aiohttp", "aiohttp_ws", "aiohttp", guess=50_000),
            _receiver("websockets", "websockets_asyncio", "websockets", guess=50_000),
        ),
        bars=tuple(
            Bar(
                scenario=f"compressed receive of 1 KiB JSON against {peer}",
                text="<= 0.77x the CPU (1.3 times as fast)",
                ours="websocket_utils batches",
                peer=peer,
                metric="cpu_ns",
                at_most=1 / 1.3,
            )
            for peer in ("picows.websockets", "aiohttp", "websockets")
        ),
    ),
    _broadcasts(16, "16 messages"),
    _broadcasts(1, "one message"),
)

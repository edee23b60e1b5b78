"""A server that accepts and drops: how often a client dials it."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

SIDES = (
    Side(name="websocket_utils", module="websocket_utils_outages", scenario="flapping", needs=OURS),
    Side(
        name="picows.websockets, `async for` over `connect`",
        module="picows_websockets",
        scenario="flapping",
        needs="picows",
    ),
    Side(
        name="websockets, `async for` over `connect`",
        module="websockets_asyncio",
        scenario="flapping",
        needs="websockets",
    ),
    Side(name="nautilus_trader", module="nautilus", scenario="flapping", needs="nautilus_trader"),
)


def _bench(name: str, how: str, way: str, close_code: int) -> Bench:
    return Bench(
        name=name,
        title=f"A server that accepts and {how}",
        kind="flapping",
        method=(
            f"A bare server completes each opening handshake and then {way} at once. It counts the handshakes of one "
            "second, from the first one on. What a client does in its first minute is in "
            "[RELIABILITY.md](RELIABILITY.md)."
        ),
        metrics=("dials",),
        messages=1,
        close_code=close_code,
        sides=SIDES,
        bars=(
            Bar(
                scenario=f"accept, then {how}: dials in the first second",
                text="<= 5",
                ours="websocket_utils",
                metric="dials",
                at_most=5,
            ),
        ),
    )


BENCHES = (
    _bench("flapping", "closes with 1008", "closes the connection with code 1008", 1008),
    _bench("flapping_drop", "drops", "ends TCP, without a close frame", 0),
)

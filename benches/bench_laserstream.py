"""Notifications of LaserStream, from a frame's text to an `AccountUpdate`: ours beside what a careful user writes."""

from typing import Final

from benches._results import Bar, Bench, Side

_OURS: Final = "websocket_utils"
_MSGSPEC: Final = "msgspec, classes of what is needed"
_JSON: Final = "json, keys by hand"


def _bench(name: str, title: str, data: str, data_bytes: int) -> Bench:
    def bar(peer: str, text: str, at_most: float) -> Bar:
        return Bar(scenario=f"LaserStream, {data}", text=text, ours=_OURS, peer=peer, metric="cpu_ns", at_most=at_most)

    def side(name: str, scenario: str, needs: str) -> Side:
        return Side(name=name, module="laserstream", scenario=scenario, needs=needs)

    return Bench(
        name=name,
        title=title,
        kind="decode",
        method=(
            f"Account notifications as a node writes them ({data}), of 64 accounts in turn, are decoded in a loop in "
            "Python, without a socket: each becomes the `AccountUpdate` of the account that its subscription is for, "
            "and the route of that. Peers read only the fields that this takes. All updates are compared with what "
            "they should be before the clock runs, and a sum of a field behind it."
        ),
        metrics=("cpu_ns",),
        message_bytes=data_bytes,
        sides=(
            side(_OURS, "ours", "websocket_utils"),
            side(_MSGSPEC, "msgspec_structs", "msgspec"),
            side("orjson, keys by hand", "orjson_dicts", "orjson"),
            side(_JSON, "plain_json", "json"),
        ),
        bars=(bar(_JSON, "<= 0.50x `json` and keys by hand", 0.5), bar(_MSGSPEC, "<= 0.80x msgspec with classes", 0.8)),
    )


BENCHES = (
    _bench("laserstream", "LaserStream frame to `AccountUpdate`", "a token account with its 165 bytes of data", 165),
    _bench(
        "laserstream_slice",
        "LaserStream frame to `AccountUpdate`, without data",
        "a token account whose data are sliced away",
        0,
    ),
)

"""Account notifications of a Solana node, from the text of a frame to an `AccountUpdate` and whom it is for. No socket.

What every side does for a frame: tell the subscription's account and route by its number, and make the update. Peers
read no more of the frame than that takes.
"""

import base64
import importlib
import json
import random
from collections.abc import Callable

import msgspec

from benches._payload import CYCLE
from benches._subject import Run
from websocket_utils import AccountUpdate
from websocket_utils._core import PubSubDecoder

Decode = Callable[[bytes, int], tuple[object, AccountUpdate]]

NOW = 1_718_035_200_000
# As long as keys are.
ACCOUNTS = [f"{index:04}QeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin".translate({48: "z"}) for index in range(CYCLE)]
ROUTES = [f"route {index}" for index in range(CYCLE)]
# Some eight accounts are written in a slot; numbers as a busy node gives them.
SUBSCRIPTIONS = [23_784 + 7 * index for index in range(CYCLE)]
SLOTS = [224_341_380 + index // 8 for index in range(CYCLE)]
# The rent of a token account and something; every eighth has more than a float could count.
LAMPORTS = [2_039_280 + 37 * index + (2**60 if index % 8 == 7 else 0) for index in range(CYCLE)]
WATCHED = dict(zip(SUBSCRIPTIONS, zip(ACCOUNTS, ROUTES, strict=True), strict=True))
UPDATES = [
    (route, AccountUpdate(account, lamports, slot, NOW))
    for route, account, lamports, slot in zip(ROUTES, ACCOUNTS, LAMPORTS, SLOTS, strict=True)
]


def frames(data_bytes: int) -> list[bytes]:
    """Return a frame for each account, with that many bytes of data."""
    fill = random.Random(7)
    return [
        json.dumps(
            {
                "jsonrpc": "2.0",
                "method": "accountNotification",
                "params": {
                    "result": {
                        "context": {"slot": slot},
                        "value": {
                            "lamports": lamports,
                            "data": [base64.b64encode(fill.randbytes(data_bytes)).decode(), "base64"],
                            "owner": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
                            "executable": False,
                            "rentEpoch": 2**64 - 1,
                            "space": 165,
                        },
                    },
                    "subscription": subscription,
                },
            },
            separators=(",", ":"),
        ).encode()
        for slot, lamports, subscription in zip(SLOTS, LAMPORTS, SUBSCRIPTIONS, strict=True)
    ]


def _run(run: Run, decode: Decode) -> None:
    cycle = frames(run.options.message_bytes)
    # Right first, and the same at any time later: the sum of a field is checked with the clock stopped.
    found = [decode(frame, NOW) for frame in cycle]
    if found != UPDATES or any(type(update) is not AccountUpdate for _, update in found):
        raise ValueError(f"wrong updates: {found[:3]} and so on")
    total = 0
    run.start()
    for _ in range(run.messages // CYCLE):
        for frame in cycle:
            _, update = decode(frame, NOW)
            total += update.slot
    run.stop()
    if total != run.messages // CYCLE * sum(SLOTS):
        raise ValueError(f"the slots of {run.messages} updates add up to {total}")
    run.result()


async def ours(run: Run) -> None:
    """`PubSubDecoder.decode`, called as the feed calls it."""
    decoder = PubSubDecoder()
    for subscription, (account, route) in WATCHED.items():
        decoder.watch_account(subscription, account, route)
    # Any: it may return None and other messages, which the bench compares with what it expects.
    decode: Decode = decoder.decode  # type: ignore[assignment]
    _run(run, decode)


async def msgspec_structs(run: Run) -> None:
    """Classes of msgspec that have only the fields that are needed, and are no business of the collector."""

    class Value(msgspec.Struct, gc=False):
        lamports: int

    class Context(msgspec.Struct, gc=False):
        slot: int

    class Result(msgspec.Struct, gc=False):
        context: Context
        value: Value

    class Params(msgspec.Struct, gc=False):
        result: Result
        subscription: int

    class Notification(msgspec.Struct, gc=False):
        params: Params

    read = msgspec.json.Decoder(Notification).decode

    def decode(frame: bytes, timestamp: int) -> tuple[object, AccountUpdate]:
        params = read(frame).params
        result = params.result
        account, route = WATCHED[params.subscription]
        return route, AccountUpdate(account, result.value.lamports, result.context.slot, timestamp)

    _run(run, decode)


async def plain_json(run: Run) -> None:
    """`json.loads` and keys looked up by hand."""

    def decode(frame: bytes, timestamp: int) -> tuple[object, AccountUpdate]:
        # It would look for the encoding of bytes first.
        params = json.loads(frame.decode())["params"]
        result = params["result"]
        account, route = WATCHED[params["subscription"]]
        return route, AccountUpdate(account, result["value"]["lamports"], result["context"]["slot"], timestamp)

    _run(run, decode)


async def orjson_dicts(run: Run) -> None:
    """`orjson.loads` and keys looked up by hand."""
    loads = importlib.import_module("orjson").loads

    def decode(frame: bytes, timestamp: int) -> tuple[object, AccountUpdate]:
        params = loads(frame)["params"]
        result = params["result"]
        account, route = WATCHED[params["subscription"]]
        return route, AccountUpdate(account, result["value"]["lamports"], result["context"]["slot"], timestamp)

    _run(run, decode)

"""Two strategies and a risk guard, each a process of its own, linked over Unix sockets.

The strategy `momentum` asks the guard before each order, and tells everybody of its fills; `market` listens. The guard
is killed, momentum trades nothing without it, the guard comes back. Run it:
`python examples/two_strategies_and_a_guard.py`.
"""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from websocket_utils import Message, run
from websocket_utils.peer import Peer, PeerJoined, PeerLeft, PeerUnavailable, RequestFailed

ROLES = ("guard", "momentum", "market")


class MayTrade(Message):
    """Asked before each order."""

    symbol: str
    quantity: float


class Verdict(Message):
    """The guard's answer."""

    left: float
    """What may still be traded."""


class Fill(Message):
    """Told to all."""

    symbol: str
    quantity: float


class Report(Message):
    """What the operator prints."""

    text: str


class Reached(Message):
    """How far the day has come: the operator acts on it."""

    stage: str


def place(folder: Path, name: str) -> str:
    """Where a peer listens."""
    return f"unix:{folder / name}.sock"


def peer_of(name: str, folder: Path, key: bytes, *others: str) -> Peer:
    """A peer that listens, and dials the operator and those others."""
    return Peer(
        name,
        listen=place(folder, name),
        peers={other: place(folder, other) for other in ("operator", *others)},
        key=key,
    )


async def guard(folder: Path, key: bytes) -> None:
    """Let no order over 10 pass, and no more than 100 in all."""
    left = 100.0
    async with peer_of("guard", folder, key) as peer:

        @peer.answer(MayTrade)
        def may_trade(asked: MayTrade, sender: str) -> Verdict:
            nonlocal left
            if asked.quantity > 10 or asked.quantity > left:
                raise RequestFailed(sender, "limit", f"{asked.quantity:g} {asked.symbol} is over the limit of 10")
            left -= asked.quantity
            return Verdict(left)

        await asyncio.Event().wait()


async def market(folder: Path, key: bytes) -> None:
    """Follow what others trade."""
    async with peer_of("market", folder, key, "guard") as peer:

        @peer.on(Fill)
        def on_fill(fill: Fill, sender: str) -> None:
            peer.send("operator", Report(f"{sender} has traded {fill.quantity:g} {fill.symbol}"))

        await asyncio.Event().wait()


async def momentum(folder: Path, key: bytes) -> None:
    """Trade, if the guard says so."""
    async with peer_of("momentum", folder, key, "guard", "market") as peer:

        def say(text: str) -> None:
            peer.send("operator", Report(text))

        async def trade(quantity: float) -> None:
            try:
                verdict = await peer.request("guard", MayTrade("SOL-USDC", quantity), timeout=1.0, of=Verdict)
            except RequestFailed as refusal:
                say(f"the guard refuses: {refusal.reason}")
            except PeerUnavailable:
                say(f"no guard, no trade of {quantity:g}")
            else:
                told = peer.broadcast(Fill("SOL-USDC", quantity))
                say(f"allowed, {verdict.left:g} left; told {told} peers")

        for other in ("operator", "guard", "market"):
            await peer.joined(other)
        await trade(5)
        await trade(50)
        peer.send("operator", Reached("traded"))
        # Events are kept: the first are of those who have joined above.
        is_guarded = True
        async for event in peer.events():
            if isinstance(event, PeerLeft) and event.name == "guard":
                is_guarded = False
                say("the guard has gone")
                await trade(5)
                peer.send("operator", Reached("unguarded"))
            elif isinstance(event, PeerJoined) and event.name == "guard" and not is_guarded:
                say("the guard is back")
                await trade(5)
                peer.send("operator", Reached("finished"))


def start(name: str, folder: Path, key: bytes) -> "subprocess.Popen[bytes]":
    """Start a peer's process; the key goes through a pipe, not into its arguments or environment."""
    process = subprocess.Popen([sys.executable, __file__, name, str(folder)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(key)
    process.stdin.close()
    return process


async def operate(print_line: Callable[[str], object] = print) -> None:
    """Start all of them, kill the guard, start it again, and end when momentum has traded once more."""
    reached: asyncio.Queue[str] = asyncio.Queue()
    key = secrets.token_bytes(32)
    with TemporaryDirectory(prefix="peers") as name:
        folder = Path(name)
        async with Peer("operator", listen=place(folder, "operator"), key=key) as peer:
            peer.on(Report, lambda report, sender: print_line(f"{sender:>8}: {report.text}"))
            peer.on(Reached, lambda message, sender: reached.put_nowait(message.stage))
            processes = {role: start(role, folder, key) for role in ROLES}
            try:
                assert await reached.get() == "traded"
                print_line("operator: kills the guard")
                processes["guard"].kill()
                assert await reached.get() == "unguarded"
                print_line("operator: starts the guard again")
                processes["guard"].wait()
                processes["guard"] = start("guard", folder, key)
                assert await reached.get() == "finished"
            finally:
                for process in processes.values():
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        role = {"guard": guard, "momentum": momentum, "market": market}[sys.argv[1]]
        run(role(Path(sys.argv[2]), sys.stdin.buffer.read()))
    else:
        run(operate())

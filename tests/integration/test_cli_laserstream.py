"""`websocket-utils laserstream` as a user starts it: a node on one side, a strategy on the other."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.integration.commands import SECONDS, command, finish, start
from tests.integration.http_client import request
from tests.support.solana_ledger import pubkey
from tests.support.solana_node import SolanaNode
from tests.support.waiting import until

from websocket_utils import AccountUpdate, SlotUpdate, Stale, SubscribeRejected, WebSocketClient
from websocket_utils.cli import main

# The command chooses its own event loop: on which one a test waits for it is no matter.
pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

MILLION = 1_000_000
KEY, OTHER = str(pubkey(1)), str(pubkey(2))
SECRET = "0f1e2d3c-secret"


class Running:
    """The command, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())

    async def said(self, start: str) -> str:
        """The first line that begins so; waits for it."""
        await until(lambda: any(line.startswith(start) for line in self.lines) or self._reading.done(), SECONDS)
        found = [line for line in self.lines if line.startswith(start)]
        assert found, self.lines
        return found[0]

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(SECONDS):
            await self._reading
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await asyncio.gather(self._reading)
        if self.process.stdin is not None:
            self.process.stdin.close()


@asynccontextmanager
async def republished(
    *arguments: str, environment: dict[str, str] | None = None, serve: str = "127.0.0.1:0"
) -> AsyncIterator[Running]:
    process = await start("laserstream", *arguments, "--serve", serve, environment=environment)
    running = Running(process)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), running.lines
        running.url = line.split()[-1]
        yield running
        assert not any("Traceback" in line or "Warning" in line for line in running.lines), running.lines
    finally:
        await running.kill()


def connect(url: str, **settings: Any) -> Any:
    return WebSocketClient.connect(url, subprotocols=["websocket-utils.json"], **settings)


async def test_strategies_get_the_states_of_before_and_what_the_ledger_does() -> None:
    async with SolanaNode() as node:
        node.ledger.transfer(pubkey(1), 2**60 + 1)
        node.end_slot()
        async with republished(node.url, "--account", KEY, "--account", OTHER) as running:
            await follow(node, running.url)
            assert await running.end() == 0
        assert running.lines[0].startswith("fetched 2 states at slot ")
        assert running.lines[-1].startswith("republished ")


async def follow(node: SolanaNode, url: str) -> None:
    """A strategy's part."""
    async with connect(url) as strategy, asyncio.timeout(SECONDS):
        await strategy.subscribe(f"accounts:{KEY}")
        first = await strategy.receive(AccountUpdate)
        assert (first.pubkey, first.lamports, first.slot) == (KEY, 2**60 + 1, node.ledger.tip.slot)
        slots: list[SlotUpdate] = []
        strategy.on(SlotUpdate, slots.append)
        await strategy.subscribe("accounts:*", "slots")
        assert (await strategy.receive(AccountUpdate)).lamports == 0
        node.ledger.transfer(pubkey(2), 3 * MILLION)
        bank = node.ledger.working
        node.end_slot()
        second = await strategy.receive(AccountUpdate)
        assert (second.pubkey, second.lamports, second.slot) == (OTHER, 3 * MILLION, bank.slot)
        await until(lambda: slots)
        assert (slots[0].slot, slots[0].parent) == (bank.slot, bank.slot - 1)
    async with connect(url) as later, asyncio.timeout(SECONDS):
        # It gets the states, and no slot: one of before is no sign of life.
        await later.subscribe("slots")
        await later.subscribe("accounts:*")
        first_two = [await later.receive(AccountUpdate | SlotUpdate) for _ in range(2)]
        assert {type(one) for one in first_two} == {AccountUpdate}
        assert {one.pubkey for one in first_two} == {KEY, OTHER}


async def test_strategies_notice_that_the_node_is_gone_and_that_it_is_back() -> None:
    async with (
        SolanaNode() as node,
        republished(node.url, "--account", KEY, "--http", "127.0.0.1:0") as running,
        connect(running.url, when_stale="tell") as strategy,
        asyncio.timeout(SECONDS),
    ):
        door = (await running.said("side door: ")).split()[-1]
        await strategy.subscribe(f"accounts:{KEY}")
        await strategy.receive(AccountUpdate)
        await strategy.subscribe("slots", stale_after=0.3, of=SlotUpdate)
        events = strategy.events(SlotUpdate)
        node.end_slot()
        assert isinstance(await anext(events), SlotUpdate)
        assert (await request(door, "GET", "/readyz")).status == 200
        await node.stop()
        while not isinstance(await anext(events), Stale):
            pass
        assert (await request(door, "GET", "/readyz")).status == 503
        await running.said("websocket-utils: connection to ws://127.0.0.1")
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        node.answers_calls.clear()
        await node.start()
        await running.said("back: ws://127.0.0.1")
        # It is heard again; what was missed is not known yet.
        assert (await request(door, "GET", "/readyz")).status == 503
        node.answers_calls.set()
        # What nobody told it of while it was blind.
        missed = await strategy.receive(AccountUpdate)
        assert (missed.lamports, missed.slot) == (MILLION, node.ledger.tip.slot)
        await until(lambda: any(line.startswith("fetched") for line in running.lines[2:]))
        assert (await request(door, "GET", "/readyz")).status == 200


async def test_what_is_not_republished_is_refused_and_not_silent() -> None:
    async with (
        SolanaNode() as node,
        republished(node.url, "--account", KEY, "--no-seed") as running,
        connect(running.url) as strategy,
        asyncio.timeout(SECONDS),
    ):
        for name in (f"accounts:{OTHER}", "acounts:*", "prices:SOL"):
            with pytest.raises(SubscribeRejected) as caught:
                await strategy.subscribe(name)
            assert caught.value.code in {4403, 4404}
        await strategy.subscribe(f"accounts:{KEY}", "accounts:*", "slots")


async def test_accounts_of_a_program_are_republished_under_their_own_names() -> None:
    program = str(pubkey(50))
    async with (
        SolanaNode() as node,
        republished(node.url, "--program", program) as running,
        connect(running.url) as strategy,
        asyncio.timeout(SECONDS),
    ):
        await strategy.subscribe(f"accounts:{OTHER}")
        node.ledger.write(pubkey(2), MILLION, bytes(8), pubkey(50))
        node.end_slot()
        update = await strategy.receive(AccountUpdate)
        assert (update.pubkey, update.lamports) == (OTHER, MILLION)


async def test_key_in_the_environment_is_shown_nowhere() -> None:
    async with SolanaNode(api_key=SECRET) as node:
        environment = {"NODE_URL": node.url}
        async with republished("--url-env", "NODE_URL", "--account", KEY, environment=environment) as running:
            await node.restart()
            await running.said("back: ")
            # A key that is taken away is the end, and the reason of it.
            await node.stop()
            node.api_key = "another"
            await node.start()
            assert await running.ended() == 1
            assert "HTTP 401" in running.lines[-1]
        assert not any(SECRET in line for line in running.lines), running.lines
        code, output, errors = await command("laserstream", node.url + "x", "--serve", "127.0.0.1:0", "--debug")
    assert (code, output) == (1, "")
    assert "HTTP 401" in errors.splitlines()[-1]
    assert "another" not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ws://127.0.0.1:1"], 1, "cannot connect to ws://127.0.0.1:1: refused: no server listens there"),
        (["http://127.0.0.1:1"], 2, "the scheme is 'http'"),
        (["ws://127.0.0.1:1", "--account", "0x12"], 2, "invalid public key '0x12'"),
        (["ws://127.0.0.1:1", "--no-slots"], 2, "nothing to republish"),
        (["ws://127.0.0.1:1", "--url-env", "HOME"], 2, "not both"),
        (["--url-env", "NOT_THERE"], 2, "NOT_THERE is empty or not set"),
        ([], 2, "give URL, or --url-env"),
        (["ws://127.0.0.1:1", "--no-seed", "--seed-url", "http://x"], 2, "contradict"),
        (["ws://127.0.0.1:1", "--seed-url", "nowhere"], 2, "seed_url: must begin with http"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = main(["laserstream", *arguments, "--serve", "127.0.0.1:0"])
    output, errors = capsys.readouterr()
    assert (ended, output) == (code, ""), errors
    assert words in errors
    assert errors.count("\n") == 1


async def test_port_in_use_is_one_line_that_says_what_to_do() -> None:
    async with SolanaNode() as node:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, output, errors = await command("laserstream", node.url, "--no-seed", "--serve", f"127.0.0.1:{port}")
    assert (code, output) == (1, "")
    assert errors == (
        f"websocket-utils: port {port} on 127.0.0.1 is in use: choose another with --serve, "
        "or --serve 127.0.0.1:0 for any free one\n"
    )


async def test_node_that_refuses_a_subscription_is_one_line() -> None:
    async with SolanaNode(limit=1) as node:
        process = await start("laserstream", node.url, "--no-seed", "--account", KEY, "--serve", "127.0.0.1:0")
        code, output, errors = await finish(process, None)
    assert (code, output) == (1, "")
    assert "accountSubscribe" in errors
    assert "Node subscription limit reached" in errors
    assert errors.count("\n") == 1

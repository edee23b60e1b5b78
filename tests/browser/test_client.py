"""The client for browsers in a real one, against the server of this package: what it receives, and what it is told."""

import asyncio
import gzip
import json
import re
import sys
import time
from pathlib import Path

import pytest
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.client_page import Page
from tests.support.tokens import SECRET, signed
from tests.support.waiting import until

from websocket_utils import (
    AccountUpdate,
    Grant,
    Identity,
    Message,
    Namespace,
    PriceUpdate,
    ServerConnection,
    TokenAuthentication,
    WebSocketServer,
    issue_token,
)

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

ROOT = Path(__file__).resolve().parents[2]
GRANTS = [Grant("prices:*")]
GUIDE = ROOT / "docs" / "guides" / "browser.md"


class Quote(Message):
    number: int
    padding: str = "x" * 1000


class Order(Message):
    amount: int


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


def numbers(messages: list[dict[str, int]]) -> list[int]:
    return [message["timestamp"] for message in messages]


def ends_at(connection: ServerConnection) -> float:
    assert connection.identity is not None
    assert connection.identity.expires_at is not None
    return connection.identity.expires_at


def token(ttl: float = 300, name: str = "desk", secret: str = SECRET) -> str:
    return issue_token(secret, name, GRANTS, ttl)


def test_built_module_is_small_and_needs_nothing(client_module: Path) -> None:
    code = client_module.read_bytes()
    said = re.search(r"one module of (\d+) KiB \(gzip\)", GUIDE.read_text(encoding="utf-8"))
    assert said is not None
    assert (int(said[1]) - 1) * 1024 < len(gzip.compress(code, 9)) <= int(said[1]) * 1024
    assert b"import " not in code
    package = json.loads((client_module.parents[1] / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package


# --- what it receives ---


async def test_client_receives_what_is_published_and_where_it_stands(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "prices:SOL-USDC")
        assert (await page.until_state("live"))[0]["recovered"] is None
        receipts = [server.publish("prices:SOL-USDC", price(number)) for number in (1, 2)]
        await page.until_seen(2)
        assert await page.seen() == [
            (
                {
                    "type": "PriceUpdate",
                    "input_mint": "SOL",
                    "output_mint": "USDC",
                    "price": number,
                    "volume": 0,
                    "timestamp": number,
                },
                {"channel": "prices:SOL-USDC", "epoch": f"{receipt.epoch}n", "sequence": f"{receipt.sequence}n"},
            )
            for number, receipt in zip((1, 2), receipts, strict=True)
        ]
        assert [change["state"] for change in await page.of("state")] == ["connecting", "restoring", "live"]


async def test_pattern_and_channel_each_hear_a_message_once_and_an_ended_one_no_more(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "prices:*", "prices:b")
        await page.until_state("live")
        server.publish("prices:a", price(1))
        server.publish("prices:b", price(2))
        server.publish("trades:b", price(3))
        assert numbers(await page.until_seen(3)) == [1, 2, 2]
        await page.run("subscriptions[0].end()")
        await until(lambda: {channel for one in server.connections for channel in one.channels} == {"prices:b"})
        server.publish("prices:a", price(4))
        server.publish("prices:b", price(5))
        assert numbers(await page.until_seen(4)) == [1, 2, 2, 5]


async def test_new_subscriber_gets_the_latest_first(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=[Namespace("prices", history=5)]) as server:
        for number in (1, 2, 3):
            server.publish("prices:a", price(number))
        await page.begin(server.url, "prices:a")
        assert numbers(await page.until_seen(1)) == [3]
        server.publish("prices:a", price(4))
        assert numbers(await page.until_seen(2)) == [3, 4]
        assert await page.of("gap") == []


async def test_integers_of_64_bits_are_exact_both_ways(page: Page) -> None:
    most, odd = 2**64 - 1, 2**53 + 1
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        got: list[Order] = []
        server.on(Order, lambda connection, order: got.append(order))
        await page.begin(server.url, "accounts:a")
        await page.until_state("live")
        server.publish("accounts:a", AccountUpdate("a", most, odd, -(2**63)))
        server.publish("accounts:a", AccountUpdate("a", 2**53 - 1, 0, -1))
        big, small = await page.until_seen(2)
        assert [big[name] for name in ("lamports", "slot", "timestamp")] == [f"{most}n", f"{odd}n", f"{-(2**63)}n"]
        assert [small[name] for name in ("lamports", "slot", "timestamp")] == [2**53 - 1, 0, -1]
        assert await page.run(f"return client.send({{type: 'Order', amount: {odd}n}})") is True
        await until(lambda: got)
        assert got == [Order(odd)]


async def test_text_that_is_no_json_is_told_and_the_next_message_comes(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "news")
        await page.until_state("live")
        server.publish("news", "no json")
        server.publish("news", "[1]")
        server.broadcast(price(7))
        await page.until("return log.length", lambda count: count >= 6)
        assert await page.until_seen(1) == [[1]]
        (fault,) = await page.of("error")
        assert (fault["kind"], fault["channel"]) == ("malformed", "news")
        assert numbers(await page.of("message")) == [7]


async def test_server_without_our_subprotocol_is_served_with_bare_messages(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "prices:a", subprotocol=None)
        await until(lambda: any("prices:a" in one.channels for one in server.connections))
        (connection,) = server.connections
        assert connection.subprotocol is None
        server.publish("prices:a", price(1))
        assert numbers(await page.until_seen(1)) == [1]
        assert (await page.seen())[0][1] == {"channel": "prices:a", "epoch": None, "sequence": None}
        connection.close(1012)
        await page.until_state("live", 2)
        await until(lambda: any("prices:a" in one.channels for one in server.connections))
        server.publish("prices:a", price(2))
        assert numbers(await page.until_seen(2)) == [1, 2]
        assert await page.of("gap") == [{"channel": "prices:a", "last": None, "next": None}]


# --- what it asks for and does not get ---


async def test_refused_channels_are_told_each_with_its_code_and_the_others_come(page: Page) -> None:
    async with WebSocketServer.bind(
        "127.0.0.1:0",
        namespaces=[Namespace("prices"), Namespace("orders")],
        undeclared="refuse",
        authenticate=TokenAuthentication(secret=SECRET),
        max_channels_per_connection=1,
    ) as server:
        await page.begin(server.url, "bad*name", "orders:a", "nowhere", "prices:a", "prices:b", tokens=(token(),))
        await page.until_state("live")
        server.publish("prices:a", price(1))
        assert numbers(await page.until_seen(1)) == [1]
        rejected = {one["channel"]: one["code"] for one in await page.of("rejected")}
        assert rejected == {"bad*name": 4400, "orders:a": 4403, "nowhere": 4404, "prices:b": 4429}


async def test_refused_channel_may_be_subscribed_to_anew_and_its_old_subscription_ends_nothing(page: Page) -> None:
    identities = [Identity("desk", ()), Identity("desk", (Grant("prices:*"),))]
    async with WebSocketServer.bind("127.0.0.1:0", authenticate=lambda credentials: identities[0]) as server:
        await page.begin(server.url, "prices:*")
        await page.until("return log.filter(([event]) => event === 'rejected').length", lambda count: count == 1)
        (connection,) = server.connections
        connection.identity = identities[1]
        await page.run("window.again = subscribe('prices:*'); subscriptions[0].end()")
        await until(lambda: "prices:*" in connection.channels)
        server.publish("prices:a", price(1))
        assert numbers(await page.until_seen(1)) == [1]
        await page.run("again.end()")
        await until(lambda: not connection.channels)


async def test_server_is_asked_for_the_slow_policy_and_what_it_left_out_is_told(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=[Namespace("quotes")], max_lag=1 << 26) as server:
        await page.begin(server.url, ("quotes:a", "conflate"))
        await page.until_state("live")
        last = 0
        # A page that is busy reads nothing, once all buffers on the way are full.
        await page.run("setTimeout(() => { const end = performance.now() + 1500; while (performance.now() < end); })")
        while not server.stats().conflated and last < 200_000:
            for _ in range(200):
                last += 1
                server.publish("quotes:a", Quote(last))
            await asyncio.sleep(0)
        seen = "return log.findLast(([event]) => event === 'update')?.[1].number"
        assert await page.until(seen, lambda number: number == last, 20) == last
        counts = await page.run(
            "return [log.filter(([event]) => event === 'update').length,"
            "log.filter(([event]) => event === 'lagged').reduce((sum, [, one]) => sum + parseInt(one.count), 0)]"
        )
        assert sum(counts) == last
        assert counts[1] == server.stats().conflated > 0
        assert await page.of("gap") == []


# --- who it is ---


async def test_token_is_told_on_the_connection_and_never_in_the_url(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", authenticate=TokenAuthentication(secret=SECRET)) as server:
        secret = token()
        await page.begin(server.url, "prices:a", tokens=(secret,))
        await page.until_state("live")
        (connection,) = server.connections
        assert connection.identity is not None
        assert connection.identity.name == "desk"
        states = [change["state"] for change in await page.of("state")]
        assert states == ["connecting", "authenticating", "restoring", "live"]
        assert not [url for url in page.window.requested() if secret in url]


async def test_expired_token_is_asked_for_anew_and_a_callable_that_throws_is_asked_again(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", authenticate=TokenAuthentication(secret=SECRET, leeway=0)) as server:
        await page.begin(server.url, "prices:a", tokens=("throw", signed(SECRET, "HS256", exp=1), token()))
        await page.until_state("live")
        assert await page.run("return asked") == [False, False, True]
        backoffs = [(change["code"], change["reason"]) for change in await page.until_state("backoff", 2)]
        assert backoffs == [(None, "no token"), (4401, "the token has expired")]
        assert [fault["kind"] for fault in await page.of("error")] == ["token"]
        server.publish("prices:a", price(1))
        assert numbers(await page.until_seen(1)) == [1]


async def test_token_is_renewed_on_the_connection_before_it_ends(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", authenticate=TokenAuthentication(secret=SECRET, leeway=0)) as server:
        # Tokens count whole seconds: this one has one to two of them left.
        await page.begin(server.url, "prices:a", tokens=(token(ttl=2), token()))
        await page.until_state("live")
        await page.until("return asked.length", lambda count: count == 2)
        (connection,) = server.connections
        await until(lambda: ends_at(connection) > time.time() + 100)
        assert await page.run("return client.stats.connects") == 1


async def test_second_refusal_in_a_row_ends_it(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", authenticate=TokenAuthentication(secret=SECRET)) as server:
        await page.begin(server.url, "prices:a", tokens=(token(secret="another secret of thirty-two bytes"),))
        (change,) = await page.until_state("failed")
        assert change["code"] == 4401
        assert await page.run("return [asked, client.state]") == [[False, True], "failed"]


# --- what it sends ---


async def test_what_is_sent_before_it_is_live_waits_within_its_bounds(page: Page) -> None:
    got: list[int] = []
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(PriceUpdate, lambda connection, update: got.append(update.timestamp))
        taken = await page.run(
            "begin(arguments[0], {outbox: {messages: 2}}, []); return [1, 2, 3].map(timestamp => client.send("
            "{type: 'PriceUpdate', input_mint: '', output_mint: '', price: 1.5, timestamp}))",
            server.url,
        )
        assert taken == [True, True, False]
        await until(lambda: len(got) == 2)
        assert got == [1, 2]
        assert await page.run("return client.stats.waiting") == 0


async def test_closed_client_leaves_no_connection_and_takes_nothing_more(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "prices:a")
        await page.until_state("live")
        await page.run("client.close()")
        await until(lambda: not server.connections)
        assert (await page.until_state("closed"))[0]["reason"] == "closed by the page"
        assert await page.run("return client.send('x')") is False


# --- what it leaves to the page ---


async def test_handler_that_throws_is_told_and_keeps_nothing_from_the_others(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url)
        await page.run("client.subscribe('prices:a', () => { throw new Error('mine') })")
        await page.run("client.on('error', () => { throw new Error('and mine') }); subscribe('prices:a')")
        await page.until_state("live")
        await until(lambda: any("prices:a" in one.channels for one in server.connections))
        server.publish("prices:a", price(1))
        server.publish("prices:a", price(2))
        assert numbers(await page.until_seen(2)) == [1, 2]
        faults = await page.of("error")
        assert [(fault["kind"], fault["reason"]) for fault in faults] == [
            ("handler", "a handler threw: Error: mine")
        ] * 2


async def test_handler_may_subscribe_send_and_close_where_it_is_called(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=[Namespace("prices", history=1)]) as server:
        server.publish("prices:b", price(2))
        await page.begin(server.url)
        await page.run(
            "client.subscribe('prices:a', () => client.subscribe('prices:b', (update) => {"
            "log.push(['update', update, {}]); client.close(); }))"
        )
        await page.until_state("live")
        await until(lambda: any("prices:a" in one.channels for one in server.connections))
        server.publish("prices:a", price(1))
        assert numbers(await page.until_seen(1)) == [2]
        await page.until_state("closed")


async def test_page_that_sends_to_a_server_that_reads_nothing_is_refused_at_its_bound(page: Page) -> None:
    reads = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.upgrade("Sec-WebSocket-Protocol: websocket-utils.json")
        await reads.wait()

    async with raw_server(script) as server:
        await page.begin(server.url, outbox={"bytes": 100_000})
        await page.until_state("live")
        sent = await page.run(
            "const text = 'x'.repeat(50_000); let count = 0; while (count < 10_000 && client.send(text)) count++;"
            "return count"
        )
        assert sent == 2
        reads.set()


# --- the example ---


@pytest.mark.slow
async def test_example_page_shows_the_feed_that_one_command_serves(page: Page) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", ROOT / "examples" / "browser_dashboard.py", "--seconds", "3"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        await asyncio.to_thread(page.window.open, (await program.stdout.readline()).decode().strip())
        shown = await page.until(
            "return document.querySelector('#prices').innerText", lambda text: "prices:SOL" in text
        )
        assert "Channel" in shown
        await page.until("return document.querySelector('#state').textContent", lambda text: text == "live")
        assert await page.run("return document.querySelector('#missed').textContent") == "nothing"
        await page.until("return document.querySelector('#state').textContent", lambda text: text.startswith("backoff"))
    finally:
        _, errors = await program.communicate()
    assert program.returncode == 0, errors

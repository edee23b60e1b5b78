"""The dashboard in a real browser: what it shows is what the server counts, and it does nothing else.

`DASHBOARD_IMAGE=docs/images/dashboard.png` keeps the picture that one of these tests takes.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.raw_peer import RawPeer, raw_client
from tests.support.browser import Browser, browser, missing_packages
from tests.support.waiting import until
from tests.support.wire import TEXT

from websocket_utils import Conflate, DropOldest, Namespace, PriceUpdate, WebSocketClient, WebSocketServer
from websocket_utils.door._facts import Served

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(120)]

PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, 5)
MARKUP = "prices:<img src=x onerror=\"window.hit='image'\">"
KEY = "a-key-that-nobody-guesses"
NAMESPACES = [Namespace("quotes", slow=Conflate()), Namespace("trades", slow=DropOldest(10))]
WIDTH, HEIGHT = 1280, 1000


@pytest.fixture(scope="module")
def shared_window() -> Iterator[Browser]:
    if missing := missing_packages():
        pytest.skip(
            f"NOT RUN: the dashboard in a real browser, for want of the Debian packages {' and '.join(missing)}"
        )
    with browser() as window:
        yield window


@pytest.fixture
async def window(shared_window: Browser) -> AsyncIterator[Browser]:
    """A blank page that nobody has complained about."""
    await asyncio.to_thread(shared_window.look, WIDTH, HEIGHT)
    await asyncio.to_thread(shared_window.open, "about:blank")
    shared_window.requested()
    shared_window.complaints()
    yield shared_window
    assert await asyncio.to_thread(shared_window.complaints) == []


async def shown(window: Browser, selector: str) -> str:
    return await asyncio.to_thread(window.text, selector)


async def until_shown(window: Browser, script: str, wanted: Callable[[Any], object], seconds: float = 20) -> Any:
    """Wait until what a script returns in the page is as wanted; tells what it was otherwise."""
    value: Any = None
    try:
        async with asyncio.timeout(seconds):
            # A page tells nobody when it has changed.
            while not wanted(value := await asyncio.to_thread(window.run, script)):  # noqa: ASYNC110  # as said
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"the page still shows {value!r}")
    return value


STATE = "return document.getElementById('badge').dataset.state"


async def until_state(window: Browser, state: str) -> None:
    await until_shown(window, STATE, lambda found: found == state)


@contextlib.asynccontextmanager
async def served(
    window: Browser, *, key: str | None = None, http: str = "127.0.0.1:0"
) -> AsyncIterator[WebSocketServer]:
    """A server whose dashboard is open."""
    async with WebSocketServer.bind("127.0.0.1:0", http=http, http_key=key, namespaces=NAMESPACES) as server:
        assert server.http_url is not None
        await asyncio.to_thread(window.open, server.http_url + "/")
        yield server


@contextlib.asynccontextmanager
async def audience(server: WebSocketServer, *channels: str) -> AsyncIterator[None]:
    """Three clients that read, each subscribed to one channel more than the one before."""

    async def read(client: WebSocketClient) -> None:
        async for _ in client.messages(str | PriceUpdate):
            pass

    async with contextlib.AsyncExitStack() as stack:
        readers = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for count in range(1, 4):
            client = await stack.enter_async_context(WebSocketClient.connect(server.url))
            await client.subscribe(*channels[:count])
            tasks.append(readers.create_task(read(client)))
        yield
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def stalled(server: WebSocketServer, channel: str, count: int = 1) -> AsyncIterator[RawPeer]:
    """A client that asks for a channel and reads nothing of it, the `count`th whose socket takes no more."""
    async with raw_client(server.url) as peer:
        peer.send(TEXT, b'{"type":"Subscribe","channels":["%s"]}' % channel.encode())
        await until(lambda: any(channel in one.channels for one in server.connections))
        # What the transport holds is not behind yet.
        while sum(behind > 0 for _, behind, _ in server._broadcaster.slowest(count)) < count:
            server.publish(channel, "x" * 100_000)
            await asyncio.sleep(0.001)
        yield peer


# --- what it shows ---


async def test_page_shows_what_the_server_counts(window: Browser) -> None:
    async with (
        served(window) as server,
        audience(server, "prices:a", "prices:b", "prices:c"),
        stalled(server, "prices:slow") as slow,
    ):
        for number in range(300):
            server.publish("prices:a" if number % 3 else "prices:b", PRICE)
        await asyncio.sleep(0)
        stats = server.stats()
        assert (stats.connections, stats.lagging) == (4, 1)
        total = "return document.getElementById('total-{}').title".format
        await until_shown(window, total("messages_sent"), lambda text: text == str(stats.messages_sent))
        assert await asyncio.to_thread(window.run, total("deliveries")) == str(stats.deliveries)
        assert await asyncio.to_thread(window.run, total("bytes_sent")) == str(stats.bytes_sent)
        assert await asyncio.to_thread(window.run, total("accepted")) == str(stats.accepted)
        assert await shown(window, "#connections") == "4"
        assert "1 of 4 lagging" in await shown(window, "#tiles")
        assert server.url in await shown(window, "#about")
        rows = await asyncio.to_thread(
            window.run, "return [...document.querySelectorAll('#channels tr')].map(row => row.innerText.split('\\t'))"
        )
        peername = slow.writer.get_extra_info("sockname")
        assert await shown(window, "#slowest td") == f"{peername[0]}:{peername[1]}"
        behind = "return document.querySelector('#slowest td:nth-child(2)').title"
        ((_, size, _),) = server._broadcaster.slowest(5)
        assert await asyncio.to_thread(window.run, behind) == str(size)
        assert {row[0]: row[1] for row in rows} == {
            "prices:a": "3",
            "prices:b": "2",
            "prices:c": "1",
            "prices:slow": "1",
        }
        assert await shown(window, "#badge") == "Ready"


async def test_page_shows_what_slow_clients_lost_by_policy(window: Browser) -> None:
    async with (
        served(window) as server,
        stalled(server, "quotes:slow"),
        stalled(server, "trades:slow", count=2),
    ):
        for number in range(50):
            server.publish("quotes:slow", str(number))
            server.publish("trades:slow", str(number))
        await asyncio.sleep(0)
        stats = server.stats()
        assert stats.conflated > 40
        assert stats.dropped > 30
        totals = "return [...document.querySelectorAll('#policies td:nth-child(3)')].map(cell => cell.title)"
        lost = [str(stats.conflated), str(stats.dropped), "0", "0"]
        await until_shown(window, totals, lambda found: found == lost)


async def test_plots_follow_the_samples_of_the_server(window: Browser) -> None:
    async with served(window) as server, audience(server, "prices:a"):
        line = "return document.querySelector('.plot .line').getAttribute('d')"
        await until_shown(window, line, lambda path: path and path.count("L") >= 2)
        for _ in range(50):
            server.publish("prices:a", PRICE)
        # The heights of its labels are those of its highest sample.
        highest = "return Math.max(...samples.map(one => one.deliveries))"
        peak = await until_shown(window, highest, lambda value: value > 0)
        labels = await asyncio.to_thread(
            window.run, "return [...document.querySelectorAll('.plot')][0].querySelectorAll('svg text')[2].textContent"
        )
        assert float(labels.replace(",", "")) >= peak
        assert await until_shown(window, line, lambda path: path.count("L") >= 3)


async def test_pointing_at_a_plot_shows_that_moment_in_all_of_them(window: Browser) -> None:
    async with served(window):
        await until_shown(window, "return samples.length", lambda count: count >= 3)
        box = await asyncio.to_thread(
            window.run,
            "const box = document.querySelectorAll('.plot svg')[1].getBoundingClientRect();"
            "return [box.right - 8, box.top + 60].map(Math.round)",
        )
        await asyncio.to_thread(window.point, *box)
        whens = "return [...document.querySelectorAll('.plot small:not([class])')].map(one => one.textContent)"
        found = await until_shown(window, whens, lambda texts: all(text.endswith(" s ago") for text in texts))
        assert len(found) == 6
        assert len(set(found)) == 1
        await asyncio.to_thread(window.point, 5, 5)
        await until_shown(window, whens, lambda texts: not any(texts))


# --- what it does not do ---


async def test_names_that_are_markup_stay_text(window: Browser) -> None:
    async with served(window) as server, audience(server, MARKUP):
        names = "return [...document.querySelectorAll('#channels td:first-child')].map(cell => cell.textContent)"
        assert await until_shown(window, names, len) == [MARKUP]
        assert await asyncio.to_thread(window.run, "return document.images.length") == 0
        assert await asyncio.to_thread(window.run, "return window.hit ?? null") is None


async def test_page_runs_nothing_but_its_own_script_and_asks_nobody_but_its_server(window: Browser) -> None:
    async with served(window) as server:
        await until_state(window, "ready")
        asked = {url for url in window.requested() if not url.startswith("chrome:")}
        assert asked == {f"{server.http_url}/", f"{server.http_url}/api/info"}
        # What a fault of the page would bring into it is stopped by its policy.
        await asyncio.to_thread(
            window.run,
            "document.body.insertAdjacentHTML('beforeend', `<img src=x onerror=\"window.hit='image'\">`);"
            "const script = document.createElement('script'); script.textContent = 'window.hit = 1';"
            "document.body.append(script);",
        )
        refused = await asyncio.to_thread(
            window.run_async,
            "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('asked'), () => done('refused'))",
        )
        assert refused == "refused"
        assert await asyncio.to_thread(window.run, "return window.hit ?? null") is None
        complaints = await asyncio.to_thread(window.complaints)
        assert any("Content Security Policy" in text and "inline script" in text for text in complaints)
        assert any("Content Security Policy" in text and "connect-src" in text for text in complaints)


# --- states ---


async def test_page_asks_for_the_key_and_keeps_it_for_this_window_alone(window: Browser) -> None:
    async with served(window, key=KEY) as server:
        await until_state(window, "key")
        assert "nothing without its key" in await shown(window, "#notice")
        assert await shown(window, "#connections") == "\N{EN DASH}"
        for wrong, said in (("not the key of it", "ASCII"), ("not-the-key-of-it", "did not take")):
            await asyncio.to_thread(window.type, "#key", wrong + "\n")
            notice = f"return document.getElementById('notice').innerText.includes({json.dumps(said)})"
            await until_shown(window, notice, bool)
        await asyncio.to_thread(window.type, "#key", KEY + "\n")
        await until_state(window, "ready")
        assert await asyncio.to_thread(window.run, "return document.getElementById('ask').offsetParent") is None
        # Known after a reload, and nowhere but in this window.
        await asyncio.to_thread(window.open, f"{server.http_url}/")
        await until_state(window, "ready")
        stores = "return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        assert await asyncio.to_thread(window.run, stores) == [[KEY], [], ""]
        assert not [url for url in window.requested() if KEY in url]
        # The browser itself notes answers of 401: one without a key, one with a wrong one.
        complaints = await asyncio.to_thread(window.complaints)
        assert all("401" in text for text in complaints)


async def test_lost_server_is_told_what_was_stays_and_nothing_moves(window: Browser) -> None:
    height = "return document.documentElement.scrollHeight"
    async with served(window) as server:
        await until_state(window, "ready")
        before = await asyncio.to_thread(window.run, height)
        http = str(server.http_url).removeprefix("http://")
    await until_state(window, "disconnected")
    assert (await shown(window, "#notice")).startswith("Disconnected from the server since ")
    assert await shown(window, "#connections") == "0"
    assert float(await asyncio.to_thread(window.run, "return getComputedStyle(main).opacity")) < 1
    assert await asyncio.to_thread(window.run, height) == before
    async with WebSocketServer.bind("127.0.0.1:0", http=http):
        await until_state(window, "ready")
        assert await asyncio.to_thread(window.run, height) == before
    complaints = await asyncio.to_thread(window.complaints)
    assert all("ERR_CONNECTION" in text or "ERR_EMPTY_RESPONSE" in text for text in complaints)


async def test_draining_server_is_told(window: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(window):
        await until_state(window, "ready")
        monkeypatch.setattr(Served, "is_ready", property(lambda _: False))
        monkeypatch.setattr(WebSocketServer, "is_ready", property(lambda _: False))
        await until_state(window, "draining")
        assert await shown(window, "#badge") == "Draining"


# --- its looks ---


@pytest.mark.parametrize("width", [1280, 900, 390])
async def test_page_fits_its_window_and_cuts_no_number(window: Browser, width: int) -> None:
    await asyncio.to_thread(window.look, width, HEIGHT)
    async with served(window) as server, audience(server, "prices:" + "x" * 240):
        await until_shown(window, "return document.querySelectorAll('#channels tr').length", lambda count: count)
        assert await asyncio.to_thread(window.run, "return document.documentElement.scrollWidth - innerWidth") == 0
        cut = (
            "return [...document.querySelectorAll('output, dd, td:not(:first-child)')]"
            ".filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth).map(one => one.textContent)"
        )
        assert await asyncio.to_thread(window.run, cut) == []


async def test_page_is_dark_for_those_who_like_it_dark(window: Browser) -> None:
    lightness = (
        "const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
        "return red + green + blue"
    )
    async with served(window):
        await until_state(window, "ready")
        assert await asyncio.to_thread(window.run, lightness) > 600
        await asyncio.to_thread(window.look, WIDTH, HEIGHT, "dark")
        assert await asyncio.to_thread(window.run, lightness) < 150


async def test_screenshot_is_a_picture_of_a_busy_server(window: Browser, tmp_path: Path) -> None:
    async with (
        served(window) as server,
        audience(server, "prices:SOL-USDC", "prices:JUP-USDC", "prices:JTO-USDC"),
        stalled(server, "quotes:SOL-USDC"),
        stalled(server, "trades:SOL-USDC", count=2),
    ):
        publishing = asyncio.create_task(publish(server))
        seconds = 60 if "DASHBOARD_IMAGE" in os.environ else 3
        await until_shown(window, "return samples.length", lambda count: count >= seconds, seconds + 20)
        png = await asyncio.to_thread(window.screenshot)
        publishing.cancel()
    (tmp_path / "dashboard.png").write_bytes(png)
    # Panels, three colours of text and lines on two grounds, and what smoothing makes of them.
    assert await asyncio.to_thread(window.colours, png) > 100
    if image := os.environ.get("DASHBOARD_IMAGE"):
        await asyncio.to_thread(Path(image).write_bytes, png)


async def publish(server: WebSocketServer) -> None:
    """A feed whose rate goes up and down."""
    number = 0
    while True:
        for name in ("prices:SOL-USDC", "prices:JUP-USDC", "prices:JTO-USDC", "quotes:SOL-USDC", "trades:SOL-USDC"):
            for _ in range(1 + number // 40 % 5):
                server.publish(name, PRICE)
        number += 1
        await asyncio.sleep(0.02)

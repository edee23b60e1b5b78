"""The client for browsers in a real one, against the server of this package: what it receives, and what it is told."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Browser, browser
from tests.support.client_page import Page, built_module, pages, skip_without_what_is_needed
from tests.support.waiting import until

from websocket_utils import AccountUpdate, Message, Namespace, PriceUpdate, WebSocketServer

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def module() -> Path:
    skip_without_what_is_needed("the client for browsers")
    return built_module()


@pytest.fixture(scope="module")
def window(module: Path) -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture(scope="module")
def page_url(module: Path) -> Iterator[str]:
    with pages(module) as url:
        yield url


@pytest.fixture
async def page(window: Browser, page_url: str) -> AsyncIterator[Page]:
    page = Page(window, page_url)
    await page.open()
    yield page
    await page.end()


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


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

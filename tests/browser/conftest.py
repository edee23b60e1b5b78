"""One browser for all tests of the client for browsers, and a fresh page for each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.browser import Browser, browser
from tests.support.client_page import Page, built_module, pages, skip_without_what_is_needed


@pytest.fixture(scope="session")
def client_module() -> Path:
    skip_without_what_is_needed("the client for browsers")
    return built_module()


@pytest.fixture(scope="session")
def client_window(client_module: Path) -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture(scope="session")
def page_url(client_module: Path) -> Iterator[str]:
    with pages(client_module) as url:
        yield url


@pytest.fixture
async def page(client_window: Browser, page_url: str) -> AsyncIterator[Page]:
    page = Page(client_window, page_url)
    await page.open()
    yield page
    await page.end()

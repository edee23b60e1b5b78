"""The client for browsers against the Workers on real workerd: it does what it does with our Python server."""

from collections.abc import Iterator

import pytest
from tests.edge.feeds import NAMESPACES, TOKEN_KEY, Feed
from tests.support.client_page import Page
from tests.support.workerd import Workerd

from websocket_utils import Grant, issue_token
from websocket_utils.testing import ChaosProxy

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

MOST = 2**64 - 1


def workers(page_url: str, **variables: str) -> Workerd:
    """Workers that let the page in, and no page of another origin."""
    settings = {"NAMESPACES": " ".join(NAMESPACES), "ALLOWED_ORIGINS": page_url.removesuffix("/")}
    return Workerd(variables={**settings, **variables})


@pytest.fixture(scope="module")
def workerd(page_url: str) -> Iterator[Workerd]:
    with workers(page_url) as running:
        yield running


@pytest.fixture
def feed(workerd: Workerd) -> Feed:
    return Feed(workerd.url, workerd.http_url)


async def test_worker_is_subscribed_to_and_its_integers_are_exact(page: Page, feed: Feed) -> None:
    await feed.publish("accounts:exact", {"number": 1})
    await page.begin(feed.url, "accounts:*", "prices:none", "orders:a")
    await page.until_state("live")
    epoch = await feed.publish("accounts:exact", {"number": MOST})
    assert await page.until_seen(2) == [{"number": 1}, {"number": f"{MOST}n"}]
    assert [at for _, at in await page.seen()] == [
        {"channel": "accounts:exact", "epoch": f"{epoch}n", "sequence": f"{number}n"} for number in (1, 2)
    ]
    assert [(one["channel"], one["code"]) for one in await page.of("rejected")] == [("orders:a", 4404)]
    assert await page.of("error") == []


async def test_worker_that_fails_and_one_that_is_killed_have_lost_nothing(
    page: Page, feed: Feed, workerd: Workerd
) -> None:
    await page.begin(feed.url, "prices:lost")
    await page.until_state("live")
    await feed.publish("prices:lost", {"number": 1})
    await page.until_seen(1)
    await workerd.reset()
    await page.until_state("live", 2)
    await feed.publish("prices:lost", {"number": 2})
    await page.until_seen(2)
    await workerd.restart()
    changes = await page.until_state("live", 3)
    await feed.publish("prices:lost", {"number": 3})
    assert await page.until_seen(3) == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert [change["recovered"] for change in changes] == [None, True, True]
    assert await page.of("gap") == []


async def test_what_a_worker_published_meanwhile_is_recovered(page: Page, feed: Feed) -> None:
    async with ChaosProxy(feed.url) as network:
        await page.begin(network.url, "prices:missed")
        await page.until_state("live")
        await feed.publish("prices:missed", {"number": 1})
        await page.until_seen(1)
        network.down()
        await page.until_state("backoff")
        await feed.publish("prices:missed", {"number": 2}, {"number": 3})
        network.up()
        assert [change["recovered"] for change in await page.until_state("live", 2)] == [None, True]
        assert await page.until_seen(3) == [{"number": 1}, {"number": 2}, {"number": 3}]
        assert await page.of("gap") == []


async def test_worker_is_told_a_token_on_the_connection(page: Page, page_url: str) -> None:
    good = issue_token(TOKEN_KEY, "desk", [Grant("prices:*")], 300)
    forged = issue_token("another secret of thirty-two bytes", "desk", [Grant("prices:*")], 300)
    with workers(page_url, TOKEN_KEY=TOKEN_KEY) as workerd:
        feed = Feed(workerd.url, workerd.http_url)
        await page.begin(feed.url, "prices:a", "accounts:a", tokens=(forged, good))
        await page.until_state("live")
        assert await page.run("return asked") == [False, True]
        await feed.publish("prices:a", {"number": 1})
        assert await page.until_seen(1) == [{"number": 1}]
        assert [(one["channel"], one["code"]) for one in await page.of("rejected")] == [("accounts:a", 4403)]


async def test_worker_without_our_subprotocol_sends_bare_messages(page: Page, feed: Feed) -> None:
    await page.begin(feed.url, "prices:bare", subprotocol=None)
    await page.until_state("live")
    await feed.publish("prices:bare", {"number": 1})
    assert await page.until_seen(1) == [{"number": 1}]

"""Publishing over HTTP: the same requests to our Python server's door and to the Workers', and the same answers."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.edge.feeds import Feed, peer, python_feed, worker_feed
from tests.support.workerd import PUBLISH_KEY, Workerd

pytestmark = pytest.mark.one_loop


@pytest.fixture(scope="module")
def open_workers() -> Iterator[Workerd]:
    with worker_feed() as workerd:
        yield workerd


@pytest_asyncio.fixture(params=["python", "worker"])
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    if request.param == "python":
        async with python_feed() as here:
            yield here
    else:
        workerd: Workerd = request.getfixturevalue("open_workers")
        yield Feed(workerd.url, workerd.http_url)


def fault(code: int, message: str, path: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    return {"error": error if path is None else {**error, "path": path}}


async def test_numbers_keep_all_their_digits(feed: Feed) -> None:
    async with peer(feed) as one:
        await one.ask({"type": "Subscribe", "channels": ["prices:digits"]})
        text = '{"volume":18446744073709551615,"timestamp":-9223372036854775808,"price":150.25}'
        spaced = text.replace(":", " :\n ").replace("{", "{ \t")
        body = f'{{"data" : {spaced}, "channel": "prices:digits"}}'.encode()
        assert (await feed.post("/api/publish", body))[0] == 200
        assert await one.hear() == [f"\x1eE 1 0 prices:digits\n{text}"]


async def test_broadcast_answers_for_each_channel_in_order(feed: Feed) -> None:
    body = {"channels": ["prices:b1", "slots:b2", "prices:b1"], "data": [1]}
    status, answer = await feed.post("/api/broadcast", body)
    assert status == 200
    results = [one["result"] for one in answer["result"]["responses"]]
    assert [one["offset"] for one in results] == [1, 1, 2]
    assert all(one["epoch"].isdigit() for one in results)


async def test_repeated_idempotency_key_is_answered_alike_and_publishes_once(feed: Feed) -> None:
    body = {"channel": "prices:once", "data": 1, "idempotency_key": "key-once"}
    status, first = await feed.post("/api/publish", body)
    assert (status, first["result"]["offset"]) == (200, 1)
    assert await feed.post("/api/publish", body) == (200, first)
    message = "this idempotency key was used for another request body: take a new key, or send the same bytes"
    assert await feed.post("/api/publish", {**body, "data": 2}) == (409, fault(113, message, "$.idempotency_key"))
    # Each of the two has keys of its own.
    other = {"channels": ["prices:once"], "data": 1, "idempotency_key": "key-once"}
    status, answer = await feed.post("/api/broadcast", other)
    assert answer["result"]["responses"][0]["result"]["offset"] == 2


async def test_refused_request_leaves_its_key_free(feed: Feed) -> None:
    body = {"channel": "orders:1", "data": 1, "idempotency_key": "key-free"}
    assert (await feed.post("/api/publish", body))[0] == 404
    assert (await feed.post("/api/publish", {**body, "channel": "prices:free"}))[0] == 200


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": PUBLISH_KEY[:-1]}, {"Authorization": "apikey x"}]
)
@pytest.mark.parametrize("path", ["/api/publish", "/api/broadcast"])
async def test_request_without_the_key_is_refused(feed: Feed, path: str, headers: dict[str, str]) -> None:
    expected = (401, fault(101, "the header X-API-Key is missing or wrong"))
    assert await feed.post(path, {"channel": "prices:a", "data": 1}, headers) == expected


@pytest.mark.parametrize("headers", [{"X-API-Key": PUBLISH_KEY}, {"Authorization": f"apikey {PUBLISH_KEY}"}])
async def test_key_is_taken_from_both_headers(feed: Feed, headers: dict[str, str]) -> None:
    assert (await feed.post("/api/publish", {"channel": "prices:a", "data": 1}, headers))[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "where"),
    [
        ("/api/publish", b"", 400, 107, None),
        ("/api/publish", b"{", 400, 107, None),
        ("/api/publish", b"\xff", 400, 107, None),
        ("/api/publish", {"data": 1}, 400, 107, "$"),
        ("/api/publish", {"channel": "prices:a"}, 400, 107, "$"),
        ("/api/publish", {"channel": 1, "data": 1}, 400, 107, "$.channel"),
        ("/api/publish", {"channel": "", "data": 1}, 400, 107, "$.channel"),
        ("/api/publish", {"channel": "prices:*", "data": 1}, 400, 107, "$.channel"),
        ("/api/publish", {"channel": "prices:a", "data": 1, "b64data": "AA=="}, 400, 107, "$"),
        ("/api/publish", {"channel": "prices:a", "b64data": "A"}, 400, 107, "$.b64data"),
        ("/api/publish", {"channel": "prices:a", "data": 1, "tags": {"a": 1}}, 400, 107, None),
        ("/api/publish", {"channel": "prices:a", "data": 1, "skip_history": True}, 400, 108, "$.skip_history"),
        ("/api/publish", {"channel": "prices:a", "data": 1, "version": 1}, 400, 108, "$.version"),
        ("/api/publish", {"channel": "prices:a", "data": 1, "version_epoch": "a"}, 400, 108, "$.version_epoch"),
        (
            "/api/publish",
            {"channel": "prices:a", "data": 1, "idempotency_key": "k" * 257},
            400,
            107,
            "$.idempotency_key",
        ),
        ("/api/publish", {"channel": "orders:1", "data": 1}, 404, 102, "$.channel"),
        ("/api/broadcast", {"channels": [], "data": 1}, 400, 107, "$.channels"),
        ("/api/broadcast", {"channels": ["prices:a"] * 1001, "data": 1}, 400, 107, "$.channels"),
        ("/api/broadcast", {"channels": ["prices:a", 1], "data": 1}, 400, 107, "$.channels[1]"),
        ("/api/broadcast", {"channels": ["prices:a", "orders:1"], "data": 1}, 404, 102, "$.channels[1]"),
        ("/api/broadcast", {"channels": ["prices:a", "\n"], "data": 1}, 400, 107, "$.channels[1]"),
        ("/api/broadcast", {"channels": ["prices:a"] * 1000, "data": "x" * 20_000}, 413, 107, "$.channels"),
        ("/api/publish", b" " * (1024 * 1024 + 1), 413, 107, None),
        ("/api/nothing", {}, 404, 104, None),
    ],
)
async def test_request_that_is_wrong_is_refused_with_status_code_and_place(
    feed: Feed, path: str, body: Any, status: int, code: int, where: str | None
) -> None:
    found, answer = await feed.post(path, body)
    assert (found, answer["error"]["code"]) == (status, code)
    if where is not None:
        assert answer["error"]["path"] == where
    assert "\n" not in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/api/publish", "/api/broadcast"])
async def test_another_method_is_refused(feed: Feed, path: str) -> None:
    assert await feed.get(path) == (405, fault(107, "method not allowed"))


async def test_compressed_body_is_refused(feed: Feed) -> None:
    headers = {"X-API-Key": PUBLISH_KEY, "Content-Encoding": "gzip"}
    status, answer = await feed.post("/api/publish", b"x", headers)
    assert (status, answer["error"]["code"]) == (415, 107)

"""The door's ASGI application, asked without a socket."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.asgi import Answer, ask

from websocket_utils.door._app import App
from websocket_utils.door._commands import Commands
from websocket_utils.door._facts import Counted, Facts
from websocket_utils.door._guard import Guard
from websocket_utils.door._idempotency import Results
from websocket_utils.door._pulse import Pulse
from websocket_utils.metrics import ServerStats

pytestmark = pytest.mark.one_loop

KEY = "correct-horse-battery"
PATHS = ["/api/publish", "/api/broadcast", "/api/info", "/metrics", "/healthz", "/readyz"]
PUBLISH = {
    "type": "http",
    "method": "POST",
    "path": "/api/publish",
    "headers": [(b"host", b"localhost")],
    "query_string": b"",
}
STATS: dict[str, Any] = {name: number for number, name in enumerate(ServerStats.__dataclass_fields__, 1000)}


class Served:
    """A server that exists in words alone."""

    def __init__(self) -> None:
        self.types: Mapping[str, Any] = {}
        self.allows_undeclared = True
        self.is_closed = False
        self.is_ready = True
        self.published: list[tuple[str, Any]] = []

    def publish(self, channel: str, message: Any) -> tuple[int, int]:
        if channel == "broken":
            raise RuntimeError("the key is hunter2")
        self.published.append((channel, message))
        return 7, len(self.published)

    def counted(self) -> Counted:
        return Counted(connections=2, published=10 * len(self.published), behind=4096)

    def facts(self) -> Facts:
        return Facts(
            url="ws://127.0.0.1:9001",
            is_ready=self.is_ready,
            stats=ServerStats(**STATS),
            counted=self.counted(),
            channels=(("prices:SOL-USDC", 9, 2**52, 31),),
            slowest=(("192.0.2.1:5", 4096, 1.5),),
            round_trips=(0.001, 0.003),
        )


class Door:
    def __init__(self, key: str | None = None) -> None:
        self.served = Served()
        served = cast("Any", self.served)
        loop = asyncio.get_running_loop()
        self.pulse = Pulse(loop, served.counted)
        commands = Commands(served, Results())
        self.app = App(served, commands, Guard(key), self.pulse, clock=loop.time, max_body=1000)

    async def ask(self, method: str, path: str, *chunks: bytes, **keywords: Any) -> Answer:
        return await ask(self.app, method, path, *chunks, **keywords)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    one = Door()
    yield one
    one.pulse.stop()


@pytest.fixture
async def keyed_door() -> AsyncIterator[Door]:
    one = Door(KEY)
    yield one
    one.pulse.stop()


async def test_publish_and_broadcast_answer_as_centrifugo_does(door: Door) -> None:
    answer = await door.ask("POST", "/api/publish", b'{"channel":"x",', b'"data":{"a":1}}')
    assert (answer.status, answer.json) == (200, {"result": {"offset": 1, "epoch": "7"}})
    assert answer.headers["content-type"] == "application/json"
    answer = await door.ask("POST", "/api/broadcast", b'{"channels":["y","z"],"data":2}')
    assert [response["result"]["offset"] for response in answer.json["result"]["responses"]] == [2, 3]
    assert door.served.published == [("x", {"a": 1}), ("y", 2), ("z", 2)]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
async def test_content_type_of_a_body_does_not_matter(door: Door, content_type: str | None) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    assert (await door.ask("POST", "/api/publish", b'{"channel":"x","data":1}', headers=headers)).status == 200


@pytest.mark.parametrize("path", ["/api/publish", "/api/broadcast", "/api/info", "/metrics"])
async def test_wrong_or_missing_key_is_a_401_and_nothing_is_done(keyed_door: Door, path: str) -> None:
    method = "POST" if path in PATHS[:2] else "GET"
    body = b'{"channel":"x","channels":["x"],"data":1}'
    for headers in ([], [("x-api-key", "wrong-horse-battery")]):
        answer = await keyed_door.ask(method, path, body, headers=headers)
        assert (answer.status, answer.json["error"]["code"]) == (401, 101)
        assert answer.headers["www-authenticate"] == "apikey"
    assert keyed_door.served.published == []
    answer = await keyed_door.ask(method, path, body, headers=[("x-api-key", KEY)], client=("192.0.2.1", 5))
    assert answer.status == 200


async def test_request_without_the_key_has_its_body_not_read(keyed_door: Door) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        pytest.fail("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    await keyed_door.app(dict(PUBLISH), receive, send)
    assert sent[0]["status"] == 401


@pytest.mark.parametrize("path", ["/api/publish", "/api/info", "/metrics"])
async def test_page_of_another_origin_gets_nothing_where_there_is_no_key(door: Door, path: str) -> None:
    method = "POST" if path in PATHS[:2] else "GET"
    body = b'{"channel":"x","data":1}'
    for headers, host in (([("origin", "https://evil.example")], "127.0.0.1:9002"), ([], "evil.example:9002")):
        answer = await door.ask(method, path, body, headers=headers, host=host)
        assert (answer.status, answer.json["error"]["code"]) == (403, 103)
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert door.served.published == []


@pytest.mark.parametrize("path", PATHS)
async def test_wrong_method_is_a_405_that_names_the_right_one(door: Door, path: str) -> None:
    answer = await door.ask("DELETE", path)
    assert (answer.status, answer.json["error"]["code"]) == (405, 107)
    assert ("POST" if path in PATHS[:2] else "GET") in answer.headers["allow"]


async def test_preflight_of_another_origin_is_refused(keyed_door: Door) -> None:
    headers = [("origin", "https://evil.example"), ("access-control-request-headers", "x-api-key")]
    answer = await keyed_door.ask("OPTIONS", "/api/publish", headers=headers)
    assert answer.status == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_unknown_path_is_a_404(door: Door) -> None:
    answer = await door.ask("GET", "/api/nothing")
    assert (answer.status, answer.json["error"]["code"]) == (404, 104)


async def test_oversized_body_is_a_413(door: Door) -> None:
    answer = await door.ask("POST", "/api/publish", b'{"channel":"x","data":"' + b"y" * 1000 + b'"}')
    assert (answer.status, answer.json["error"]["code"]) == (413, 107)
    assert "1000 bytes" in answer.json["error"]["message"]


async def test_body_that_is_too_big_to_wait_for_ends_the_connection(door: Door) -> None:
    answer = await door.ask("POST", "/api/publish", b"x", headers=[("content-length", "999999999")])
    assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_malformed_json_is_a_400(door: Door) -> None:
    answer = await door.ask("POST", "/api/publish", b"{")
    assert (answer.status, answer.json["error"]["code"]) == (400, 107)


async def test_fault_of_ours_is_a_500_that_says_nothing_of_it(door: Door) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"channel":"broken","data":1}'}

    with pytest.raises(RuntimeError, match="hunter2"):
        await door.app(dict(PUBLISH), receive, send)
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"]) == {"error": {"code": 100, "message": "internal server error"}}


async def test_sender_that_leaves_in_the_middle_publishes_nothing_and_is_no_error(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Any] = []
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b'{"channel":"x",', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    with caplog.at_level(logging.DEBUG):
        await door.app(dict(PUBLISH), receive, send)
    assert door.served.published == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_info_tells_what_the_dashboard_plots(door: Door) -> None:
    door.pulse.samples.beat(0.002, asyncio.get_running_loop().time())
    answer = await door.ask("GET", "/api/info")
    told = answer.json
    assert answer.headers["cache-control"] == "no-store"
    assert told["channels"] == [{"channel": "prices:SOL-USDC", "subscribers": 9, "epoch": str(2**52), "offset": 31}]
    assert told["slowest"] == [{"address": "192.0.2.1:5", "behind": 4096, "blocked": 1.5}]
    assert told["totals"] == STATS
    assert told["connections"] == STATS["connections"]
    assert told["latency"]["round_trip"]["p50"] == 0.001
    assert told["latency"]["round_trip"]["max"] == 0.003
    assert told["latency"]["loop_lag"]["count"] == 1
    assert (told["url"], told["ready"]) == ("ws://127.0.0.1:9001", True)


async def test_metrics_are_prometheus_text_read_at_the_scrape(door: Door) -> None:
    await door.ask("POST", "/api/publish", b'{"channel":"x","data":1}')
    await door.ask("GET", "/" + "x" * 100)
    answer = await door.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
    assert samples["websocket_utils_clients", ()] == STATS["connections"]
    assert samples["websocket_utils_deliveries_total", ()] == STATS["deliveries"]
    assert samples["websocket_utils_queue_bytes", ()] == 4096
    assert samples["websocket_utils_queue_age_seconds", ()] == 1.5
    assert samples["websocket_utils_server_disconnects_total", (("reason", "lag"),)] == STATS["lag_disconnects"]
    requests = {
        dict(labels)["endpoint"]: value for (name, labels), value in samples.items() if "http_requests_t" in name
    }
    assert requests == {"/api/publish": 1, "other": 1}
    # Each of the server's counters is there.
    assert {float(value) for value in STATS.values()} <= set(samples.values())
    # Nothing that a client chooses is a label.
    assert {name for _, labels in samples for name, _ in labels} <= {"endpoint", "status", "reason", "recovered"}


async def test_metrics_are_open_metrics_for_who_accepts_them(door: Door) -> None:
    answer = await door.ask("GET", "/metrics", headers=[("accept", "application/openmetrics-text; version=1.0.0")])
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


async def test_readyz_is_503_while_the_server_is_not_ready(door: Door) -> None:
    assert (await door.ask("GET", "/readyz")).status == 200
    door.served.is_ready = False
    answer = await door.ask("GET", "/readyz")
    assert (answer.status, answer.json["status"]) == (503, "not ready")
    # It lives all the same: who restarts what is not healthy would cut its clients off.
    assert (await door.ask("GET", "/healthz")).status == 200


async def test_healthz_is_503_while_the_event_loop_is_late(door: Door) -> None:
    assert (await door.ask("GET", "/healthz")).status == 200
    door.pulse.samples.beat(1.5, asyncio.get_running_loop().time())
    answer = await door.ask("GET", "/healthz")
    assert (answer.status, answer.json["status"]) == (503, "the event loop is late")
    assert answer.json["loop_lag"] >= 1.5


async def test_health_is_told_to_probes_without_a_key_and_under_any_name(keyed_door: Door, door: Door) -> None:
    for one in (keyed_door, door):
        for path in ("/healthz", "/readyz"):
            assert (await one.ask("GET", path, host="10.0.0.7:9002", client=("10.0.0.1", 7))).status == 200


async def test_mounted_under_a_path_it_answers_there(door: Door) -> None:
    answer = await door.ask("GET", "/healthz", root_path="/feed")
    assert answer.status == 200
    metrics = await door.ask("GET", "/metrics", root_path="/feed")
    assert b'endpoint="/healthz",status="200"' in metrics.body

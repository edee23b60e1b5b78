"""The side door of `websocket-utils feed`."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.integration.commands import SECONDS, command, finish, start
from tests.integration.http_client import request

pytestmark = pytest.mark.one_loop


async def test_feed_with_a_side_door_says_where_it_is_and_asks_for_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("correct-horse-battery\n", encoding="utf-8")
    process = await start(
        *("feed", "--host", "127.0.0.1", "--port", "0", "--until-eof"),
        *("--http", "127.0.0.1:0", "--http-key-file", str(key)),
    )
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS):
        while not (line := (await process.stderr.readline()).decode()).startswith("side door: "):
            assert line, "it ended without telling of a door"
    url = line.split()[-1]
    assert (await request(url, "GET", "/api/info")).status == 401
    answer = await request(url, "GET", "/api/info", headers={"X-API-Key": "correct-horse-battery"})
    assert answer.status == 200
    assert (await finish(process))[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--http", "nowhere"], 2, "host:port"),
        (["--http", "0.0.0.0:0"], 2, "set http_key"),
        (["--http", "127.0.0.1:0", "--http-key-file", "nothing"], 2, "nothing"),
        (["--http", "192.0.2.1:9"], 2, "set http_key"),
    ],
)
async def test_side_door_that_cannot_be_is_one_line(options: list[str], code: int, says: str) -> None:
    ended, _, errors = await command("feed", "--host", "127.0.0.1", "--port", "0", *options)
    assert (ended, "Traceback" in errors) == (code, False)
    assert says in errors


async def test_side_door_on_a_port_in_use_says_which() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = await command("feed", "--host", "127.0.0.1", "--port", "0", "--http", f"127.0.0.1:{port}")
    assert code == 1
    assert "in use" in errors
    assert f"side door on 127.0.0.1:{port}" in errors
    assert len(errors.splitlines()) == 1

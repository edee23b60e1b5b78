import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from tests.support.waiting import until

from websocket_utils import Ping, Pong, PriceUpdate, WebSocketClient, WebSocketServer

UPDATE = PriceUpdate("SOL", "USDC", 25.5, 2**53 + 1, 1)


@pytest.fixture
def path() -> Iterator[Path]:
    # pytest's own folders have names that are longer than the path of a Unix socket may be.
    with TemporaryDirectory(prefix="ws") as folder:
        yield Path(folder) / "feed.sock"


def is_there(path: Path) -> bool:
    return path.exists()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write_orders(path: Path) -> None:
    path.write_text("orders", encoding="utf-8")


def contents_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def remove(path: Path) -> None:
    path.unlink()


async def test_client_and_server_talk_over_a_unix_socket(path: Path) -> None:
    async with (
        WebSocketServer.bind(f"unix:{path}") as server,
        WebSocketClient.connect(server.url) as client,
    ):
        assert server.local_addr == (f"unix:{path}", 0)
        assert server.url == f"ws+unix:{path}"
        client.send(Ping())
        assert await client.receive() == Pong()
        server.broadcast(UPDATE)
        assert await client.receive(PriceUpdate) == UPDATE
        (connection,) = server.connections
        assert connection.remote_addr is None


async def test_resource_behind_the_path_of_a_socket_is_asked_for(path: Path) -> None:
    async with (
        WebSocketServer.bind(f"unix:{path}") as server,
        WebSocketClient.connect(f"ws+unix:{path}:/feed?token=x"),
    ):
        (connection,) = server.connections
        assert connection.path == "/feed?token=x"


async def test_path_with_a_space_and_a_colon_is_in_the_url_of_its_server(path: Path) -> None:
    odd = path.with_name("a b:c")
    async with WebSocketServer.bind(f"unix:{odd}") as server, WebSocketClient.connect(server.url) as client:
        assert quote(str(odd)) in server.url
        client.send(Ping())
        assert await client.receive() == Pong()


async def test_socket_is_the_owners_alone_and_gone_with_its_server(path: Path) -> None:
    before = os.umask(0o022)
    os.umask(before)
    async with WebSocketServer.bind(f"unix:{path}"):
        assert mode_of(path) == 0o600
        after = os.umask(before)
        assert after == before
    assert not is_there(path)


async def test_socket_that_a_killed_server_left_is_replaced(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with WebSocketServer.bind(f"unix:{path}") as server, WebSocketClient.connect(server.url) as client:
        client.send(Ping())
        assert await client.receive() == Pong()


async def test_socket_that_somebody_listens_on_is_left_alone(path: Path) -> None:
    async with WebSocketServer.bind(f"unix:{path}") as first:
        with pytest.raises(OSError, match="in use"):
            await WebSocketServer.bind(f"unix:{path}")
        async with WebSocketClient.connect(first.url) as client:
            client.send(Ping())
            assert await client.receive() == Pong()


async def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    write_orders(path)
    with pytest.raises(OSError, match="in use"):
        await WebSocketServer.bind(f"unix:{path}")
    assert contents_of(path) == "orders"


async def test_socket_of_a_later_server_is_not_removed_by_an_earlier_one(path: Path) -> None:
    first = await WebSocketServer.bind(f"unix:{path}")
    remove(path)
    async with WebSocketServer.bind(f"unix:{path}"):
        await first.close()
        assert is_there(path)


async def test_client_of_a_unix_socket_reconnects_to_the_next_server(path: Path) -> None:
    first = await WebSocketServer.bind(f"unix:{path}")
    async with WebSocketClient.connect(first.url) as client:
        await first.close()
        async with WebSocketServer.bind(f"unix:{path}") as second:
            await until(lambda: second.connections)
            second.broadcast(UPDATE)
            async with asyncio.timeout(5):
                assert await client.receive(PriceUpdate) == UPDATE


async def test_socket_that_is_not_there_is_the_systems_own_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await WebSocketClient.connect(f"ws+unix:{path}")

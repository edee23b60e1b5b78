"""Centrifugo: a broker in Go, in a process of its own that shares the core; published to by its HTTP API, from here.

Its clients are unidirectional: their token subscribes them, and messages come inside of JSON that tells the channel.
`go install github.com/centrifugal/centrifugo/v6@v6.9.1` makes the program.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence

import aiohttp
import msgspec

from benches._payload import PriceUpdate, cycle
from benches._subject import Run

CHANNEL = "prices"
KEY = "bench"
# Its queue for a client holds 1 MiB by default, JSON around each message included.
WINDOW = 2048


async def broadcast(run: Run) -> None:
    """One request for the messages of a turn."""
    encode = msgspec.json.Encoder().encode
    run.options.window = WINDOW
    async with _broker(run) as (port, process), aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
        api = f"http://127.0.0.1:{port}/api"
        while not await _is_up(session, api):  # noqa: ASYNC110  # another process, that has nothing else to tell by
            await asyncio.sleep(0.01)
        hello = {"path": "/connection/uni_websocket", "hello": json.dumps({"token": _token()}), "embedded": 1}
        run.say(port=port, sinks=hello)
        await run.command("go")
        while await _clients(session, api) < run.options.clients:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)

        async def send_turn(messages: Sequence[PriceUpdate]) -> None:
            commands = [{"publish": {"channel": CHANNEL, "data": msgspec.Raw(encode(message))}} for message in messages]
            async with session.post(f"{api}/batch", data=encode({"commands": commands})) as response:
                replies = msgspec.json.decode(await response.read())["replies"]
            if len(replies) != len(messages) or any("error" in reply for reply in replies):
                raise RuntimeError(f"not published: {replies}")

        run.also_counts(process)
        await run.broadcast(cycle(PriceUpdate), send_turn)


@contextlib.asynccontextmanager
async def _broker(run: Run) -> AsyncIterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "HTTP_SERVER_ADDRESS": "127.0.0.1",
        "HTTP_SERVER_PORT": f"{port}",
        "HTTP_API_KEY": KEY,
        "CLIENT_TOKEN_HMAC_SECRET_KEY": KEY,
        "UNI_WEBSOCKET_ENABLED": "true",
        "LOG_LEVEL": "error",
    }
    assert run.options.program is not None
    process = await asyncio.create_subprocess_exec(
        # The end of this process is its end too.
        "setpriv",
        "--pdeathsig",
        "KILL",
        run.options.program,
        stdout=asyncio.subprocess.DEVNULL,
        env=os.environ | {f"CENTRIFUGO_{name}": value for name, value in settings.items()},
        cwd="/",
    )
    try:
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


def _token() -> str:
    def part(text: bytes) -> bytes:
        return base64.urlsafe_b64encode(text).rstrip(b"=")

    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps({"sub": "", "channels": [CHANNEL]}).encode())
    return (signed + b"." + part(hmac.digest(KEY.encode(), signed, hashlib.sha256))).decode()


async def _is_up(session: aiohttp.ClientSession, api: str) -> bool:
    try:
        await _clients(session, api)
    except aiohttp.ClientError:
        return False
    return True


async def _clients(session: aiohttp.ClientSession, api: str) -> int:
    async with session.post(f"{api}/info", data=b"{}") as response:
        nodes = (await response.json())["result"]["nodes"]
    clients: int = nodes[0].get("num_clients", 0)
    return clients

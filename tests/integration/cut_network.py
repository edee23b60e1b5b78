"""A client in a network namespace of its own, whose link to a server in another one is cut.

Run under `unshare --net`: `python -m tests.integration.cut_network idle|held asyncio|uvloop`. Prints what the client
saw, as JSON.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import uvloop
from tests.integration.feed_process import OURS, THEIRS
from tests.integration.strategy import AT_ONCE, JSON, Seen
from tests.support.waiting import until

from websocket_utils import Disconnected, Reconnected, WebSocketClient

INTERVAL = TIMEOUT = 0.1


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


async def main(*, is_held: bool) -> dict[str, Any]:
    _ip("link", "set", "lo", "up")
    server = await asyncio.create_subprocess_exec(
        *("unshare", "--net", sys.executable, "-m", "tests.integration.feed_process", f"{THEIRS}:0", "namespace"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stdin, stdout = server.stdin, server.stdout
    assert stdin is not None
    assert stdout is not None

    async def told(line: str) -> str:
        stdin.write(line.encode() + b"\n")
        return (await stdout.readline()).decode().strip()

    try:
        assert await stdout.readline() == b"ready\n"
        _ip("link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", str(server.pid))
        _ip("addr", "add", f"{OURS}/24", "dev", "ours")
        _ip("link", "set", "ours", "up")
        port = await told("begin")
        seen = Seen()
        async with WebSocketClient.connect(
            f"ws://{THEIRS}:{port}",
            subprotocols=JSON,
            reconnect=AT_ONCE,
            timeout=3,
            open_timeout=0.3,
            ping_interval=INTERVAL,
            ping_timeout=TIMEOUT,
            max_reconnect_attempts=None,
            max_inbox_messages=50,
        ) as client:
            await client.subscribe("prices")
            stream = client.events()
            pulling: asyncio.Task[None] | None = None
            if is_held:
                # One more than may wait: reading is held from there on.
                await until(lambda: client.stats().inbox_messages > 50)
            else:
                pulling = asyncio.create_task(seen.pull(stream))
                await seen.until(lambda: len(seen.numbers) >= 3)
            how = await told("cut")
            cut = time.monotonic()
            await until(lambda: client.state != "live")
            noticed = time.monotonic() - cut
            if pulling is None:
                pulling = asyncio.create_task(seen.pull(stream))
            await told("heal")
            await seen.until(lambda: seen.of(Reconnected))
            before = len(seen.numbers)
            await seen.until(lambda: len(seen.numbers) > before)
            pulling.cancel()
            return {
                "how": how,
                "noticed": noticed,
                "errors": [type(item.error).__name__ for item in seen.of(Disconnected)],
                "causes": [repr(item.error.__cause__) for item in seen.of(Disconnected)],
                "numbers": seen.numbers,
                "before": seen.numbers[: [type(item) for item in seen.items].index(Disconnected)],
                "epoch": client.epoch,
            }
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


if __name__ == "__main__":
    mode, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop) as runner:
        print(json.dumps(runner.run(main(is_held=mode == "held"))))  # noqa: T201  # read by the test

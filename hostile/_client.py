"""The client under attack, in a process of its own: `python -m hostile._client PORT` connects on command.

Each line on stdin is a number of connections to make, one after the other; a line of what came of them answers it.
"""

import asyncio
import json
import sys
from typing import Any

from websocket_utils import WebSocketClient, WebSocketConfig, WebSocketError

# Seconds that one connection may take: the peer ends all of its connections long before that.
_PATIENCE = 5.0


async def _connect(url: str, config: WebSocketConfig, escaped: list[str]) -> str:
    """Receive all that comes over one connection, and return how it ended."""
    try:
        async with asyncio.timeout(_PATIENCE), WebSocketClient.connect(url, config=config, reconnect=False) as client:
            try:
                async for _ in client.messages(bytes):
                    pass
            except WebSocketError as error:
                return f"open, then {type(error).__name__}"
            return "open, then closed"
    except WebSocketError as error:
        return type(error).__name__
    except TimeoutError:
        return "no end"
    except OSError as error:
        # The connection never came to be: what dialling raises.
        return type(error).__name__
    except Exception as error:  # noqa: BLE001  # what is looked for here: all that is not documented
        escaped.append(repr(error)[:1000])
        return f"escaped: {type(error).__name__}"


async def _run(port: int, settings: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    loop_errors: list[str] = []
    loop.set_exception_handler(lambda _, context: loop_errors.append(repr(context)[:1000]))
    config = WebSocketConfig(open_timeout=2, close_timeout=0.2, **settings)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        endings: dict[str, int] = {}
        for _ in range(int(line)):
            how = await _connect(f"ws://127.0.0.1:{port}", config, loop_errors)
            endings[how] = endings.get(how, 0) + 1
        sys.stdout.write(json.dumps({"endings": endings, "loop_errors": loop_errors}) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run on the event loop that the README names first."""
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    work = _run(int(sys.argv[1]), settings)
    try:
        import uvloop  # noqa: PLC0415  # optional: asyncio's own loop is supported too
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()

"""The server under attack, in a process of its own: `python -m hostile._server SETTINGS` (JSON) echoes what it gets.

It says its port in the first line of stdout, and answers each line on stdin with a line of what it counted so far.
"""

import asyncio
import json
import os
import sys
from typing import Any

from websocket_utils import ServerConnection, WebSocketServer


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _serve(settings: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    loop_errors: list[str] = []
    loop.set_exception_handler(lambda _, context: loop_errors.append(repr(context)[:1000]))
    async with WebSocketServer.bind("127.0.0.1:0", **settings) as server:

        def echo(connection: ServerConnection, message: bytes) -> None:
            connection.send(message)

        server.on(bytes, echo)

        def answer() -> None:
            if not os.read(0, 4096):
                # Whoever measured is gone: nothing here is worth an orderly end.
                os._exit(0)
            stats = server.stats()
            _say(
                loop_errors=loop_errors,
                connections=stats.connections,
                accepted=stats.accepted,
                handler_errors=stats.handler_errors,
                tasks=len(asyncio.all_tasks()),
                descriptors=len(os.listdir("/proc/self/fd")),
            )

        loop.add_reader(0, answer)
        _say(port=server.local_addr[1])
        await server.serve_forever()


def main() -> None:
    """Run on the event loop that the README names first."""
    settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    try:
        import uvloop  # noqa: PLC0415  # optional: asyncio's own loop is supported too
    except ImportError:
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))


if __name__ == "__main__":
    main()

"""Serves a Python function of edge/vercel with uvicorn, where Vercel's own runtime is missing.

Prints one line of JSON when it listens, and ends with its standard input, as `edge/vercel/dev/serve_python.py` does.
"""

import asyncio
import importlib
import json
import os
import sys

import uvicorn


async def main() -> None:
    function = sys.argv[1]
    sys.path.insert(0, os.getcwd())
    module = importlib.import_module(function.removesuffix(".py").replace("/", "."))
    server = uvicorn.Server(uvicorn.Config(module.app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # it has no event for that
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({function: f"http://127.0.0.1:{port}"}), flush=True)  # noqa: T201  # who started it reads it
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.should_exit = True
    await serving


asyncio.run(main())

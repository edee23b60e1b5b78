"""Commands started as a user starts them, in processes of their own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["COMMAND", "ENVIRONMENT", "SECONDS", "command", "feed", "finish", "start"]

COMMAND = (sys.executable, "-X", "dev", "-W", "error", "-m", "websocket_utils")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
SECONDS = 15


async def start(
    *arguments: str,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    environment: dict[str, str] | None = None,
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env={**ENVIRONMENT, **(environment or {})}, stdin=stdin, stdout=stdout, stderr=stderr
    )


async def finish(process: asyncio.subprocess.Process, given: bytes | None = b"") -> tuple[int | None, str, str]:
    if process.stdin is not None and given is not None:
        # Not by `communicate`: its write raises on uvloop when the process has ended, and with it this pipe.
        if not process.stdin.is_closing():
            process.stdin.write(given)
        process.stdin.close()
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(), errors.decode()


async def command(*arguments: str, given: bytes = b"") -> tuple[int | None, str, str]:
    return await finish(await start(*arguments), given)


@asynccontextmanager
async def feed(*arguments: str) -> AsyncIterator[str]:
    """A running feed; it must end well when its input does."""
    process = await start("feed", "--host", "127.0.0.1", "--port", "0", "--until-eof", *arguments)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), line
        yield line.split()[-1]
    finally:
        code, _, errors = await finish(process)
        assert code == 0, errors
        assert "Traceback" not in errors, errors
        assert "Warning" not in errors, errors

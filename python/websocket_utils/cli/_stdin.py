"""Standard input read without blocking the event loop, whatever it is: terminal, pipe or file."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator

from websocket_utils._recorded import MAX_LINE
from websocket_utils.cli._failures import Failure

_CHUNK = 64 * 1024


async def read_chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What comes on `descriptor`, as it comes, to its end."""
    # A thread in a blocking read would hold the process at Ctrl-C, so what can be waited for is waited for. A regular
    # file is always ready (epoll refuses it).
    mode = os.fstat(descriptor).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    loop = asyncio.get_running_loop()
    while True:
        if waits:
            readable = asyncio.Event()
            loop.add_reader(descriptor, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(descriptor)
        else:
            await asyncio.sleep(0)
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return
        yield chunk


async def read_lines(descriptor: int | None = None) -> AsyncIterator[tuple[int, bytes]]:
    """Numbered lines of standard input, without their line ends.

    Raises:
        Failure: If a line is longer than a message may be.
    """
    rest = bytearray()
    number = 0
    async for chunk in read_chunks(sys.stdin.fileno() if descriptor is None else descriptor):
        rest += chunk
        if b"\n" in chunk:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                number += 1
                yield number, line.removesuffix(b"\r")
        if len(rest) > MAX_LINE:
            raise Failure(f"line {number + 1} is longer than {MAX_LINE} bytes; one message is one line")
    if rest:
        yield number + 1, bytes(rest)

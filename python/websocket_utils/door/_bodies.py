"""The body of a request: so much of it, in so much time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ._refusals import BAD_REQUEST, Refusal

__all__ = ["Gone", "read_body"]

_SECONDS = 10.0
# What is read over the limit and thrown away. A sender that is cut in the middle never sees why: it is told at the end.
_DISCARDED = 16 * 1024 * 1024


class Gone(Exception):
    """The sender has left before its request was complete."""


async def read_body(
    headers: Iterable[tuple[bytes, bytes]],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    limit: int,
    *,
    seconds: float = _SECONDS,
) -> bytes:
    """Read a body of at most `limit` bytes.

    Args:
        headers: Of the request, as ASGI has them.
        receive: Gives the next ASGI message.
        limit: Bytes; one that is bigger is never held.
        seconds: For all of it.

    Raises:
        Refusal: If it is too big, too slow or compressed.
        Gone: If the sender leaves.
    """
    named = {name.lower(): value.strip().lower() for name, value in headers}
    if named.get(b"content-encoding", b"identity") != b"identity":
        # What a small body inflates to is for its sender to choose.
        raise Refusal(415, BAD_REQUEST, "bodies are taken as they are, not compressed", closes=True)
    # The HTTP library has read it as a number before.
    declared = int(named.get(b"content-length", b"0"))
    too_big = Refusal(413, BAD_REQUEST, f"the body is over the limit of {limit} bytes (max_message_size)")
    if declared > limit and (declared > limit + _DISCARDED or b"expect" in named):
        too_big.closes = True
        raise too_big
    body = bytearray()
    size = 0
    more = True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size > limit + _DISCARDED:
                    too_big.closes = True
                    raise too_big
                if size <= limit:
                    body += chunk
                else:
                    body.clear()
    except TimeoutError:
        raise Refusal(408, BAD_REQUEST, f"the body did not come within {seconds:g} s", closes=True) from None
    if size > limit:
        raise too_big
    return bytes(body)

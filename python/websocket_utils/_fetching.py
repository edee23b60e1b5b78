"""Documents over HTTP, for what a link needs beside it: in a thread, within a time, a size, and without redirects.

This module imports nothing of ours but what makes text fit to be shown.
"""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from ._redaction import on_one_line

__all__ = ["FetchFailed", "fetch", "fetch_bytes"]

_MAX_BYTES = 512 * 1024
_LONGEST_REASON = 100


class FetchFailed(Exception):
    """A document could not be fetched. Its text has nothing of the URL.

    Attributes:
        retry_after: Seconds that the server asks us to stay away for; 0 if it doesn't say, or in another way.
    """

    retry_after: float

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to a place that nobody has checked."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


def fetch_bytes(
    url: str,
    timeout: float,
    context: ssl.SSLContext | None,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    most: int = _MAX_BYTES,
) -> bytes:
    """Fetch a document; blocks, for a thread of its own.

    Args:
        url: `https`, or `http` where the caller has decided that this will do.
        timeout: Seconds for all of it.
        context: For `https`; None takes the system's trust.
        headers: Additional ones of the request.
        body: Posted as JSON; None gets.
        most: Bytes that it may have.

    Raises:
        FetchFailed: If it does not come in time, is too big, or the server refuses it.
    """
    deadline = time.monotonic() + timeout
    handlers: Iterable[Any] = (_NoRedirects(), urllib.request.HTTPSHandler(context=context))
    fields = {**(headers or {}), "Accept": "application/json"}
    if body is not None:
        fields["Content-Type"] = "application/json"
    read = bytearray()
    try:
        request = urllib.request.Request(url, data=body, headers=fields)  # noqa: S310  # the caller has looked
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as response:
            while chunk := response.read1(65_536):
                read += chunk
                if len(read) > most:
                    raise FetchFailed(f"it has more than {most} bytes")
                # Each read has a time of its own, which drips prolong.
                if time.monotonic() > deadline:
                    raise FetchFailed(f"it took longer than {timeout:g} s")
    except urllib.error.HTTPError as error:
        with error:
            said = on_one_line(str(error.reason))[:_LONGEST_REASON]
            failure = FetchFailed(f"HTTP {error.code} ({said})", _seconds(error.headers.get("Retry-After")))
    except http.client.InvalidURL:
        failure = FetchFailed("its URL can't be sent")
    except http.client.HTTPException as error:
        # Its text is what the server sent.
        failure = FetchFailed(f"no answer in HTTP ({type(error).__name__})")
    except (OSError, ValueError) as error:
        failure = FetchFailed(str(error))
    else:
        return bytes(read)
    # Not from these errors: they hold the URL, whose query may be a key.
    raise failure


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isascii() and value.isdigit() else 0.0


def fetch(url: str, timeout: float, context: ssl.SSLContext | None) -> object:
    """Fetch and read a document of JSON; blocks, for a thread of its own.

    Raises:
        FetchFailed: If it does not come in time, is too big, or no JSON.
    """
    read = fetch_bytes(url, timeout, context)
    try:
        return json.loads(read)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(str(error)) from error

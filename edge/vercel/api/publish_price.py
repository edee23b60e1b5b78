"""`POST /api/publish_price`: publishes an update through the HTTP door of the feed.

The same as `publish.ts`, in Python: one set of tests holds both to it. An ASGI application of the standard library
alone, so that it is deployed as it is.
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import math
import os
import random
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

__all__ = ["app"]

# The codes of `lib/answers.ts`; below 1000 they are the door's.
UNAUTHORIZED = 101
UNKNOWN_CHANNEL = 102
PERMISSION_DENIED = 103
BAD_REQUEST = 107
NOT_CONFIGURED = 1001
DOOR_UNREACHABLE = 1002
DOOR_TIMED_OUT = 1003
DOOR_FAILED = 1004
KEY_REFUSED = 1005
DOOR_BUSY = 1006

_MAX_BODY = 1024 * 1024
# What is read over the limit and thrown away, so that the sender reads why. Vercel passes on 4.5 MB at most.
_DISCARDED = 8 * 1024 * 1024
# The feed's limit for a message, and the object around it.
_MAX_DEPTH = 129
_MAX_NAME = 256
_MAX_ANSWER = 64 * 1024
_ATTEMPTS = 2
_LEAST_SECRET = 16
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MEMBERS = frozenset({"channel", "data", "idempotency_key"})

_KEY = re.compile(r"[!-~]{1,256}")
_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Refusal(Exception):
    """A request is not carried out."""

    def __init__(
        self, status: int, code: int, message: str, path: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.path = path
        self.headers = list(headers)

    @property
    def body(self) -> str:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.path:
            error["path"] = self.path
        # As JSON.stringify writes it.
        return json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":"))


class _Passing(_Refusal):
    """One that may pass by itself: one more attempt is worth it."""


def _bad(message: str, path: str = "$") -> _Refusal:
    return _Refusal(400, BAD_REQUEST, message, path)


def _log(event: str, **facts: str | int) -> None:
    """One line for the deployment's log. Never give it a key, a token or a payload."""
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)  # noqa: T201  # the log of a function is what it prints


# --- configuration ---


def _not_configured(variable: str, fault: str) -> _Refusal:
    return _Refusal(500, NOT_CONFIGURED, f"{variable} {fault}")


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise _not_configured(variable, "is not set")
    return value


def _secret(variable: str) -> str:
    value = _required(variable)
    if len(value) < _LEAST_SECRET:
        raise _not_configured(variable, f"has less than {_LEAST_SECRET} characters")
    if not all("!" <= character <= "~" for character in value):
        raise _not_configured(variable, "has characters that are no ASCII, or spaces")
    return value


def _seconds(variable: str, fallback: float, least: float, most: float) -> float:
    text = os.environ.get(variable)
    if not text:
        return fallback
    value = float(text) if _SECONDS.fullmatch(text) else math.nan
    if not least <= value <= most:
        raise _not_configured(variable, f"must be a number of seconds from {least:g} to {most:g}")
    return value


def _patterns(variable: str) -> list[str]:
    """A JSON list of channels and patterns; all channels if the variable is not set."""
    text = os.environ.get(variable)
    if not text:
        return ["*"]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(map(_is_pattern, value)):
        raise _not_configured(variable, 'is no JSON list of channels and patterns, such as ["prices:*"]')
    return value


def _is_pattern(name: object) -> bool:
    return name == "*" or (isinstance(name, str) and _name_fault(name.removesuffix("*")) is None)


def _allows(patterns: Iterable[str], name: str) -> bool:
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


@dataclass(frozen=True, repr=False)
class _Door:
    """Where updates are published, from FEED_URL, FEED_KEY and PUBLISH_TIMEOUT."""

    is_tls: bool
    host: str
    port: int | None
    path: str
    key: str
    timeout: float

    @classmethod
    def of_environment(cls) -> "_Door":
        try:
            url = urlsplit(_required("FEED_URL"))
            host, port = url.hostname, url.port
        except ValueError:
            raise _not_configured("FEED_URL", "is no URL") from None
        if not url.scheme or not host:
            raise _not_configured("FEED_URL", "is no URL")
        if url.username is not None or url.password is not None or url.query or url.fragment:
            raise _not_configured("FEED_URL", "has a user, a query or a fragment: it is scheme, host and path alone")
        # Whoever reads the key on its way can publish.
        if url.scheme != "https" and not (url.scheme == "http" and host in _LOOPBACK):
            raise _not_configured("FEED_URL", "is no https URL, which every host but this one needs")
        path = f"{url.path.rstrip('/')}/api/publish"
        return cls(
            url.scheme == "https", host, port, path, _secret("FEED_KEY"), _seconds("PUBLISH_TIMEOUT", 2.0, 0.05, 4.0)
        )


# --- the request ---


def _require_bearer(header: str, variable: str) -> None:
    """Let a request pass that has the secret of a variable; without the variable nobody passes."""
    expected = _secret(variable)
    presented = _BEARER.fullmatch(header)
    if presented is None or not hmac.compare_digest(_digest(presented[1]), _digest(expected)):
        raise _Refusal(
            401,
            UNAUTHORIZED,
            "the header Authorization: Bearer is missing or wrong",
            headers=[("WWW-Authenticate", "Bearer")],
        )


def _digest(text: str) -> bytes:
    # Digests have one length: how long the comparison takes tells nothing of the secret's.
    return hashlib.sha256(text.encode()).digest()


async def _read_text(headers: MutableMapping[str, str], receive: _Receive) -> str:
    if headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise _Refusal(415, BAD_REQUEST, "bodies are taken as they are, not compressed")
    body = bytearray()
    size = 0
    more = True
    while more and size <= _DISCARDED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= _MAX_BODY:
            body += chunk
        more = message.get("more_body", False)
    if size > _MAX_BODY:
        raise _Refusal(413, BAD_REQUEST, f"the body is over the limit of {_MAX_BODY} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise _bad("this is no UTF-8") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Numbers stay text: nobody reads them here, and Python refuses to make an int of 5 000 digits.
_json = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


def _members(text: str) -> dict[str, str]:
    """The members of a JSON object as they are written: by name, the text of each value."""
    _check_depth(text)
    found: dict[str, str] = {}
    try:
        if not isinstance(_json.decode(text), dict):
            raise _bad("this is no JSON object")
        at = text.index("{") + 1
        # It is JSON: a member begins with a quote, and behind the last one there is none.
        while (at := text.find('"', at)) >= 0:
            name, at = _json.raw_decode(text, at)
            begin = _skip(text, text.index(":", at) + 1)
            _, at = _json.raw_decode(text, begin)
            if name in found:
                raise _bad("a member is there twice")
            found[name] = text[begin:at]
    except ValueError:
        raise _bad("this is no JSON") from None
    return found


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _check_depth(text: str) -> None:
    """Before it is parsed: how deep a parser may go is its own affair, and ours is to be alike in both languages."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "}]":
            depth -= 1
        if depth > _MAX_DEPTH:
            raise _bad("this JSON is nested too deeply")


def _name_fault(name: str) -> str | None:
    """What is wrong with the name of a channel; None if nothing is."""
    if not 0 < len(name) <= _MAX_NAME:
        return f"channel names have 1 to {_MAX_NAME} characters"
    if not name.isprintable():
        return "channel names hold no control characters"
    return "channel names hold no `*`: a pattern ends with one" if "*" in name else None


def _string(text: str) -> str | None:
    value = _json.decode(text) if text.startswith('"') else None
    return value if isinstance(value, str) else None


def _named_key(header: str | None, member: str | None) -> str | None:
    """The key that a request names, in its body or its header; None if it has none."""
    in_body = None if member is None else _string(member)
    for key in (header, None if member is None else in_body or ""):
        if key is not None and _KEY.fullmatch(key) is None:
            raise _bad("an idempotency key has 1 to 256 characters of ASCII without spaces", "$.idempotency_key")
    if header is not None and in_body is not None and header != in_body:
        raise _bad("the idempotency keys of header and body differ", "$.idempotency_key")
    return in_body or header


# --- the door ---


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    retry_after: str


def _judged(answer: _Answer) -> tuple[int, str]:
    """Status and body of an answer that says what became of the update."""
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        value = None
    said: dict[str, Any] = value if isinstance(value, dict) else {}
    if answer.status == HTTPStatus.OK and isinstance(said.get("result"), dict):
        return answer.status, answer.text
    if answer.status in {401, 403}:
        message = f"the feed does not take the key of this function: it answered {answer.status}"
        raise _Refusal(502, KEY_REFUSED, message)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = re.fullmatch(r"[0-9]{1,6}", answer.retry_after)
        raise _Refusal(429, DOOR_BUSY, "the feed takes no more now", headers=[("Retry-After", wait[0])] if wait else [])
    error = said.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    # Another 404 is a path: then FEED_URL leads elsewhere.
    is_unknown_channel = answer.status == HTTPStatus.NOT_FOUND and code == UNKNOWN_CHANNEL
    if isinstance(code, int) and (answer.status in {400, 409, 413} or is_unknown_channel):
        return answer.status, answer.text
    kind = _Passing if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else _Refusal
    raise kind(502, DOOR_FAILED, f"the feed answered {answer.status}, which says nothing of the update")


def _post(connection: http.client.HTTPConnection, door: _Door, body: bytes) -> _Answer:
    """One request; redirects are not followed, for the key is for this address alone."""
    try:
        headers = {"Content-Type": "application/json", "X-API-Key": door.key}
        connection.request("POST", door.path, body, headers)
        response = connection.getresponse()
        # What is cut off there is no JSON, and nothing that a door says.
        text = response.read(_MAX_ANSWER).decode("utf-8", "replace")
        return _Answer(response.status, text, response.getheader("Retry-After", ""))
    finally:
        connection.close()


async def _attempt(door: _Door, body: bytes) -> _Answer:
    kind = http.client.HTTPSConnection if door.is_tls else http.client.HTTPConnection
    connection = kind(door.host, door.port, timeout=door.timeout)
    try:
        # The connection's timeout is for each of its steps; this one is for all of them.
        async with asyncio.timeout(door.timeout):
            return await asyncio.to_thread(_post, connection, door, body)
    except TimeoutError:
        # What the thread still waits for has that timeout too, so that it ends by itself.
        raise _Passing(504, DOOR_TIMED_OUT, f"the feed did not answer within {door.timeout:g} s") from None
    except (OSError, http.client.HTTPException):
        raise _Passing(502, DOOR_UNREACHABLE, "the feed can't be reached") from None


async def _publish(door: _Door, body: bytes) -> tuple[int, str]:
    """Publish an update, whose body has an idempotency key: what is tried twice is published once."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _judged(await _attempt(door, body))
        except _Refusal as refusal:
            _log("door", attempt=attempt, code=refusal.code, why=refusal.message)
            if attempt == _ATTEMPTS or not isinstance(refusal, _Passing):
                raise
        # Functions that failed together must not come back together.
        await asyncio.sleep(0.05 + 0.1 * random.random())  # noqa: S311  # no secret
    raise AssertionError("the last attempt returns or raises")


# --- the application ---


async def _answer(scope: MutableMapping[str, Any], receive: _Receive) -> tuple[int, str, list[tuple[str, str]]]:
    if scope["method"] != "POST":
        raise _Refusal(405, BAD_REQUEST, "only POST is answered", headers=[("Allow", "POST")])
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # One that is there twice is a list, which no secret and no key is.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    _require_bearer(headers.get("authorization", ""), "PUBLISH_TOKEN")
    door = _Door.of_environment()
    allowed = _patterns("PUBLISH_CHANNELS")
    members = _members(await _read_text(headers, receive))
    if not members.keys() <= _MEMBERS:
        raise _bad("there are channel, data and idempotency_key, and no other member")
    if "channel" not in members or "data" not in members:
        raise _bad("channel and data are both needed")
    channel = _string(members["channel"])
    if channel is None:
        raise _bad("channel is no string", "$.channel")
    fault = _name_fault(channel)
    if fault is not None:
        raise _bad(fault, "$.channel")
    if not _allows(allowed, channel):
        raise _Refusal(403, PERMISSION_DENIED, "this function does not publish in that channel", "$.channel")
    # Spliced, not written anew: numbers keep their digits, and both languages make the same key of it.
    update = f'"channel":{members["channel"]},"data":{members["data"]}'
    key = _named_key(headers.get("idempotency-key"), members.get("idempotency_key"))
    if key is None:
        # 128 bits of it: the door keeps keys, and more of those that are shorter.
        key = f"update-{hashlib.sha256(update.encode()).hexdigest()[:32]}"
    named = [("Idempotency-Key", key)]
    try:
        status, body = await _publish(door, f'{{{update},"idempotency_key":{json.dumps(key)}}}'.encode())
    except _Refusal as refusal:
        refusal.headers += named
        raise
    return status, body, named


async def app(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
    """The function, an ASGI application."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    try:
        status, body, headers = await _answer(scope, receive)
    except _Refusal as refusal:
        status, body, headers = refusal.status, refusal.body, refusal.headers
    except ConnectionResetError:
        return
    except Exception as error:  # noqa: BLE001  # a fault of ours, whose text may hold anything: its kind alone is told
        _log("function failed", kind=type(error).__name__)
        internal = _Refusal(500, 100, "internal error")
        status, body, headers = internal.status, internal.body, internal.headers
    content = body.encode()
    sent = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *headers,
    ]
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})

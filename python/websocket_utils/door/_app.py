"""The door as an ASGI application: what is asked for where, and what is answered."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ._bodies import Gone, read_body
from ._commands import Commands
from ._exposition import Exposition
from ._facts import Served
from ._guard import Guard
from ._info import info
from ._page import page
from ._pulse import Pulse
from ._refusals import BAD_REQUEST, INTERNAL, NOT_FOUND, Refusal

__all__ = ["App"]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


class App:
    """Answers requests.

    Args:
        served: The server.
        commands: Carries out what is to be published.
        guard: Who may ask.
        pulse: Measures the event loop.
        clock: Seconds that never go back.
        max_body: Bytes that the body of a request has at most.
    """

    def __init__(
        self,
        served: Served,
        commands: Commands,
        guard: Guard,
        pulse: Pulse,
        *,
        clock: Callable[[], float],
        max_body: int,
    ) -> None:
        self._served = served
        self._guard = guard
        self._pulse = pulse
        self._clock = clock
        self._max_body = max_body
        self._requests: Counter[tuple[str, int]] = Counter()
        self._exposition = Exposition(served.facts, pulse, lambda: self._requests)
        self._page_body, self._page_headers = page()
        routes = [
            Route("/", self._page, methods=["GET"]),
            Route("/api/publish", self._command(commands.publish), methods=["POST"]),
            Route("/api/broadcast", self._command(commands.broadcast), methods=["POST"]),
            Route("/api/info", self._info, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        self._endpoints = {route.path for route in routes}
        self._starlette = Starlette(
            routes=routes,
            exception_handlers={Refusal: _refuse, HTTPException: _refuse_http, Exception: _fail},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._starlette(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        # Labels that a client chooses would be without number.
        endpoint = path if path in self._endpoints else "other"

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests[endpoint, message["status"]] += 1
            await send(message)

        await self._starlette(scope, receive, counting)

    def _command(self, run: Callable[[bytes, float], bytes]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            self._guard.check(request.scope)
            try:
                body = await read_body(request.scope["headers"], request.receive, self._max_body)
            except Gone:
                # Nobody reads this.
                return Response(status_code=_CLIENT_ERROR)
            return _json(run(body, self._clock()))

        return endpoint

    async def _page(self, request: Request) -> Response:
        # For anybody: it holds no facts, and asks its reader for the key.
        del request
        return Response(self._page_body, headers=self._page_headers)

    async def _info(self, request: Request) -> Response:
        self._guard.check(request.scope)
        facts = info(self._served.facts(), self._pulse.samples, now=self._clock(), wall_time=time.time())
        return _json(msgspec.json.encode(facts))

    async def _metrics(self, request: Request) -> Response:
        self._guard.check(request.scope)
        text, content_type = self._exposition.text(request.headers.get("accept", ""))
        return Response(text, headers=_HEADERS | {"Content-Type": content_type})

    async def _healthz(self, request: Request) -> Response:
        del request
        return self._state(is_good=self._pulse.is_well, good="ok", bad="the event loop is late")

    async def _readyz(self, request: Request) -> Response:
        del request
        return self._state(is_good=self._served.is_ready, good="ready", bad="not ready")

    def _state(self, *, is_good: bool, good: str, bad: str) -> Response:
        body = {"status": good if is_good else bad, "loop_lag": self._pulse.worst_lag}
        return _json(msgspec.json.encode(body), status=200 if is_good else 503)


def _json(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status_code=status, media_type="application/json", headers={**_HEADERS, **(headers or {})})


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    error = cast("Refusal", error)
    headers = {"Connection": "close"} if error.closes else {}
    if error.status == 401:  # noqa: PLR2004  # RFC 9110 §15.5.2 wants to know how to do better
        headers["WWW-Authenticate"] = "apikey"
    return _json(msgspec.json.encode(error.body), status=error.status, headers=headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What Starlette refuses: no such path, or another method."""
    del request
    error = cast("HTTPException", error)
    code = NOT_FOUND if error.status_code == 404 else BAD_REQUEST  # noqa: PLR2004  # as HTTP has it
    refusal = Refusal(error.status_code, code, str(error.detail).lower())
    return _json(msgspec.json.encode(refusal.body), status=error.status_code, headers=error.headers)


async def _fail(request: Request, error: Exception) -> Response:
    """A fault of ours, which is logged; whoever asked is told nothing of it."""
    del request, error
    refusal = Refusal(_SERVER_ERROR, INTERNAL, "internal server error")
    return _json(msgspec.json.encode(refusal.body), status=_SERVER_ERROR)

"""States of accounts over HTTP, for what a subscription does not tell: how things stood when it began.

    acknowledged, or connected anew -> want(topics) -> getMultipleAccounts, 100 accounts a request -> topic.seed(...)

A notification that has come meanwhile is newer than a state of a lower slot, which is dropped then. What fails is told,
and tried again for as long as somebody wants it: a node that lags behind what was seen before, too.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from ssl import SSLContext
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..._endpoints import Endpoint
from ..._fetching import FetchFailed, fetch_bytes
from ..._url import Target
from ...exceptions import ConfigError, DecodeError, InvalidURL, RequestRejected, WebSocketError
from ...messages import AccountUpdate
from ._decoding import Refusal, is_number
from ._events import Seeded, SeedFailed
from ._topics import AccountTopic

__all__ = ["Seeding", "seed_endpoint"]

_METHOD = "getMultipleAccounts"
# Accounts of one request that nodes take.
_MOST_ACCOUNTS = 100
# A hundred accounts without data have a fiftieth of it.
_MOST_BYTES = 1 << 20
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0

_Natural = Annotated[int, Meta(ge=0)]


class _Context(msgspec.Struct):
    slot: _Natural


class _Account(msgspec.Struct):
    lamports: _Natural


class _Result(msgspec.Struct):
    context: _Context
    value: list[_Account | None]


class _Answer(msgspec.Struct):
    result: _Result | None = None
    error: Refusal | None = None


_answers = msgspec.json.Decoder(_Answer)


def seed_endpoint(url: str) -> Endpoint:
    """Where to ask, of an `http` or `https` URL.

    Raises:
        ConfigError: If it is none; it is shown without what may be secret.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in {"http", "https"} or not separator:
        raise ConfigError(["seed_url: must begin with http:// or https://"])
    try:
        # The rules of the two differ in their schemes alone.
        return Endpoint(f"{scheme.replace('http', 'ws')}://{rest}")
    except InvalidURL as error:
        raise ConfigError([f"seed_url: {error.reason}"]) from None


def _address(target: Target) -> str:
    return f"{target.origin[0].replace('ws', 'http')}://{target.authority}{target.resource}"


class Seeding:
    """Fetches states of accounts, one request at a time.

    Args:
        endpoint: Returns where to ask: the node that is connected to, or another.
        ssl: For `https`; None takes the system's trust.
        timeout: Seconds for one request.
        tell: Is told how it went.
        spawn: Runs the coroutine that asks, until the stream ends.
    """

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        ssl: SSLContext | None,
        timeout: float,
        tell: Callable[[Seeded | SeedFailed], object],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Future[Any]"],
    ) -> None:
        self._endpoint = endpoint
        self._ssl = ssl
        self._timeout = timeout
        self._tell = tell
        self._spawn = spawn
        self._wanted: dict[str, AccountTopic] = {}
        self._task: asyncio.Future[Any] | None = None
        self.failures = self.applied = 0

    def want(self, topics: Iterable[AccountTopic]) -> None:
        """Fetch and deliver the states of these accounts, as they are from now on."""
        for topic in topics:
            # Behind those that are wanted already: what is under way may be of a time before.
            self._wanted.pop(topic.request.channel, None)
            self._wanted[topic.request.channel] = topic
        if self._wanted and (self._task is None or self._task.done()):
            self._task = self._spawn(self._fetch_all())

    async def _fetch_all(self) -> None:
        attempts = 0
        while batch := self._next_batch():
            try:
                answer = await self._ask(batch)
            except (FetchFailed, TimeoutError, OSError, WebSocketError) as error:
                attempts += 1
                self.failures += 1
                delay = self._delay(attempts, error)
                self._tell(SeedFailed(error, attempts, delay))
                # Wanted anew by its own words meanwhile it stays so, behind.
                self._wanted = {topic.request.channel: topic for topic in batch} | self._wanted
                await asyncio.sleep(delay)
                continue
            attempts = 0
            self._apply(batch, answer)

    def _next_batch(self) -> Sequence[AccountTopic]:
        for channel in [channel for channel, topic in self._wanted.items() if not topic.listeners]:
            del self._wanted[channel]
        if not self._wanted:
            return ()
        level = next(iter(self._wanted.values())).request.commitment
        fitting = [topic for topic in self._wanted.values() if topic.request.commitment == level][:_MOST_ACCOUNTS]
        for topic in fitting:
            del self._wanted[topic.request.channel]
        return fitting

    @staticmethod
    def _delay(attempts: int, error: BaseException) -> float:
        asked = error.retry_after if isinstance(error, FetchFailed) else 0.0
        # Full jitter: nodes see all their clients come back at once.
        spread = 0.5 + random.random() / 2  # noqa: S311  # jitter is no secret
        doubled = _FIRST_DELAY * (1 << min(attempts - 1, 10))
        return max(min(asked, 10 * _LONGEST_DELAY), min(_LONGEST_DELAY, doubled) * spread)

    async def _ask(self, batch: Sequence[AccountTopic]) -> _Result:
        options: dict[str, object] = {
            "encoding": "base64",
            "commitment": batch[0].request.commitment,
            "dataSlice": {"offset": 0, "length": 0},
        }
        # What lags behind what has been seen would be dropped: the node refuses then, and is asked again.
        seen = max(topic.newest for topic in batch)
        if seen:
            options["minContextSlot"] = seen
        keys = [topic.request.pubkey for topic in batch]
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": _METHOD, "params": [keys, options]})
        async with asyncio.timeout(self._timeout):
            raw = await self._post(self._endpoint(), body)
        return _read(raw, len(batch))

    async def _post(self, endpoint: Endpoint, body: bytes) -> bytes:
        target = await endpoint.resolve()
        headers = dict(await endpoint.own_headers())
        authorization = await endpoint.authorization() or target.authorization
        if authorization is not None and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = authorization

        def post() -> bytes:
            return fetch_bytes(_address(target), self._timeout, self._ssl, headers=headers, body=body, most=_MOST_BYTES)

        return await asyncio.to_thread(post)

    def _apply(self, batch: Sequence[AccountTopic], answer: _Result) -> None:
        slot, now = answer.context.slot, time.time_ns() // 1_000_000
        applied = 0
        for topic, account in zip(batch, answer.value, strict=True):
            # An account that does not exist is told of as nodes notify it.
            lamports = 0 if account is None else account.lamports
            applied += topic.seed(AccountUpdate(topic.request.pubkey, lamports, slot, now))
        self.applied += applied
        self._tell(Seeded(len(batch), applied, slot))


def _read(raw: bytes, count: int) -> _Result:
    try:
        answer = _answers.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error), format="json", raw=raw) from None
    if answer.error is not None:
        raise RequestRejected("accounts", answer.error.code, answer.error.message, _METHOD)
    result = answer.result
    if result is None or len(result.value) != count:
        raise DecodeError(f"expected the states of {count} accounts", format="json", raw=raw)
    numbers = [result.context.slot, *(one.lamports for one in result.value if one is not None)]
    if not all(map(is_number, numbers)):
        raise DecodeError("expected integers of at most 64 bits", format="json", raw=raw)
    return result

"""What was answered to requests with an idempotency key, so that a repeated one is answered alike and does nothing."""

import hashlib
from typing import NamedTuple

from ._refusals import BAD_REQUEST, CONFLICT, Refusal

__all__ = ["MAX_KEY", "Results"]

MAX_KEY = 256
_MIB = 1024 * 1024
# What an entry costs beside its key and answer.
_OVERHEAD = 256


class _Result(NamedTuple):
    until: float
    digest: bytes
    answer: bytes


class Results:
    """Remembers answers for some time, and not more of them than fit; the oldest go first.

    Only what was done is remembered: a refused request may be repeated with the same key once it is right. Nothing is
    awaited between `find` and `keep`, so of two requests at once the second one finds what the first one did.

    Args:
        seconds: For which an answer is remembered.
        most: Answers.
        size: Bytes of keys and answers; the latest is kept however big it is.
    """

    def __init__(self, *, seconds: float = 300.0, most: int = 10_000, size: int = 4 * _MIB) -> None:
        self._seconds = seconds
        self._most = most
        self._size = size
        # In the order of their ends: all live equally long.
        self._results: dict[tuple[str, str], _Result] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._results)

    @property
    def held_bytes(self) -> int:
        """Bytes that count against `size`."""
        return self._held

    def find(self, api: str, key: str, body: bytes, now: float) -> bytes | None:
        """Return what was answered to this key of this API; None if nothing was, or it is too long ago.

        Raises:
            Refusal: If the key is none, or was used for another body.
        """
        if len(key) > MAX_KEY:
            raise Refusal(
                400, BAD_REQUEST, f"an idempotency key has at most {MAX_KEY} characters", path="$.idempotency_key"
            )
        self._forget(now)
        result = self._results.get((api, key))
        if result is None:
            return None
        if result.digest != hashlib.sha256(body).digest():
            raise Refusal(
                409,
                CONFLICT,
                "this idempotency key was used for another request body: take a new key, or send the same bytes",
                path="$.idempotency_key",
            )
        return result.answer

    def keep(self, api: str, key: str, body: bytes, answer: bytes, now: float) -> None:
        """Remember what was answered."""
        self._results[api, key] = _Result(now + self._seconds, hashlib.sha256(body).digest(), answer)
        self._held += self._cost(api, key, answer)
        while len(self._results) > 1 and (len(self._results) > self._most or self._held > self._size):
            self._drop_oldest()

    def _forget(self, now: float) -> None:
        while self._results and next(iter(self._results.values())).until <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        api, key = next(iter(self._results))
        self._held -= self._cost(api, key, self._results.pop((api, key)).answer)

    @staticmethod
    def _cost(api: str, key: str, answer: bytes) -> int:
        # Four bytes a character are the most that Python takes.
        return len(api) + 4 * len(key) + len(answer) + _OVERHEAD

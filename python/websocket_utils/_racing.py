"""TCP to whichever address of a name takes it first (RFC 8305, "Happy Eyeballs")."""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

__all__ = ["AddressInfo", "Race", "interleaved"]

# As `getaddrinfo` gives it: family, type, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]

# How long one attempt has before the next address is tried beside it (RFC 8305 §5, "Connection Attempt Delay").
_STAGGER_SECONDS = 0.25


def interleaved(infos: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Families by turns, beginning with that of the first address; within a family the resolver's order (§4)."""
    families: dict[int, list[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*families.values())
    return [info for one_round in rounds for info in one_round if info is not None]


class Race:
    """One attempt after the other, a new one each 250 ms or as soon as one fails; the first that connects wins.

    Args:
        loop: Its `call_later`, `create_future` and `create_task` are used.
        infos: The addresses, in order of preference.
        make_socket: Makes a socket from family, type and protocol.
        connect: Connects a socket to an address; None takes the loop's `sock_connect`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        infos: Sequence[AddressInfo],
        make_socket: Callable[[int, int, int], socket.socket],
        connect: Callable[[socket.socket, tuple[Any, ...]], Awaitable[None]] | None = None,
    ) -> None:
        self._loop = loop
        self._connect = connect or loop.sock_connect
        self._make_socket = make_socket
        self._waiting = interleaved(infos)
        self._won: asyncio.Future[socket.socket] = loop.create_future()
        self._attempts: set[asyncio.Task[None]] = set()
        self._failures: list[tuple[tuple[Any, ...], OSError]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> socket.socket:
        """Return the winner's socket, which is the caller's; no other is left open.

        Raises:
            OSError: That of the first address which failed, with a note for each other one, if none connects.
        """
        try:
            if len(self._waiting) == 1:
                # Nothing to race with: no task for it.
                await self._attempt(self._waiting.pop())
            else:
                self._start_next()
            return await self._won
        except BaseException:
            # Cancelled in the turn in which it was won: nobody takes the socket.
            if self._won.done() and not self._won.cancelled() and self._won.exception() is None:
                self._won.result().close()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            # Each closes its socket itself, behind what the loop has registered for it.
            for attempt in self._attempts:
                attempt.cancel()

    def _start_next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._won.done():
            return
        if self._waiting:
            attempt = self._loop.create_task(self._attempt(self._waiting.pop(0)))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            if self._waiting:
                self._timer = self._loop.call_later(_STAGGER_SECONDS, self._start_next)
        elif not self._attempts:
            self._won.set_exception(self._failure())

    async def _attempt(self, info: AddressInfo) -> None:
        family, kind, protocol, _, address = info
        try:
            made = self._make_socket(family, kind, protocol)
            try:
                made.setblocking(False)
                await self._connect(made, address)
            except BaseException:
                made.close()
                raise
        except OSError as error:
            self._failures.append((address, error))
            task = asyncio.current_task()
            if task is not None:
                self._attempts.discard(task)
            self._start_next()
            return
        except Exception as error:  # noqa: BLE001  # an address that no socket takes: it belongs to who dials
            if not self._won.done():
                self._won.set_exception(error)
            return
        if self._won.done():
            made.close()
        else:
            self._won.set_result(made)

    def _failure(self) -> OSError:
        if not self._failures:
            return OSError("no address is known for that name")
        (_, error), *others = self._failures
        for address, other in others:
            error.add_note(f"and at {address[0]}: {other}")
        return error

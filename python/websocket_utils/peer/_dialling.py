"""Keeps a link to what one URL leads to: dials while there is none, and waits while there is."""

import asyncio
import random
from collections.abc import Callable
from ssl import SSLContext

from websocket_utils._dialer import Dialer
from websocket_utils._endpoints import Endpoint
from websocket_utils._reconnect import ReconnectPolicy
from websocket_utils.config import WebSocketConfig
from websocket_utils.exceptions import PeerRefused

from ._events import PeerDialFailed, PeerEvent
from ._link import Dial, Link
from ._links import Links, Superseded

__all__ = ["Dialling"]


class Dialling:
    """Dials one URL again and again.

    Args:
        links: Takes what is dialled.
        url: Where to.
        name: Whom to expect there; None learns it from the first answer.
        config: Timeouts.
        subprotocol: What is offered.
        ssl: For `wss`.
        policy: How long to wait between dials.
        tell: Is told of failures.

    Attributes:
        name: Whom the link is with; None before that is known.
        error: What the last dial failed with; None once a link stands.
    """

    # One counter for all dials of a process: of two dials to one peer the later one has the greater number.
    _attempts = 0

    def __init__(
        self,
        links: Links,
        url: str,
        name: str | None,
        *,
        config: WebSocketConfig,
        subprotocol: str,
        ssl: SSLContext | None,
        policy: ReconnectPolicy,
        tell: Callable[[PeerEvent], None],
    ) -> None:
        self.name = name
        self.error: Exception | None = None
        self._links = links
        self._expected = name
        self._config = config
        self._policy = policy
        self._tell = tell
        self._dialer = Dialer((Endpoint(url),), config, (subprotocol,), ssl)
        self.url = self._dialer.endpoints[0].shown

    async def run(self) -> None:
        """Dial until cancelled."""
        loop = asyncio.get_running_loop()
        failures, flapping = 0, False
        while True:
            link = self._link()
            if link is not None and link.is_up:
                self.error = None
                since = loop.time()
                await link.wait(up=False)
                flapping = loop.time() - since < self._config.stable_after
                failures = failures + 1 if flapping else 0
            # Who dials may be dialled meanwhile.
            await self._pause(failures, flapping=flapping)
            link = self._link()
            if link is not None and link.is_up:
                continue
            if await self._dial():
                continue
            failures, flapping = failures + 1, False

    def _link(self) -> Link | None:
        return None if self.name is None else self._links.all.get(self.name)

    async def _pause(self, failures: int, *, flapping: bool) -> None:
        longest = self._policy.max_delay or self._config.reconnect_interval
        delay = self._policy.delay(failures, random.random(), flapping=flapping, longest=longest)  # noqa: S311  # jitter
        link = self._link()
        try:
            async with asyncio.timeout(delay):
                if link is None:
                    await asyncio.sleep(delay)
                else:
                    await link.wait(up=True)
        except TimeoutError:
            return

    async def _dial(self) -> bool:
        loop = asyncio.get_running_loop()
        Dialling._attempts += 1
        dial = Dial(self.url, self._expected, Dialling._attempts, loop.create_future())
        # Whoever ends it when nobody waits any more is right to do so.
        dial.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await self._dialer.dial(lambda opened: self._links.take_dialled(opened, dial))
            self.name = (await dial.outcome).name
        except Superseded:
            # There is a link with who answers there: no other dial until it is lost.
            self.name = dial.met or self.name
            return False
        except Exception as error:  # noqa: BLE001  # whatever a dial fails with, the next one may not
            self._failed(error)
            return False
        finally:
            dial.outcome.cancel()
        return True

    def _failed(self, error: Exception) -> None:
        before, self.error = self.error, error
        if before is None or _kind(before) != _kind(error):
            self._tell(PeerDialFailed(self.name, self.url, error))


def _kind(error: Exception) -> tuple[object, ...]:
    return (type(error), error.code if isinstance(error, PeerRefused) else str(error))

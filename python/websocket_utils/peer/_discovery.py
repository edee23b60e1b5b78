"""Which peers are dialled: those that were named, and those that a rendezvous tells of."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from websocket_utils._redaction import on_one_line

from ._dialling import Dialling
from ._links import Links
from ._messages import PeerPlace
from ._pairing import dials
from ._places import named_places

__all__ = ["Discovery"]

_logger = logging.getLogger("websocket_utils.peer")


class Discovery:
    """The dials of a peer.

    Args:
        links: Its links.
        make: Makes what dials a URL, for that name (None: whoever answers).
        has_key: Whether peers on other machines may be dialled.
    """

    def __init__(self, links: Links, make: Callable[[str, str | None], Dialling], *, has_key: bool) -> None:
        self._links = links
        self._make = make
        self._has_key = has_key
        self._own: PeerPlace | None = None
        self._named: list[tuple[Dialling, asyncio.Task[None]]] = []
        # What a rendezvous told of, by name.
        self._found: dict[str, tuple[str, Dialling, asyncio.Task[None]]] = {}
        self._roster: dict[str, PeerPlace] = {}

    def dial(self, url: str, name: str | None) -> None:
        """Dial from now on until the end."""
        dialling = self._make(url, name)
        self._named.append((dialling, asyncio.create_task(dialling.run())))

    def announces(self, own: PeerPlace) -> None:
        """Say what others are told of this peer: it decides whose turn a dial is."""
        self._own = own

    def learned(self, places: Iterable[PeerPlace]) -> None:
        """A rendezvous tells who there is."""
        self._roster = {place.name: place for place in places if place.name != self._links.name}
        self.look()

    def look(self) -> None:
        """Dial whom the rendezvous tells of and whose turn it is not; leave those alone that it has forgotten.

        A link that stands is left as it is, whatever the rendezvous says.
        """
        wanted = {name: place.url for name, place in self._roster.items() if self._is_our_turn(place)}
        for name, (url, dialling, task) in tuple(self._found.items()):
            link = self._links.all.get(name)
            if wanted.get(name) != url and (link is None or not link.is_up):
                task.cancel()
                del self._found[name], dialling
        for name, url in wanted.items():
            if name not in self._found:
                self._find(name, url)

    def _is_our_turn(self, place: PeerPlace) -> bool:
        has_own = self._own is not None and bool(self._own.url)
        return dials(
            self._links.name, place.name, can_peer_be_dialled=bool(place.url), can_own_be_dialled=has_own
        ) and not any(dialling.name == place.name for dialling, _ in self._named)

    def _find(self, name: str, url: str) -> None:
        _, faults = named_places({name: url}, self._links.name, has_key=self._has_key)
        if faults:
            _logger.debug("a rendezvous tells of what is not dialled: %s", on_one_line("; ".join(faults)))
            return
        dialling = self._make(url, name)
        self._found[name] = (url, dialling, asyncio.create_task(dialling.run()))

    def error(self, name: str) -> Exception | None:
        """What the last dial of that peer failed with; None if it did not, or there was none."""
        all_dials = [one for one, _ in self._named] + [one for _, one, _ in self._found.values()]
        return next((one.error for one in all_dials if one.name == name and one.error is not None), None)

    async def close(self) -> None:
        """Dial no more."""
        tasks = [task for _, task in self._named] + [task for _, _, task in self._found.values()]
        for task in tasks:
            task.cancel()
        self._roster.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

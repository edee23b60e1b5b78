"""Who has announced itself at a rendezvous, and for how long. Pure: time is an argument."""

from dataclasses import dataclass

from websocket_utils._url import parse_url
from websocket_utils.exceptions import InvalidURL

from ._messages import PeerPlace
from ._proofs import is_name

__all__ = ["Roster", "is_place"]

_MAX_URL = 512
_MOST = 1 << 64


def is_place(place: PeerPlace) -> bool:
    """Whether that can be announced: a name, an instance, and a URL or none."""
    if not is_name(place.name) or not 0 < place.instance < _MOST or len(place.url) > _MAX_URL:
        return False
    try:
        return not place.url or bool(parse_url(place.url))
    except InvalidURL:
        return False


@dataclass(slots=True)
class _Entry:
    place: PeerPlace
    holder: object
    expires: float


class Roster:
    """Announcements with leases.

    Args:
        most: How many are kept.
        longest: Seconds that a lease may be at most.
    """

    def __init__(self, most: int, longest: float) -> None:
        self._most = most
        self._longest = longest
        self._entries: dict[str, _Entry] = {}
        # One name for each: who could take all of them would keep everybody else out.
        self._names: dict[object, str] = {}

    @property
    def places(self) -> list[PeerPlace]:
        """Those whose lease has not ended."""
        return [entry.place for entry in self._entries.values()]

    def announce(self, place: PeerPlace, lease: float, holder: object, now: float, *, is_free: bool = False) -> bool:
        """Take or renew an announcement.

        Args:
            place: Who, and where.
            lease: Seconds; more than `longest` is cut to it.
            holder: Who announces it: nobody else may, until the lease ends.
            now: Seconds.
            is_free: Whether the holder of the name is gone, so that another one may have it.

        Returns:
            Whether the roster has changed.
        """
        if not is_place(place) or not lease > 0:
            return False
        entry = self._entries.get(place.name)
        if self._names.get(holder, place.name) != place.name or (entry is None and len(self._entries) >= self._most):
            return False
        if entry is not None and entry.holder is not holder and entry.expires > now and not is_free:
            return False
        if entry is not None:
            self._names.pop(entry.holder, None)
        self._entries[place.name] = _Entry(place, holder, now + min(lease, self._longest))
        self._names[holder] = place.name
        return entry is None or entry.place != place

    def holder(self, name: str) -> object:
        """Who announced that name; None if nobody has."""
        entry = self._entries.get(name)
        return None if entry is None else entry.holder

    def expire(self, now: float) -> bool:
        """Drop what has ended; returns whether anything has."""
        ended = [name for name, entry in self._entries.items() if entry.expires <= now]
        for name in ended:
            del self._names[self._entries.pop(name).holder]
        return bool(ended)

    def is_holder(self, holder: object) -> bool:
        """Whether it has announced a name."""
        return holder in self._names

    @property
    def next_expiry(self) -> float | None:
        """When the next lease ends; None if there is none."""
        return min((entry.expires for entry in self._entries.values()), default=None)

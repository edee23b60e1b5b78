"""Positions as `Subscribe` and `Subscribed` carry them: `<epoch> <sequence> <channel>`."""

from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["Position", "Presented", "position_text", "read_positions"]

Position = tuple[str, int, int]
"""Channel, epoch, sequence."""

# What Rust counts with.
_MOST = 2**64


def position_text(channel: str, epoch: int, sequence: int) -> str:
    """Write a position."""
    return f"{epoch} {sequence} {channel}"


def read_positions(texts: Iterable[str]) -> list[Position]:
    """Read positions: channel, epoch, sequence of each.

    Raises:
        ValueError: If one is none.
    """
    positions: list[Position] = []
    for text in texts:
        epoch, _, rest = text.partition(" ")
        sequence, _, channel = rest.partition(" ")
        # int() would take signs, blanks and digits of other scripts.
        if not (channel and all(number.isascii() and number.isdigit() for number in (epoch, sequence))):
            raise ValueError("a position is `<epoch> <sequence> <channel>`")
        if max(len(epoch), len(sequence)) > 20 or int(epoch) >= _MOST or int(sequence) >= _MOST:  # noqa: PLR2004  # digits of 2**64
            raise ValueError("numbers of a position fit 64 bits")
        positions.append((channel, int(epoch), int(sequence)))
    return positions


class Presented:
    """The positions of one request, found by name or pattern without a look at all others for each."""

    __slots__ = ("_names", "_positions")

    def __init__(self, positions: Iterable[Position]) -> None:
        # The last one counts where a channel is named twice.
        self._positions = {position[0]: position for position in positions}
        self._names = sorted(self._positions)

    def of(self, name: str) -> list[Position]:
        """Return those of a channel, or of all that a pattern matches."""
        if not name.endswith("*"):
            return [self._positions[name]] if name in self._positions else []
        prefix = name[:-1]
        found: list[Position] = []
        for at in range(bisect_left(self._names, prefix), len(self._names)):
            if not self._names[at].startswith(prefix):
                break
            found.append(self._positions[self._names[at]])
        return found

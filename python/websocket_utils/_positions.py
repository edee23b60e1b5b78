"""Positions as `Subscribe` and `Subscribed` carry them: `<epoch> <sequence> <channel>`."""

from collections.abc import Iterable

__all__ = ["position_text", "read_positions"]

# What Rust counts with.
_MOST = 2**64


def position_text(channel: str, epoch: int, sequence: int) -> str:
    """Write a position."""
    return f"{epoch} {sequence} {channel}"


def read_positions(texts: Iterable[str]) -> list[tuple[str, int, int]]:
    """Read positions: channel, epoch, sequence of each.

    Raises:
        ValueError: If one is none.
    """
    positions: list[tuple[str, int, int]] = []
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

"""Channels as users of a library without them write them: a set of connections for each name."""

from collections import defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from benches._many import PREFIX
from benches._payload import CYCLE, PriceUpdate, PriceUpdateClass, cycle

C = TypeVar("C")
MessageT = TypeVar("MessageT")


class _Subscribe(msgspec.Struct, tag="Subscribe"):
    channels: list[str]


class Subscribers(Generic[C]):
    """Who gets what is published on a channel."""

    def __init__(self) -> None:
        self.of: defaultdict[str, set[C]] = defaultdict(set)
        self.count = 0
        self._decode = msgspec.json.Decoder(_Subscribe).decode

    def subscribe(self, connection: C, request: bytes | str) -> None:
        """Do what a client asks for."""
        for channel in self._decode(request).channels:
            self.of[channel].add(connection)
            self.count += 1

    def leave(self, connection: C) -> None:
        """Forget a connection."""
        for connections in self.of.values():
            connections.discard(connection)


def names(channels: int) -> list[str]:
    """Return the names of the channels of a bench."""
    return [f"{PREFIX}{number}" for number in range(channels)]


def publications(cls: PriceUpdateClass[MessageT]) -> Callable[[int, int], MessageT]:
    """Return what makes the message of a channel out of its number and a time stamp."""
    fields = [(one.input_mint, one.output_mint, one.price, one.volume) for one in cycle(PriceUpdate)]

    def publication(channel: int, stamp: int) -> MessageT:
        input_mint, output_mint, price, volume = fields[channel % CYCLE]
        return cls(input_mint, output_mint, price, volume, stamp + channel)

    return publication

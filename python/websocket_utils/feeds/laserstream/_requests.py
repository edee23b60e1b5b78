"""What a node is asked for: methods with parameters, each with the channel that it is to the client.

    {"jsonrpc":"2.0","id":1,"method":"accountSubscribe","params":["CM78...",{"encoding":"base64",...}]}

One request is one subscription, and of one account: a node takes 4 096 bytes, and answers for each by its number.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from weakref import WeakValueDictionary

import msgspec

from ...exceptions import ConfigError, RequestTooBig
from ._base58 import check_pubkey

__all__ = ["MAX_REQUEST_SIZE", "Commitment", "Kind", "Request", "Requests", "check_commitment"]

Commitment = Literal["processed", "confirmed", "finalized"]
"""How sure a node is to be of what it tells: `processed` is the fastest, and may be undone by a fork."""

Kind = Literal["account", "slot", "program", "logs", "transaction"]
"""Kinds of subscriptions, as their methods begin: `accountSubscribe`, `accountNotification`, `accountUnsubscribe`."""

MAX_REQUEST_SIZE = 4096
"""Bytes of a request that nodes take (agave's `rpc_pubsub_service`)."""

_COMMITMENTS = frozenset({"processed", "confirmed", "finalized"})
# What a request is checked with: no number of one is longer.
_LONGEST_ID = 2**63
# Balances are told of, not data: frames stay small where the node honours it (older ones send the data all the same).
_NO_DATA = {"offset": 0, "length": 0}


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Request:
    """One subscription, as it is asked for on any connection."""

    kind: Kind
    channel: str
    """What it is called in events and errors; unlike that of any other request of the stream."""

    params: str
    """Parameters as JSON; empty where the method takes none."""

    pubkey: str
    """The account that it is for; empty where it is for no single one."""

    commitment: Commitment

    @property
    def method(self) -> str:
        """The method that subscribes."""
        return f"{self.kind}Subscribe"

    def text(self, number: int) -> str:
        """Return the request under a number of the connection."""
        params = f',"params":{self.params}' if self.params else ""
        return f'{{"jsonrpc":"2.0","id":{number},"method":"{self.method}"{params}}}'

    def ending(self, number: int, subscription: int) -> str:
        """Return what ends the subscription."""
        return f'{{"jsonrpc":"2.0","id":{number},"method":"{self.kind}Unsubscribe","params":[{subscription}]}}'


def check_commitment(commitment: str) -> Commitment:
    """Return a commitment that is one.

    Raises:
        ConfigError: If it is none.
    """
    if commitment in _COMMITMENTS:
        return cast("Commitment", commitment)
    known = ", ".join(sorted(_COMMITMENTS))
    raise ConfigError([f"commitment: must be one of {known}, not {commitment!r}"])


class Requests:
    """Makes the requests of a stream: what is asked for twice in the same words is one request.

    Args:
        commitment: Where a call names none.
        limit: Bytes that a request may have.
    """

    def __init__(self, commitment: Commitment, limit: int) -> None:
        self._commitment: Commitment = commitment
        self._limit = limit
        # As long as anybody holds them: a strategy may go through any number of accounts.
        self._known: WeakValueDictionary[tuple[Kind, str], Request] = WeakValueDictionary()
        self._channels: WeakValueDictionary[str, Request] = WeakValueDictionary()

    def account(self, pubkey: str, commitment: Commitment | None) -> Request:
        """An account's state."""
        check_pubkey(pubkey)
        level = self._level(commitment)
        options = {"encoding": "base64", "commitment": level, "dataSlice": _NO_DATA}
        return self._request("account", f"accounts:{pubkey}", [pubkey, options], level, pubkey)

    def slots(self) -> Request:
        """The node's slots; they have no commitment."""
        return self._request("slot", "slots", None, self._commitment)

    def program(self, program: str, filters: Sequence[Mapping[str, Any]], commitment: Commitment | None) -> Request:
        """The states of a program's accounts."""
        check_pubkey(program)
        level = self._level(commitment)
        options: dict[str, Any] = {"encoding": "base64", "commitment": level, "dataSlice": _NO_DATA}
        if filters:
            options["filters"] = list(filters)
        return self._request("program", f"programs:{program}", [program, options], level)

    def logs(self, mentions: str | None, votes: bool, commitment: Commitment | None) -> Request:
        """Logs of transactions."""
        level = self._level(commitment)
        if mentions is not None:
            chosen: Any = {"mentions": [check_pubkey(mentions)]}
        else:
            chosen = "allWithVotes" if votes else "all"
        channel = "logs" if mentions is None else f"logs:{mentions}"
        return self._request("logs", channel, [chosen, {"commitment": level}], level)

    def transactions(
        self, chosen: Mapping[str, Any], options: Mapping[str, Any], commitment: Commitment | None
    ) -> Request:
        """Transactions, as the node's filter says."""
        level = self._level(commitment)
        return self._request("transaction", "transactions", [chosen, {"commitment": level, **options}], level)

    def _level(self, commitment: Commitment | None) -> Commitment:
        return self._commitment if commitment is None else check_commitment(commitment)

    def _request(self, kind: Kind, name: str, params: Any, commitment: Commitment, pubkey: str = "") -> Request:
        text = "" if params is None else msgspec.json.encode(params).decode()
        known = self._known.get((kind, text))
        if known is not None:
            return known
        channel = first = name if commitment == self._commitment else f"{name}@{commitment}"
        others = itertools.count(2)
        while channel in self._channels:
            channel = f"{first}#{next(others)}"
        made = Request(kind, channel, text, pubkey, commitment)
        size = len(made.text(_LONGEST_ID).encode())
        if size > self._limit:
            raise RequestTooBig(channel, size, self._limit)
        self._channels[channel] = self._known[kind, text] = made
        return made

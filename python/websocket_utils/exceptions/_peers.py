"""How links between peers, and requests over them, fail."""

from websocket_utils._redaction import on_one_line

from ._faults import WebSocketError

__all__ = [
    "PeerError",
    "PeerLost",
    "PeerNameTaken",
    "PeerNotProven",
    "PeerRefused",
    "PeerUnavailable",
    "RequestFailed",
    "RequestTimeout",
    "RequestsFull",
]


class PeerError(WebSocketError):
    """Something failed with one peer.

    Attributes:
        peer: Its name, or its URL where the name is not known.
    """

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer

    def __str__(self) -> str:
        return f"the link with {self.peer!r} failed"


class PeerUnavailable(PeerError):
    """There is no link with that peer now. Nothing was sent."""

    def __str__(self) -> str:
        return f"no link with {self.peer!r}: nothing was sent; wait for it with `await peer.joined(name)`"


class PeerLost(PeerError):
    """The link was lost before the answer came: whether the peer has acted on the request is not known."""

    def __str__(self) -> str:
        return (
            f"the link with {self.peer!r} was lost before the answer came; whether it has acted on the request is not "
            "known"
        )


class PeerRefused(PeerError):
    """The other side, or this one, does not want the link.

    Attributes:
        code: The close code.
        reason: Why, in the words of who refused.
    """

    def __init__(self, peer: str, code: int, reason: str) -> None:
        WebSocketError.__init__(self, peer, code, reason)
        self.peer = peer
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"no link with {self.peer!r}: {on_one_line(self.reason)} (close code {self.code})"


class PeerNameTaken(PeerRefused):
    """Another peer has the name there."""


class PeerNotProven(PeerRefused):
    """One side has not proved that it knows the key."""


class RequestTimeout(PeerError, TimeoutError):
    """No answer came in time. One that comes later is counted, and goes nowhere.

    Attributes:
        timeout: Seconds that were given.
    """

    def __init__(self, peer: str, timeout: float) -> None:
        WebSocketError.__init__(self, peer, timeout)
        self.peer = peer
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"no answer from {self.peer!r} within {self.timeout:g} s; whether it has acted on the request is not known"
        )


class RequestFailed(PeerError):
    """The peer answers that it can't, or will not.

    Attributes:
        kind: `unknown` (nobody answers such requests there), `busy`, `expired` (it was past its deadline there), `type`
            (the answer is none that was asked for), or the class of the error that the handler raised.
        reason: Why, in the peer's words.
    """

    def __init__(self, peer: str, kind: str, reason: str) -> None:
        WebSocketError.__init__(self, peer, kind, reason)
        self.peer = peer
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.peer!r} did not answer: {on_one_line(self.kind)}: {on_one_line(self.reason)}"


class RequestsFull(PeerError):
    """So many requests wait for an answer that no more may be asked. Nothing was sent.

    Attributes:
        limit: `max_requests` in force.
    """

    def __init__(self, peer: str, limit: int) -> None:
        WebSocketError.__init__(self, peer, limit)
        self.peer = peer
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} requests to {self.peer!r} wait for an answer; wait for some, or raise max_requests"

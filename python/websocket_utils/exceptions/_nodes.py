"""What is wrong with requests to nodes of a chain."""

from websocket_utils._redaction import on_one_line

from ._endings import SubscribeRejected
from ._faults import MessageTooBig, WebSocketError

__all__ = ["InvalidPubkey", "RequestRejected", "RequestTooBig"]

_LONGEST_KEY = 64

# Codes of JSON-RPC, and what to do about them.
_ADVICE = {
    -32601: "the node does not offer this method: it is unknown there, or not enabled",
    -32602: "the node does not take these parameters",
    -32603: "the node has as many subscriptions as it takes, or failed: ask later, or another node",
}


class InvalidPubkey(WebSocketError, ValueError):
    """What stands for the address of an account is none. Nothing was asked for.

    Attributes:
        key: As it was given.
        reason: What is wrong with it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        shown = self.key if len(self.key) <= _LONGEST_KEY else f"{self.key[:_LONGEST_KEY]}..."
        return f"invalid public key {shown!r}: {self.reason}; expected 32 bytes in base58, 32 to 44 characters"


class RequestTooBig(MessageTooBig):
    """A request is longer than the node takes. Nothing was asked for.

    Attributes:
        size: Bytes of the request.
        limit: `max_request_size` in force.
        what: The channel that it is for.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.args = (what, size, limit)
        self.what = what

    def __str__(self) -> str:
        return (
            f"the request for {on_one_line(self.what)} has {self.size} bytes, and nodes take {self.limit} "
            "(max_request_size); ask for less in one, such as fewer or shorter filters"
        )


class RequestRejected(SubscribeRejected):
    """A node refused a subscription (JSON-RPC). The connection stays open; the channel is not subscribed to.

    Attributes:
        channel: As it was asked for.
        code: The node's code, such as -32602 (invalid parameters); 0 where its answer made no sense.
        reason: The node's words.
        method: The method that was called.
    """

    def __init__(self, channel: str, code: int, reason: str, method: str) -> None:
        super().__init__(channel, code, reason)
        self.args = (channel, code, reason, method)
        self.method = method

    def __str__(self) -> str:
        advice = _ADVICE.get(self.code)
        text = f"{self.method} of {on_one_line(self.channel)} refused: {on_one_line(self.reason)} (code {self.code})"
        return f"{text}; {advice}" if advice else text

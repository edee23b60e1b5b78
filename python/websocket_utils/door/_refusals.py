"""Answers of the door that are errors: an HTTP status, and a code of Centrifugo's API in the body."""

from typing import Any

__all__ = [
    "BAD_REQUEST",
    "CONFLICT",
    "INTERNAL",
    "NOT_AVAILABLE",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "UNAUTHORIZED",
    "UNKNOWN_CHANNEL",
    "Refusal",
]

INTERNAL = 100
UNAUTHORIZED = 101
UNKNOWN_CHANNEL = 102
PERMISSION_DENIED = 103
NOT_FOUND = 104
BAD_REQUEST = 107
NOT_AVAILABLE = 108
CONFLICT = 113


class Refusal(Exception):
    """A request is refused; nothing of it was done.

    Attributes:
        status: Of the HTTP response.
        code: As Centrifugo has it.
        message: One line for whoever sent the request.
        path: Where in the body the fault is, such as `$.data.price`; empty where that says nothing.
        closes: Whether the connection ends with the answer: the rest of its request is not read.
    """

    def __init__(self, status: int, code: int, message: str, *, path: str = "", closes: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.path = path
        self.closes = closes

    @property
    def body(self) -> dict[str, Any]:
        """What the response says."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.path:
            error["path"] = self.path
        return {"error": error}

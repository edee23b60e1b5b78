"""Notifications as messages, by msgspec: for what the compiled decoder has no plan for, and to tell what a frame is."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from ...exceptions import DecodeError
from ...messages import AccountUpdate, Message, SlotUpdate
from ._messages import LogsUpdate, TransactionUpdate
from ._requests import Request

__all__ = ["Frame", "Refusal", "Reply", "decode_frame", "decode_notification", "decode_reply", "is_number"]

_MOST = 2**64 - 1
_Natural = Annotated[int, Meta(ge=0)]


class Refusal(msgspec.Struct, gc=False):
    """Why a request was refused."""

    code: int = 0
    message: str = ""


class Reply(msgspec.Struct):
    """A node's answer to a request."""

    id: int | None
    """Number of the request; None where the node could not read it."""
    # Any: the number of a subscription, or whether one was ended; nodes may say what they like.
    result: Any = None
    error: Refusal | None = None


class Params(msgspec.Struct):
    """Of a notification."""

    subscription: int
    result: Raw


class Frame(msgspec.Struct):
    """Anything that a node sends: a reply or a notification."""

    method: str | None = None
    params: Params | None = None


class _Context(msgspec.Struct):
    slot: _Natural


class _Account(msgspec.Struct):
    lamports: _Natural


class _AccountResult(msgspec.Struct):
    context: _Context
    # Of an account that does not exist nodes tell 0 lamports, or nothing.
    value: _Account | None


class _Keyed(msgspec.Struct):
    pubkey: str
    account: _Account


class _ProgramResult(msgspec.Struct):
    context: _Context
    value: _Keyed


class _Slot(msgspec.Struct):
    slot: _Natural
    parent: _Natural
    root: _Natural


class _Logs(msgspec.Struct):
    signature: str
    err: Raw
    logs: list[str]


class _LogsResult(msgspec.Struct):
    context: _Context
    value: _Logs


class _Transaction(msgspec.Struct):
    transaction: Raw
    signature: str
    slot: _Natural


_frames = msgspec.json.Decoder(Frame)
_replies = msgspec.json.Decoder(Reply)
_results: dict[str, msgspec.json.Decoder[Any]] = {
    "account": msgspec.json.Decoder(_AccountResult),
    "slot": msgspec.json.Decoder(_Slot),
    "program": msgspec.json.Decoder(_ProgramResult),
    "logs": msgspec.json.Decoder(_LogsResult),
    "transaction": msgspec.json.Decoder(_Transaction),
}


def is_number(value: object) -> bool:
    """Whether it is an integer of 64 bits without sign, as slots, balances and subscriptions are."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _u64(value: int) -> int:
    if value > _MOST:
        raise msgspec.ValidationError(f"Expected `int` <= {_MOST}, got {value}")
    return value


def _failed(error: Exception, frame: str | bytes) -> DecodeError:
    raw = frame.encode() if isinstance(frame, str) else frame
    return DecodeError(str(error), format="json", raw=raw)


def decode_frame(frame: str | bytes) -> Frame:
    """Read what a frame is.

    Raises:
        DecodeError: If it is no JSON object, or neither kind.
    """
    try:
        return _frames.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _failed(error, frame) from None


def decode_reply(frame: str | bytes) -> Reply:
    """Read a frame that is no notification.

    Raises:
        DecodeError: If it is no answer either.
    """
    try:
        return _replies.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _failed(error, frame) from None


def decode_notification(request: Request, result: Raw, timestamp: int, frame: str | bytes) -> Message:
    """Make the message of a notification.

    Args:
        request: What it belongs to.
        result: The notification's `params.result`.
        timestamp: When it was received.
        frame: All of it, for the error.

    Raises:
        DecodeError: If it is no such notification.
    """
    try:
        return _message(request, _results[request.kind].decode(result), timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _failed(error, frame) from None


def _message(request: Request, found: Any, timestamp: int) -> Message:
    match found:
        case _AccountResult(context, value):
            lamports = 0 if value is None else _u64(value.lamports)
            return AccountUpdate(request.pubkey, lamports, _u64(context.slot), timestamp)
        case _ProgramResult(context, value):
            return AccountUpdate(value.pubkey, _u64(value.account.lamports), _u64(context.slot), timestamp)
        case _Slot(slot, parent, root):
            return SlotUpdate(_u64(slot), _u64(parent), _u64(root), timestamp)
        case _LogsResult(context, value):
            error = bytes(value.err).decode()
            return LogsUpdate(
                value.signature, _u64(context.slot), None if error == "null" else error, value.logs, timestamp
            )
        case _:
            return TransactionUpdate(found.signature, _u64(found.slot), found.transaction.copy(), timestamp)

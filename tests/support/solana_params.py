"""Parameters of a Solana node's requests, and how agave refuses what is none."""

import base64
from collections.abc import Callable
from typing import Any, Final

from solders.account import Account
from solders.pubkey import Pubkey
from solders.signature import Signature
from tests.support.solana_frames import Slice

__all__ = ["COMMITMENTS", "PARSERS", "Refused", "account_config", "matches", "parsed_key"]

COMMITMENTS: Final = ("processed", "confirmed", "finalized")
_ENCODINGS: Final = ("binary", "base58", "base64", "jsonParsed")


class Refused(Exception):
    """Answered as an error of JSON-RPC."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def parsed_key(text: object, thing: str = "pubkey") -> Pubkey:
    if not isinstance(text, str):
        raise Refused(-32602, f"Invalid params: invalid type: {_kind(text)}, expected a string.")
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise Refused(-32602, f"Invalid Request: Invalid {thing} provided") from None


def _kind(value: object) -> str:
    return {list: "sequence", dict: "map", bool: "boolean", type(None): "null"}.get(type(value), "integer")


def _config(params: list[Any], index: int) -> dict[str, Any]:
    config = params[index] if len(params) > index else None
    if not isinstance(config, dict | None):
        raise Refused(-32602, f"Invalid params: invalid type: {_kind(config)}, expected a map.")
    return config or {}


def _commitment(config: dict[str, Any]) -> str:
    found = config.get("commitment") or "finalized"
    if found not in COMMITMENTS:
        raise Refused(-32602, f"Invalid params: unknown variant `{found}`.")
    return str(found)


def account_config(config: dict[str, Any], *, default: str) -> tuple[str, Slice | None, str]:
    """Encoding, slice and commitment; what else is there is passed over."""
    encoding = config.get("encoding") or default
    if encoding not in _ENCODINGS:
        # base64+zstd too, which agave knows and this node doesn't.
        raise Refused(-32602, f"Invalid params: unknown variant `{encoding}`.")
    match config.get("dataSlice"):
        case None:
            part = None
        case {"offset": int(offset), "length": int(length)} if offset >= 0 and length >= 0:
            part = (offset, length)
        case _:
            raise Refused(-32602, "Invalid params: invalid dataSlice.")
    return encoding, part, _commitment(config)


def _account(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    encoding, part, commitment = account_config(_config(params, 1), default="binary")
    return (parsed_key(params[0] if params else None), encoding, part), commitment


def _program(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    config = _config(params, 1)
    encoding, part, commitment = account_config(config, default="binary")
    filters = tuple(map(_filter, config.get("filters") or []))
    return (parsed_key(params[0] if params else None), encoding, part, filters), commitment


def _filter(wanted: Any) -> tuple[str, int, bytes]:
    match wanted:
        case {"dataSize": int(size)}:
            return ("size", size, b"")
        case {"memcmp": {"offset": int(offset), "bytes": str(text), "encoding": "base64"}}:
            return ("bytes", offset, base64.b64decode(text))
        case _:
            raise Refused(-32602, "Invalid params: unknown filter.")


def matches(account: Account, wanted: tuple[str, int, bytes]) -> bool:
    """Whether an account passes a filter of programSubscribe."""
    kind, number, data = wanted
    return len(account.data) == number if kind == "size" else account.data[number : number + len(data)] == data


def _logs(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    commitment = _commitment(_config(params, 1))
    match params[0] if params else None:
        case "all" | "allWithVotes":
            return (None,), commitment
        case {"mentions": [str(key)]}:
            return (str(parsed_key(key, "mentions")),), commitment
        case {"mentions": [*_]}:
            raise Refused(-32602, "Invalid Request: Only 1 address supported")
        case _:
            raise Refused(-32602, "Invalid params: unknown variant.")


def _signature(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    try:
        return (str(Signature.from_string(params[0])),), _commitment(_config(params, 1))
    except (ValueError, TypeError, IndexError):
        raise Refused(-32602, "Invalid Request: Invalid signature provided") from None


def _transaction(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    wanted, config = _config(params, 0), _config(params, 1)
    keys = (wanted.get(name) or [] for name in ("accountInclude", "accountExclude", "accountRequired"))
    included, excluded, required = (frozenset(str(parsed_key(key)) for key in each) for each in keys)
    return (included, excluded, required, config.get("transactionDetails") or "full"), _commitment(config)


def _nothing(params: list[Any]) -> tuple[tuple[Any, ...], str]:
    if params:
        raise Refused(-32602, "Invalid params: No parameters were expected")
    return (), "processed"


PARSERS: Final[dict[str, Callable[[list[Any]], tuple[tuple[Any, ...], str]]]] = {
    "account": _account,
    "logs": _logs,
    "program": _program,
    "root": _nothing,
    "signature": _signature,
    "slot": _nothing,
    "transaction": _transaction,
}

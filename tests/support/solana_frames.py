"""What a Solana node writes, by solders' own types where these can say it.

solders always writes base64, no `space` and the whole data; agave's legacy encoding, slices and space are put in here.
"""

import base64
import json
from typing import Any, Final

from solders.account import Account
from solders.pubkey import Pubkey
from solders.rpc.responses import (
    AccountNotification,
    AccountNotificationResult,
    GetMultipleAccountsResp,
    LogsNotification,
    LogsNotificationResult,
    ProgramNotification,
    ProgramNotificationResult,
    RootNotification,
    RpcKeyedAccount,
    RpcLogsResponse,
    RpcResponseContext,
    RpcSignatureResponse,
    SignatureNotification,
    SignatureNotificationResult,
    SlotInfo,
    SlotNotification,
)
from solders.system_program import ID as SYSTEM
from tests.support.solana_ledger import Bank, Executed

__all__ = [
    "ABSENT",
    "Slice",
    "account_frame",
    "compact",
    "logs_frame",
    "multiple_accounts",
    "notification",
    "program_frame",
    "root_frame",
    "signature_frame",
    "slot_frame",
    "transaction_frame",
]

ABSENT: Final = Account(0, b"", SYSTEM, False, 0)
"""What an account that is not there is told as: Rust's default of the type."""

Slice = tuple[int, int]
"""Offset and length."""

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# More is not written in base 58 (agave's MAX_BASE58_BYTES).
_MOST_BASE58: Final = 128


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def notification(method: str, params: str) -> str:
    """The whole message around what solders calls a notification."""
    return f'{{"jsonrpc":"2.0","method":"{method}Notification","params":{params}}}'


def account_frame(account: Account | None, slot: int, subscription: int, encoding: str, part: Slice | None) -> str:
    account = account or ABSENT
    result = AccountNotificationResult(value=account, context=RpcResponseContext(slot))
    params = json.loads(AccountNotification(result, subscription).to_json())
    _encode(params["result"]["value"], account, encoding, part)
    return notification("account", compact(params))


def program_frame(
    key: Pubkey, account: Account, slot: int, subscription: int, encoding: str, part: Slice | None
) -> str:
    result = ProgramNotificationResult(value=RpcKeyedAccount(key, account), context=RpcResponseContext(slot))
    params = json.loads(ProgramNotification(result, subscription).to_json())
    _encode(params["result"]["value"]["account"], account, encoding, part)
    return notification("program", compact(params))


def slot_frame(slot: int, parent: int, root: int, subscription: int) -> str:
    return notification("slot", SlotNotification(SlotInfo(slot, parent, root), subscription).to_json())


def root_frame(root: int, subscription: int) -> str:
    return notification("root", RootNotification(root, subscription).to_json())


def logs_frame(executed: Executed, slot: int, subscription: int) -> str:
    value = RpcLogsResponse(executed.transaction.signatures[0], None, executed.meta.logs())
    result = LogsNotificationResult(value=value, context=RpcResponseContext(slot))
    return notification("logs", LogsNotification(result, subscription).to_json())


def signature_frame(slot: int, subscription: int) -> str:
    result = SignatureNotificationResult(RpcSignatureResponse(None), RpcResponseContext(slot))
    return notification("signature", SignatureNotification(result, subscription).to_json())


def transaction_frame(executed: Executed, slot: int, subscription: int, details: str) -> str:
    """Of Helius, which solders knows nothing of: the subscription stands first."""
    result: dict[str, Any] = {"signature": executed.signature, "slot": slot}
    if details == "full":
        meta = {
            "err": None,
            "status": {"Ok": None},
            "fee": executed.meta.fee(),
            "preBalances": executed.before,
            "postBalances": executed.after,
            "innerInstructions": [],
            "logMessages": executed.meta.logs(),
            "preTokenBalances": [],
            "postTokenBalances": [],
            "rewards": None,
            "computeUnitsConsumed": executed.meta.compute_units_consumed(),
        }
        bytes_ = base64.b64encode(bytes(executed.transaction)).decode()
        result = {"transaction": {"transaction": [bytes_, "base64"], "meta": meta, "version": "legacy"}, **result}
    return notification("transaction", compact({"subscription": subscription, "result": result}))


def multiple_accounts(bank: Bank, keys: list[Pubkey], encoding: str, part: Slice | None) -> dict[str, Any]:
    """The result of getMultipleAccounts."""
    accounts = [bank.account(key)[0] for key in keys]
    whole = json.loads(GetMultipleAccountsResp(accounts, RpcResponseContext(bank.slot, "3.0.6")).to_json())
    result: dict[str, Any] = whole["result"]
    for value, account in zip(result["value"], accounts, strict=True):
        if account is not None:
            _encode(value, account, encoding, part)
    return result


def _encode(value: dict[str, Any], account: Account, encoding: str, part: Slice | None) -> None:
    data = account.data if part is None else account.data[part[0] : part[0] + part[1]]
    if encoding == "binary":
        value["data"] = _base58(data)
    elif encoding == "base58":
        value["data"] = [_base58(data), "base58"]
    else:
        # jsonParsed too: agave falls back to base64 for what no parser of its own knows.
        value["data"] = [base64.b64encode(data).decode(), "base64"]
    value["space"] = len(account.data)


def _base58(data: bytes) -> str:
    if len(data) > _MOST_BASE58:
        return "error: data too large for bs58 encoding"
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text

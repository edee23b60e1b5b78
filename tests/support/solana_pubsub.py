"""Subscriptions of a Solana node as agave keeps them, without a socket: requests in, answers and notifications out.

Sources: agave's `rpc_pubsub.rs` (methods and errors), `rpc_subscription_tracker.rs` (equal parameters are one
subscription of the whole node) and `rpc_subscriptions.rs` (who is told what of a bank); Helius' documents for
`transactionSubscribe`.
"""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support import solana_frames as frames
from tests.support.solana_frames import compact
from tests.support.solana_ledger import Bank, Ledger
from tests.support.solana_params import COMMITMENTS, PARSERS, Refused, matches

__all__ = ["Notification", "PubSub", "Session", "answer_to"]

# Like those of Helius' documents: far beyond 32 bits.
_FIRST_TRANSACTION_ID: Final = 4_743_323_479_349_712


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to whoever holds the subscription."""

    subscription: int
    text: str
    is_final: bool = False


@dataclass
class Subscription:
    """One of the node, whoever shares it."""

    id: int
    method: str
    params: tuple[Any, ...]
    commitment: str
    holders: int = 0
    # Of accounts: the slot whose change was told last.
    last_notified: int = 0


@dataclass
class PubSub:
    """The node's part: who is told what when a slot ends.

    Args:
        ledger: What is told of.
        first_id: Id of the first subscription.
        limit: Subscriptions the node takes.
        slices: Whether `dataSlice` is heeded, which older nodes don't in notifications.
        confirmed, rooted: How many banks behind the tip these commitments are; 32 on the mainnet for the second.
    """

    ledger: Ledger
    first_id: int = 0
    limit: int = 1_000_000
    slices: bool = True
    confirmed: int = 1
    rooted: int = 2
    _by_params: dict[tuple[Any, ...], Subscription] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = itertools.count(self.first_id)
        self._transaction_ids = itertools.count(_FIRST_TRANSACTION_ID)

    def subscribe(self, method: str, params: tuple[Any, ...], commitment: str) -> Subscription:
        key: tuple[Any, ...] = (method, params, commitment)
        if method == "transaction":
            # Each is its own.
            number = next(self._transaction_ids)
            key = (*key, number)
        found = self._by_params.get(key)
        if found is None:
            if len(self._by_params) >= self.limit:
                raise Refused(-32603, "Internal Error: Subscription refused. Node subscription limit reached")
            number = number if method == "transaction" else next(self._ids)
            found = self._by_params[key] = Subscription(number, method, params, commitment)
            bank = self.bank(commitment)
            if method == "account" and bank is not None:
                found.last_notified = bank.account(params[0])[1]
        found.holders += 1
        return found

    def release(self, subscription: Subscription) -> None:
        """One holder less; the last takes it along."""
        subscription.holders -= 1
        if not subscription.holders:
            self._by_params = {key: one for key, one in self._by_params.items() if one is not subscription}

    def __len__(self) -> int:
        return len(self._by_params)

    @property
    def holders(self) -> int:
        """How many of the connections' subscriptions there are; shared ones count for each."""
        return sum(one.holders for one in self._by_params.values())

    def bank(self, commitment: str) -> Bank | None:
        return self.ledger.tip.ancestor(
            {"processed": 0, "confirmed": self.confirmed, "finalized": self.rooted}[commitment]
        )

    def end_slot(self) -> list[Notification]:
        """Freeze the working bank, and say what of."""
        bank = self.ledger.freeze()
        told = list(self._progress(bank))
        for commitment in COMMITMENTS:
            reached = self.bank(commitment)
            if reached is not None and self._told.get(commitment) != reached.slot:
                self._told[commitment] = reached.slot
                for one in tuple(self._by_params.values()):
                    if one.commitment == commitment:
                        told += self._of_bank(one, reached)
        return told

    def _progress(self, bank: Bank) -> Iterator[Notification]:
        root = self.bank("finalized")
        parent = bank.parent
        assert parent is not None
        for one in self._by_params.values():
            if one.method == "slot":
                text = frames.slot_frame(bank.slot, parent.slot, root.slot if root else 0, one.id)
                yield Notification(one.id, text)
            elif one.method == "root" and root is not None and self._told.get("finalized") != root.slot:
                yield Notification(one.id, frames.root_frame(root.slot, one.id))

    def _of_bank(self, one: Subscription, bank: Bank) -> Iterator[Notification]:
        if one.method == "account":
            key, encoding, part = one.params
            account, changed = bank.account(key)
            # Lower too: a fork has undone what was told, and the state before is told again.
            if changed != one.last_notified:
                one.last_notified = changed
                yield Notification(one.id, frames.account_frame(account, bank.slot, one.id, encoding, part))
        elif one.method == "program":
            program, encoding, part, filters = one.params
            for key, changed_account in bank.changed.items():
                account = changed_account or frames.ABSENT
                if account.owner == program and all(matches(account, each) for each in filters):
                    text = frames.program_frame(key, account, bank.slot, one.id, encoding, part)
                    yield Notification(one.id, text)
        elif one.method == "logs":
            for executed in bank.transactions:
                if one.params[0] is None or one.params[0] in executed.keys:
                    yield Notification(one.id, frames.logs_frame(executed, bank.slot, one.id))
        elif one.method == "transaction":
            included, excluded, required, details = one.params
            for executed in bank.transactions:
                keys = set(executed.keys)
                if (not included or keys & included) and not keys & excluded and required <= keys:
                    yield Notification(one.id, frames.transaction_frame(executed, bank.slot, one.id, details))
        elif one.method == "signature" and any(
            executed.signature == one.params[0] for each in bank.chain() for executed in each.transactions
        ):
            yield Notification(one.id, frames.signature_frame(bank.slot, one.id), is_final=True)


class Session:
    """What one connection has asked for."""

    def __init__(self, node: PubSub, *, most_requests: int = 10_000) -> None:
        self._node = node
        # By their ids.
        self.held: dict[int, Subscription] = {}
        self.requests: deque[Any] = deque(maxlen=most_requests)
        self.answers: deque[str] = deque(maxlen=most_requests)

    def answer(self, text: str) -> str | None:
        """The answer to one message; None if none is wanted."""
        answer = answer_to(text, self._call, self.requests.append)
        if answer is not None:
            self.answers.append(answer)
        return answer

    def takes(self, notification: Notification) -> bool:
        """Whether this connection is told."""
        held = notification.subscription in self.held
        if held and notification.is_final:
            self._release(notification.subscription)
        return held

    def end(self) -> None:
        for number in tuple(self.held):
            self._release(number)

    def _release(self, number: int) -> None:
        self._node.release(self.held.pop(number))

    def _call(self, method: str, params: list[Any]) -> object:
        name = method.removesuffix("Unsubscribe")
        if name in PARSERS and name != method:
            number = params[0] if len(params) == 1 else None
            if not isinstance(number, int):
                raise Refused(-32602, "Invalid params: invalid type, expected u64.")
            if number not in self.held:
                raise Refused(-32602, "Invalid subscription id.")
            self._release(number)
            return True
        parse = PARSERS.get(method.removesuffix("Subscribe")) if method.endswith("Subscribe") else None
        if parse is None:
            # Blocks and votes among them: agave answers them so where they are not enabled.
            raise Refused(-32601, "Method not found")
        taken, commitment = parse(params)
        if not self._node.slices and method in {"accountSubscribe", "programSubscribe"}:
            taken = (*taken[:2], None, *taken[3:])
        one = self._node.subscribe(method.removesuffix("Subscribe"), taken, commitment)
        if one.id in self.held:
            one.holders -= 1
        self.held[one.id] = one
        return one.id


def answer_to(
    text: str, call: Callable[[str, list[Any]], object], remember: Callable[[Any], None] | None = None
) -> str | None:
    """Answer one request of JSON-RPC, or a batch of them, as jsonrpc_core does."""
    try:
        request = json.loads(text)
    except ValueError:
        return compact(_error(Refused(-32700, "Parse error"), None))
    several = request if isinstance(request, list) else [request]
    answers = [_answer_one(one, call, remember) for one in several]
    given = [answer for answer in answers if answer is not None]
    if isinstance(request, list):
        return compact(given) if given else None
    return compact(given[0]) if given else None


def _answer_one(
    request: Any, call: Callable[[str, list[Any]], object], remember: Callable[[Any], None] | None
) -> dict[str, Any] | None:
    if remember is not None:
        remember(request)
    number = request.get("id") if isinstance(request, dict) else None
    try:
        match request:
            case {"jsonrpc": "2.0", "method": str(method), **rest}:
                params = rest.get("params") or []
                if not isinstance(params, list):
                    raise Refused(-32602, "Invalid params: expected an array")
                result = call(method, params)
            case _:
                raise Refused(-32600, "Invalid request")
    except Refused as refused:
        return _error(refused, number)
    return {"jsonrpc": "2.0", "result": result, "id": number} if "id" in request else None


def _error(refused: Refused, number: object) -> dict[str, Any]:
    error: dict[str, Any] = {"code": refused.code, "message": refused.message}
    if refused.data is not None:
        error["data"] = refused.data
    return {"jsonrpc": "2.0", "error": error, "id": number}

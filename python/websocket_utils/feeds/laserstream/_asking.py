"""What a stream can be asked for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._slow import SlowPolicy
from ...messages import AccountUpdate, SlotUpdate
from ._base58 import check_pubkey
from ._messages import LogsUpdate, TransactionUpdate
from ._requests import Commitment, Request, Requests
from ._updates import Updates

__all__ = ["Asking"]


class Asking:
    """The asking half of a stream: each call is a request of the node, and gives what it brings."""

    _requests: Requests

    def _updates(self, requests: Sequence[Request], slow: SlowPolicy | None) -> Updates[Any]:
        raise NotImplementedError

    def accounts(
        self,
        pubkeys: Iterable[str],
        *,
        commitment: Commitment | None = None,
        slow: SlowPolicy | None = None,
    ) -> Updates[AccountUpdate]:
        """Balances of accounts: `async for update in stream.accounts([...])`, or `await` it first.

        The node is asked for no data of the accounts (`dataSlice` of length 0, which older nodes ignore), so that its
        frames are small. `timestamp` of the updates is when this machine received them, in milliseconds since 1970:
        nodes send no time. `slot` may go back (`Fork`). An account that does not exist has 0 lamports.

        Args:
            pubkeys: Addresses, base58; each is a subscription of its own, and shared by all who ask for the same.
            commitment: None takes the stream's.
            slow: What happens when these come faster than they are taken; None takes the stream's.
                `Conflate("pubkey")` keeps the latest of each account.

        Raises:
            InvalidPubkey: If an address is none; it names it. Nothing was asked for.
            ValueError: If there is no address.
            RequestRejected: When awaited or iterated over, if the node refuses one; none of them is subscribed to.
        """
        if isinstance(pubkeys, str):
            raise TypeError("pubkeys: must be a list of addresses, not a single one")
        requests = [self._requests.account(pubkey, commitment) for pubkey in pubkeys]
        if not requests:
            raise ValueError("pubkeys: there is no address in it")
        return self._updates(requests, slow)

    def slots(self, *, slow: SlowPolicy | None = None) -> Updates[SlotUpdate]:
        """Slots of the node as it processes them, with parent and root. `timestamp` is when this machine received them.

        Args:
            slow: As `accounts`.

        Raises:
            RequestRejected: When awaited or iterated over, if the node refuses it.
        """
        return self._updates([self._requests.slots()], slow)

    def program(
        self,
        program: str,
        *,
        filters: Sequence[Mapping[str, Any]] = (),
        commitment: Commitment | None = None,
        slow: SlowPolicy | None = None,
    ) -> Updates[AccountUpdate]:
        """Balances of all accounts that a program owns. Updates as of `accounts`.

        Args:
            program: Address of the program, base58.
            filters: Which of them, as the node takes it: `{"dataSize": 80}`, `{"memcmp": {"offset": 0, "bytes": ...}}`.
            commitment: None takes the stream's.
            slow: As `accounts`.

        Raises:
            InvalidPubkey: If the address is none.
            RequestTooBig: If the filters make the request longer than `max_request_size`.
            RequestRejected: When awaited or iterated over, if the node refuses it.
        """
        return self._updates([self._requests.program(program, filters, commitment)], slow)

    def logs(
        self,
        mentions: str | None = None,
        *,
        votes: bool = False,
        commitment: Commitment | None = None,
        slow: SlowPolicy | None = None,
    ) -> Updates[LogsUpdate]:
        """What transactions log.

        Args:
            mentions: Only of transactions that mention this address: nodes take one. None is all.
            votes: Votes too, where it is all.
            commitment: None takes the stream's.
            slow: As `accounts`.

        Raises:
            InvalidPubkey: If the address is none.
            RequestRejected: When awaited or iterated over, if the node refuses it.
        """
        return self._updates([self._requests.logs(mentions, votes, commitment)], slow)

    def transactions(
        self,
        *,
        account_include: Sequence[str] = (),
        account_exclude: Sequence[str] = (),
        account_required: Sequence[str] = (),
        vote: bool = False,
        failed: bool = False,
        signature: str | None = None,
        encoding: str = "jsonParsed",
        details: str = "full",
        rewards: bool = True,
        commitment: Commitment | None = None,
        slow: SlowPolicy | None = None,
    ) -> Updates[TransactionUpdate]:
        """Transactions; nodes of Helius offer it (`transactionSubscribe`), others answer -32601.

        Args:
            account_include: Those with any of these accounts; empty is all.
            account_exclude: None with any of these.
            account_required: Only those with all of these.
            vote: Votes too.
            failed: Failed ones too.
            signature: Only this one, base58.
            encoding: `jsonParsed`, `json`, `base64` or `base58`.
            details: `full`, `signatures`, `accounts` or `none`.
            rewards: Whether rewards are among them.
            commitment: None takes the stream's.
            slow: As `accounts`.

        Raises:
            InvalidPubkey: If an address is none.
            RequestTooBig: If the addresses make the request longer than `max_request_size`.
            RequestRejected: When awaited or iterated over, if the node refuses it.
        """
        chosen: dict[str, Any] = {
            "vote": vote,
            "failed": failed,
            "accountInclude": [check_pubkey(key) for key in account_include],
            "accountExclude": [check_pubkey(key) for key in account_exclude],
            "accountRequired": [check_pubkey(key) for key in account_required],
        }
        if signature is not None:
            chosen["signature"] = signature
        options = {
            "encoding": encoding,
            "transactionDetails": details,
            "showRewards": rewards,
            "maxSupportedTransactionVersion": 0,
        }
        return self._updates([self._requests.transactions(chosen, options, commitment)], slow)

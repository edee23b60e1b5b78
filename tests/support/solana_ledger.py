"""A chain of banks whose state is LiteSVM's, changed by signed transactions: what a Solana node tells of.

As in agave, a bank is the state at the end of one slot; it has a parent, and two banks of one parent are a fork.
"""

from dataclasses import dataclass, field
from typing import Final

from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import create_account, transfer
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

__all__ = ["RENT_EXEMPT", "Bank", "Executed", "Ledger", "keypair", "pubkey"]

# Where the mainnet was when this was written: a number of the size that is met.
_FIRST_SLOT: Final = 435_888_000
# Of an account that pays no rent, which is each account of today: u64's last, as agave writes it.
_NO_RENT: Final = 2**64 - 1
# Banks that a fork can go back to.
_KEPT: Final = 128
# Transactions leave no account of no data with less than this, but for 0.
RENT_EXEMPT: Final = 890_880


def pubkey(seed: int) -> Pubkey:
    """A key nobody can sign for, the same for the same seed."""
    return keypair(seed).pubkey()


def keypair(seed: int) -> Keypair:
    """A key pair, the same for the same seed."""
    return Keypair.from_seed(seed.to_bytes(32, "big"))


@dataclass(frozen=True)
class Executed:
    """A transaction in a bank."""

    transaction: VersionedTransaction
    meta: TransactionMetadata
    # Lamports of each of its keys, before and after.
    before: list[int]
    after: list[int]

    @property
    def signature(self) -> str:
        return str(self.transaction.signatures[0])

    @property
    def keys(self) -> list[str]:
        return [str(key) for key in self.transaction.message.account_keys]


State = dict[Pubkey, tuple[Account | None, int]]
"""Accounts, None where there is none any more, with the slots that changed them: 0 for those, as agave has it."""


@dataclass
class Bank:
    """The state at the end of a slot: what its transactions changed, and its parent's."""

    slot: int
    parent: "Bank | None"
    # Of the parent.
    before: State = field(default_factory=dict)
    changed: dict[Pubkey, Account | None] = field(default_factory=dict)
    transactions: list[Executed] = field(default_factory=list)

    def account(self, key: Pubkey) -> tuple[Account | None, int]:
        """The account and the slot that changed it."""
        if key not in self.changed:
            return self.before.get(key, (None, 0))
        account = self.changed[key]
        return account, 0 if account is None else self.slot

    def state(self) -> State:
        return self.before | {key: self.account(key) for key in self.changed}

    def lamports(self, key: Pubkey) -> int:
        account, _ = self.account(key)
        return 0 if account is None else account.lamports

    def ancestor(self, distance: int) -> "Bank | None":
        """The bank so many banks back; None before the first."""
        bank: Bank | None = self
        for _ in range(distance):
            if bank is None:
                break
            bank = bank.parent
        return bank

    def chain(self) -> "list[Bank]":
        """This bank and those before it, the newest first."""
        banks, bank = [self], self.parent
        while bank is not None:
            banks.append(bank)
            bank = bank.parent
        return banks


class Ledger:
    """Executes transactions in a working bank; `freeze` ends its slot."""

    def __init__(self) -> None:
        self._machine = LiteSVM().with_lamports(2**63)
        self.payer = keypair(2**64)
        outcome = self._machine.airdrop(self.payer.pubkey(), 2**62)
        assert isinstance(outcome, TransactionMetadata), outcome
        self.tip = Bank(_FIRST_SLOT, None, changed={self.payer.pubkey(): self._read(self.payer.pubkey())})
        self.working = self._child(self.tip, self.tip.slot + 1)
        self._frozen = {self.tip.slot: self.tip}

    def transfer(self, to: Pubkey, lamports: int) -> Executed:
        """Pay `lamports` out of the payer's account."""
        wanted = {"from_pubkey": self.payer.pubkey(), "to_pubkey": to, "lamports": lamports}
        return self.execute([transfer(wanted)])  # type: ignore[arg-type]  # a TypedDict by its keys

    def close(self, owner: Keypair) -> Executed:
        """Pay all of an account back: it is no more."""
        wanted = {
            "from_pubkey": owner.pubkey(),
            "to_pubkey": self.payer.pubkey(),
            "lamports": self.working.lamports(owner.pubkey()),
        }
        return self.execute([transfer(wanted)], owner)  # type: ignore[arg-type]  # a TypedDict by its keys

    def create(self, account: Keypair, owner: Pubkey, space: int, lamports: int) -> Executed:
        """Make an account of a program, with `space` zeroed bytes."""
        wanted = {
            "from_pubkey": self.payer.pubkey(),
            "to_pubkey": account.pubkey(),
            "lamports": lamports,
            "space": space,
            "owner": owner,
        }
        return self.execute([create_account(wanted)], account)  # type: ignore[arg-type]  # a TypedDict by its keys

    def execute(self, instructions: list[Instruction], *signers: Keypair) -> Executed:
        """Sign and run a transaction in the working bank."""
        # Of two equal transactions the second would be refused as already processed.
        self._machine.expire_blockhash()
        message = Message.new_with_blockhash(instructions, self.payer.pubkey(), self._machine.latest_blockhash())
        transaction = VersionedTransaction(message, [self.payer, *signers])
        before = [self._machine.get_balance(key) or 0 for key in message.account_keys]
        outcome = self._machine.send_transaction(transaction)
        if isinstance(outcome, FailedTransactionMetadata):
            raise ValueError(f"the transaction failed: {outcome.err()}; {outcome.meta().logs()}")
        header, keys = message.header, message.account_keys
        signed = header.num_required_signatures
        for index, key in enumerate(keys):
            last = signed - header.num_readonly_signed_accounts
            is_writable = index < last or signed <= index < len(keys) - header.num_readonly_unsigned_accounts
            if is_writable:
                self.working.changed[key] = self._read(key)
        after = [self._machine.get_balance(key) or 0 for key in keys]
        done = Executed(transaction, outcome, before, after)
        self.working.transactions.append(done)
        return done

    def write(self, key: Pubkey, lamports: int, data: bytes = b"", owner: Pubkey = SYSTEM) -> None:
        """Set an account to what no transaction of ours would bring about, such as u64's last lamport."""
        self._machine.set_account(key, Account(lamports, data, owner))
        self.working.changed[key] = self._read(key)

    def freeze(self) -> Bank:
        """End the working bank's slot and begin the next one on it; returns the frozen bank."""
        bank = self.tip = self._frozen[self.working.slot] = self.working
        self.working = self._child(bank, max(self._frozen) + 1)
        oldest = bank.ancestor(_KEPT)
        if oldest is not None:
            oldest.parent = None
        while len(self._frozen) > 2 * _KEPT:
            del self._frozen[next(iter(self._frozen))]
        return bank

    def skip(self, slots: int) -> None:
        """Leave out so many slots, as a leader that is down does."""
        self.working.slot += slots

    def fork(self, parent: int, slot: int | None = None) -> None:
        """Go on from an older bank: what came after it has never been.

        Args:
            parent: Slot of the bank to go on from.
            slot: Slot of the next bank, above the parent's and not used yet; below that of the last bank the slots of
                notifications go backwards. None takes the next one of all.
        """
        base = self._frozen[parent]
        slot = self.working.slot if slot is None else slot
        assert parent < slot
        assert slot not in self._frozen
        for key in self.working.state().keys() | base.state().keys():
            account, _ = base.account(key)
            self._machine.set_account(key, account or Account(0, b"", SYSTEM))
        self.tip = base
        self.working = self._child(base, slot)

    def _child(self, parent: Bank, slot: int) -> Bank:
        self._machine.warp_to_slot(slot)
        return Bank(slot, parent, parent.state())

    def _read(self, key: Pubkey) -> Account | None:
        found = self._machine.get_account(key)
        if found is None:
            return None
        return Account(found.lamports, found.data, found.owner, found.executable, _NO_RENT)

"""LaserStream against a node of LiteSVM's state, over real sockets: what the ledger had is what the stream shows."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from solders.account_decoder import UiAccountEncoding, UiDataSliceConfig
from solders.commitment_config import CommitmentLevel
from solders.rpc.config import (
    RpcAccountInfoConfig,
    RpcProgramAccountsConfig,
    RpcTransactionLogsConfig,
    RpcTransactionLogsFilterMentions,
)
from solders.rpc.requests import AccountSubscribe, AccountUnsubscribe, LogsSubscribe, ProgramSubscribe, SlotSubscribe
from solders.rpc.responses import SubscriptionResult, UnsubscribeResult, parse_websocket_message
from tests.support.solana_ledger import keypair, pubkey
from tests.support.solana_node import SolanaNode
from tests.support.waiting import until

from websocket_utils import AccountUpdate, SlotUpdate
from websocket_utils.feeds.laserstream import LaserStream

SECONDS = 10
MILLION = 1_000_000
KEY = str(pubkey(1))


@asynccontextmanager
async def streaming(node: SolanaNode, **settings: Any) -> AsyncIterator[LaserStream]:
    # How often a node is dialled while it starts again is the machine's affair; `SECONDS` is the bound.
    given: dict[str, Any] = {"max_reconnect_attempts": None, **settings}
    async with asyncio.timeout(SECONDS), LaserStream(node.url, **given) as stream:
        yield stream


async def test_balances_are_those_of_the_ledger_in_its_order() -> None:
    async with SolanaNode() as node, streaming(node) as stream:
        accounts = await stream.accounts([KEY])
        had = []
        for lamports in (2**60 + 1, MILLION, 7 * MILLION):
            node.ledger.transfer(pubkey(1), lamports)
            bank = node.ledger.working
            node.end_slot()
            had.append((KEY, bank.lamports(pubkey(1)), bank.slot))
        seen = [await anext(accounts) for _ in had]
    assert [(one.pubkey, one.lamports, one.slot) for one in seen] == had
    # Beyond what a float holds.
    assert had[0][1] == 2**60 + 1
    assert [one.timestamp for one in seen] == sorted(one.timestamp for one in seen)


async def test_last_lamport_of_64_bits_is_exact() -> None:
    async with SolanaNode() as node, streaming(node) as stream:
        accounts = await stream.accounts([KEY])
        node.ledger.write(pubkey(1), 2**64 - 1)
        node.end_slot()
        assert (await anext(accounts)).lamports == 2**64 - 1


async def test_account_that_is_not_there_yet_appears_and_goes() -> None:
    async with SolanaNode() as node, streaming(node) as stream:
        accounts = await stream.accounts([KEY])
        node.end_slot()
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        node.ledger.close(keypair(1))
        node.end_slot()
        assert [(await anext(accounts)).lamports for _ in range(2)] == [MILLION, 0]


async def test_many_accounts_keep_their_names() -> None:
    keys = [pubkey(number) for number in range(1, 201)]
    async with SolanaNode() as node, streaming(node, stale_after=None) as stream:
        accounts = await stream.accounts([str(key) for key in keys])
        for number, key in enumerate(keys):
            node.ledger.transfer(key, MILLION + number)
        bank = node.ledger.working
        node.end_slot()
        seen = [await anext(accounts) for _ in keys]
        assert {one.pubkey: one.lamports for one in seen} == {str(key): bank.lamports(key) for key in keys}
        assert {one.slot for one in seen} == {bank.slot}
        assert len(node.pubsub) == len(keys)


async def test_the_same_account_twice_is_one_subscription_told_to_both() -> None:
    async with SolanaNode() as node, streaming(node, stale_after=None) as stream:
        first = await stream.accounts([KEY, KEY])
        second = await stream.accounts([KEY])
        assert (len(node.pubsub), len(node.requests)) == (1, 1)
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert await anext(first) == await anext(second)
        await first.unsubscribe()
        # Whoever is left goes on: one unsubscription of the node's would end both.
        node.ledger.transfer(pubkey(1), MILLION)
        node.end_slot()
        assert (await anext(second)).lamports == 2 * MILLION
        await second.unsubscribe()
        await until(lambda: not len(node.pubsub))


async def test_slots_programs_logs_and_transactions_are_typed() -> None:
    program = pubkey(50)
    async with SolanaNode() as node, streaming(node) as stream:
        slots = await stream.slots()
        programs = await stream.program(str(program), filters=[{"dataSize": 80}])
        logs = await stream.logs(KEY)
        transactions = await stream.transactions(account_include=[KEY], encoding="base64")
        node.ledger.create(keypair(2), program, 80, 10 * MILLION)
        executed = node.ledger.transfer(pubkey(1), MILLION)
        bank = node.ledger.working
        node.end_slot()
        slot = await anext(slots)
        assert isinstance(slot, SlotUpdate)
        assert (slot.slot, slot.parent) == (bank.slot, bank.slot - 1)
        made = await anext(programs)
        assert isinstance(made, AccountUpdate)
        assert (made.pubkey, made.lamports, made.slot) == (str(pubkey(2)), 10 * MILLION, bank.slot)
        log = await anext(logs)
        assert (log.signature, log.slot, log.error) == (executed.signature, bank.slot, None)
        assert log.logs == executed.meta.logs()
        transaction = await anext(transactions)
        assert (transaction.signature, transaction.slot) == (executed.signature, bank.slot)
        assert json.loads(bytes(transaction.transaction))["meta"]["postBalances"] == executed.after


@pytest.mark.one_loop
async def test_requests_are_those_that_solders_builds() -> None:
    program = pubkey(50)
    async with SolanaNode() as node, streaming(node, stale_after=None) as stream:
        accounts = await stream.accounts([KEY])
        await stream.slots()
        await stream.program(str(program), filters=[{"dataSize": 80}])
        await stream.logs(KEY)
        subscription = next(iter(node.peers[0].session.held))
        await accounts.unsubscribe()
        await until(lambda: len(node.requests) == 5)
        ours = node.requests
        answers: list[Any] = [parse_websocket_message(answer)[0] for answer in node.peers[0].session.answers]
    config = RpcAccountInfoConfig(
        UiAccountEncoding.Base64, UiDataSliceConfig(0, 0), commitment=CommitmentLevel.Processed
    )
    numbers = itertools.count()
    theirs: list[Any] = [
        AccountSubscribe(pubkey(1), config, next(numbers)),
        SlotSubscribe(next(numbers)),
        ProgramSubscribe(program, RpcProgramAccountsConfig(config, [80]), next(numbers)),
        LogsSubscribe(
            RpcTransactionLogsFilterMentions(pubkey(1)),
            RpcTransactionLogsConfig(CommitmentLevel.Processed),
            next(numbers),
        ),
        AccountUnsubscribe(subscription, next(numbers)),
    ]
    # Its parser asks for the numbers that ours chose.
    kinds = [SubscriptionResult] * 4 + [UnsubscribeResult]
    assert [type(answer) for answer in answers] == kinds
    assert [answer.id for answer in answers] == [one["id"] for one in ours]
    assert [unnumbered(one) for one in ours] == [unnumbered(json.loads(one.to_json())) for one in theirs]


def unnumbered(value: Any) -> Any:
    """A request without its number and without what is null."""
    if isinstance(value, dict):
        return {name: unnumbered(one) for name, one in value.items() if one is not None and name != "id"}
    return [unnumbered(one) for one in value] if isinstance(value, list) else value

"""A stream of a node: what it asks for, and what becomes of the node's frames, in the forms that agave writes."""

import asyncio

import msgspec
import pytest
from tests.support.golden_node import (
    ACCOUNT,
    KEY,
    LOGS,
    OTHER,
    PROGRAM,
    PROGRAM_ACCOUNT,
    SLOT,
    TRANSACTION,
    U64,
    linked,
    started,
)

from websocket_utils import AccountUpdate, SlotUpdate
from websocket_utils.feeds.laserstream import LogsUpdate, TransactionUpdate

pytestmark = pytest.mark.timeout(5)


async def test_account_notification_is_an_account_update_of_the_account_that_was_asked_for() -> None:
    async with linked() as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        assert node.requests == [
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "accountSubscribe",
                "params": [
                    KEY,
                    {"encoding": "base64", "commitment": "processed", "dataSlice": {"offset": 0, "length": 0}},
                ],
            }
        ]
        node.send(ACCOUNT % (5199307, U64, number))
        update = await anext(accounts)
        assert update == AccountUpdate(KEY, U64, 5199307, update.timestamp)
        # Milliseconds since 1970, of this machine.
        assert 1_600_000_000_000 < update.timestamp < 10_000_000_000_000


async def test_iteration_subscribes_by_its_first_step() -> None:
    async with linked() as (stream, node):

        async def first() -> AccountUpdate:
            async for update in stream.accounts([KEY]):
                return update
            raise AssertionError("it ended")

        waiting = asyncio.create_task(first())
        (number,) = await node.acknowledge()
        node.send(ACCOUNT % (7, 8, number))
        update = await waiting
        assert (update.lamports, update.slot) == (8, 7)


async def test_each_account_has_its_own_subscription_and_updates_carry_its_key() -> None:
    async with linked() as (stream, node):
        accounts, (one, other) = await started(stream.accounts([KEY, OTHER]), node)
        node.send(ACCOUNT % (7, 8, other))
        node.send(ACCOUNT % (7, 9, one))
        assert [(await anext(accounts)).pubkey for _ in range(2)] == [OTHER, KEY]


async def test_slot_program_logs_and_transaction_notifications_are_typed() -> None:
    async with linked() as (stream, node):
        slots, (number,) = await started(stream.slots(), node)
        node.send(SLOT % (76, 75, number))
        slot = await anext(slots)
        assert slot == SlotUpdate(76, 75, 44, slot.timestamp)

        call = stream.program(PROGRAM, filters=[{"dataSize": 80}], commitment="confirmed")
        program, (number,) = await started(call, node)
        assert program.channels == (f"programs:{PROGRAM}@confirmed",)
        node.send(PROGRAM_ACCOUNT % (1, OTHER, U64, number))
        account = await anext(program)
        assert account == AccountUpdate(OTHER, U64, 1, account.timestamp)

        logs, (number,) = await started(stream.logs(mentions=KEY), node)
        node.send(LOGS % (1, '{"InstructionError":[0,{"Custom":1}]}', number))
        node.send(LOGS % (2, "null", number))
        failed, succeeded = await anext(logs), await anext(logs)
        line = "Program 11111111111111111111111111111111 invoke [1]"
        assert failed == LogsUpdate("5h6x", 1, '{"InstructionError":[0,{"Custom":1}]}', [line], failed.timestamp)
        assert succeeded.error is None

        transactions, (number,) = await started(stream.transactions(account_include=[KEY]), node)
        node.send(TRANSACTION % number)
        transaction = await anext(transactions)
        assert isinstance(transaction, TransactionUpdate)
        assert (transaction.signature, transaction.slot) == ("5h6x", 224341380)
        assert msgspec.json.decode(transaction.transaction)["meta"]["fee"] == U64

    assert [(one["method"], one.get("params")) for one in node.requests] == [
        ("slotSubscribe", None),
        (
            "programSubscribe",
            [
                PROGRAM,
                {
                    "encoding": "base64",
                    "commitment": "confirmed",
                    "dataSlice": {"offset": 0, "length": 0},
                    "filters": [{"dataSize": 80}],
                },
            ],
        ),
        ("logsSubscribe", [{"mentions": [KEY]}, {"commitment": "processed"}]),
        (
            "transactionSubscribe",
            [
                {
                    "vote": False,
                    "failed": False,
                    "accountInclude": [KEY],
                    "accountExclude": [],
                    "accountRequired": [],
                },
                {
                    "commitment": "processed",
                    "encoding": "jsonParsed",
                    "transactionDetails": "full",
                    "showRewards": True,
                    "maxSupportedTransactionVersion": 0,
                },
            ],
        ),
    ]


async def test_callback_is_called_inside_the_read() -> None:
    async with linked() as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        seen: list[int] = []
        arrived = asyncio.Event()

        @accounts.on
        def take(update: AccountUpdate) -> None:
            seen.append(update.lamports)
            arrived.set()

        node.send(ACCOUNT % (1, 5, number))
        await arrived.wait()
        assert seen == [5]
        assert accounts.waiting == 0


async def test_account_that_does_not_exist_has_no_lamports_whatever_form_the_node_tells_it_in() -> None:
    async with linked() as (stream, node):
        accounts, (number,) = await started(stream.accounts([KEY]), node)
        node.send(ACCOUNT % (1, 0, number))
        node.send(
            '{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":2},"value":null},'
            f'"subscription":{number}}}}}'
        )
        updates = [await anext(accounts) for _ in range(2)]
        assert [(update.lamports, update.slot) for update in updates] == [(0, 1), (0, 2)]

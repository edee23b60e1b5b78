"""LaserStream against a node that does everything at once: in the end it shows what the ledger has."""

import asyncio
import random

import pytest
from tests.support.solana_ledger import pubkey
from tests.support.solana_node import Refusal, SolanaNode
from tests.support.waiting import until

from websocket_utils import AccountUpdate, Disconnected, ReconnectPolicy
from websocket_utils.feeds.laserstream import LaserStream, Seeded

MILLION = 1_000_000
KEYS = [pubkey(number) for number in range(1, 6)]
STEPS = 50
SOON = ReconnectPolicy(late_floor=0.0)
JUNK = (
    '{"jsonrpc":"2.0","method":"fooNotification","params":{"result":{},"subscription":1}}',
    '{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":-1},"value":{}},"subscription":1}}',
    '{"jsonrpc":"2.0","result":1,"id":18446744073709551616}',
    "{",
    b"\xf0\x9f\x92\xb0",
)


@pytest.mark.one_loop
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_node_does_the_last_states_are_the_ledgers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is fetched anew is fetched soon: when it is, is for the unit tests.
    monkeypatch.setattr("websocket_utils.feeds.laserstream._seeding._FIRST_DELAY", 0.01)
    chance = random.Random(seed)
    last: dict[str, int] = {}
    seeded = lost = 0

    def take(update: AccountUpdate) -> None:
        last[update.pubkey] = update.lamports

    def count(event: object) -> None:
        nonlocal seeded, lost
        seeded += isinstance(event, Seeded)
        lost += isinstance(event, Disconnected)

    async with (
        asyncio.timeout(15),
        SolanaNode(api_key="k", queue_capacity=20) as node,
        LaserStream(node.url, seed=True, max_reconnect_attempts=None, reconnect=SOON) as stream,
    ):
        stream.on(Seeded | Disconnected, count)
        accounts = stream.accounts([str(key) for key in KEYS])
        accounts.on(take)
        await accounts
        for _ in range(STEPS):
            match chance.randrange(12):
                case 0:
                    node.drop()
                case 1:
                    await node.restart(first_id=chance.randrange(2**53))
                case 2:
                    node.say(chance.choice(JUNK))
                case 3:
                    node.ledger.fork(node.ledger.tip.ancestor(1).slot)  # type: ignore[union-attr]  # the tip has parents
                    node.end_slot()
                case 4:
                    node.refusals.append(Refusal(503))
                    node.close(1012)
                case 5:
                    for _ in range(40):
                        node.end_slot()
                case _:
                    node.ledger.transfer(chance.choice(KEYS), chance.randrange(MILLION, 2**50))
                    node.end_slot()
            # What follows from it happens in part, or all of it.
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                await until(lambda: stream.state == "live")
        await until(lambda: stream.state == "live" and len(node.pubsub) == len(KEYS) + 1, 10)
        tip = node.ledger.tip
        await until(lambda: last == {str(key): tip.lamports(key) for key in KEYS}, 10)
        assert seeded > 1
        assert lost > 1

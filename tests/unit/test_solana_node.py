"""The tests' Solana node says what agave says: judged by solders' parser, and by the messages in agave's own tests."""

import json
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.config import RpcAccountInfoConfig
from solders.rpc.requests import AccountSubscribe, RootSubscribe, SlotSubscribe
from solders.rpc.responses import (
    AccountNotification,
    RootNotification,
    SlotNotification,
    SubscriptionResult,
    parse_websocket_message,
)
from tests.support.solana_ledger import Ledger, keypair, pubkey
from tests.support.solana_pubsub import PubSub, Session

MILLION = 1_000_000


def subscribe(session: Session, method: str, *params: Any, number: int = 1) -> dict[str, Any]:
    answer = session.answer(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
    assert answer is not None
    found: dict[str, Any] = json.loads(answer)
    return found


def told(node: PubSub, session: Session) -> list[dict[str, Any]]:
    return [json.loads(one.text) for one in node.end_slot() if session.takes(one)]


@pytest.fixture
def node() -> PubSub:
    return PubSub(Ledger())


@pytest.fixture
def session(node: PubSub) -> Session:
    return Session(node)


KEY = pubkey(1)
PROCESSED = {"encoding": "base64", "commitment": "processed"}


def test_solders_requests_are_answered_and_its_parser_reads_all_of_it(node: PubSub, session: Session) -> None:
    for request in (
        AccountSubscribe(KEY, RpcAccountInfoConfig(commitment=None), 1),
        SlotSubscribe(2),
        RootSubscribe(3),
    ):
        answer = session.answer(request.to_json())
        assert answer is not None
        assert isinstance(parse_websocket_message(answer)[0], SubscriptionResult)
    node.ledger.transfer(KEY, MILLION)
    kinds = set()
    for _ in range(4):
        for one in node.end_slot():
            kinds.add(type(parse_websocket_message(one.text)[0]))
    assert kinds == {AccountNotification, SlotNotification, RootNotification}


def test_account_notification_has_agaves_form(node: PubSub, session: Session) -> None:
    node.ledger.transfer(KEY, 2**60 + 1)
    assert subscribe(session, "accountSubscribe", str(KEY), PROCESSED)["result"] == 0
    (one,) = [one.text for one in node.end_slot() if session.takes(one)]
    slot = node.ledger.tip.slot
    assert one == (
        '{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":'
        f"{slot}"
        '},"value":'
        '{"lamports":1152921504606846977,"data":["","base64"],"owner":"11111111111111111111111111111111",'
        '"executable":false,"rentEpoch":18446744073709551615,"space":0}},"subscription":0}}'
    )


def test_one_slot_is_told_once_with_its_last_state(node: PubSub, session: Session) -> None:
    subscribe(session, "accountSubscribe", str(KEY), PROCESSED)
    for _ in range(3):
        node.ledger.transfer(KEY, MILLION)
    (one,) = told(node, session)
    assert one["params"]["result"]["value"]["lamports"] == 3 * MILLION
    assert told(node, session) == []


def test_equal_parameters_are_one_subscription_of_the_whole_node(node: PubSub, session: Session) -> None:
    other = Session(node)
    ids = [subscribe(one, "accountSubscribe", str(KEY), PROCESSED)["result"] for one in (session, session, other)]
    ids.append(subscribe(other, "accountSubscribe", str(KEY), {**PROCESSED, "commitment": "confirmed"})["result"])
    assert ids == [0, 0, 0, 1]
    assert subscribe(session, "accountUnsubscribe", 0)["result"] is True
    # It was one for the connection, however often asked for.
    assert subscribe(session, "accountUnsubscribe", 0)["error"] == {
        "code": -32602,
        "message": "Invalid subscription id.",
    }
    assert len(node) == 2
    other.end()
    assert len(node) == 0


def test_undone_state_is_told_again_and_slots_may_go_back(node: PubSub, session: Session) -> None:
    subscribe(session, "accountSubscribe", str(KEY), PROCESSED)
    node.ledger.transfer(KEY, MILLION)
    (first,) = told(node, session)
    base = node.ledger.tip.slot
    node.ledger.skip(2)
    node.ledger.transfer(KEY, MILLION)
    (second,) = told(node, session)
    node.ledger.fork(base, slot=base + 1)
    (third,) = told(node, session)
    states = [
        (one["params"]["result"]["context"]["slot"], one["params"]["result"]["value"]["lamports"])
        for one in (first, second, third)
    ]
    assert states == [(base, MILLION), (base + 3, 2 * MILLION), (base + 1, MILLION)]


def test_closed_account_is_told_once_as_the_default(node: PubSub, session: Session) -> None:
    owner = keypair(1)
    subscribe(session, "accountSubscribe", str(KEY), PROCESSED)
    # Nothing is said of an account that is not there, until it is.
    assert told(node, session) == []
    node.ledger.transfer(KEY, MILLION)
    told(node, session)
    node.ledger.close(owner)
    (one,) = told(node, session)
    assert one["params"]["result"]["value"] == {
        "lamports": 0,
        "data": ["", "base64"],
        "owner": "1" * 32,
        "executable": False,
        "rentEpoch": 0,
        "space": 0,
    }
    assert told(node, session) == []


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({}, "1112"),
        ({"encoding": "base58"}, ["1112", "base58"]),
        ({"encoding": "base64"}, ["AAAAAQ==", "base64"]),
        ({"encoding": "jsonParsed"}, ["AAAAAQ==", "base64"]),
        ({"encoding": "base64", "dataSlice": {"offset": 3, "length": 9}}, ["AQ==", "base64"]),
    ],
)
def test_data_is_encoded_as_asked_and_legacy_if_nothing_is(
    node: PubSub, session: Session, config: dict[str, Any], data: object
) -> None:
    subscribe(session, "accountSubscribe", str(KEY), {"commitment": "processed", **config})
    node.ledger.write(KEY, MILLION, b"\0\0\0\x01")
    (one,) = told(node, session)
    value = one["params"]["result"]["value"]
    assert (value["data"], value["space"]) == (data, 4)


def test_older_node_passes_over_slices() -> None:
    node = PubSub(Ledger(), slices=False)
    session = Session(node)
    subscribe(session, "accountSubscribe", str(KEY), {**PROCESSED, "dataSlice": {"offset": 0, "length": 0}})
    node.ledger.write(KEY, MILLION, b"\0\0\0\x01")
    (one,) = told(node, session)
    assert one["params"]["result"]["value"]["data"] == ["AAAAAQ==", "base64"]


def test_commitments_follow_one_behind_the_other(node: PubSub, session: Session) -> None:
    for commitment in ("processed", "confirmed", "finalized"):
        subscribe(session, "accountSubscribe", str(KEY), {**PROCESSED, "commitment": commitment})
    node.ledger.transfer(KEY, MILLION)
    ids = [[one["params"]["subscription"] for one in told(node, session)] for _ in range(4)]
    assert ids == [[0], [1], [2], []]


def test_programs_logs_signatures_and_transactions_are_told_of_their_slot(node: PubSub, session: Session) -> None:
    program = pubkey(50)
    executed = node.ledger.create(keypair(2), program, 80, 10 * MILLION)
    config = {
        **PROCESSED,
        "filters": [{"dataSize": 80}, {"memcmp": {"offset": 0, "bytes": "AAA=", "encoding": "base64"}}],
    }
    for method, *params in (
        ("programSubscribe", str(program), config),
        ("programSubscribe", str(program), {**PROCESSED, "filters": [{"dataSize": 81}]}),
        ("logsSubscribe", {"mentions": [str(pubkey(2))]}, PROCESSED),
        ("signatureSubscribe", executed.signature, PROCESSED),
        ("transactionSubscribe", {"accountInclude": [str(pubkey(2))]}, PROCESSED),
        ("transactionSubscribe", {"accountInclude": [str(pubkey(2))]}, PROCESSED),
        ("transactionSubscribe", {"accountExclude": [str(pubkey(2))]}, PROCESSED),
    ):
        subscribe(session, str(method), *params)
    found = {one["params"]["subscription"]: one for one in told(node, session)}
    transactions = [number for number in found if number > 2**32]
    assert len(transactions) == 2
    assert [found[number]["method"] for number in (0, 2, 3)] == [
        "programNotification",
        "logsNotification",
        "signatureNotification",
    ]
    assert found[0]["params"]["result"]["value"]["pubkey"] == str(pubkey(2))
    assert found[2]["params"]["result"]["value"]["signature"] == executed.signature
    assert found[transactions[0]]["params"]["result"]["signature"] == executed.signature
    assert len(found) == 5
    # A signature is told once, and its subscription is over.
    assert subscribe(session, "signatureUnsubscribe", 3)["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("accountSubscribe", ["nonsense"], -32602, "Invalid Request: Invalid pubkey provided"),
        ("programSubscribe", ["0OIl"], -32602, "Invalid Request: Invalid pubkey provided"),
        ("logsSubscribe", [{"mentions": []}], -32602, "Invalid Request: Only 1 address supported"),
        ("logsSubscribe", [{"mentions": ["x"]}], -32602, "Invalid Request: Invalid mentions provided"),
        ("signatureSubscribe", ["x"], -32602, "Invalid Request: Invalid signature provided"),
        ("accountUnsubscribe", [77], -32602, "Invalid subscription id."),
        ("blockSubscribe", ["all"], -32601, "Method not found"),
        ("voteSubscribe", [], -32601, "Method not found"),
    ],
)
def test_what_agave_refuses_is_refused_in_its_words(
    session: Session, method: str, params: list[Any], code: int, message: str
) -> None:
    assert subscribe(session, method, *params) == {
        "jsonrpc": "2.0",
        "error": {"code": code, "message": message},
        "id": 1,
    }


def test_full_node_refuses_and_takes_again_what_is_shared() -> None:
    node = PubSub(Ledger(), limit=1)
    session = Session(node)
    assert "result" in subscribe(session, "accountSubscribe", str(KEY))
    assert subscribe(session, "slotSubscribe")["error"] == {
        "code": -32603,
        "message": "Internal Error: Subscription refused. Node subscription limit reached",
    }
    assert "result" in subscribe(Session(node), "accountSubscribe", str(KEY))


def test_batches_and_nonsense_are_answered_as_json_rpc_says(session: Session) -> None:
    assert session.answer("{") == '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}'
    assert session.answer("1") == '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":null}'
    answer = session.answer(f"[{SlotSubscribe(1).to_json()},{RootSubscribe(2).to_json()}]")
    assert answer == '[{"jsonrpc":"2.0","result":0,"id":1},{"jsonrpc":"2.0","result":1,"id":2}]'
    assert session.answer('{"jsonrpc":"2.0","method":"slotSubscribe"}') is None


def test_key_pairs_of_tests_are_the_same_each_time() -> None:
    assert pubkey(1) == keypair(1).pubkey() == Keypair.from_seed(bytes(31) + b"\x01").pubkey()
    assert isinstance(KEY, Pubkey)

"""Who a client is: grants, and static keys."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tokens import SECRET

from websocket_utils import (
    ConfigError,
    Credentials,
    Grant,
    Identity,
    KeyAuthentication,
    TokenAuthentication,
    Unauthorized,
)

pytestmark = pytest.mark.one_loop

BOTH: Any = frozenset({"subscribe", "publish"})


def bearing(token: str | None) -> Credentials:
    return Credentials(token, "/", (), "192.0.2.1")


def known(authentication: TokenAuthentication | KeyAuthentication, token: str | None) -> Identity:
    identity = authentication(bearing(token))
    assert isinstance(identity, Identity)
    return identity


def refused(authentication: TokenAuthentication | KeyAuthentication, token: str | None) -> str:
    with pytest.raises(Unauthorized) as caught:
        known(authentication, token)
    return caught.value.reason


# --- grants ---


@pytest.mark.parametrize(
    ("pattern", "name", "is_covered"),
    [
        ("prices:SOL", "prices:SOL", True),
        ("prices:SOL", "prices:SOL-USDC", False),
        ("prices:SOL", "prices:SOL*", False),
        ("prices:SOL", "prices:*", False),
        ("prices:*", "prices:SOL", True),
        ("prices:*", "prices:*", True),
        ("prices:*", "prices:SOL*", True),
        ("prices:*", "prices", False),
        ("prices:*", "price*", False),
        ("prices:*", "*", False),
        ("prices:SOL*", "prices:*", False),
        ("prices:SOL*", "prices:SOL*", True),
        ("*", "*", True),
        ("*", "orders:1", True),
    ],
)
def test_pattern_needs_a_grant_that_covers_it_whole(pattern: str, name: str, is_covered: bool) -> None:
    assert Grant(pattern).covers(name) == is_covered
    assert Identity("desk", (Grant(pattern),)).may("subscribe", name) == is_covered
    assert not Identity("desk", (Grant(pattern),)).may("publish", name)


names = st.text("ab:", min_size=1, max_size=6)
patterns = st.builds(lambda name, star: name + star, names, st.sampled_from(["", "*"])) | st.just("*")


@given(st.lists(st.builds(Grant, patterns, st.sampled_from([BOTH, frozenset({"subscribe"})])), max_size=4), patterns)
def test_identity_may_what_one_of_its_grants_covers_and_nothing_else(grants: list[Grant], name: str) -> None:
    identity = Identity("desk", tuple(grants))
    for operation in ("subscribe", "publish"):
        covered = any(operation in grant.operations and grant.covers(name) for grant in grants)
        assert identity.may(operation, name) == covered


@given(patterns, names)
def test_grant_of_a_pattern_covers_no_name_that_the_pattern_can_not_be(pattern: str, name: str) -> None:
    # What may be subscribed to as a pattern brings all its channels: each of them has to be covered too.
    for rest in ("", "a", "b:a"):
        if Grant(pattern).covers(name + "*"):
            assert Grant(pattern).covers(name + rest)


@pytest.mark.parametrize(
    "arguments", [("",), ("a*b",), ("a\n",), ("a", frozenset()), ("a", {"read"}), ("a", "subscribe")]
)
def test_grant_that_is_none_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"is no pattern|operations are"):
        Grant(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"name": ""}, {"name": "a\n"}, {"name": "a" * 257}, {"grants": (Grant("a"),) * 257}, {"expires_at": float("nan")}],
)
def test_identity_that_is_none_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"names of identities|at most 256 grants|expires_at"):
        Identity(**{"name": "desk", **arguments})


def test_what_is_shown_of_credentials_and_messages_holds_no_secret() -> None:
    from websocket_utils import Authenticate

    credentials = Credentials("s3cret", "/?token=s3cret", (("authorization", "Bearer s3cret"),), "192.0.2.1")
    shown = (credentials, Authenticate("s3cret"), TokenAuthentication(secret=SECRET), KeyAuthentication({SECRET: DESK}))
    assert all("s3cret" not in repr(one) and SECRET not in repr(one) for one in shown)


def test_unauthorized_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(Unauthorized("no\nway"))).reason == "no\nway"
    assert str(Unauthorized("no\nway")) == "not let in: no\\nway"


# --- keys ---

DESK = Identity("desk", (Grant("prices:*"),))


def test_each_key_stands_for_its_identity_and_any_other_for_none() -> None:
    keys = {"0123456789abcdef": DESK, "fedcba9876543210": Identity("door")}
    authentication = KeyAuthentication(keys)
    assert [known(authentication, key) for key in keys] == list(keys.values())
    for key in ("", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "\ud800", "é" * 16):
        assert refused(authentication, key) == "unknown key"
    assert refused(authentication, None) == "no key"


def test_every_key_is_compared_wherever_the_right_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("websocket_utils.authentication._keys.hmac.compare_digest", compare)
    authentication = KeyAuthentication({f"key number {number:08}": DESK for number in range(5)})
    known(authentication, "key number 00000000")
    refused(authentication, "x")
    # Hashes of one length, for every key, found or not.
    assert compared == [(64, 64)] * 10


def test_key_that_can_be_guessed_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="the one of 'desk' has 15 bytes") as caught:
        KeyAuthentication({"123456789abcdef": DESK, "0123456789abcdef": DESK})
    assert "123456789abcdef" not in str(caught.value)

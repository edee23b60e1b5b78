import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils.peer._proofs import Keys, Meeting, is_name, is_nonce

KEY = b"a key of enough bytes"
NONCES = ("a" * 64, "b" * 64)
MEETING = Meeting("momentum", "guard", *NONCES)


def test_proof_of_who_knows_the_key_is_one() -> None:
    assert MEETING.is_proven("dialler", KEY, MEETING.proof("dialler", KEY))


def test_proof_is_as_it_was_in_the_first_version() -> None:
    # Peers of two releases have to agree.
    assert MEETING.proof("dialler", KEY) == "d66574148d83b3e3af6222939e528c9b9dcadf9aadc877bd34f6b152755b6b2c"


@pytest.mark.parametrize(
    "other",
    [
        Meeting("momentun", "guard", *NONCES),
        Meeting("momentum", "guarc", *NONCES),
        Meeting("guard", "momentum", *NONCES),
        Meeting("momentum", "guard", "a" * 63 + "b", "b" * 64),
        Meeting("momentum", "guard", "a" * 64, "b" * 63 + "a"),
        Meeting("momentum", "guard", *reversed(NONCES)),
    ],
)
def test_proof_of_another_meeting_is_none(other: Meeting) -> None:
    assert not MEETING.is_proven("dialler", KEY, other.proof("dialler", KEY))


def test_proof_of_the_other_role_is_none() -> None:
    assert not MEETING.is_proven("listener", KEY, MEETING.proof("dialler", KEY))


def test_proof_with_another_key_is_none() -> None:
    assert not MEETING.is_proven("dialler", KEY, MEETING.proof("dialler", KEY + b"!"))


@given(st.text(max_size=80))
def test_any_other_text_proves_nothing(shown: str) -> None:
    assert MEETING.is_proven("dialler", KEY, shown) is (shown == MEETING.proof("dialler", KEY))


def test_text_that_is_no_unicode_proves_nothing() -> None:
    assert not MEETING.is_proven("dialler", KEY, "\ud800" * 64)


def test_without_keys_nothing_is_shown_and_nothing_taken() -> None:
    keys = Keys(None)
    assert keys.proof(MEETING, "dialler", "guard") == ""
    assert keys.are_proven(MEETING, "dialler", "momentum", "")
    assert not keys.are_proven(MEETING, "dialler", "momentum", MEETING.proof("dialler", KEY))


def test_with_keys_nothing_shown_proves_nothing() -> None:
    assert not Keys(KEY).are_proven(MEETING, "dialler", "momentum", "")
    assert not Keys({"momentum": KEY}).are_proven(MEETING, "dialler", "momentum", "")


def test_key_of_each_peer_is_its_own() -> None:
    keys = Keys({"momentum": KEY, "market": KEY[::-1]})
    assert keys.are_proven(MEETING, "dialler", "momentum", MEETING.proof("dialler", KEY))
    assert not keys.are_proven(MEETING, "dialler", "market", MEETING.proof("dialler", KEY))
    assert not keys.are_proven(MEETING, "dialler", "stranger", MEETING.proof("dialler", KEY))
    assert keys.proof(MEETING, "listener", "stranger") is None


def test_no_keys_at_all_let_nobody_in() -> None:
    # An empty mapping is what is left when a file of keys was empty: it must not mean that none is asked for.
    keys = Keys({})
    assert keys.are_asked_for
    assert not keys.are_proven(MEETING, "dialler", "momentum", "")


def test_faults_of_keys_show_none() -> None:
    faults = Keys({"a": b"secret", "b": KEY, "c": "text of enough characters"}).faults()  # type: ignore[dict-item]  # wrong on purpose
    assert faults == [
        "key of 'a': must have at least 16 bytes, and has 6",
        "key of 'c': must be bytes, not str",
    ]
    assert "secret" not in repr(Keys(b"secret"))
    assert Keys(b"secret").faults() == ["key: must have at least 16 bytes, and has 6"]


@pytest.mark.parametrize("name", ["a", "momentum-2.eu_west", "x" * 64])
def test_name_of_plain_characters_is_one(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "ü", "a/b"])
def test_name_of_other_characters_is_none(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("nonce", ["", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_nonce_of_other_form_is_none(nonce: str) -> None:
    assert not is_nonce(nonce)

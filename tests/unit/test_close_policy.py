"""What the end of a connection, or of a dial, asks for: the table of `ClosePolicy`, all of it."""

import pickle
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import (
    AuthenticationFailed,
    Close,
    ClosePolicy,
    ConfigError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    HeartbeatTimeout,
    InvalidURL,
    LocalProtocolError,
    MessageTooBig,
    ProviderError,
    RemoteProtocolError,
    StaleData,
    SubscribeTimeout,
    Verdict,
)
from websocket_utils._reconnect import VerdictKind

E = TypeVar("E", bound=BaseException)

NOW = 1_790_000_000.0


def judge(error: BaseException, policy: ClosePolicy | None = None, *, holds_subscriptions: bool = True) -> Verdict:
    return (policy or ClosePolicy()).judge(error, holds_subscriptions=holds_subscriptions, wall_now=NOW)


def closed(code: int) -> ConnectionClosed:
    """The peer ended with that code, and we echoed it."""
    kind = ConnectionClosedOK if code in {1000, 1001} else ConnectionClosedError
    return kind(Close(code, "because"), Close(code), "peer")


def because(error: E, cause: BaseException) -> E:
    error.__cause__ = cause
    return error


def answered(status: int | None, retry_after: str | None = None) -> HandshakeError:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return HandshakeError("ws://feed/", reason="no", status=status, headers=headers)


def expected(code: int) -> VerdictKind:
    """The table of the specification, said once more and in another way."""
    if code in {1002, 1003, 1007, 1008, 1010}:
        return "suspect"
    if code == 1009:
        return "final"
    if code == 1012 or 4200 <= code < 4300:
        return "now"
    if code == 1013 or 4100 <= code < 4200:
        return "late"
    if code in {4401, 4403}:
        return "refresh"
    return "suspect" if code >= 4000 else "retry"


def centrifugo(code: int) -> VerdictKind:
    if 3500 <= code < 4000 or code >= 4500:
        return "final"
    return "retry" if code >= 3000 else expected(code)


def pusher(code: int) -> VerdictKind:
    return "final" if 4000 <= code < 4100 else expected(code)


def graphql_ws(code: int) -> VerdictKind:
    if code in {4004, 4005, 4400, 4401, 4406, 4409, 4429, 4500}:
        return "final"
    if 1000 <= code < 2000 and code not in {1000, 1001, 1005, 1006, 1012, 1013, 1014}:
        return "final"
    return expected(code)


PROFILES = {
    "none": (ClosePolicy(), expected),
    "centrifugo": (ClosePolicy.centrifugo(), centrifugo),
    "pusher": (ClosePolicy.pusher(), pusher),
    "graphql_ws": (ClosePolicy.graphql_ws(), graphql_ws),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("codes", [range(1000, 1016), range(3000, 4000), range(4000, 5000)], ids=str)
def test_every_close_code_of_the_peer_is_judged_by_the_table_of_the_profile(profile: str, codes: range) -> None:
    policy, table = PROFILES[profile]
    found = {code: judge(closed(code), policy).kind for code in codes}
    assert found == {code: table(code) for code in codes}


@given(code=st.integers(0, 70_000))
def test_verdict_names_the_code_where_it_is_suspect_and_asks_for_no_time(code: int) -> None:
    verdict = judge(closed(code))
    assert verdict.code == (code if verdict.kind == "suspect" else None)
    assert verdict.floor == 0.0


@pytest.mark.parametrize("profile", PROFILES)
def test_normal_closure_is_the_end_only_where_there_is_nothing_to_come_back_for(profile: str) -> None:
    policy, _ = PROFILES[profile]
    assert judge(closed(1000), policy).kind == "retry"
    assert judge(closed(1000), policy, holds_subscriptions=False).kind == "done"
    assert judge(closed(1001), policy, holds_subscriptions=False).kind == "retry"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionClosedError(initiator="transport"),
        because(ConnectionClosedError(initiator="transport"), ConnectionResetError()),
        HeartbeatTimeout(20.0),
        because(HeartbeatTimeout(20.0), MessageTooBig(None, 1)),
        StaleData("prices", 3.0),
        SubscribeTimeout(["prices"], 5.0),
        # We closed it, and for no fault of the peer: the code that it echoes is ours.
        ConnectionClosedOK(Close(1000), Close(1000), "local"),
        ConnectionClosedError(Close(4000), Close(4000), "local"),
        ConnectionClosedError(None, Close(1011), "local"),
        ConnectionRefusedError(),
        socket.gaierror(),
        TimeoutError(),
        ssl.SSLError("handshake failure"),
        ssl.SSLEOFError(),
        EOFError(),
        because(ProviderError("token"), ValueError()),
        # The certificate of whoever makes tokens, not of the feed.
        because(ProviderError("token"), ssl.SSLCertVerificationError()),
        answered(None),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_end_that_time_may_mend_is_retried(error: BaseException) -> None:
    assert judge(error) == Verdict("retry")
    assert judge(error, ClosePolicy.graphql_ws(), holds_subscriptions=False) == Verdict("retry")


@pytest.mark.parametrize(
    "error",
    [
        because(ConnectionClosedError(None, Close(1009), "local"), MessageTooBig(None, 1024)),
        MessageTooBig(None, 1024),
        ssl.SSLCertVerificationError(),
        because(ConnectionAbortedError(), ssl.SSLCertVerificationError()),
        because(answered(None), ssl.SSLCertVerificationError()),
        InvalidURL("ws://", "no host"),
        ConfigError(["headers: no"]),
        LocalProtocolError(1002, "no"),
        TypeError("a fault of ours"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_end_that_would_come_again_is_final(error: BaseException) -> None:
    assert judge(error) == Verdict("final")


def test_violation_by_the_peer_is_suspect_under_the_code_that_we_sent() -> None:
    error = because(ConnectionClosedError(Close(1000), Close(1007), "local"), RemoteProtocolError(1007, "no UTF-8"))
    assert judge(error) == Verdict("suspect", code=1007)
    assert judge(RemoteProtocolError(1002, "two at once")) == Verdict("suspect", code=1002)


def test_refused_credentials_are_fetched_anew() -> None:
    assert judge(AuthenticationFailed("expired")) == Verdict("refresh")
    assert judge(answered(401)) == judge(answered(403)) == Verdict("refresh")


def test_every_status_of_an_answer_is_judged_by_the_table() -> None:
    def table(status: int) -> VerdictKind:
        if status in {401, 403}:
            return "refresh"
        if status in {429, 503}:
            return "late"
        return "final" if 300 <= status < 500 and status not in {408, 425} else "retry"

    assert {s: judge(answered(s)).kind for s in range(100, 600)} == {s: table(s) for s in range(100, 600)}


@pytest.mark.parametrize(
    ("value", "floor"),
    [
        (None, 0.0),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("9" * 5000, 300.0),
        ("-7", 0.0),
        ("7.5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("\u0667", 0.0),  # a digit of another script
        ("Thu, 99 Foo 2026 25:00:00 GMT", 0.0),
    ],
)
@pytest.mark.parametrize("status", [503, 429, 500])
def test_retry_after_is_seconds_of_at_most_five_minutes(value: str | None, floor: float, status: int) -> None:
    assert judge(answered(status, value)).floor == floor


@pytest.mark.parametrize(("ahead", "floor"), [(90, 90.0), (3600, 300.0), (0, 0.0), (-90, 0.0)])
def test_retry_after_is_a_date_too_and_compared_with_the_wall_clock(ahead: float, floor: float) -> None:
    moment = datetime.fromtimestamp(NOW + ahead, UTC)
    assert judge(answered(503, format_datetime(moment, usegmt=True))).floor == floor
    # The two obsolete forms of RFC 9110 §5.6.7.
    assert judge(answered(503, moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"))).floor == floor
    assert judge(answered(503, moment.strftime("%a %b %e %H:%M:%S %Y"))).floor == floor


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XYZ+05")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_retry_after_of_a_date_without_a_zone_is_in_utc_wherever_we_are() -> None:
    moment = datetime.fromtimestamp(NOW + 90, UTC)
    assert judge(answered(503, moment.strftime("%a %b %e %H:%M:%S %Y"))).floor == 90.0


@given(value=st.text(max_size=40))
def test_retry_after_of_any_text_is_a_time_within_its_bounds(value: str) -> None:
    assert 0.0 <= judge(answered(503, value)).floor <= 300.0


def test_codes_of_the_user_come_before_the_table_and_the_first_of_them_counts() -> None:
    policy = ClosePolicy({4409: "final", range(4400, 4500): "late", 1000: "final"})
    assert judge(closed(4409), policy) == Verdict("final")
    assert judge(closed(4401), policy) == Verdict("late")
    assert judge(closed(1000), policy, holds_subscriptions=False) == Verdict("final")
    assert judge(closed(4500), policy) == Verdict("suspect", code=4500)


def test_codes_with_an_unknown_verdict_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        ClosePolicy({4001: "final", 4002: cast("VerdictKind", "stop"), range(4003, 4005): cast("VerdictKind", "")})
    assert [fault.partition(" can't be")[0] for fault in caught.value.faults] == [
        "codes: 4002",
        "codes: range(4003, 4005)",
    ]


class Venue(ClosePolicy):
    """A policy of a user's own."""

    def judge_close(self, code: int, *, holds_subscriptions: bool) -> VerdictKind:
        return "final" if code == 4999 else super().judge_close(code, holds_subscriptions=holds_subscriptions)

    def judge_status(self, status: int) -> VerdictKind:
        return "late" if status == 418 else super().judge_status(status)


def test_subclass_is_asked_for_codes_and_statuses() -> None:
    assert judge(closed(4999), Venue()) == Verdict("final")
    assert judge(closed(4998), Venue()) == Verdict("suspect", code=4998)
    assert judge(answered(418, "9"), Venue()) == Verdict("late", floor=9.0)
    assert judge(answered(404), Venue()) == Verdict("final")
    assert judge(closed(4999), Venue.centrifugo()).kind == "final"
    assert judge(closed(3500), Venue.centrifugo()).kind == "final"


def test_policy_survives_pickling_and_compares_by_value() -> None:
    policy = ClosePolicy.pusher()
    assert pickle.loads(pickle.dumps(policy)) == policy != ClosePolicy()
    assert hash(policy) == hash(ClosePolicy.pusher())

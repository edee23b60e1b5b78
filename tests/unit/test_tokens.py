"""Tokens that are what they seem, or are not, and the keys they are verified with."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tokens import EC, ED, OTHER_RSA, RSA, SECRET, claims, jwk, signed
from tests.support.waiting import until

from websocket_utils import (
    ConfigError,
    Credentials,
    Grant,
    Identity,
    KeyAuthentication,
    TokenAuthentication,
    Unauthorized,
    issue_token,
)
from websocket_utils.authentication import _key_set, _tokens
from websocket_utils.authentication._key_set import FetchFailed, KeySet

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


# --- tokens by a secret ---


def test_token_that_was_issued_names_its_bearer_and_its_grants() -> None:
    grants = (Grant("prices:*"), Grant("orders:1", BOTH))
    before = time.time()
    identity = known(TokenAuthentication(secret=SECRET, leeway=0), issue_token(SECRET, "desk", grants, ttl=60))
    assert (identity.name, identity.grants) == ("desk", grants)
    assert identity.expires_at is not None
    assert before + 60 <= identity.expires_at <= time.time() + 61
    assert identity.claims["sub"] == "desk"


def test_grants_are_read_from_either_claim_and_without_one_there_are_none() -> None:
    authentication = TokenAuthentication(secret=SECRET)
    caps = [{"ch": "orders:1", "ops": ["publish", "subscribe"]}]
    assert known(authentication, signed(SECRET, "HS256", channels=None, caps=caps)).grants == (Grant("orders:1", BOTH),)
    assert known(authentication, signed(SECRET, "HS256", channels=None)).grants == ()


def test_token_is_taken_within_the_leeway_and_ends_with_it() -> None:
    authentication = TokenAuthentication(secret=SECRET, leeway=30)
    now = int(time.time())
    identity = known(authentication, signed(SECRET, "HS256", exp=now - 10, nbf=now + 10))
    assert identity.expires_at == now + 20


NOW = int(time.time())
BAD: dict[str, tuple[str, str]] = {
    "signed with another secret": (signed("another secret of thirty-two bytes", "HS256"), "the token is not valid"),
    "signed with nothing": (jwt.encode(claims(), "", algorithm="none"), "the token is not valid"),
    "signed with a hash that was not chosen": (signed(SECRET * 2, "HS512"), "the token is not valid"),
    "expired": (signed(SECRET, "HS256", exp=NOW - 60), "the token has expired"),
    "not valid yet": (signed(SECRET, "HS256", nbf=NOW + 86_400), "the token is not valid yet"),
    "issued tomorrow": (signed(SECRET, "HS256", iat=NOW + 86_400), "the token is not valid yet"),
    "without an end": (signed(SECRET, "HS256", exp=None), "the token is not valid"),
    "with an end that is no time": (signed(SECRET, "HS256", exp="soon"), "the token is not valid"),
    "without a bearer": (signed(SECRET, "HS256", sub=None), "the token is not valid"),
    "with an empty bearer": (signed(SECRET, "HS256", sub=""), "the token is not valid"),
    "with a bearer over two lines": (signed(SECRET, "HS256", sub="desk\nroot"), "the token is not valid"),
    "for somebody else": (signed(SECRET, "HS256", aud="elsewhere"), "the token is for another audience"),
    "with grants that are no list": (signed(SECRET, "HS256", channels={"ch": "*"}), "the token is not valid"),
    "with a grant that is text": (signed(SECRET, "HS256", channels=["*"]), "the token is not valid"),
    "with a grant without operations": (signed(SECRET, "HS256", channels=[{"ch": "*"}]), "the token is not valid"),
    "with an unknown operation": (
        signed(SECRET, "HS256", channels=[{"ch": "*", "ops": ["admin"]}]),
        "the token is not valid",
    ),
    "with an operation that is none": (
        signed(SECRET, "HS256", channels=[{"ch": "*", "ops": [[]]}]),
        "the token is not valid",
    ),
    "with a pattern that is none": (
        signed(SECRET, "HS256", channels=[{"ch": "a*b", "ops": ["subscribe"]}]),
        "the token is not valid",
    ),
    "with one bad grant among good ones": (
        signed(SECRET, "HS256", channels=[{"ch": "a", "ops": ["subscribe"]}, {"ch": "", "ops": ["subscribe"]}]),
        "the token is not valid",
    ),
    "with grants without end": (
        signed(SECRET, "HS256", channels=[{"ch": "a", "ops": ["subscribe"]}] * 257),
        "the token is not valid",
    ),
    "that is none": ("abc", "the token is not valid"),
    "of no characters": ("", "the token is not valid"),
    "of no text": ("\ud800.\ud800.\ud800", "the token is not valid"),
    "without end": ("a" * 20_000, "the token is too long"),
}


@pytest.mark.parametrize("case", BAD)
def test_token_that_proves_nothing_is_refused_with_a_reason_that_tells_nothing(case: str) -> None:
    token, reason = BAD[case]
    assert refused(TokenAuthentication(secret=SECRET), token) == reason


def test_missing_token_is_refused() -> None:
    assert refused(TokenAuthentication(secret=SECRET), None) == "no token"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_token_that_was_changed_anywhere_is_refused(part: int) -> None:
    parts = signed(SECRET, "HS256").split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    assert refused(TokenAuthentication(secret=SECRET), ".".join(parts)) == "the token is not valid"


@given(st.text(max_size=60) | st.lists(st.text("abcdefgh0123_-", max_size=12), min_size=2, max_size=4).map(".".join))
def test_any_text_for_a_token_is_refused_and_raises_nothing_else(token: str) -> None:
    refused(TokenAuthentication(secret=SECRET), token)
    refused(TokenAuthentication(jwks={"keys": [jwk(RSA, "one")]}), token)


def test_audience_and_issuer_are_compared_where_they_are_asked_for() -> None:
    authentication = TokenAuthentication(secret=SECRET, audience="feed", issuer="login")
    assert known(authentication, issue_token(SECRET, "desk", audience="feed", issuer="login")).name == "desk"
    assert known(authentication, signed(SECRET, "HS256", aud=["other", "feed"], iss="login")).name == "desk"
    assert (
        refused(authentication, signed(SECRET, "HS256", aud="other", iss="login"))
        == "the token is for another audience"
    )
    assert refused(authentication, signed(SECRET, "HS256", iss="login")) == "the token is not valid"
    assert refused(authentication, signed(SECRET, "HS256", aud="feed", iss="other")) == "the token is not valid"
    assert refused(authentication, signed(SECRET, "HS256", aud="feed")) == "the token is not valid"


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_secret_that_is_weaker_than_its_algorithm_is_refused_without_being_shown(algorithm: Any, least: int) -> None:
    short, enough = "s" * (least - 1), "s" * least
    for make in (
        lambda: TokenAuthentication(secret=short, algorithms=[algorithm]),
        lambda: issue_token(short, "desk", algorithm=algorithm),
    ):
        with pytest.raises(ConfigError, match=f"{algorithm} needs at least {least} bytes, not {least - 1}") as caught:
            make()
        assert short not in str(caught.value)
    token = issue_token(enough, "desk", algorithm=algorithm)
    assert known(TokenAuthentication(secret=enough.encode(), algorithms=[algorithm]), token).name == "desk"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "exactly one of"),
        ({"secret": SECRET, "jwks": {"keys": [jwk(RSA, "one")]}}, "exactly one of"),
        ({"secret": SECRET, "algorithms": ["none"]}, "algorithms"),
        ({"secret": SECRET, "algorithms": ["RS256"]}, "algorithms"),
        ({"secret": SECRET, "algorithms": []}, "algorithms"),
        ({"jwks": {"keys": [jwk(RSA, "one")]}, "algorithms": ["HS256"]}, "algorithms"),
        ({"jwks": {"keys": []}}, "there is no key in it"),
        ({"jwks": {"key": []}}, "it has no list `keys`"),
        ({"jwks_url": "http://login.example/keys"}, "jwks_url: is no https URL"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url: is no https URL"),
        ({"jwks_url": "https://[::1"}, "jwks_url: is no URL"),
        ({"secret": SECRET, "leeway": -1}, "leeway"),
        ({"secret": SECRET, "leeway": float("nan")}, "leeway"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(arguments: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        TokenAuthentication(**arguments)


def test_token_that_could_not_be_used_is_not_issued() -> None:
    with pytest.raises(ConfigError, match="ttl"):
        issue_token(SECRET, "desk", ttl=0)
    with pytest.raises(ValueError, match="names of identities"):
        issue_token(SECRET, "")


def test_missing_library_is_an_error_that_names_the_extra_and_only_where_it_is_needed() -> None:
    script = (
        "import sys; sys.modules['jwt'] = None\n"
        "import websocket_utils as w\n"
        "w.KeyAuthentication({'0123456789abcdef': w.Identity('desk')})\n"
        "try: w.TokenAuthentication(secret='s' * 32)\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=15)
    assert done.stdout == "tokens need PyJWT: pip install 'websocket_utils[jwt]'\n"
    imported = "import sys, websocket_utils; print('jwt' in sys.modules, 'cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", imported], check=True, capture_output=True, text=True, timeout=15)
    assert done.stdout == "False False\n"


# --- tokens by public keys ---

KEYS = {"keys": [jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed", use="sig", alg="EdDSA")]}


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
def test_token_is_verified_with_the_key_it_names(key: Any, algorithm: str, kid: str) -> None:
    authentication = TokenAuthentication(jwks=KEYS)
    assert known(authentication, signed(key, algorithm, kid)).grants == (Grant("prices:*"),)
    # Without a name too, where just one key is for its algorithm.
    assert known(authentication, signed(key, algorithm)).name == "desk"
    assert refused(authentication, signed(key, algorithm, "unknown")) == "the token is not valid"


def unsafely_signed(header: dict[str, Any], key: bytes) -> str:
    """A token by HMAC with any bytes, which the library refuses to make."""
    import hashlib
    import hmac

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    told = part(header) + b"." + part(claims())
    signature = base64.urlsafe_b64encode(hmac.digest(key, told, hashlib.sha256)).rstrip(b"=")
    return (told + b"." + signature).decode()


def test_public_key_is_never_taken_for_a_secret() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = RSA.public_key()
    authentication = TokenAuthentication(jwks=KEYS)
    for form in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk(RSA, "rsa")).encode(),
    ):
        token = unsafely_signed({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, form)
        assert refused(authentication, token) == "the token is not valid"


@pytest.mark.parametrize(
    "token",
    [
        signed(OTHER_RSA, "RS256", "rsa"),
        signed(RSA, "RS256", "ec"),
        signed(EC, "ES256", "rsa"),
        signed(RSA, "RS512", "rsa"),
        signed(RSA, "PS256", "rsa"),
        jwt.encode(claims(), "", algorithm="none", headers={"kid": "rsa"}),
        signed(RSA, "RS256", "rsa", exp=NOW - 60),
    ],
    ids=["another key", "name of another", "another family", "another hash", "another padding", "none", "expired"],
)
def test_token_by_another_key_or_algorithm_is_refused(token: str) -> None:
    refused(TokenAuthentication(jwks=KEYS), token)


def test_key_that_is_named_for_one_algorithm_is_used_for_no_other() -> None:
    keys = {"keys": [jwk(RSA, "rsa", alg="RS512")]}
    authentication = TokenAuthentication(jwks=keys, algorithms=["RS256", "RS512"])
    assert known(authentication, signed(RSA, "RS512", "rsa")).name == "desk"
    refused(authentication, signed(RSA, "RS256", "rsa"))


def test_keys_that_are_not_for_tokens_are_left_out_of_a_set() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = rsa.generate_private_key(65537, 1024)
    secret = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()}
    left_out = [
        secret,
        jwk(RSA, "enc", use="enc"),
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {},
        None,
        7,
        jwk(weak, "weak"),
    ]
    keys = KeySet(frozenset({"RS256", "HS256"}), 1, 1)
    keys.take({"keys": [*left_out, jwk(RSA, "rsa")]}, 0)
    assert [key.kid for key in keys.keys] == ["rsa"]
    with pytest.raises(ValueError, match="no key"):
        keys.take({"keys": left_out}, 1)
    # What was known goes on to count.
    assert [key.kid for key in keys.keys] == ["rsa"]


def test_two_keys_for_one_algorithm_need_a_token_that_names_one() -> None:
    authentication = TokenAuthentication(jwks={"keys": [jwk(RSA, "one"), jwk(OTHER_RSA, "two")]})
    assert known(authentication, signed(OTHER_RSA, "RS256", "two")).name == "desk"
    refused(authentication, signed(RSA, "RS256"))


# --- keys that are fetched ---


class Issuer:
    """Stands in for the fetch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.document: object = {"keys": [jwk(RSA, "old")]}
        self.fetches = 0
        self.now = 1000.0
        monkeypatch.setattr(_tokens, "fetch", self.fetch)
        monkeypatch.setattr(_tokens, "time", self)

    def monotonic(self) -> float:
        return self.now

    def fetch(self, url: str, timeout: float, context: object) -> object:
        self.fetches += 1
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    return Issuer(monkeypatch)


def by_url(**settings: Any) -> TokenAuthentication:
    return TokenAuthentication(jwks_url="https://login.example/keys", refetch_interval=10, max_age=100, **settings)


async def asked(authentication: TokenAuthentication, token: str) -> str:
    """The name that a token is known by, or why it is not."""
    try:
        identity = authentication(bearing(token))
        return (identity if isinstance(identity, Identity) else await identity).name
    except Unauthorized as error:
        return error.reason


async def test_keys_are_fetched_once_for_all_who_wait_and_then_known(issuer: Issuer) -> None:
    authentication, token = by_url(), signed(RSA, "RS256", "old")
    assert await asyncio.gather(*(asked(authentication, token) for _ in range(5))) == ["desk"] * 5
    assert issuer.fetches == 1
    assert isinstance(authentication(bearing(token)), Identity)
    assert issuer.fetches == 1


async def test_unknown_key_is_looked_for_again_but_not_for_each_connection(issuer: Issuer) -> None:
    authentication = by_url()
    assert await asked(authentication, signed(RSA, "RS256", "old")) == "desk"
    new, forged = signed(OTHER_RSA, "RS256", "new"), signed(OTHER_RSA, "RS256", "forged")
    for _ in range(50):
        assert await asked(authentication, forged) == "the token is not valid"
    assert issuer.fetches == 1
    issuer.document = {"keys": [jwk(OTHER_RSA, "new")]}
    issuer.now += 10
    assert await asked(authentication, new) == "desk"
    assert issuer.fetches == 2
    for _ in range(50):
        assert await asked(authentication, forged) == "the token is not valid"
    # The one that was withdrawn is known no more.
    assert await asked(authentication, signed(RSA, "RS256", "old")) == "the token is not valid"
    assert issuer.fetches == 2


async def test_keys_that_are_old_are_fetched_anew_while_they_go_on_to_count(issuer: Issuer) -> None:
    authentication, token = by_url(), signed(RSA, "RS256", "old")
    await asked(authentication, token)
    issuer.now += 100
    issuer.document = {"keys": [jwk(OTHER_RSA, "new")]}
    assert isinstance(authentication(bearing(token)), Identity)
    await until(lambda: issuer.fetches == 2 and authentication._fetching is None)
    assert await asked(authentication, token) == "the token is not valid"
    assert await asked(authentication, signed(OTHER_RSA, "RS256", "new")) == "desk"


@pytest.mark.parametrize("document", [FetchFailed("refused"), {"keys": []}, [], None], ids=str)
async def test_keys_that_can_not_be_fetched_refuse_nobody_for_good(issuer: Issuer, document: object) -> None:
    authentication, token = by_url(), signed(RSA, "RS256", "old")
    good, issuer.document = issuer.document, document
    for _ in range(3):
        # No judgement: the token may well be good.
        with pytest.raises(FetchFailed):
            await asked(authentication, token)
    assert issuer.fetches == 1
    issuer.now += 10
    issuer.document = good
    assert await asked(authentication, token) == "desk"
    # Known once, they outlive an issuer that is down.
    issuer.document = document
    issuer.now += 200
    assert await asked(authentication, token) == "desk"


async def test_fetch_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> None:
    import threading

    is_over = threading.Event()

    def fetch(url: str, timeout: float, context: object) -> object:
        is_over.wait(5)
        return {}

    monkeypatch.setattr(_tokens, "fetch", fetch)
    authentication = by_url(fetch_timeout=0.05)
    with pytest.raises(FetchFailed):
        await asked(authentication, signed(RSA, "RS256", "old"))
    is_over.set()


async def test_who_gives_up_waiting_for_keys_does_not_end_the_fetch_of_others(issuer: Issuer) -> None:
    authentication, token = by_url(), signed(RSA, "RS256", "old")
    first, second = (asyncio.ensure_future(asked(authentication, token)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "desk"
    assert first.cancelled()


def test_only_https_and_this_machine_may_say_which_keys_count() -> None:
    assert [_key_set.url_fault(url) for url in ("https://a.example/", "http://127.0.0.1:1/", "http://[::1]/")] == [
        None
    ] * 3
    assert all(
        _key_set.url_fault(url) for url in ("http://a.example/", "ftp://a.example/", "a", "", "http://127.0.0.1.a/")
    )

"""JSON Web Tokens (RFC 7519), verified by PyJWT: the extra `jwt`."""

import asyncio
import logging
import math
import ssl as ssl_module
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

from ..exceptions import ConfigError, Unauthorized
from ._identity import Credentials, Grant, Identity, Operation
from ._key_set import ASYMMETRIC, FetchFailed, KeySet, fetch, url_fault

__all__ = ["SecretAlgorithm", "TokenAuthentication", "issue_token"]

_logger = logging.getLogger("websocket_utils.server")

SecretAlgorithm = Literal["HS256", "HS384", "HS512"]
# The hash's size (RFC 7518 §3.2): a shorter secret is weaker than the algorithm.
_LEAST_SECRET: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
_DEFAULT_ASYMMETRIC = ("RS256", "ES256", "EdDSA")
# An opening request has no more bytes altogether.
_MAX_TOKEN = 16 * 1024
# Claims that grants are read from; the first one that is there counts.
_GRANTS = ("channels", "caps")
_NOT_VALID = "the token is not valid"


def _library() -> Any:
    """PyJWT.

    Raises:
        ImportError: If it is not installed; it names the extra.
    """
    try:
        import jwt  # noqa: PLC0415  # an optional library
    except ImportError as error:
        raise ImportError("tokens need PyJWT: pip install 'websocket_utils[jwt]'") from error
    return jwt


def _secret_faults(secret: bytes, algorithms: Iterable[str]) -> list[str]:
    return [
        f"secret: {algorithm} needs at least {_LEAST_SECRET[algorithm]} bytes, not {len(secret)} (RFC 7518 §3.2)"
        for algorithm in algorithms
        if len(secret) < _LEAST_SECRET.get(algorithm, 0)
    ]


class TokenAuthentication:
    """Knows clients by signed tokens: for `WebSocketServer.bind(..., authenticate=TokenAuthentication(...))`.

    A token says who its bearer is (`sub`), until when (`exp`), and what it may do: `channels`, or `caps`, is a list
    like `[{"ch": "prices:*", "ops": ["subscribe"]}]`. One without that list may do nothing. The algorithm is never
    the token's choice.

    Args:
        secret: What tokens are signed with, at least 32 random bytes (48 for HS384, 64 for HS512).
        jwks: In place of `secret` the issuer's public keys, a JSON Web Key Set.
        jwks_url: In place of both, where that set is; `https`, but on this machine. It is fetched with the first token,
            and anew after `max_age` or for a token that names an unknown key, in a thread and once for all who wait.
        algorithms: Those that are accepted; None takes HS256 with a secret, else RS256, ES256 and EdDSA.
        audience: What `aud` must hold; None refuses tokens that have one, for they are meant for somebody else.
        issuer: What `iss` must be; None takes any.
        leeway: Seconds by which the issuer's clock may differ.
        refetch_interval: Least seconds between two fetches. A new key is to be published that long before it is used.
        max_age: Seconds after which the keys are fetched anew.
        fetch_timeout: Longest that a fetch may take, in seconds.
        ssl: For the fetch; None takes the system's trust.

    Raises:
        ConfigError: If an argument is wrong; it names all that are.
        ImportError: If PyJWT is not installed.
    """

    __slots__ = (
        "_algorithms",
        "_audience",
        "_fetch_timeout",
        "_fetching",
        "_issuer",
        "_jwt",
        "_keys",
        "_leeway",
        "_secret",
        "_ssl",
        "_url",
    )

    def __init__(
        self,
        *,
        secret: str | bytes | None = None,
        jwks: Mapping[str, Any] | None = None,
        jwks_url: str | None = None,
        algorithms: Sequence[str] | None = None,
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        leeway: float = 5.0,
        refetch_interval: float = 10.0,
        max_age: float = 3600.0,
        fetch_timeout: float = 3.0,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self._jwt = _library()
        known = frozenset(get_args(SecretAlgorithm)) if secret is not None else ASYMMETRIC
        default = ("HS256",) if secret is not None else _DEFAULT_ASYMMETRIC
        self._algorithms = frozenset(default if algorithms is None else algorithms)
        self._secret = secret.encode() if isinstance(secret, str) else secret
        faults: list[str] = []
        if sum(one is not None for one in (secret, jwks, jwks_url)) != 1:
            faults.append("exactly one of secret, jwks and jwks_url says how tokens are verified")
        if not self._algorithms or not self._algorithms <= known:
            faults.append(f"algorithms: {sorted(known)} can be chosen of, not {sorted(self._algorithms)}")
        if self._secret is not None:
            faults += _secret_faults(self._secret, sorted(self._algorithms))
        if jwks_url is not None and (fault := url_fault(jwks_url)):
            faults.append(f"jwks_url: {fault}")
        faults += [
            f"{name}: must be a finite number of at least 0, not {value!r}"
            for name, value in (
                ("leeway", leeway),
                ("refetch_interval", refetch_interval),
                ("max_age", max_age),
                ("fetch_timeout", fetch_timeout),
            )
            if not 0 <= value < math.inf
        ]
        self._keys = KeySet(self._algorithms, refetch_interval, max_age)
        if jwks is not None:
            try:
                self._keys.take(jwks, time.monotonic())
            except ValueError as error:
                faults.append(f"jwks: {error}")
        if faults:
            raise ConfigError(faults)
        self._url = jwks_url
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._fetch_timeout = fetch_timeout
        self._ssl = ssl
        self._fetching: asyncio.Task[None] | None = None

    def __call__(self, credentials: Credentials) -> Identity | Awaitable[Identity]:
        """Return the identity that a client's token names, or what it comes from if keys have to be fetched first.

        Raises:
            Unauthorized: If there is no token, or one that is not valid.
        """
        token = credentials.token
        if token is None:
            raise Unauthorized("no token")
        if len(token) > _MAX_TOKEN:
            raise Unauthorized("the token is too long")
        if self._secret is not None:
            return self._identity(token, self._secret, self._algorithms)
        kid, algorithm = self._named(token)
        now = time.monotonic()
        if self._url is not None and self._keys.is_stale(now) and self._keys.may_fetch(now):
            self._begin_fetch(self._url, now)
        key = self._keys.find(kid, algorithm)
        if key is not None:
            return self._identity(token, key.key, {algorithm})
        if self._url is None:
            raise Unauthorized(_NOT_VALID)
        fetching = self._under_way()
        if fetching is None and self._keys.may_fetch(now):
            fetching = self._begin_fetch(self._url, now)
        if fetching is not None:
            return self._identity_later(token, kid, algorithm, fetching)
        if self._keys.fetched_at is None:
            raise FetchFailed("there are no keys yet to verify tokens with")
        raise Unauthorized(_NOT_VALID)

    def _named(self, token: str) -> tuple[str | None, str]:
        """Which key and algorithm a token says it is signed with; they only choose among those that are known."""
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthorized(_NOT_VALID) from error
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms or not isinstance(kid, str | None):
            raise Unauthorized(_NOT_VALID)
        return kid, algorithm

    async def _identity_later(
        self, token: str, kid: str | None, algorithm: str, fetching: "asyncio.Task[None]"
    ) -> Identity:
        # Others wait for it too: who gives up does not end it.
        await asyncio.shield(fetching)
        key = self._keys.find(kid, algorithm)
        if key is not None:
            return self._identity(token, key.key, {algorithm})
        if self._keys.fetched_at is None:
            raise FetchFailed("the keys to verify tokens with could not be fetched")
        raise Unauthorized(_NOT_VALID)

    def _under_way(self) -> "asyncio.Task[None] | None":
        # One that another event loop began, and took with it, never ends.
        fetching = self._fetching
        return fetching if fetching is not None and fetching.get_loop() is asyncio.get_running_loop() else None

    def _begin_fetch(self, url: str, now: float) -> "asyncio.Task[None]":
        self._keys.asked_at = now
        self._fetching = asyncio.get_running_loop().create_task(self._fetch(url))
        return self._fetching

    async def _fetch(self, url: str) -> None:
        try:
            async with asyncio.timeout(self._fetch_timeout):
                document = await asyncio.to_thread(fetch, url, self._fetch_timeout, self._ssl)
            self._keys.take(document, time.monotonic())
        except (FetchFailed, TimeoutError, ValueError) as error:
            # At most one line in each interval; what was known before goes on to count.
            why = "it took too long" if isinstance(error, TimeoutError) else error
            _logger.warning("the keys to verify tokens with could not be fetched: %s", why)
        finally:
            self._fetching = None

    def _identity(self, token: str, key: Any, algorithms: Iterable[str]) -> Identity:
        try:
            claims = self._jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub"]},
            )
            return Identity(claims["sub"], _grants(claims), float(int(claims["exp"])) + self._leeway, claims)
        except self._jwt.ExpiredSignatureError as error:
            raise Unauthorized("the token has expired") from error
        except self._jwt.ImmatureSignatureError as error:
            raise Unauthorized("the token is not valid yet") from error
        except self._jwt.InvalidAudienceError as error:
            raise Unauthorized("the token is for another audience") from error
        except (self._jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise Unauthorized(_NOT_VALID) from error

    def __repr__(self) -> str:
        how = "a secret" if self._secret is not None else "public keys"
        return f"<TokenAuthentication by {how}, {', '.join(sorted(self._algorithms))}>"


def _grants(claims: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Read what a token allows.

    Raises:
        ValueError, TypeError, KeyError: If that has not the form it should have: then nothing of it counts.
    """
    listed = next((_list(claims[name]) for name in _GRANTS if name in claims), list[Any]())
    # Grant checks which operations these are.
    return tuple(Grant(_text(one["ch"]), frozenset(cast("list[Operation]", _list(one["ops"])))) for one in listed)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("grants and their operations are lists")
    return value  # pyright: ignore[reportUnknownVariableType]  # of whatever a token has: each is checked


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("channels are text")
    return value


def issue_token(
    secret: str | bytes,
    name: str,
    grants: Iterable[Grant] = (),
    ttl: float = 300.0,
    *,
    algorithm: SecretAlgorithm = "HS256",
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """Sign a token that `TokenAuthentication(secret=...)` knows: for a function that hands tokens to its users.

    Args:
        secret: The one that the server has.
        name: Who the bearer is (`sub`).
        grants: What it may do (`channels`).
        ttl: Seconds from now on in which it is valid.
        algorithm: What it is signed with.
        audience: Whom it is meant for (`aud`); None for anybody.
        issuer: Who issues it (`iss`); None leaves it out.

    Raises:
        ConfigError: If the secret is too short for the algorithm, or `ttl` is not above 0.
        ValueError: If the name is none.
        ImportError: If PyJWT is not installed.
    """
    library = _library()
    key = secret.encode() if isinstance(secret, str) else secret
    faults = _secret_faults(key, [algorithm])
    if not 0 < ttl < math.inf:
        faults.append(f"ttl: must be a finite number above 0, not {ttl!r}")
    if faults:
        raise ConfigError(faults)
    identity = Identity(name, tuple(grants))
    now = time.time()
    claims: dict[str, Any] = {
        "sub": identity.name,
        "iat": int(now),
        "exp": math.ceil(now + ttl),
        "channels": [{"ch": grant.pattern, "ops": sorted(grant.operations)} for grant in identity.grants],
    }
    claims |= {claim: value for claim, value in (("aud", audience), ("iss", issuer)) if value is not None}
    token: str = library.encode(claims, key, algorithm=algorithm)
    return token

"""The public keys of a token issuer (JWKS, RFC 7517): read, looked up, fetched.

Nothing here reads a clock: times are monotonic seconds, and arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from .._fetching import FetchFailed, fetch

__all__ = ["ASYMMETRIC", "FetchFailed", "KeySet", "VerificationKey", "fetch", "url_fault"]

_MAX_KEYS = 256
_LEAST_RSA_BITS = 2048
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

# Which algorithms a key can be used with (RFC 7518 §3.1, RFC 8037 §3.1): no token makes one of another family of it.
_FAMILIES: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ASYMMETRIC: frozenset[str] = frozenset(name for names in _FAMILIES.values() for name in names)
"""Algorithms whose verification needs no secret."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, and the algorithms it is used with."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any = field(repr=False)


@dataclass(slots=True)
class KeySet:
    """Keys as they were read last, and when they may be asked for again.

    Attributes:
        algorithms: Those that tokens may be signed with.
        refetch_interval: Least seconds between two fetches: tokens that name unknown keys cost no more than that.
        max_age: Seconds after which keys are fetched anew, so that one that was withdrawn is forgotten.
    """

    algorithms: frozenset[str]
    refetch_interval: float
    max_age: float
    keys: tuple[VerificationKey, ...] = ()
    fetched_at: float | None = None
    asked_at: float | None = None

    def may_fetch(self, now: float) -> bool:
        """Whether enough time has passed since the last attempt."""
        return self.asked_at is None or now - self.asked_at >= self.refetch_interval

    def is_stale(self, now: float) -> bool:
        """Whether what is known is too old, or nothing is."""
        return self.fetched_at is None or now - self.fetched_at >= self.max_age

    def take(self, document: object, now: float) -> None:
        """Exchange the keys for those of a document.

        Raises:
            ValueError: If it is no key set, or has no key that can be used; the keys stay as they were.
        """
        keys = _read(document, self.algorithms)
        if not keys:
            raise ValueError("there is no key in it that these algorithms can use")
        self.keys = keys
        self.fetched_at = now

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key that a token names; without a name the only one for its algorithm, if there is just one."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None


def _read(document: object, algorithms: frozenset[str]) -> tuple[VerificationKey, ...]:
    from jwt import PyJWK, PyJWTError  # noqa: PLC0415  # an optional library

    listed = _fields(document).get("keys")
    if not isinstance(listed, list):
        raise ValueError("it is no JSON Web Key Set: it has no list `keys`")
    found: list[VerificationKey] = []
    for one in cast("list[object]", listed)[:_MAX_KEYS]:
        jwk = _fields(one)
        usable = _usable(jwk, algorithms)
        if not usable:
            continue
        try:
            key: Any = PyJWK(dict(jwk), min(usable)).key
        except (PyJWTError, ValueError, TypeError, KeyError):
            # One key that can't be read is no reason to do without the others.
            continue
        if jwk["kty"] == "RSA" and key.key_size < _LEAST_RSA_BITS:
            continue
        kid = jwk.get("kid")
        found.append(VerificationKey(kid if isinstance(kid, str) else None, usable, key))
    return tuple(found)


def _fields(value: object) -> Mapping[str, Any]:
    """An object of JSON; empty if it is none."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _usable(jwk: Mapping[str, Any], allowed: frozenset[str]) -> frozenset[str]:
    """Which of the allowed algorithms a key is for; none for secrets, and keys that encrypt."""
    if jwk.get("use") not in (None, "sig") or "d" in jwk:
        return frozenset()
    kind, curve = jwk.get("kty"), jwk.get("crv")
    family = frozenset(_FAMILIES.get((str(kind), None if kind == "RSA" else str(curve)), ()))
    named = jwk.get("alg")
    return family & allowed if named is None else family & allowed & {str(named)}


def url_fault(url: str) -> str | None:
    """What is wrong with the URL of a key set; None if nothing is. Who can change the keys on their way can sign."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is no URL"
    if not host or parts.scheme not in {"https", "http"}:
        return "is no https URL"
    return (
        None if parts.scheme == "https" or host in _LOOPBACK else "is no https URL, which every host but this one needs"
    )

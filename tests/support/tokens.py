"""Keys and tokens of an issuer that tests play."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

__all__ = ["EC", "ED", "OTHER_RSA", "RSA", "SECRET", "claims", "jwk", "signed"]

SECRET = "a secret of thirty-two bytes or more"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def claims(**changed: Any) -> dict[str, Any]:
    """Claims that are in order, but for what is changed; None leaves one out."""
    now = int(time.time())
    made = {
        "sub": "desk",
        "iat": now,
        # Longer than a run of all tests: some tokens are made when they are collected.
        "exp": now + 7200,
        "channels": [{"ch": "prices:*", "ops": ["subscribe"]}],
        **changed,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any, algorithm: str, kid: str | None = None, **changed: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def jwk(key: Any, kid: str | None, **members: Any) -> dict[str, Any]:
    """The public half of a key, as an issuer publishes it."""
    kinds: dict[type, Any] = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    (kind,) = (algorithm for private, algorithm in kinds.items() if isinstance(key, private))
    made: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return {**made, **({} if kid is None else {"kid": kid}), **members}

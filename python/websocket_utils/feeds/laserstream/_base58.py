"""Addresses of accounts: 32 bytes in base58. This module imports nothing of ours but the error."""

from ...exceptions import InvalidPubkey

__all__ = ["check_pubkey"]

_DIGITS = {digit: value for value, digit in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BYTES = 32
# 32 bytes have from 32 digits (all of them zero) to 44.
_SHORTEST, _LONGEST = 32, 44


def check_pubkey(key: str) -> str:
    """Return a public key that is one.

    Raises:
        InvalidPubkey: If it is not the base58 form of 32 bytes. Surrounding blanks are not cut off.
    """
    if not isinstance(key, str):  # type: ignore[redundant-expr,unused-ignore]  # callers need not have a type checker
        raise InvalidPubkey(repr(key), f"it is no text but a {type(key).__name__}")
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise InvalidPubkey(key, f"it has {len(key)} characters")
    number = 0
    for digit in key:
        value = _DIGITS.get(digit)
        if value is None:
            raise InvalidPubkey(key, f"{digit!r} is no digit of base58")
        number = number * 58 + value
    # Each leading 1 is a byte of zero.
    size = len(key) - len(key.lstrip("1")) + (number.bit_length() + 7) // 8
    if size != _BYTES:
        raise InvalidPubkey(key, f"it is {size} bytes")
    return key

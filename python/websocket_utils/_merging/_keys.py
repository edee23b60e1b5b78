"""What tells messages apart."""

import operator
from collections.abc import Callable, Hashable
from typing import Any, Final, Literal

from .._core import Decoder
from ..exceptions import DecodeError

__all__ = ["Key", "Keys", "Payload"]

Key = str | tuple[str, ...] | Callable[[Any], Hashable]
"""Names of the fields that tell messages apart, or a function of the message; if it returns None, nothing does."""

Payload = bytes | str
"""A message as it came: text is `str`."""

# What is kept of a key out of a longer payload is its hash, so that kept keys are small whatever a peer sends.
_LONG_PAYLOAD: Final = 1024


class Keys:
    """Reads the keys of payloads.

    Args:
        key: What tells messages apart.
        type_: What messages are decoded as, or a `Decoder` of it.
        binary: Format of binary payloads; text is JSON.
        on_fault: Is told what a `key` function raises; such a message has no key.
    """

    def __init__(
        self,
        key: Key,
        type_: Any,
        *,
        binary: Literal["msgpack", "protobuf"] = "msgpack",
        on_fault: Callable[[BaseException], object],
    ) -> None:
        is_decoder = isinstance(type_, Decoder)
        self._decode_text: Callable[[bytes], Any] = type_.decode if is_decoder else Decoder(type_).decode
        self._decode_binary: Callable[[bytes], Any] = Decoder(type_.type if is_decoder else type_, format=binary).decode
        names = (key,) if isinstance(key, str) else key
        self._key: Callable[[Any], Any] = names if callable(names) else operator.attrgetter(*names)
        self._is_named = not callable(names)
        # A field that may be None tells nothing where it is.
        self._is_compound = not callable(names) and len(names) > 1
        self._on_fault = on_fault

    def of(self, payload: Payload) -> Any:
        """Return the key; None where the message has none, or is none of the type."""
        try:
            message = self._decode_text(payload.encode()) if isinstance(payload, str) else self._decode_binary(payload)
        except DecodeError:
            return None
        try:
            key = self._key(message)
            if self._is_compound and None in key:
                return None
            # What has no hash can't be looked for: said here, where it is the key's fault.
            hash(key)
            return key if len(payload) <= _LONG_PAYLOAD else _short(key)
        except AttributeError as error:
            # Of a union, a class without that field.
            if not self._is_named:
                self._on_fault(error)
        except Exception as error:  # noqa: BLE001  # whatever a function of the user raises
            self._on_fault(error)
        return None


def _short(key: Any) -> Any:
    match key:
        case None:
            return None
        case (channel, int() as sequence) if type(key) is tuple:
            return _short(channel), sequence
        case str() if len(key) <= _LONG_PAYLOAD:
            return key
        case _:
            return hash(key)

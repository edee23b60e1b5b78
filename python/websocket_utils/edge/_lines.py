"""One update as it stands in a batch: its channel and its payload, a line each."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from websocket_utils._core import Encoder
from websocket_utils.exceptions import EncodeError, MessageTooBig
from websocket_utils.namespaces import name_fault

__all__ = ["Lines"]

# As a tuple: an `isinstance` with the union would cost twice as much.
_ENCODED: Final = (str, bytes, bytearray, memoryview, msgspec.Raw)
# Names that were checked are remembered, so many of them.
_MOST_NAMES: Final = 16_384


class Lines:
    """Writes updates.

    Args:
        limit: Bytes of one update at most, its two line breaks included.
        enc_hook: As for `Encoder`; None has none.
    """

    __slots__ = ("_encode", "_limit", "_names")

    def __init__(self, limit: int, enc_hook: Callable[[Any], Any] | None = None) -> None:
        self._limit = limit
        self._encode = Encoder("json", enc_hook=enc_hook).encode
        # Name -> its line, and the bytes of that.
        self._names: dict[str, tuple[str, int]] = {}

    def write(self, channel: str, message: Any) -> tuple[str, int]:
        """Write one update.

        Args:
            channel: Its exact name.
            message: A message object, which is encoded; or `str`, bytes or `Raw`, which are JSON already and stay as
                they are to the digit, but for white space.

        Returns:
            The two lines, and their bytes in UTF-8.

        Raises:
            ValueError: If `channel` is no name of a channel.
            EncodeError: If the message has no form in JSON, or is none.
            MessageTooBig: If it is over the limit.
        """
        name = self._names.get(channel)
        if name is None:
            name = self._check(channel)
        if isinstance(message, _ENCODED):
            payload = _compact(message)
        else:
            payload = self._encode(message)
            if b"\n" in payload:
                # A field of the class `Raw` is copied as it is.
                payload = _compact(payload)
        size = name[1] + len(payload) + 1
        if size > self._limit:
            raise MessageTooBig(size, self._limit)
        try:
            return f"{name[0]}{payload.decode()}\n", size
        except UnicodeDecodeError as error:
            raise EncodeError(f"it is not UTF-8: {error}", format="json") from error

    def _check(self, channel: str) -> tuple[str, int]:
        fault = name_fault(channel)
        if fault:
            raise ValueError(f"{channel!r} can't be published to: {fault}")
        line = f"{channel}\n"
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        name = self._names[channel] = (line, len(line.encode()))
        return name


# Any: one of `_ENCODED`.
def _compact(payload: Any) -> bytes:
    """JSON without white space between its tokens, which are checked and stay as they are.

    Raises:
        EncodeError: If it is no JSON.
    """
    try:
        given = payload.encode() if isinstance(payload, str) else bytes(payload)
        return msgspec.json.format(given, indent=-1)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise EncodeError(f"it is no JSON: {error}", format="json") from error

"""What is under test: the one place of the comparison that names it."""

from collections.abc import Callable
from typing import Any

from tests.property.codec.chance import Format

from websocket_utils import Decoder, Encoder

__all__ = ["decoder_of", "encoder_of"]

Hook = Callable[..., Any] | None


def decoder_of(type_: Any, format: Format, *, strict: bool, dec_hook: Hook) -> Decoder[Any]:
    """Our decoder of a type."""
    return Decoder(type_, format=format, strict=strict, dec_hook=dec_hook)


def encoder_of(format: Format, *, enc_hook: Hook) -> Encoder:
    """Our encoder."""
    return Encoder(format, enc_hook=enc_hook)

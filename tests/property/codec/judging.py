"""The judge: what msgspec makes of a payload, and whether ours is the same."""

import datetime
import decimal
import gc
import re
import uuid
from typing import Any, Final

import msgspec
from tests.property.codec.chance import Format
from tests.property.codec.prelude import Code, Level, Ping, Side, Subscribe, Venue
from tests.property.codec.scheme import Scheme
from tests.property.codec.subject import decoder_of, encoder_of
from tests.property.codec.walking import depth, respelled, snake_case

from websocket_utils import exceptions

__all__ = ["MAX_DEPTH", "Difference", "Judge", "canonical"]

# Nested deeper, a payload is refused before msgspec sees it.
MAX_DEPTH: Final = 128
_REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# Every so many of the payloads that are to be looked at closely, because that takes longer than all else.
_CLOSELY_EVERY: Final = 4
_ENCODE_EVERY: Final = 3
_ELSEWHERE_EVERY: Final = 5
# What may stand behind a payload in the buffer that it is a part of: it would go on there, or end.
_BEHIND: Final = (
    b"0",
    b'"',
    b"}",
    b"]",
    b" ",
    b"e5",
    b"\x00",
    b"\x01\x01\x01\x01\x01\x01\x01\x01",
    b"\\u0041",
    b"\xff",
)
# What a field may hold that its class did not mean: nothing checks it before it is encoded.
_ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    "",
    'text "\\\n\0é😀',
    "x" * 300,
    "\ud800",
    b"bytes",
    bytearray(b"bytes"),
    memoryview(b"bytes"),
    [1, "a", None],
    (1.5, ()),
    {"a": [1], "é": {}},
    {1: 2, 1.5: 3},
    {2: "a", None: 1},
    {"one"},
    frozenset({5}),
    Side.BUY,
    Level.HIGH,
    Venue.B,
    Code.C17,
    Ping(),
    Subscribe(["a"]),
    msgspec.UNSET,
    msgspec.Raw(b"1"),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 678, datetime.UTC),
    datetime.timedelta(1, 2, 3),
    decimal.Decimal("1.50"),
    uuid.UUID(int=5),
    object(),
    int,
)
# What begins a container, in either format, and more.
_OPENINGS: Final = re.compile(rb"[\[{\x80-\x9f\xdc-\xdf]")


class _Refused:
    """What comes of a payload that is no such value."""

    def __repr__(self) -> str:
        return "refused"


REFUSED: Final = _Refused()


class _Raised:
    """What comes of a payload for which a hook or a default factory raises something of its own."""

    def __init__(self, error: Exception) -> None:
        self.type = type(error)

    def __repr__(self) -> str:
        return f"raised {self.type.__name__}"


class Difference(AssertionError):
    """Ours is not what msgspec makes of a payload."""

    def __init__(self, what: str, payload: bytes, ours: object, theirs: object) -> None:
        super().__init__(f"{what}: ours {ours}, msgspec's {theirs}")
        self.payload = payload


class Judge:
    """Compares decoders of one type, in one format, strict or not."""

    def __init__(self, scheme: Scheme, format: Format, *, strict: bool) -> None:
        self.format: Format = format
        module = msgspec.json if format == "json" else msgspec.msgpack
        hooks = scheme.namespace if scheme.hooks else {}
        self._theirs = module.Decoder(scheme.type, strict=strict, dec_hook=hooks.get("dec_hook")).decode
        self._theirs_encode = module.Encoder(enc_hook=hooks.get("enc_hook")).encode
        self.decoder = decoder_of(scheme.type, format, strict=strict, dec_hook=hooks.get("dec_hook"))
        self._ours = self.decoder.decode
        encoder = encoder_of(format, enc_hook=hooks.get("enc_hook"))
        self._ours_encode, self._ours_encode_into = encoder.encode, encoder.encode_into
        self._into = bytearray(b"0123456789")
        # A root of any other shape may be a tagged class too.
        config = getattr(scheme.type, "__struct_config__", None)
        tags = [member.tag for member in scheme.members] or [getattr(config, "tag", None)]
        texts = [tag for tag in tags if isinstance(tag, str)]
        # Other spellings of tags, as they are read at top level only; a class's own goes before another's second one.
        self._tags = {snake_case(tag): tag for tag in reversed(texts) if snake_case(tag) not in texts}
        self._tag_field = scheme.members[0].tag_field if scheme.members else getattr(config, "tag_field", None) or ""
        self._is_array = scheme.members[0].is_array if scheme.members else getattr(config, "array_like", False)
        self.accepted = 0
        self.refused = 0
        self._count = 0

    @property
    def has_other_tags(self) -> bool:
        """Whether tags at top level are read in two spellings."""
        return bool(self._tags) and not self._is_array

    def check(self, payload: bytes, *, closely: bool = False, has_other_tag: bool = False) -> None:
        """Compare what comes of a payload.

        Raises:
            Difference: If it is not the same.
        """
        theirs = self._outcome_of_theirs(self._respelled(payload) if has_other_tag else payload)
        ours = self._outcome_of_ours(payload)
        self._count += 1
        if self._count % _ELSEWHERE_EVERY == 0:
            self._check_elsewhere(payload, ours)
        if theirs is REFUSED:
            self.refused += 1
            if ours is REFUSED:
                return
            # A mutation may have put another spelling of a tag there. And an empty key in a dataclass may be answered
            # by what stood in the payload before: asked again, the answer is of this one.
            theirs = self._outcome_of_theirs(self._respelled(payload) if self._tags else payload)
        if ours is REFUSED or theirs is REFUSED:
            if theirs is not REFUSED and self._may_refuse(payload):
                return
            raise Difference("one refuses", payload, self._told(ours, payload), self._told(theirs, payload))
        if isinstance(ours, _Raised) or isinstance(theirs, _Raised):
            if getattr(ours, "type", None) is not getattr(theirs, "type", 0):
                raise Difference("errors of hooks differ", payload, ours, theirs)
            return
        self.accepted += 1
        if len(payload) > MAX_DEPTH and depth_bound(payload) > MAX_DEPTH and depth(payload, self.format) > MAX_DEPTH:
            raise Difference("nested too deep", payload, "accepted", "accepted")
        if (closely and self.accepted % _CLOSELY_EVERY == 0) or repr(ours) != repr(theirs):
            if canonical(ours) != canonical(theirs):
                raise Difference("values differ", payload, repr(ours), repr(theirs))
            if not _tracked_alike(ours, theirs):
                raise Difference("the garbage collector follows another value", payload, repr(ours), repr(theirs))
        if self.accepted % _ENCODE_EVERY == 0:
            self._check_encode(ours, payload)
            self._check_encode_with_odd_field(ours, payload)

    def _may_refuse(self, payload: bytes) -> bool:
        """Whether ours may refuse what msgspec accepts: too deep, or another tag that is written in an unusual way."""
        if depth(payload, self.format) > MAX_DEPTH:
            return True
        plainly = respelled(payload, self.format, self._tag_field, self._tags, plain=True)
        return self._outcome_of_theirs(plainly) is REFUSED

    def _respelled(self, payload: bytes) -> bytes:
        return respelled(payload, self.format, self._tag_field, self._tags)

    def with_other_tag(self, wire: dict[str, Any]) -> dict[str, Any]:
        """A value as it travels with its tag in another spelling."""
        others = {tag: other for other, tag in self._tags.items()}
        tag = wire.get(self._tag_field)
        return {**wire, self._tag_field: others[tag]} if isinstance(tag, str) and tag in others else wire

    def _outcome_of_theirs(self, payload: bytes) -> Any:
        try:
            return self._theirs(payload)
        except _REFUSALS:
            return REFUSED
        except Exception as error:  # noqa: BLE001  # whatever a hook raises is to pass through ours too
            return _Raised(error)

    def _outcome_of_ours(self, payload: bytes, part: memoryview | None = None) -> Any:
        try:
            return self._ours(payload if part is None else part)
        except exceptions.DecodeError as error:
            offset = error.offset
            if error.raw != payload or not error.path or (offset is not None and not 0 <= offset <= len(payload)):
                raise Difference("what the error tells", payload, (error.path, offset, error.raw), "") from None
            return REFUSED
        except Exception as error:  # noqa: BLE001  # compared with what msgspec raises
            return _Raised(error)

    def _told(self, outcome: Any, payload: bytes) -> str:
        if outcome is not REFUSED:
            return repr(outcome)
        for decode in (self._ours, self._theirs):
            try:
                decode(payload)
            except (exceptions.DecodeError, *_REFUSALS) as error:
                return f"refused: {error}"
        return "refused"

    def _check_elsewhere(self, payload: bytes, ours: Any) -> None:
        """Decode it where it is a part of a buffer: nothing behind it may count."""
        behind = _BEHIND[self._count // _ELSEWHERE_EVERY % len(_BEHIND)]
        part = memoryview(b"pad" + payload + behind)[3 : 3 + len(payload)]
        found = self._outcome_of_ours(payload, part)
        if repr(found) != repr(ours) and canonical(found) != canonical(ours):
            raise Difference("a part of a buffer is decoded in another way", payload, found, f"(ours alone) {ours!r}")

    def _check_encode_with_odd_field(self, value: Any, payload: bytes) -> None:
        """Encode an instance with something in a field that does not belong there."""
        names = field_names(type(value))
        if not names:
            return
        name, odd = names[self._count % len(names)], _ODD[self._count // 7 % len(_ODD)]
        try:
            setattr(value, name, odd)
        except AttributeError:
            # Frozen.
            return
        self._check_encode(value, payload)

    def _check_encode(self, value: Any, payload: bytes) -> None:
        try:
            theirs = self._theirs_encode(value)
        except Exception:  # noqa: BLE001  # whatever msgspec raises here is to become an EncodeError
            try:
                ours = self._ours_encode(value)
            except exceptions.EncodeError:
                return
            raise Difference("only one encodes", payload, ours, "an error") from None
        try:
            ours = self._ours_encode(value)
        except exceptions.EncodeError as error:
            raise Difference("only one encodes", payload, error, theirs) from None
        if ours != theirs:
            raise Difference("encoded bytes differ", payload, ours, theirs)
        if self.accepted % 64 == 0:
            written = self._ours_encode_into(value, self._into, 5)
            if bytes(self._into) != b"01234" + theirs or written != len(theirs):
                raise Difference("encoded into a buffer", payload, bytes(self._into), theirs)


def depth_bound(payload: bytes) -> int:
    """As deep as a payload can be at most, told cheaply."""
    return len(_OPENINGS.findall(payload))


def canonical(value: Any) -> Any:
    """A value in a form that tells apart what `==` doesn't: 0.0 and -0.0, 1 and 1.0 and True, list and tuple."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [canonical(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(canonical(item)) for item in value)
    if kind is dict:
        return kind, [(canonical(key), canonical(item)) for key, item in value.items()]
    if kind is msgspec.Raw:
        return kind, bytes(value)
    if kind is msgspec.msgpack.Ext:
        return kind, value.code, bytes(value.data)
    names = field_names(kind)
    if names is not None:
        return kind, [canonical(getattr(value, name, "no such attribute")) for name in names]
    if hasattr(value, "value") and kind.__name__ == "Custom":
        return kind, canonical(value.value)
    if isinstance(value, tuple):
        return kind, [canonical(item) for item in value]
    return kind, repr(value)


def field_names(kind: Any) -> tuple[str, ...] | None:
    """Names of the attributes of a class with fields."""
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    if names is None and hasattr(kind, "__dataclass_fields__"):
        names = tuple(kind.__dataclass_fields__)
    return names


def _tracked_alike(ours: Any, theirs: Any) -> bool:
    """Whether the garbage collector follows ours where it must, and no struct where it does not follow theirs."""
    is_tracked, should_be = gc.is_tracked(ours), gc.is_tracked(theirs)
    names = field_names(type(ours))
    if should_be and not is_tracked:
        return False
    if names is not None:
        if is_tracked != should_be:
            return False
        return all(_tracked_alike(getattr(ours, name), getattr(theirs, name)) for name in names if hasattr(ours, name))
    if isinstance(ours, dict):
        return all(_tracked_alike(ours[key], theirs[key]) for key in ours if key == key)  # noqa: PLR0124  # not NaN
    if isinstance(ours, list | tuple):
        return all(_tracked_alike(one, other) for one, other in zip(ours, theirs, strict=True))
    return True

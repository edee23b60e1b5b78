"""Google's library as the judge: what it makes of a payload, read by the mapping's rules, and whether ours is that."""

import enum
import math
import struct
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError as GoogleDecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import NODEFAULT, UNSET
from tests.property.codec.walking import snake_case
from tests.support.protobuf import classes_of

from websocket_utils import Decoder, Encoder, exceptions
from websocket_utils._shapes import Scalar
from websocket_utils.schema import ProtoField, ProtoMessage, proto_model

__all__ = ["ProtobufDifference", "ProtobufJudge"]

_TAG_NUMBER: Final = 2047
_LENGTH: Final = 2
_MISSING: Final = "<no such key>"


class _Refusal(Exception):
    """The class asks for more than the format does."""


class ProtobufDifference(AssertionError):
    """Ours is not what Google's library makes of a payload."""

    def __init__(self, what: str, payload: bytes, ours: object, theirs: object) -> None:
        super().__init__(f"{what}: ours {ours}, Google's {theirs}")
        self.payload = payload


class ProtobufJudge:
    """Compares decoder and encoder of one type with Google's classes of the same messages.

    Both values are brought to one plain form: Google's message by what the mapping says that its fields mean, ours by
    what its attributes hold.
    """

    def __init__(self, type_: Any) -> None:
        self.messages = proto_model(type_)
        self.decoder = Decoder(type_, format="protobuf")
        self.encoder = Encoder("protobuf")
        classes = classes_of([_with_field(message) for message in self.messages])
        self.classes = [classes[message.name] for message in self.messages]
        members = type_.__args__ if hasattr(type_, "__args__") else (type_,)
        self.roots = [next(at for at, one in enumerate(self.messages) if _is_of(one, member)) for member in members]
        # What tells the members of a root apart, and nothing else of them.
        tag = ProtoField("type", _TAG_NUMBER, "string", "singular", "zero", None, Scalar("text"), None)
        self._tagged = classes_of([ProtoMessage("OnlyTag", "record", None, (tag,))])["OnlyTag"]
        self._defaults: dict[int, object] = {}
        self.accepted = 0
        self.refused = 0

    def check(self, payload: bytes, *, is_valid: bool = False) -> None:
        """Compare what both make of a payload; a valid one is written by ours and read by Google's too."""
        try:
            theirs = self.theirs(payload)
        except (GoogleDecodeError, _Refusal) as error:
            if is_valid:
                raise AssertionError(f"no valid payload: {error!r}") from error
            self._refuse(payload, error)
            self.refused += 1
            return
        try:
            value = self.decoder.decode(payload)
        except exceptions.DecodeError as error:
            raise ProtobufDifference("one refuses", payload, repr(error), theirs) from None
        self._same("decoded", payload, value, theirs)
        self.accepted += 1
        # A dict at the top names no class to write.
        if is_valid and not isinstance(value, dict):
            written = self.encoder.encode(value)
            self._same("encoded, and decoded by Google's", payload, value, self.theirs(written))
            self._same("encoded, and decoded again", payload, self.decoder.decode(written), theirs)

    def theirs(self, payload: bytes) -> object:
        """The plain form of Google's message."""
        at = self.roots[0]
        if len(self.roots) > 1:
            tag = self._tagged.FromString(payload).type
            own = {self._tag(at): at for at in self.roots}
            if tag not in own:
                own = {snake_case(name): at for name, at in own.items()}
            if tag not in own:
                raise _Refusal(f"tag {tag!r}")
            at = own[tag]
        return self._theirs_of(self.messages[at], self.classes[at].FromString(payload), is_top=True)

    def _refuse(self, payload: bytes, error: Exception) -> None:
        try:
            value = self.decoder.decode(payload)
        except exceptions.DecodeError as refusal:
            if refusal.raw != payload or refusal.offset is None or not 0 <= refusal.offset <= len(payload):
                raise ProtobufDifference("told wrongly", payload, repr(refusal), repr(error)) from refusal
            return
        raise ProtobufDifference("one refuses", payload, repr(value), repr(error))

    def _same(self, what: str, payload: bytes, value: object, theirs: object) -> None:
        at = next(at for at in self.roots if len(self.roots) == 1 or _is_of(self.messages[at], type(value)))
        ours = self._ours_of(self.messages[at], value)
        if ours != theirs:
            raise ProtobufDifference(what, payload, ours, theirs)

    def _tag(self, at: int) -> str:
        record = self.messages[at].record
        return str(record.tag) if record is not None else ""

    def _theirs_of(self, message: ProtoMessage, found: Any, *, is_top: bool = False) -> object:
        match message.kind:
            case "union":
                chosen = found.WhichOneof("value")
                if chosen is None:
                    raise _Refusal("no member")
                field = next(field for field in message.fields if field.name == chosen)
                return (field.message, self._theirs_in(field, found))
            case "box":
                return self._theirs_in(message.fields[0], found)
            case "tuple":
                return tuple([self._theirs_in(field, found) for field in message.fields])
            case _:
                self._look_at_record(message, found, is_top=is_top)
                return [self._theirs_in(field, found) for field in message.fields if field.field is not None]

    def _look_at_record(self, message: ProtoMessage, found: Any, *, is_top: bool) -> None:
        record = message.record
        if record is None:
            raise AssertionError(message)
        if record.tag is not None:
            tag, own = getattr(found, message.fields[0].name), record.tag
            if tag not in ("", own) and not (is_top and tag == snake_case(str(own))):
                raise _Refusal(f"tag {tag!r}")
        if record.forbids_unknown:
            maps = {field.number for field in message.fields if field.label == "map"}
            for unknown in UnknownFieldSet(found):
                # Google's library keeps the odd entries of a map there.
                if unknown.field_number not in maps or unknown.wire_type != _LENGTH:
                    raise _Refusal(f"unknown field {unknown.field_number}")

    def _theirs_in(self, field: ProtoField, found: Any) -> object:
        """The plain form of a field."""
        name = field.name
        if field.label == "map":
            table = getattr(found, name)
            if table:
                return {key: self._theirs_item(field, table[key], _item(field.shape)) for key in table}
        elif field.label == "repeated":
            items = getattr(found, name)
            if items:
                return self._theirs_items(field, items)
        else:
            # Without presence, nothing and zero are the same.
            is_there = (field.label == "singular" and field.message is None) or found.HasField(name)
            if is_there:
                return self._theirs_item(field, getattr(found, name), field.shape)
        match field.absent:
            case "zero":
                return {} if field.label == "map" else []
            case "none":
                return None
            case "default":
                return self._default(field)
            case "missing":
                return _MISSING
            case _:
                raise _Refusal(f"no {name}")

    def _theirs_items(self, field: ProtoField, items: Any) -> object:
        shapes = getattr(field.shape, "items", None)
        if shapes is not None and len(items) != len(shapes):
            raise _Refusal(f"{len(items)} items")
        shape = shapes[0] if shapes else _item(field.shape)
        forms = [self._theirs_item(field, item, shape) for item in items]
        return _as_set(forms) if getattr(field.shape, "kind", None) in ("set", "frozenset") else forms

    def _theirs_item(self, field: ProtoField, item: Any, shape: Any) -> object:
        if field.message is not None:
            return self._theirs_of(self.messages[field.message], item)
        return _theirs_scalar(item, shape)

    def _default(self, field: ProtoField) -> object:
        form = self._defaults.get(id(field), NODEFAULT)
        if form is NODEFAULT:
            own = field.field
            if own is None:
                raise AssertionError(field)
            form = self._ours_in(field, own.default if own.factory is NODEFAULT else own.factory())
            self._defaults[id(field)] = form
        return form

    def _ours_of(self, message: ProtoMessage, value: Any) -> object:
        match message.kind:
            case "union":
                field = next(field for field in message.fields if _is_of(self._message(field), type(value)))
                return (field.message, self._ours_of(self._message(field), value))
            case "box":
                return self._ours_in(message.fields[0], value)
            case "tuple":
                return tuple([self._ours_in(field, part) for field, part in zip(message.fields, value, strict=True)])
            case _:
                names = [(field, field.field.name) for field in message.fields if field.field is not None]
                if isinstance(value, dict):
                    return [self._ours_in(field, value.get(name, _MISSING)) for field, name in names]
                return [self._ours_in(field, getattr(value, name)) for field, name in names]

    def _message(self, field: ProtoField) -> ProtoMessage:
        if field.message is None:
            raise AssertionError(field)
        return self.messages[field.message]

    def _ours_in(self, field: ProtoField, value: Any) -> object:
        if value is None or value is UNSET or (isinstance(value, str) and value is _MISSING):
            return value
        if field.label == "map":
            return {key: self._ours_item(field, item) for key, item in value.items()}
        if field.label == "repeated":
            forms = [self._ours_item(field, item) for item in value]
            return _as_set(forms) if isinstance(value, set | frozenset) else forms
        return self._ours_item(field, value)

    def _ours_item(self, field: ProtoField, value: Any) -> object:
        return _form(value) if field.message is None else self._ours_of(self.messages[field.message], value)


def _with_field(message: ProtoMessage) -> ProtoMessage:
    """With a field that nobody sends, if there is none: keys are then looked at as in every other message."""
    if message.fields:
        return message
    field = ProtoField("none", 2**29 - 1, "bool", "singular", "zero", None, Scalar("bool"), None)
    return ProtoMessage(message.name, message.kind, message.record, (field,))


def _is_of(message: ProtoMessage, type_: Any) -> bool:
    return message.record is not None and (message.record.type is type_ or message.record.origin is type_)


def _item(shape: Any) -> Any:
    """The shape of an item of a sequence, of a value of a table."""
    return getattr(shape, "value", None) or getattr(shape, "item", None)


def _theirs_scalar(raw: Any, shape: Any) -> object:
    texts = getattr(shape, "texts", None)
    if texts is not None:
        if raw not in texts and raw not in shape.integers:
            raise _Refusal(f"{raw!r} is no choice")
        return (type(raw), raw)
    if hasattr(shape, "base"):
        try:
            return _form(msgspec.convert(raw, shape.type))
        except msgspec.ValidationError as error:
            raise _Refusal(str(error)) from None
    return _form(raw)


def _form(value: Any) -> object:
    """What tells values apart that are equal, as -0.0 and 0.0, and holds what is not equal to itself together."""
    if isinstance(value, enum.Enum):
        value = value.value
    elif isinstance(value, float):
        return (float, "nan" if math.isnan(value) else struct.pack("<d", value))
    return (type(value), str(value) if hasattr(value, "as_tuple") else value)


def _as_set(forms: list[object]) -> object:
    return sorted({repr(form) for form in forms})

"""Protocol Buffers messages of classes, held against protoc and Google's library."""

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Raw, Struct
from tests.support.message_classes import CLASSES, Box, Defaults, Nesting, Numbered, Odd, Quote, Scalars, Ticket, Tree
from tests.support.protobuf import classes_of, compiled, file_of

from websocket_utils import Message, PriceUpdate, WsMessage
from websocket_utils.messages import FieldId
from websocket_utils.schema import ProtoField, proto, proto_model


def fields_of(type_: Any) -> dict[str, ProtoField]:
    return {field.name: field for field in proto_model(type_)[0].fields}


def said(type_: Any) -> dict[str, tuple[str, str, str]]:
    return {name: (field.label, field.type, field.absent) for name, field in fields_of(type_).items()}


@pytest.mark.parametrize("type_", [WsMessage, *CLASSES], ids=lambda type_: getattr(type_, "__name__", "WsMessage"))
def test_printed_file_is_to_protoc_what_the_model_says(type_: Any, tmp_path: Path) -> None:
    file = compiled(proto(type_, package="desk.v1"), tmp_path)
    assert file == file_of(proto_model(type_), name="printed.proto", package="desk.v1")


def test_all_classes_share_one_file(tmp_path: Path) -> None:
    file = compiled(proto(WsMessage, *CLASSES), tmp_path)
    assert file == file_of(proto_model(WsMessage, *CLASSES), name="printed.proto")
    names = [message.name for message in file.message_type]
    assert names.count("Quote") == 1


def test_compiled_module_has_the_models_descriptors(tmp_path: Path) -> None:
    # Its package and name are its own: Google's library keeps one pool for the process.
    compiled(proto(WsMessage, package="compiled_module_test"), tmp_path, name="compiled_module.proto")
    spec = importlib.util.spec_from_file_location("compiled_module_pb2", tmp_path / "compiled_module_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    expected = file_of(proto_model(WsMessage), name="compiled_module.proto", package="compiled_module_test")
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    assert file == expected
    update = module.PriceUpdate(type="PriceUpdate", input_mint="SOL", volume=2**64 - 1, timestamp=-1)
    assert module.PriceUpdate.FromString(update.SerializeToString()) == update


def test_price_update_is_printed_exactly() -> None:
    assert proto(PriceUpdate) == (
        'syntax = "proto3";\n'
        "\n"
        "// The price of one token in another.\n"
        "message PriceUpdate {\n"
        '  // Always "PriceUpdate"; may be left out where the receiver knows which message comes.\n'
        "  string type = 2047;\n"
        "  // Token that is sold, as base58 address or symbol.\n"
        "  string input_mint = 1;\n"
        "  // Token that is bought.\n"
        "  string output_mint = 2;\n"
        "  // Units of the output token for one of the input token.\n"
        "  double price = 3;\n"
        "  // Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know.\n"
        "  uint64 volume = 4;\n"
        "  // Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.\n"
        "  int64 timestamp = 5;\n"
        "}\n"
    )


def test_without_types_the_standard_messages_are_printed() -> None:
    assert proto() == proto(WsMessage)
    assert re.findall(r"^message (\w+)", proto(), re.MULTILINE) == [
        "PriceUpdate",
        "AccountUpdate",
        "Subscribe",
        "Unsubscribe",
        "Ping",
        "Pong",
    ]


def test_scalars_have_the_types_that_markers_say() -> None:
    assert {name: field.type for name, field in fields_of(Scalars).items()} == {
        "type": "string",
        "flag": "bool",
        "count": "int64",
        "size": "uint64",
        "small": "uint32",
        "delta": "int32",
        "price": "double",
        "rough": "float",
        "name": "string",
        "blob": "bytes",
        "side": "string",
        "level": "int64",
        "venue": "string",
        "code": "int64",
    }
    assert said(Scalars)["code"] == ("optional", "int64", "none")
    assert said(Scalars)["name"] == ("singular", "string", "zero")


def test_default_says_presence_and_what_absence_means() -> None:
    assert said(Defaults) == {
        "type": ("singular", "string", "zero"),
        "zeroInt": ("singular", "int64", "zero"),
        "zeroFloat": ("singular", "double", "zero"),
        "negativeZero": ("optional", "double", "default"),
        "emptyText": ("singular", "string", "zero"),
        "no": ("singular", "bool", "zero"),
        "noneYet": ("singular", "int64", "zero"),
        "emptyList": ("repeated", "int64", "zero"),
        "emptyTuple": ("repeated", "string", "zero"),
        "emptyTable": ("map", "int64", "zero"),
        "three": ("optional", "int64", "default"),
        "half": ("optional", "double", "default"),
        "yes": ("optional", "bool", "default"),
        "side": ("optional", "string", "default"),
        "maybe": ("optional", "int64", "none"),
        "perhaps": ("optional", "string", "default"),
        "some": ("optional", "DefaultsSome", "default"),
        "pair": ("repeated", "double", "default"),
        "maybeList": ("optional", "DefaultsMaybeList", "none"),
        "maybeTable": ("optional", "DefaultsMaybeTable", "none"),
    }
    assert "// Absent: 3.\n" in proto(Defaults)
    assert '// One of "buy", "sell".\n  // Absent: "sell".\n' in proto(Defaults)


def test_containers_get_messages_of_their_own_where_they_need_them() -> None:
    assert said(Nesting) == {
        "type": ("singular", "string", "zero"),
        "book": ("repeated", "NestingBookItem", "zero"),
        "rows": ("repeated", "NestingRowsItem", "zero"),
        "mixed": ("singular", "NestingMixed", "error"),
        "empty": ("singular", "NestingEmpty", "error"),
        "gaps": ("repeated", "NestingGapsItem", "zero"),
        "lists_or_not": ("repeated", "NestingListsOrNotItem", "zero"),
        "table": ("map", "Quote", "zero"),
        "tables": ("map", "NestingTablesValue", "zero"),
        "list_of_tables": ("repeated", "NestingListOfTablesItem", "zero"),
        "event": ("singular", "NestingEvent", "error"),
        "events": ("repeated", "NestingEventsItem", "zero"),
        "event_or_not": ("optional", "NestingEventOrNot", "none"),
        "names": ("repeated", "string", "zero"),
        "codes": ("repeated", "int64", "zero"),
        "quote": ("singular", "Quote", "error"),
        "quote_or_not": ("optional", "Quote", "none"),
    }
    around = {
        message.name: [(field.name, field.number, field.label, field.type) for field in message.fields]
        for message in proto_model(Nesting)
        if message.record is None
    }
    assert around["NestingBookItem"] == [("items", 1, "repeated", "double")]
    assert around["NestingMixed"] == [
        ("item_1", 1, "singular", "int64"),
        ("item_2", 2, "singular", "string"),
        ("item_3", 3, "singular", "Quote"),
    ]
    assert around["NestingEmpty"] == []
    assert around["NestingGapsItem"] == [("value", 1, "optional", "int64")]
    assert around["NestingListsOrNotItem"] == [("value", 1, "optional", "NestingListsOrNotItemValue")]
    assert around["NestingListsOrNotItemValue"] == [("items", 1, "repeated", "int64")]
    assert around["NestingTablesValue"] == [("items", 1, "map", "int64")]
    assert around["NestingEvent"] == [("quote", 1, "oneof", "Quote"), ("halt", 2, "oneof", "Halt")]


def test_messages_of_classes_stand_at_the_index_of_their_records() -> None:
    messages = proto_model(Nesting, Tree)
    records = [message.record for message in messages if message.record is not None]
    assert [record.type for record in records] == [
        message.record.type for message in messages[: len(records)] if message.record
    ]
    for message in messages:
        for field in message.fields:
            assert (field.message is None) == (field.type[0].islower())
            assert field.message is None or messages[field.message].name == field.type
    tree = messages[[record.type for record in records].index(Tree)]
    assert tree.name == "Tree"
    assert {field.name: field.type for field in tree.fields if field.message is not None} == dict.fromkeys(
        ("left", "right", "others"), "Tree"
    )


def test_absent_key_of_a_dict_is_told_from_an_empty_one() -> None:
    assert said(Ticket) == {
        "number": ("singular", "int64", "zero"),
        "note": ("optional", "string", "missing"),
        "lines": ("optional", "TicketLines", "missing"),
    }


def test_numbers_count_on_from_the_one_that_is_said() -> None:
    assert {name: field.number for name, field in fields_of(Numbered).items()} == {
        "type": 2047,
        "first": 7,
        "second": 8,
        "third": 1,
    }


def test_names_that_are_no_identifiers_become_some() -> None:
    assert list(fields_of(Odd)) == [
        "_kind",
        "kebab_case",
        "_1st",
        "foo_bar",
        "foo_bar_2",
        "fooBar_3",
        "message",
        "optional",
        "package",
        "string",
        "map",
        "MapEntry_2",
        "repeated",
    ]


def test_classes_of_one_name_are_numbered() -> None:
    other = msgspec.defstruct("Quote", [("mid", float)])
    taken = msgspec.defstruct("string", [("item", str)])
    assert [message.name for message in proto_model(Quote, other, taken)] == ["Quote", "Quote2", "string2"]


def test_generic_classes_are_named_by_their_parameters() -> None:
    assert [message.name for message in proto_model(Box[int], Box[list[str]], Box[float | None])] == [
        "BoxInt",
        "BoxListStr",
        "BoxFloatOrNone",
    ]


def test_googles_classes_of_a_model_hold_values() -> None:
    classes = classes_of(proto_model(Nesting))
    message = classes["Nesting"](type="Nesting")
    message.book.add(items=[150.25, 3.0])
    message.event.quote.bid = 1.5
    message.table["SOL"].ask = 2.5
    again = classes["Nesting"].FromString(message.SerializeToString())
    assert again == message
    assert again.event.WhichOneof("value") == "quote"
    assert not again.HasField("event_or_not")


def made(hint: Any, *default: Any) -> Any:
    return msgspec.defstruct("Made", [("first", int), ("bad", hint, *default)])


@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        (made(Any), "Any can be anything"),
        (made(Raw), "Raw can be anything"),
        (made(int | str), "a union may hold tagged classes and None"),
        (made(list[int | str]), "a union may hold tagged classes and None"),
        (made(dict[int, str]), "can be anything, or is not known"),
        (made(None), "always None"),
        (made(int | None, 5), "None is written as an absent field"),
        (made(Annotated[int | None, Meta(ge=1)], 5), "None is written as an absent field"),
    ],
)
def test_field_without_form_is_an_error_that_names_it(type_: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=f"^field 'bad' of Made has no form in Protocol Buffers: .*{reason}"):
        proto(type_)


def test_fault_in_a_class_behind_names_that_class() -> None:
    outer = msgspec.defstruct("Outer", [("inner", made(Any))])
    with pytest.raises(TypeError, match="field 'bad' of Made"):
        proto(outer)


@pytest.mark.parametrize("number", [0, 2**29, 19_500, 2047, 1])
def test_number_that_cannot_be_is_an_error_that_names_it(number: int) -> None:
    class Twice(Message):
        first: int
        second: Annotated[int, FieldId(number)]

    with pytest.raises(TypeError, match=f"field 'second' of Twice has number {number}, .*say another"):
        proto(Twice)


@pytest.mark.parametrize(
    "type_", [int, list[Quote], Quote | int, Any, 5, proto], ids=lambda one: getattr(one, "__name__", str(one))
)
def test_type_that_is_no_message_class_is_an_error(type_: Any) -> None:
    with pytest.raises(TypeError, match="is no message class"):
        proto(type_)


@pytest.mark.parametrize("package", ["", "1st", "a..b", "a b", "a;"])
def test_package_that_is_no_name_is_an_error(package: str) -> None:
    with pytest.raises(ValueError, match="is no Protocol Buffers package"):
        proto(Quote, package=package)


def test_text_cannot_leave_its_comment(tmp_path: Path) -> None:
    class Sly(Struct):
        """First.\rmessage Evil {}\x0bmessage Worse {}\u2028message Worst {} \0 end."""

        price: Annotated[float, Meta(description="a\nb */ c")]

    assert file_of(proto_model(Sly), name="printed.proto") == compiled(proto(Sly), tmp_path)


# Few characters, so that names meet; and words that mean something in the file.
NAMES = st.text(alphabet="aA1_-é", min_size=1, max_size=4) | st.sampled_from(
    ["value", "items", "map", "string", "message", "optional", "oneof", "aEntry", "AEntry", "reserved", "to", "max"]
)
HINTS = st.sampled_from(
    [int, int | None, list[int], list[int] | None, dict[str, int], dict[str, list[int]], tuple[int, str]]
)


@given(
    fields=st.dictionaries(NAMES, HINTS, max_size=8),
    class_name=st.sampled_from(["Made", "MadeA", "string", "message", "map", "é", "A_1", "a"]),
)
@settings(max_examples=150, deadline=None)
def test_any_names_make_a_file_that_protoc_takes(
    fields: dict[str, Any], class_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    attributes = {f"field_{place}": name for place, name in enumerate(fields)}
    made = msgspec.defstruct(class_name, list(zip(attributes, fields.values(), strict=True)), rename=attributes)
    other = msgspec.defstruct("MadeA", [("made", made)])
    folder = tmp_path_factory.mktemp("names")
    assert compiled(proto(made, other), folder) == file_of(proto_model(made, other), name="printed.proto")

"""JSON Schema of classes: msgspec's, with our tags, and true to what a Decoder takes."""

import re
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta
from tests.support.message_classes import CLASSES, Box, Numeral, Quote, Scalars, Tree

from websocket_utils import DecodeError, Decoder, Message, PriceUpdate, WsMessage
from websocket_utils.schema import json_schema


class L2Book(Message):
    bids: list[float]


def root_of(type_: Any) -> dict[str, Any]:
    schema = json_schema(type_)
    definitions: dict[str, dict[str, Any]] = schema["$defs"]
    return definitions[schema["$ref"].removeprefix("#/$defs/")]


def references_in(schema: Any) -> set[str]:
    return set(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', msgspec.json.encode(schema).decode()))


def test_standard_message_is_described_exactly() -> None:
    described = root_of(PriceUpdate)
    for field in described["properties"].values():
        field.pop("description", None)
    assert described == {
        "title": "PriceUpdate",
        "description": "The price of one token in another.",
        "type": "object",
        "properties": {
            "type": {"enum": ["PriceUpdate", "price_update"]},
            "input_mint": {"type": "string"},
            "output_mint": {"type": "string"},
            "price": {"type": "number"},
            "volume": {"type": "integer", "default": 0},
            "timestamp": {"type": "integer"},
        },
        "required": ["input_mint", "output_mint", "price", "timestamp"],
    }
    assert json_schema(PriceUpdate)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_texts_below_fields_are_descriptions_unless_meta_says_one() -> None:
    class Described(Message):
        price: float
        """From below."""
        size: Annotated[float, Meta(description="From Meta.")]
        """Not this one."""

    properties = root_of(Described)["properties"]
    assert properties["price"]["description"] == "From below."
    assert properties["size"]["description"] == "From Meta."


def test_any_of_several_messages_needs_its_tag() -> None:
    schema = json_schema()
    names = ["PriceUpdate", "AccountUpdate", "Subscribe", "Unsubscribe", "Ping", "Pong"]
    assert schema == json_schema(WsMessage)
    assert schema["anyOf"] == [{"$ref": f"#/$defs/{name}"} for name in names]
    assert list(schema["$defs"]) == names
    assert all(described["required"][0] == "type" for described in schema["$defs"].values())


@pytest.mark.parametrize("type_", [PriceUpdate, L2Book, WsMessage], ids=["PriceUpdate", "L2Book", "WsMessage"])
def test_tags_of_the_schema_are_those_that_a_decoder_takes(type_: Any) -> None:
    decoder = Decoder(type_)
    for described in json_schema(type_)["$defs"].values():
        spellings = described["properties"]["type"]["enum"]
        values = {
            name: {"string": "x", "number": 1.5, "integer": 1, "array": []}[field["type"]]
            for name, field in described["properties"].items()
            if name != "type"
        }
        for tag in spellings:
            decoded = decoder.decode(msgspec.json.encode({"type": tag, **values}))
            assert type(decoded).__name__ == described["title"]
        without = msgspec.json.encode(values)
        if "type" in described["required"]:
            with pytest.raises(DecodeError):
                decoder.decode(without)
        else:
            decoder.decode(without)
        for name in set(described["required"]) - {"type"}:
            broken = msgspec.json.encode({"type": spellings[0]} | {key: values[key] for key in values if key != name})
            with pytest.raises(DecodeError):
                decoder.decode(broken)


def test_message_that_others_hold_keeps_the_exact_tag_there() -> None:
    schema = json_schema(Tree)
    assert schema["$ref"] == "#/$defs/TreeMessage"
    assert schema["$defs"]["TreeMessage"]["properties"]["type"] == {"enum": ["Tree", "tree"]}
    assert schema["$defs"]["Tree"]["properties"]["type"] == {"enum": ["Tree"]}
    assert references_in(schema["$defs"]["TreeMessage"]) == {"Tree"}


def test_tags_that_have_one_spelling_stay_as_they_are() -> None:
    assert root_of(Numeral)["properties"]["op"] == {"enum": [3]}
    row = json_schema(Numeral)["$defs"]["Row"]
    assert row["prefixItems"][0] == {"enum": ["Row"]}
    assert row["minItems"] == 2


@pytest.mark.parametrize("type_", [*CLASSES, Box[list[int]]], ids=str)
def test_every_reference_leads_to_a_definition(type_: Any) -> None:
    schema = json_schema(type_)
    assert references_in(schema) == set(schema["$defs"])


def test_constraints_and_values_are_those_of_msgspec() -> None:
    (_, components) = msgspec.json.schema_components([Scalars], ref_template="#/$defs/{name}")
    ours = root_of(Scalars)["properties"]
    theirs = components["Scalars"]["properties"]
    for name, described in theirs.items():
        if name != "type":
            assert {key: value for key, value in ours[name].items() if key != "description"} == described


def test_field_without_form_is_an_error_that_names_it() -> None:
    made = msgspec.defstruct("Made", [("bad", re.Pattern)])
    with pytest.raises(TypeError, match=r"^field 'bad' of Made has no form in JSON Schema"):
        json_schema(msgspec.defstruct("Outer", [("inner", list[made])]))  # type: ignore[valid-type]
    with pytest.raises(TypeError, match="is no message class"):
        json_schema(list[Quote])

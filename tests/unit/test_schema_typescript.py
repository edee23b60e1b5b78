"""TypeScript types of classes. The compiler of edge/browser checks them, where it is."""

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from msgspec import Meta, Struct
from tests.support.message_classes import (
    CLASSES,
    Box,
    Defaults,
    Generics,
    Holders,
    Nesting,
    Numeral,
    Odd,
    Quote,
    Ranges,
    Scalars,
    Texts,
    Tree,
)

from websocket_utils import PriceUpdate, Subscribe, Unsubscribe, WsMessage
from websocket_utils.schema import typescript


def said(type_: Any) -> dict[str, str]:
    """Types of the fields of the first interface, with the mark at the name."""
    body = typescript(type_).partition(" {\n")[2].partition("\n}")[0]
    body = re.sub(r"/\*\*.*?\*/", "", body, flags=re.DOTALL)
    return dict(re.findall(r"^  (\S+): (.*);$", body, re.MULTILINE))


def test_standard_message_is_printed_exactly() -> None:
    assert typescript(PriceUpdate) == (
        "/** The price of one token in another. */\n"
        "export interface PriceUpdate {\n"
        '  type: "PriceUpdate";\n'
        "  /** Token that is sold, as base58 address or symbol. */\n"
        "  input_mint: string;\n"
        "  /** Token that is bought. */\n"
        "  output_mint: string;\n"
        "  /** Units of the output token for one of the input token. */\n"
        "  price: number;\n"
        "  /**\n"
        "   * Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know.\n"
        "   * JSON.parse rounds integers beyond 2**53 - 1.\n"
        "   */\n"
        "  volume?: number;\n"
        "  /**\n"
        "   * Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.\n"
        "   * JSON.parse rounds integers beyond 2**53 - 1.\n"
        "   */\n"
        "  timestamp: number;\n"
        "}\n"
    )


def test_several_messages_are_a_union() -> None:
    assert typescript(Subscribe | Unsubscribe).endswith("export type AnyMessage =\n  | Subscribe\n  | Unsubscribe;\n")
    assert typescript() == typescript(WsMessage)
    assert typescript(*WsMessage.__args__) == typescript(WsMessage)


def test_plain_values_have_their_types() -> None:
    assert said(Scalars) == {
        "type": '"Scalars"',
        "flag": "boolean",
        "count": "number",
        "size": "number",
        "small": "number",
        "delta": "number",
        "price": "number",
        "rough": "number",
        "name": "string",
        "blob": "string",
        "side": "Side",
        "level": "Level",
        "venue": '"a" | "b\\"c"',
        "code": "1 | 2 | null",
    }
    text = typescript(Scalars)
    assert 'export type Side =\n  | "buy"\n  | "sell";\n' in text
    assert "export type Level =\n  | 0\n  | 1;\n" in text
    assert "/** Bytes in base64. */\n  blob" in text


def test_only_integers_that_may_be_big_are_noted() -> None:
    class Sizes(Struct):
        bounded: Annotated[int, Meta(ge=0, lt=2**53)]
        half_bounded: Annotated[int, Meta(ge=0)]
        just_over: Annotated[int, Meta(ge=0, le=2**53)]
        listed: list[dict[str, int]]

    notes = re.findall(r"JSON\.parse rounds integers beyond 2\*\*53 - 1\. \*/\n  (\w+)", typescript(Scalars, Sizes))
    assert notes == ["count", "size", "half_bounded", "just_over", "listed"]


def test_integers_that_may_be_big_are_of_both_types_where_the_parser_knows_bigint() -> None:
    class Sizes(Struct):
        bounded: Annotated[int, Meta(ge=0, lt=2**53)]
        listed: list[dict[str, int]]
        either: int | float | None
        keyed: dict[int, int | None]
        code: Literal[1, 9007199254740993]

    text = typescript(PriceUpdate, Sizes, bigint=True)
    assert (
        "  /**\n"
        "   * Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know.\n"
        "   * A bigint beyond 2**53 - 1.\n"
        "   */\n"
        "  volume?: number | bigint;\n"
    ) in text
    assert "  price: number;\n" in text
    assert "  bounded: number;\n" in text
    assert "  listed: (Record<string, number | bigint>)[];\n" in text
    assert "  either: number | bigint | null;\n" in text
    assert "  keyed: Record<string, number | bigint | null>;\n" in text
    assert "  code: 1 | 9007199254740993n;\n" in text
    assert "JSON.parse" not in text


def test_small_integers_are_numbers_whatever_the_parser_knows() -> None:
    text = typescript(Scalars, bigint=True)
    assert re.findall(r"(\w+): number \| bigint;", text) == ["count", "size"]


def test_text_cannot_leave_its_comment() -> None:
    assert "  /** In quote units, * / per base unit. */\n" in typescript(Scalars)


def test_field_with_a_default_may_be_missing() -> None:
    fields = said(Defaults)
    assert all(name.endswith("?") for name in fields if name != "type")
    assert fields["zeroInt?"] == "number"
    assert fields["maybeTable?"] == "Record<string, number> | null"
    assert fields["perhaps?"] == "string"
    assert fields["pair?"] == "[number, number]"


def test_containers_have_their_types() -> None:
    assert said(Nesting) == {
        "type": '"Nesting"',
        "book": "[number, number][]",
        "rows": "number[][]",
        "mixed": "[number, string, Quote]",
        "empty": "[]",
        "gaps": "(number | null)[]",
        "lists_or_not": "(number[] | null)[]",
        "table": "Record<string, Quote>",
        "tables": "Record<string, Record<string, number>>",
        "list_of_tables": "Record<string, boolean>[]",
        "event": "Quote | Halt",
        "events": "(Quote | Halt)[]",
        "event_or_not": "Quote | Halt | null",
        "names": "string[]",
        "codes": "number[]",
        "quote": "Quote",
        "quote_or_not": "Quote | null",
    }


def test_classes_refer_to_each_other_by_name() -> None:
    assert said(Tree)["left?"] == "Tree | null"
    assert said(Generics) == {"type": '"Generics"', "number": "BoxInt", "text": "BoxStr", "both": "BoxDictStrFloat"}
    assert said(Ranges) == {"type": '"Ranges"', "range": "Checked", "ranges": "Checked[]"}
    assert said(Holders) == {"type": '"Holders"', "account": "Account", "ticket": "Ticket"}
    assert "export interface Ticket {" in typescript(Holders)
    assert "  note?: string;\n" in typescript(Holders)


def test_what_travels_as_text_says_of_what_type() -> None:
    text = typescript(Texts)
    assert "  /** A datetime as text. */\n  at: string;\n" in text
    assert "  /** A Decimal as text. */\n  amount: string;\n" in text
    assert "  /** A UUID as text. */\n  id: string | null;\n" in text
    assert "  /** Lots of 100. */\n  quantity: number;\n" in text


def test_class_that_is_an_array_becomes_a_tuple() -> None:
    assert (
        "export type Row = [\n"
        '  type: "Row",\n'
        "  price: number,\n"
        "  /** JSON.parse rounds integers beyond 2**53 - 1. */\n"
        "  size?: number,\n"
        "  note?: string,\n"
        "];\n"
    ) in typescript(Numeral)
    assert said(Numeral) == {"op": "3", "rows": "Row[]"}


def test_array_item_before_a_required_one_is_required() -> None:
    class Late(Struct, array_like=True):
        first: int = msgspec.field(default=1, name="1st")
        second: str | None = msgspec.field(name="2nd", default=None)

    class Early(Struct, array_like=True, kw_only=True):
        first: int = 1
        second: str

    text = re.sub(r" */\*\*.*\*/\n", "", typescript(Late, Early))
    assert "export type Late = [\n  number?,\n  (string | null)?,\n];\n" in text
    assert "export type Early = [\n  first: number,\n  second: string,\n];\n" in text


def test_names_are_quoted_where_they_must_be() -> None:
    fields = said(Odd)
    assert fields["$kind"] == '"odd one"'
    assert fields['"kebab-case"'] == "number"
    assert fields['"1st"'] == "number"


def test_classes_named_like_types_of_the_language_are_numbered() -> None:
    record = msgspec.defstruct("Record", [("price", float)])
    array = msgspec.defstruct("Array", [("records", dict[str, record])])  # type: ignore[valid-type]
    text = typescript(array)
    assert "records: Record<string, Record2>;" in text
    assert "interface Array2 " in text


class Point(NamedTuple):
    x: float
    label: str = ""


@dataclasses.dataclass
class Loose:
    """A dataclass without slots."""

    price: float
    next: "Loose | None" = None


@pytest.mark.parametrize(
    ("hint", "type_"),
    [
        (Any, "unknown"),
        (msgspec.Raw, "unknown"),
        (list, "unknown[]"),
        (dict, "Record<string, unknown>"),
        (dict[int, float | None], "Record<string, number | null>"),
        (Mapping[str, int], "Record<string, number>"),
        (Point, "[number, string?]"),
        (int | str, "number | string"),
        (Loose, "{ price: number; next?: unknown | null }"),
        (float | list[Any], "number | unknown[]"),
    ],
    ids=str,
)
def test_type_that_is_msgspecs_alone_has_the_form_that_msgspec_gives_it(hint: Any, type_: str) -> None:
    made = msgspec.defstruct("Made", [("field", hint)])
    assert said(made) == {"field": type_}


def test_field_without_form_is_an_error_that_names_it() -> None:
    made = msgspec.defstruct("Made", [("bad", re.Pattern)])
    with pytest.raises(TypeError, match=r"^field 'bad' of Made has no form in TypeScript"):
        typescript(msgspec.defstruct("Outer", [("inner", list[made])]))  # type: ignore[valid-type]
    with pytest.raises(TypeError, match="is no message class"):
        typescript(list[Quote])


COMPILER = shutil.which("tsc", path=Path(__file__).parents[2] / "edge" / "browser" / "node_modules" / ".bin")


@pytest.mark.skipif(COMPILER is None, reason="needs the TypeScript compiler of edge/browser: make edge brings it")
@pytest.mark.timeout(120)
def test_compiler_takes_all_classes_and_tells_messages_by_their_tag(tmp_path: Path) -> None:
    loose = msgspec.defstruct("LooseHolder", [("loose", Loose), ("point", Point), ("anything", Any)])
    (tmp_path / "messages.ts").write_text(typescript(WsMessage, *CLASSES, Box[int], loose), encoding="utf-8")
    (tmp_path / "use.ts").write_text(
        'import type { AnyMessage, Row } from "./messages";\n'
        "export function price(message: AnyMessage): number | undefined {\n"
        '  if ("type" in message && message.type === "PriceUpdate") return message.price;\n'
        "  return undefined;\n"
        "}\n"
        'export const row: Row = ["Row", 1.5];\n'
        "// @ts-expect-error: the tag is another\n"
        'export const wrong: Row = ["Column", 1.5];\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(COMPILER),
            "--strict",
            "--noEmit",
            "--target",
            "es2022",
            "--module",
            "es2022",
            "--moduleResolution",
            "bundler",
            "use.ts",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout

"""`websocket-utils schema`: message classes as the other end's language has them."""

import importlib
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from websocket_utils.cli._failures import Failure, one_line
from websocket_utils.cli._output import LineWriter
from websocket_utils.messages import WsMessage
from websocket_utils.schema import json_schema, model_of, proto, typescript

_STANDARD: Final[dict[str, Any]] = {type_.__name__: type_ for type_ in typing.get_args(WsMessage)}


@click.command(
    short_help="Print message classes as .proto, TypeScript or JSON Schema.",
    epilog="""Exit codes: 0 it was printed, 1 a class has no such form or its module fails, 2 called wrongly.

\b
Examples:
  websocket-utils schema --format typescript PriceUpdate
  websocket-utils schema --package desk.v1 --output desk.proto mystrategy.messages:Fill
""",
)
@click.argument("names", nargs=-1, metavar="[TYPE]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["proto", "typescript", "json-schema"]),
    default="proto",
    show_default=True,
    help="What to print: a .proto file for Protocol Buffers, or the JSON form as TypeScript or JSON Schema.",
)
@click.option("--package", metavar="NAME", help="Package of a .proto file, such as desk.v1.")
@click.option(
    "--bigint",
    is_flag=True,
    help="TypeScript for a parser that gives integers beyond 2**53 - 1 as bigint, as that of edge/browser does.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, replacing it, in place of stdout.",
)
def schema(
    names: tuple[str, ...],
    form: Literal["proto", "typescript", "json-schema"],
    package: str | None,
    bigint: bool,
    output: Path | None,
) -> None:
    """Print what each TYPE looks like on the wire, and all that it refers to, for the people at the other end.

    A TYPE is a message class written package.module:Class, looked for in the current folder too, or the name of a
    standard message. Without one it is all standard messages. To know a class, its module is imported: it runs.
    """
    if package is not None and form != "proto":
        raise click.UsageError("--package is for --format proto")
    if bigint and form != "typescript":
        raise click.UsageError("--bigint is for --format typescript")
    types = [_find(name) for name in dict.fromkeys(names)] or list(_STANDARD.values())
    text = _print(form, types, package, bigint=bigint)
    if output is None:
        LineWriter().write(text.removesuffix("\n").split("\n"))
    else:
        output.write_text(text, encoding="utf-8")


def _print(
    form: Literal["proto", "typescript", "json-schema"], types: list[Any], package: str | None, *, bigint: bool
) -> str:
    printers: dict[str, Callable[..., str]] = {
        "proto": lambda *types: proto(*types, package=package),
        "typescript": lambda *types: typescript(*types, bigint=bigint),
        "json-schema": lambda *types: msgspec.json.format(msgspec.json.encode(json_schema(*types))).decode() + "\n",
    }
    try:
        return printers[form](*types)
    except TypeError as error:
        raise Failure(one_line(error)) from error
    except ValueError as error:
        raise click.BadParameter(one_line(error), param_hint="'--package'") from error


def _find(name: str) -> Any:
    module_name, colon, path = name.partition(":")
    if not colon:
        if name not in _STANDARD:
            raise _wrong(
                f"no standard message {name!r}; there are {', '.join(_STANDARD)}; "
                "a class of your own is package.module:Class"
            )
        return _STANDARD[name]
    found: Any = _module(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _wrong(f"no {path!r} in {module_name}") from None
    try:
        model_of([found])
    except TypeError as error:
        raise _wrong(one_line(error)) from error
    except NameError as error:
        raise Failure(f"{name}: an annotation can't be resolved: {one_line(error)}") from error
    return found


def _module(name: str) -> Any:
    # As `python -m` does: the script that pip installs has only its own folder there.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or f"{name}.".startswith(f"{error.name}."):
            raise _wrong(f"no module {name!r} in {here} or among what is installed") from None
        raise Failure(f"{name} needs {error.name}, which is not installed") from error
    except (ValueError, TypeError):  # An empty name, or a relative one.
        raise _wrong(f"{name!r} is no module's name: write package.module:Class") from None
    except Exception as error:
        raise Failure(f"{name} can't be imported: {type(error).__name__}: {one_line(error)}") from error


def _wrong(text: str) -> click.BadParameter:
    return click.BadParameter(text, param_hint="'TYPE'")

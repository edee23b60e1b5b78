"""What commands that serve share: the options of the side door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from websocket_utils._url import parse_address
from websocket_utils.door import check_libraries

__all__ = ["door_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _http(_: click.Context, __: click.Parameter, address: str | None) -> str | None:
    if address is not None:
        try:
            parse_address(address)
            check_libraries()
        except (ValueError, ModuleNotFoundError) as error:
            raise click.BadParameter(str(error)) from error
    return address


def _key(_: click.Context, __: click.Parameter, file: Path | None) -> str | None:
    # A file, because everybody on a machine sees the words of a command.
    try:
        return None if file is None else file.read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{file} is no text: {error}") from error


def door_options(command: _Command) -> _Command:
    """Add `--http` and `--http-key-file`."""
    for decorate in (
        click.option(
            "--http-key-file",
            "http_key",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            callback=_key,
            metavar="FILE",
            help="Holds the key that requests to the door present; needed where other machines can reach it.",
        ),
        click.option(
            "--http",
            callback=_http,
            metavar="HOST:PORT",
            help="Open the HTTP side door there: /api/publish, /api/broadcast, /api/info, /metrics, /healthz, /readyz.",
        ),
    ):
        command = decorate(command)
    return command

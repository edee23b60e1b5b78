"""What `tail` and `send` share: options of a connection, and opening it with failures that read well."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import click

from websocket_utils._redaction import without_credentials
from websocket_utils.cli._failures import cannot_connect
from websocket_utils.client import WebSocketClient
from websocket_utils.config import WebSocketConfig

_Command = TypeVar("_Command", bound=Callable[..., Any])
Codec = Literal["json", "msgpack", "protobuf"]


def _headers(_: click.Context, __: click.Parameter, lines: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or any(character in line for character in "\r\n\0"):
            raise click.BadParameter(f"{line!r} is no header; write 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


def link_options(command: _Command) -> _Command:
    """Add the argument and the options that say what to connect to, and how."""
    decorators = (
        click.argument("url"),
        click.option(
            "--codec",
            type=click.Choice(["json", "msgpack", "protobuf"]),
            default="json",
            show_default=True,
            help="How messages travel: JSON in text messages, or MessagePack or Protocol Buffers in binary ones.",
        ),
        click.option(
            "--header",
            "headers",
            multiple=True,
            metavar="'NAME: VALUE'",
            callback=_headers,
            help="Header of the opening request, such as 'Authorization: Bearer ...'; may be repeated.",
        ),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@asynccontextmanager
async def open_link(
    url: str, *, codec: Codec, headers: dict[str, str], reconnect: bool = False
) -> AsyncGenerator[WebSocketClient]:
    """Connect to `url` with settings from the environment, and close the connection at the end.

    Raises:
        Failure: If nobody can be reached there.
        WebSocketError: If the URL, a setting or the handshake is wrong.
    """
    config = WebSocketConfig.from_env()
    try:
        client = await WebSocketClient.connect(url, config=config, codec=codec, headers=headers, reconnect=reconnect)
    except OSError as error:
        raise cannot_connect(without_credentials(url), error) from error
    try:
        yield client
    finally:
        await client.close()

"""The seam to the network: TCP and TLS transports, and the event loop they run on.

The only file that names aiofastnet and uvloop. aiofastnet is the transport layer of picows: its TLS costs 1.5 to 1.7
times less than uvloop's, and it runs on asyncio's loop too. A transport carries the opening handshake first
(`_handshake.py`), then the core's connection, which takes it over with `set_protocol`:

    socket -> transport -> ClientOpening | ServerOpening     opening handshake
                  |
                  `- set_protocol(Connection) ->             frames, from the first byte behind the handshake
"""

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import socket
from collections.abc import Callable, Coroutine, Mapping
from ssl import SSLContext, create_default_context
from typing import Any, TypeVar

from ._accepting import Acceptor
from ._handshake import Compression, Opened, Taker
from ._listening import Listener, bound_sockets
from ._requesting import ClientOpening, opening_request
from ._url import Target

__all__ = ["context_faults", "dial", "listen", "run"]

T = TypeVar("T")

_HAS_AIOFASTNET = importlib.util.find_spec("aiofastnet") is not None


def _is_chosen(use_aiofastnet: bool | None) -> bool:
    return _HAS_AIOFASTNET if use_aiofastnet is None else use_aiofastnet


def _watches_errors(use_aiofastnet: bool | None) -> bool:
    """Whether connections have to look for errors of their socket themselves.

    libuv ends the watch on a descriptor when it tells of an error. A reset that comes in the same turn as data is then
    told with that data or never: a transport that watches through it reads the data, and waits for more.
    """
    return _is_chosen(use_aiofastnet) and type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"


class _TransportLoop:
    """The running loop as transports see it: what a peer does to its connection is no error of the loop.

    Each method is looked up once; from then on it is an attribute of this object.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._loop, name)
        setattr(self, name, found)
        return found

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand on errors, but for those of a socket or of TLS, which the connection's owner is told of."""
        error = context.get("exception")
        if isinstance(error, OSError) or (isinstance(error, type) and issubclass(error, OSError)):
            return
        self._loop.call_exception_handler(context)


def _method(name: str, use_aiofastnet: bool | None) -> Callable[..., Coroutine[Any, Any, Any]]:
    """`create_connection` or `connect_accepted_socket` of aiofastnet or of the loop; both take the same arguments."""
    loop = asyncio.get_running_loop()
    if _is_chosen(use_aiofastnet):
        return functools.partial(getattr(importlib.import_module("aiofastnet"), name), _TransportLoop(loop))
    method: Callable[..., Coroutine[Any, Any, Any]] = getattr(loop, name)
    return method


def context_faults(ssl: object) -> list[str]:
    """What is wrong with an argument `ssl`: asyncio takes `False` for no TLS at all."""
    if ssl is None or isinstance(ssl, SSLContext):
        return []
    return [f"ssl: must be an ssl.SSLContext or None, not {ssl!r}; TLS is a matter of ws:// or wss://"]


async def _connect(host: str, port: int) -> socket.socket:
    """Open a TCP connection to the first address of `host` that takes it."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            failure = failure or error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure or OSError(f"no address is known for {host}")


async def dial(
    target: Target,
    take: Callable[[Opened], Taker],
    *,
    headers: Mapping[str, str],
    subprotocols: tuple[str, ...],
    compression: Compression | None,
    ssl: SSLContext | None,
    open_timeout: float,
    use_aiofastnet: bool | None = None,
) -> Taker:
    """Open one connection and hand it to what `take` makes of it.

    Args:
        target: Where to; its credentials become a header.
        take: Called once, when the handshake is complete.
        headers: Additional request headers.
        subprotocols: Offered to the server, in this order.
        compression: Offered to the server; None offers none.
        ssl: For `wss`; None checks certificates against the system's.
        open_timeout: Seconds for name resolution, TCP, TLS and handshake together.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        HandshakeError: If the server's answer is no valid 101, or none.
        TimeoutError: If it takes longer than `open_timeout`.
        OSError: If the name does not resolve or nobody listens.
    """
    request = dict(headers)
    # What the caller says in a header is what he means.
    if target.authorization is not None and not any(name.lower() == "authorization" for name in headers):
        request["Authorization"] = target.authorization
    scheme, host, port = target.origin
    is_secure = scheme == "wss"
    tls: dict[str, Any] = {}
    if is_secure:
        context = ssl if ssl is not None else create_default_context()
        tls = {"ssl": context, "server_hostname": host, "ssl_handshake_timeout": open_timeout}

    made: list[ClientOpening] = []

    def opening() -> ClientOpening:
        one = ClientOpening(
            target.url,
            lambda key: opening_request(target.resource, target.authority, key, request, subprotocols, compression),
            subprotocols=subprotocols,
            compression=compression,
            take=take,
            is_secure=is_secure,
            watches_errors=_watches_errors(use_aiofastnet),
        )
        made.append(one)
        return one

    try:
        async with asyncio.timeout(open_timeout):
            tcp = await _connect(host, port)
            try:
                _, protocol = await _method("create_connection", use_aiofastnet)(opening, sock=tcp, **tls)
                taker: Taker = await protocol.done
            except BaseException:
                # A dial that was given up, inside TLS or waiting for the answer. The socket is the transport's, so it
                # is not closed here. Inside TLS there is no transport to be had: at the end of the stream it closes
                # itself.
                for one in made:
                    one.abort()
                with contextlib.suppress(OSError):
                    tcp.shutdown(socket.SHUT_RDWR)
                raise
    except TimeoutError as error:
        raise TimeoutError(f"no connection to {target.url} within {open_timeout:g} s (open_timeout)") from error
    return taker


async def listen(
    host: str,
    port: int,
    acceptor: Acceptor,
    *,
    ssl: SSLContext | None,
    use_aiofastnet: bool | None = None,
) -> Listener:
    """Listen, and let `acceptor` make the protocol of every connection.

    Args:
        host: Address to bind to.
        port: 0 takes a free one.
        acceptor: Its `open_timeout` bounds TLS too.
        ssl: None serves plain TCP.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        OSError: If the address is in use or is not this machine's.
    """
    tls: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": acceptor.open_timeout}
    acceptor.watches_errors = _watches_errors(use_aiofastnet)
    open_accepted = functools.partial(_method("connect_accepted_socket", use_aiofastnet), **tls)
    return Listener(await bound_sockets(host, port), acceptor, open_accepted)


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run `main` to its end on uvloop, the event loop this package is fastest on; on asyncio's where uvloop is missing.

    Ctrl-C cancels `main`, so its `async with` blocks close what they opened, and then raises `KeyboardInterrupt`.

    Args:
        main: A coroutine, as for `asyncio.run`.
        debug: asyncio's debug mode; None leaves it to `PYTHONASYNCIODEBUG`.

    Returns:
        What `main` returns.
    """
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    # No uvloop on Windows.
    with contextlib.suppress(ImportError):
        loop_factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
        return runner.run(main)

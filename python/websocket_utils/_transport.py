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
import math
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from ssl import SSLContext, create_default_context
from typing import Any, TypeVar

from ._accepting import Acceptor
from ._handshake import Compression, Opened, Taker
from ._listening import Listener, bound_sockets, bound_unix_socket
from ._phases import DialPhases
from ._racing import AddressInfo, Race
from ._requesting import ClientOpening, opening_request
from ._url import UNIX_SCHEME, Target
from .config import WebSocketConfig

__all__ = ["context_faults", "dial", "listen", "run"]

T = TypeVar("T")

# What Linux takes at most.
_MAX_USER_TIMEOUT_MS = 2**31 - 1
_MAX_KEEPALIVE_SECONDS = 32_767
# Probes of an idle connection without an answer until it is dead; the time they take is the pong's.
_PROBES = 3

_HAS_AIOFASTNET = importlib.util.find_spec("aiofastnet") is not None


def _is_chosen(use_aiofastnet: bool | None) -> bool:
    return _HAS_AIOFASTNET if use_aiofastnet is None else use_aiofastnet


def _watches_errors(use_aiofastnet: bool | None) -> bool:
    """Whether connections have to look for errors of their socket themselves.

    libuv ends the watch on a descriptor when it tells of an error. A reset that comes in the same turn as data is then
    told with that data or never: a transport that watches through it reads the data, and waits for more.
    """
    return _is_chosen(use_aiofastnet) and _is_uvloop(asyncio.get_running_loop())


def _is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    return type(loop).__module__.partition(".")[0] == "uvloop"


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


async def _connect_unix(path: str, phases: DialPhases) -> socket.socket:
    """Connect to a Unix socket."""
    phases.enter("tcp", time.monotonic_ns())
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        # A local connect is done or refused at once. A full backlog is EAGAIN (unix(7)), which loops would wait for as
        # for a connect that is under way: it belongs to who dials, and tries again.
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


async def _connect(host: str, port: int, phases: DialPhases) -> socket.socket:
    """Open a TCP connection to the first address of `host` that takes it; the name is asked for anew each time."""
    loop = asyncio.get_running_loop()
    phases.enter("dns", time.monotonic_ns())
    infos = _literal(host, port) or await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not infos:
        raise OSError(f"no address is known for {host}")
    phases.enter("tcp", time.monotonic_ns())
    return await Race(loop, infos, socket.socket, _connect_at_once if _is_uvloop(loop) else None).run()


def _finish(connected: "asyncio.Future[None]") -> None:
    if not connected.done():
        connected.set_result(None)


async def _connect_at_once(tcp: socket.socket, address: tuple[Any, ...]) -> None:
    """`sock_connect` for a loop whose own asks a thread what the address is: under load that takes milliseconds."""
    with contextlib.suppress(BlockingIOError):
        tcp.connect(address)
        return
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[None] = loop.create_future()
    loop.add_writer(tcp, _finish, connected)
    try:
        await connected
    finally:
        loop.remove_writer(tcp)
    error = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, f"connect to {address[0]} port {address[1]} failed: {os.strerror(error)}")


@functools.lru_cache(maxsize=64)
def _literal(host: str, port: int) -> Sequence[AddressInfo]:
    """An address that needs no resolver, and so no thread; empty for a name."""
    # All digits may be an address too, but no name that does not end in one is.
    if not host[-1:].isdigit() and ":" not in host:
        return ()
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return ()


def _watch_for_death(tcp: socket.socket, ping_interval: float, ping_timeout: float) -> None:
    """Have the kernel find out that the peer is gone: also while nothing is read, which a heartbeat can't see through.

    Bytes that are not acknowledged in the time that a heartbeat takes to find a dead peer end the connection, and an
    idle one is probed. A peer that lives but reads nothing for so long is taken for dead as well: it reads no ping.
    """
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_USER_TIMEOUT": min(_MAX_USER_TIMEOUT_MS, math.ceil(1000 * (ping_interval + ping_timeout))),
        "TCP_KEEPIDLE": min(_MAX_KEEPALIVE_SECONDS, math.ceil(ping_interval)),
        "TCP_KEEPINTVL": min(_MAX_KEEPALIVE_SECONDS, math.ceil(ping_timeout / _PROBES)),
        "TCP_KEEPCNT": _PROBES,
    }
    for name, value in options.items():
        # Not every system has them all.
        if hasattr(socket, name):
            tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def dial(
    target: Target,
    take: Callable[[Opened], Taker],
    *,
    headers: Mapping[str, str],
    subprotocols: tuple[str, ...],
    config: WebSocketConfig,
    ssl: SSLContext | None,
    phases: DialPhases,
    use_aiofastnet: bool | None = None,
) -> Taker:
    """Open one connection and hand it to what `take` makes of it; who calls it sets the time limit.

    Args:
        target: Where to; its credentials become a header.
        take: Called once, when the handshake is complete.
        headers: Additional request headers.
        subprotocols: Offered to the server, in this order.
        config: Of which compression and heartbeat matter here.
        ssl: For `wss`; None checks certificates against the system's.
        phases: Is told what the dial goes through, and when.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        HandshakeError: If the server's answer is no valid 101, or none.
        OSError: If the name does not resolve, nobody listens, or the server's certificate proves nothing.
    """
    request = dict(headers)
    # What the caller says in a header is what he means.
    if target.authorization is not None and not any(name.lower() == "authorization" for name in headers):
        request["Authorization"] = target.authorization
    scheme, host, port = target.origin
    is_secure = scheme == "wss"
    compression = Compression.of(config)
    tls: dict[str, Any] = {}
    if is_secure:
        context = ssl if ssl is not None else create_default_context()
        tls = {"ssl": context, "server_hostname": host, "ssl_handshake_timeout": config.open_timeout}

    made: list[ClientOpening] = []

    def taken(opened: Opened) -> Taker:
        phases.leave(time.monotonic_ns())
        return take(opened)

    def opening() -> ClientOpening:
        one = ClientOpening(
            target.url,
            lambda key: opening_request(target.resource, target.authority, key, request, subprotocols, compression),
            subprotocols=subprotocols,
            compression=compression,
            take=taken,
            is_secure=is_secure,
            watches_errors=_watches_errors(use_aiofastnet),
        )
        made.append(one)
        return one

    is_unix = scheme == UNIX_SCHEME
    tcp = await (_connect_unix(host, phases) if is_unix else _connect(host, port, phases))
    try:
        # The kernel of one machine knows at once when a process has gone.
        if config.ping_interval is not None and not is_unix:
            _watch_for_death(tcp, config.ping_interval, config.ping_timeout)
        phases.enter("tls" if is_secure else "upgrade", time.monotonic_ns())
        _, protocol = await _method("create_connection", use_aiofastnet)(opening, sock=tcp, **tls)
        if is_secure and not protocol.done.done():
            phases.enter("upgrade", time.monotonic_ns())
        taker: Taker = await protocol.done
    except BaseException:
        # A dial that was given up, inside TLS or waiting for the answer. The socket is the transport's once there is
        # one, so it is not closed here. Inside TLS there is no transport to be had: at the end of the stream it closes
        # itself.
        for one in made:
            one.abort()
        with contextlib.suppress(OSError):
            tcp.shutdown(socket.SHUT_RDWR)
        if not made:
            tcp.close()
        raise
    return taker


async def listen(
    host: str,
    port: int,
    acceptor: Acceptor,
    *,
    ssl: SSLContext | None,
    reuse_port: bool = False,
    use_aiofastnet: bool | None = None,
) -> Listener:
    """Listen, and let `acceptor` make the protocol of every connection.

    Args:
        host: Address to bind to, or `unix:` and the path of a Unix socket.
        port: 0 takes a free one.
        acceptor: Its `open_timeout` bounds TLS too.
        ssl: None serves plain TCP.
        reuse_port: Whether others may listen there too.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        OSError: If the address is in use or is not this machine's.
        ValueError: If ports can't be shared on this system.
    """
    tls: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": acceptor.open_timeout}
    acceptor.watches_errors = _watches_errors(use_aiofastnet)
    open_accepted = functools.partial(_method("connect_accepted_socket", use_aiofastnet), **tls)
    if host.startswith("unix:"):
        return Listener([bound_unix_socket(host.removeprefix("unix:"))], acceptor, open_accepted)
    return Listener(await bound_sockets(host, port, reuse_port=reuse_port), acceptor, open_accepted)


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

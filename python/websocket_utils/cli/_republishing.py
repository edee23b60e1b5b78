"""The work of `websocket-utils laserstream`: a stream in, a server out, and what is known of both in between."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from websocket_utils._redaction import without_credentials
from websocket_utils._slow import Conflate
from websocket_utils.authentication import Identity, Operation
from websocket_utils.cli._failures import Failure, cannot_connect, cannot_listen, one_line
from websocket_utils.cli._loop import counted, say
from websocket_utils.cli._output import LineWriter
from websocket_utils.cli._serving import door_not_open, drain_server, until_end
from websocket_utils.config import WebSocketConfig
from websocket_utils.events import Disconnected, Reconnected, Restored, Stale, SubscriptionLost
from websocket_utils.feeds.laserstream import LaserStream, Seeded, SeedFailed, StreamEvent
from websocket_utils.messages import AccountUpdate, SlotUpdate
from websocket_utils.namespaces import Namespace
from websocket_utils.server import WebSocketServer

__all__ = ["Republishing", "Wanted"]

_NAMESPACES = (
    # The latest state is what counts, and who comes later starts with it.
    Namespace("accounts", type=AccountUpdate, slow=Conflate(), history=1),
    # A slot of before says nothing about now: it would look like a sign of life.
    Namespace("slots", type=SlotUpdate, slow=Conflate()),
)
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to follow, and where."""

    url: str
    accounts: tuple[str, ...]
    programs: tuple[str, ...]
    slots: bool
    commitment: Any
    seed: bool
    seed_url: str | None
    stale_after: float


@dataclass(frozen=True, slots=True)
class _Strategy(Identity):
    """A client: it may subscribe to what is republished, so that a misspelt account is refused, and not silent."""

    served: frozenset[str] = frozenset()
    # What may be served beyond these, such as accounts of a program.
    beyond: str | None = None

    def may(self, operation: Operation, name: str) -> bool:
        """Whether there is such a channel, or any that the pattern can be."""
        if operation != "subscribe":
            return False
        if name.endswith("*"):
            prefix = name[:-1]
            beyond = self.beyond is not None and (self.beyond.startswith(prefix) or prefix.startswith(self.beyond))
            return beyond or any(one.startswith(prefix) for one in self.served)
        return name in self.served or (self.beyond is not None and name.startswith(self.beyond))


class Republishing:
    """A stream of a node, republished by a server of ours.

    Args:
        wanted: What to follow.
        address: Host and port to serve at.
        http: Address of the side door; None opens none.
        http_key: What its requests present.
        drain: Seconds in which a signal lets clients go.
        until_eof: Whether the end of standard input is the end.
    """

    def __init__(
        self,
        wanted: Wanted,
        address: tuple[str, int],
        http: str | None,
        http_key: str | None,
        drain: float,
        until_eof: bool,
    ) -> None:
        self._wanted = wanted
        self._config = WebSocketConfig.from_env(host=address[0], port=address[1])
        self._http, self._http_key = http, http_key
        self._drain = drain
        self._until_eof = until_eof
        self._shown = without_credentials(wanted.url)
        served = {f"accounts:{key}" for key in wanted.accounts}
        if wanted.slots:
            served.add("slots")
        self._strategy = _Strategy(
            "strategy", served=frozenset(served), beyond="accounts:" if wanted.programs else None
        )
        # Why strategies may have less than there is; nothing while they have all.
        self._blind: set[str] = set()
        self._unseeded = 0
        self._seeding_tried = asyncio.Event()

    @property
    def is_current(self) -> bool:
        """Whether what strategies have is what the node tells."""
        return not self._blind

    async def serve(self) -> None:
        """Follow and serve until the end of either."""
        async with contextlib.AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self._stream())
            server = await stack.enter_async_context(self._server(stream))
            self._say_listening(server)
            try:
                await until_end(
                    self._watch(stream),
                    server.serve_forever(),
                    lambda: drain_server(server, self._drain),
                    until_eof=self._until_eof,
                )
            finally:
                stats = server.stats()
                say(
                    f"republished {counted(stats.messages_sent, 'message')} in {stats.deliveries:,} deliveries "
                    f"to {counted(stats.accepted, 'client')}"
                )

    @asynccontextmanager
    async def _stream(self) -> AsyncGenerator[LaserStream]:
        wanted = self._wanted
        try:
            stream = await LaserStream.connect(
                wanted.url,
                commitment=wanted.commitment,
                stale_after=wanted.stale_after,
                seed=wanted.seed,
                seed_url=wanted.seed_url,
                max_reconnect_attempts=None,
                open_timeout=self._config.open_timeout,
            )
        except OSError as error:
            raise cannot_connect(self._shown, error) from error
        try:
            yield stream
        finally:
            await stream.close()

    @asynccontextmanager
    async def _server(self, stream: LaserStream) -> AsyncGenerator[WebSocketServer]:
        async def follow(server: WebSocketServer) -> None:
            # Before it listens: its first client finds the states of now, and is refused nothing that comes later.
            server.ready_when(lambda: self.is_current)
            await self._follow(stream, server)

        try:
            server = await WebSocketServer.bind(
                config=self._config,
                namespaces=_NAMESPACES,
                undeclared="refuse",
                http=self._http,
                http_key=self._http_key,
                authenticate=lambda _: self._strategy,
                before=follow,
            )
        except OSError as error:
            host, port = self._config.host, self._config.port
            options = {"port_option": f"--serve {host}:", "host_option": "--serve"}
            raise door_not_open(error) or cannot_listen(host, port, error, **options) from error
        async with server:
            yield server

    async def _follow(self, stream: LaserStream, server: WebSocketServer) -> None:
        wanted = self._wanted
        stream.on(StreamEvent, self._on_event)

        def publish(update: AccountUpdate) -> None:
            server.publish(f"accounts:{update.pubkey}", update)

        if wanted.slots:
            slots = server.channel("slots", SlotUpdate)
            updates = stream.slots()
            updates.on(slots.publish)
            await updates
        for program in wanted.programs:
            of_program = stream.program(program)
            of_program.on(publish)
            await of_program
        if wanted.accounts:
            self._begin_seeding()
            accounts = stream.accounts(wanted.accounts)
            accounts.on(publish)
            await accounts
            if wanted.seed:
                await self._seeding_tried.wait()

    # --- what is said of it ---

    def _say_listening(self, server: WebSocketServer) -> None:
        wanted = self._wanted
        # For programs that start this one: the address, on stdout, in a line of its own.
        LineWriter().write([f"listening on {server.url}"])
        what = [
            *([counted(len(wanted.accounts), "account")] if wanted.accounts else []),
            *([f"the accounts of {counted(len(wanted.programs), 'program')}"] if wanted.programs else []),
            *(["slots"] if wanted.slots else []),
        ]
        say(f"republishing {', '.join(what)} of {self._shown}; Ctrl-C ends")
        if server.http_url is not None:
            say(f"side door: {server.http_url}")
        if not wanted.slots:
            say("without slots, strategies can't tell a node that is silent from accounts that don't change")

    async def _watch(self, stream: LaserStream) -> None:
        """Wait for the end of the stream, or of one of its subscriptions; raises its error."""
        async for event in stream.events():
            if isinstance(event, SubscriptionLost):
                # What strategies were promised does not come any more: whoever starts this has to know.
                raise Failure(f"{self._shown} serves {event.channel} no more: {one_line(event.error)}")

    def _on_event(self, event: StreamEvent) -> None:
        """Say what has happened to the stream, and know what strategies have of it."""
        match event:
            case Disconnected():
                # The client's own logger has said why.
                self._blind.add("connection")
                self._begin_seeding()
            case Reconnected(downtime_ns=downtime):
                self._blind -= {"connection", "slots"}
                say(f"back: {self._shown} after {downtime / _NANOSECONDS:.1f} s")
            case Stale():
                self._blind.add("slots")
            case Restored():
                self._blind.discard("slots")
            case Seeded(accounts=accounts, slot=slot):
                self._unseeded = max(0, self._unseeded - accounts)
                if not self._unseeded:
                    self._blind.discard("states")
                self._seeding_tried.set()
                say(f"fetched {counted(accounts, 'state')} at slot {slot}")
            case SeedFailed(error=error, retry_after=seconds):
                self._seeding_tried.set()
                say(f"cannot fetch states: {one_line(error)}; again in {seconds:.1f} s")
            case _:
                # Told by the stream's own logger, or no news.
                pass

    def _begin_seeding(self) -> None:
        if self._wanted.seed and self._wanted.accounts:
            self._unseeded = len(self._wanted.accounts)
            self._blind.add("states")

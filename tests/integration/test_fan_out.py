"""Flushes on several threads: what leaves is what one thread would have sent; the threads are one broadcaster's."""

import gc
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.broadcasting import Feed
from tests.support.memory import Link

from websocket_utils import server
from websocket_utils.config import WebSocketConfig

# Above the number from which on other threads are woken, and no multiple of what a thread takes at once.
CLIENTS = 603
# More than a socket that is half full takes, several messages, and one that is small.
MESSAGES = [b"a", b"b" * 30_000, b"c" * 100]

pytestmark = pytest.mark.usefixtures("many_files")


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Party:
    """A broadcaster with clients on sockets of the kernel: some full, some half full, some broken, most free."""

    def __init__(self, threads: int, clients: int = CLIENTS) -> None:
        self.feed = Feed(threads=threads)
        self.sockets: list[tuple[socket.socket, socket.socket]] = []
        self.links: list[Link] = []
        self.filled: list[int] = []
        for number in range(clients):
            ours, theirs = socket.socketpair()
            self.sockets.append((ours, theirs))
            ours.setblocking(False)
            theirs.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            filled = 0
            if number % 7 == 1:
                theirs.close()
            elif number % 7 in {2, 3}:
                filled = fill(ours)
            if number % 7 == 3:
                filled -= len(theirs.recv(filled // 2))
            self.filled.append(filled)
            self.links.append(self.feed.client(descriptor=ours.fileno()))

    def publish(self) -> None:
        for message in MESSAGES:
            self.feed.broadcaster.broadcast(message)
        self.feed.broadcaster.flush()

    def outcome(self) -> list[tuple[Any, ...]]:
        """For each client: what its socket has, what its transport has, and what waits."""
        return [
            (
                received(theirs)[filled:],
                b"".join(link.transport.writes),
                link.transport.is_aborted,
                link.connection.send_queue_bytes,
            )
            for (_, theirs), filled, link in zip(self.sockets, self.filled, self.links, strict=True)
        ]

    def close(self) -> None:
        for pair in self.sockets:
            for one in pair:
                one.close()
        # They refer to each other.
        del self.feed, self.links
        gc.collect()


def fill(one: socket.socket) -> int:
    sent = 0
    try:
        while True:
            sent += one.send(bytes(1000))
    except BlockingIOError:
        return sent


def received(one: socket.socket) -> bytes:
    parts: list[bytes] = []
    try:
        while one.fileno() != -1 and (part := one.recv(1 << 16)):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def tasks() -> set[Path]:
    return set(Path("/proc/self/task").iterdir())


def threads_of_flushes(count: int) -> list[Path]:
    """The threads once they are `count`: one names itself when it first runs, and is shown a little longer."""
    end = time.monotonic() + 5
    while len(found := [task for task in tasks() if name(task) == "ws-fan-out"]) != count:
        assert time.monotonic() < end, f"{len(found)} threads, not {count}"
        os.sched_yield()
    return sorted(found)


def name(task: Path) -> str:
    # It may end before it is looked at: its file is not there then, or can't be read.
    with suppress(OSError):
        return (task / "comm").read_text().strip()
    return ""


def frames() -> bytes:
    """What a client gets of `MESSAGES`, written down by hand."""
    one, two, three = MESSAGES
    return b"\x82\x01" + one + b"\x82\x7e" + len(two).to_bytes(2, "big") + two + b"\x82\x64" + three


def test_flush_on_several_threads_sends_what_one_thread_does() -> None:
    outcomes: list[list[tuple[Any, ...]]] = []
    for threads in (1, 2, 5):
        with closing(Party(threads)) as party:
            for _ in range(5):
                party.publish()
            outcomes.append(party.outcome())
    one, *others = outcomes
    kinds = {number % 7: outcome for number, outcome in enumerate(one)}
    assert kinds[0][0] == frames() * 5 or kinds[0][0] + kinds[0][1] == frames() * 5
    assert kinds[1][0] == b"", "its peer is gone"
    assert kinds[2][0] == b"", "its socket is full"
    assert 0 < len(kinds[3][0]) < len(frames()), "its socket takes a part"
    for other in others:
        assert other == one


def test_threads_are_made_when_needed_and_end_with_their_broadcaster() -> None:
    before = tasks()
    with closing(Party(3, clients=100)) as few:
        few.publish()
        assert tasks() <= before
    with closing(Party(3)) as party:
        assert tasks() <= before
        party.publish()
        threads = threads_of_flushes(2)
        party.publish()
        assert threads_of_flushes(2) == threads
    threads_of_flushes(0)


def test_threads_take_no_signal_from_the_interpreter() -> None:
    with closing(Party(2)) as party:
        party.publish()
        (thread,) = threads_of_flushes(1)
        status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())
        blocked = int(status["SigBlk"], 16)
        assert all(blocked >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(), "the caller's signals are as they were"


@pytest.mark.parametrize("forgets", [False, True], ids=["goes on", "drops it"])
def test_fork_makes_threads_of_its_own(forgets: bool) -> None:
    with closing(Party(3)) as party:
        party.publish()
        before = party.outcome()
        threads = threads_of_flushes(2)
        with warnings.catch_warnings():
            # That threads do not survive a fork is what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(10)
                code = in_child(party, before, forgets=forgets)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert threads_of_flushes(2) == threads
        party.publish()


def in_child(party: Party, before: list[tuple[Any, ...]], *, forgets: bool) -> int:
    if len(tasks()) != 1:
        return 2
    if forgets:
        party.close()
        return 0
    party.publish()
    threads_of_flushes(2)
    return 0 if party.outcome()[0][0] == before[0][0] == frames() else 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all cores count")
@pytest.mark.parametrize(
    ("cores", "setting", "threads"),
    [(1, None, 1), (2, None, 1), (4, None, 2), (7, None, 3), (64, None, 4), (64, 1, 1), (1, 8, 8)],
)
def test_server_takes_half_of_its_cores_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch, cores: int, setting: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)))
    assert server._fan_out_threads(WebSocketConfig(fan_out_threads=setting)) == threads


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        Feed(threads=0)

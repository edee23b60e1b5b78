"""The process under test: runs one scenario of one peer and reports what it cost.

Started by the harness as ``python -m benches._subject PEER SCENARIO OPTIONS``. It talks JSON lines: what the harness
needs to go on and the result on stdout, commands (``go``, ``done``) on stdin.
"""

import asyncio
import gc
import importlib
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

from benches._payload import CYCLE, SUBSCRIBERS, SWEEP, TIME_BASE

MessageT = TypeVar("MessageT")
# Messages that may be on their way to the slowest sink: 1 MiB of frames. Without a bound a server that is faster than
# the sinks would fill its buffers and then measure its memory, or drop clients.
WINDOW = 8192
# The same for each client of many channels: 50 KB of frames.
SWEEP_WINDOW = 400
# Seconds before a tick at which the event loop is not left to sleep any more.
TIMER = 0.002
# Turns that a server is watched for its connections, 10 ms apart.
CONNECT_TURNS = 1000
# Some 3 ms of plain bytecode.
YARDSTICK_STEPS = 150_000
# Round trips before the measured ones.
ROUND_TRIP_WARM_UP = 200


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the harness asks for."""

    core: int | None = None
    timeout: int = 60
    port: int = 0
    second_port: int = 0
    messages: int = 0
    clients: int = 0
    burst: int = 1
    rate: int = 0
    progress: str | None = None
    window: int = 0
    message_bytes: int = 0
    settle: float = 0.2
    channels: int = 0
    is_stalled: bool = False
    program: str | None = None


class Run:
    """One measured run, from the side of the process under test."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.messages = options.messages
        self.url = f"ws://127.0.0.1:{options.port}"
        self._commands: asyncio.Queue[str] = asyncio.Queue()
        self._started_cpu = self._started_wall = 0
        self._cpu = self._wall = self._yardstick = 0
        self._other: int | None = None

    # Control -----------------------------------------------------------------

    def watch_commands(self) -> None:
        """Read commands from stdin; the end of stdin ends the process."""
        asyncio.get_running_loop().add_reader(0, self._read_commands)

    def _read_commands(self) -> None:
        data = os.read(0, 4096)
        if not data:
            os._exit(1)
        for line in data.decode().split():
            self._commands.put_nowait(line)

    async def command(self, expected: str) -> None:
        """Wait until the harness says `expected`."""
        got = await self._commands.get()
        if got != expected:
            raise RuntimeError(f"harness said {got!r} where {expected!r} was due")

    def say(self, **values: Any) -> None:
        """Tell the harness."""
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    # Measuring ---------------------------------------------------------------

    def also_counts(self, process: int) -> None:
        """Have the CPU time of another process in that of this one."""
        self._other = process

    def start(self) -> None:
        """Begin the measured part."""
        self._yardstick = _yardstick_ns()
        self._started_wall = time.perf_counter_ns()
        self._started_cpu = _cpu_ns(self._other)

    def stop(self) -> None:
        """End the measured part."""
        self._cpu = _cpu_ns(self._other) - self._started_cpu
        self._wall = time.perf_counter_ns() - self._started_wall
        self._yardstick = max(self._yardstick, _yardstick_ns())

    def result(self, **values: Any) -> None:
        """Report the measured part and what the scenario found."""
        self.say(cpu_ns=self._cpu, wall_ns=self._wall, yardstick_ns=self._yardstick, **values)

    # Shared parts of the scenarios -------------------------------------------

    async def sent_all(self, found: Callable[[], dict[str, Any]] = dict) -> None:
        """End a send scenario: all is handed to the library; measured until the sink has the last message.

        What `found` returns then is reported too.
        """
        await self.command("done")
        self.stop()
        self.result(**found())

    async def serve(self, port: int, there: Callable[[], int], expected: int | None = None) -> None:
        """Announce a server on `port`; wait for "go", and until its clients, or what `expected` counts, are there."""
        self.say(port=port)
        await self.command("go")
        await until(lambda: there() >= (self.options.clients if expected is None else expected))

    async def broadcast(
        self, messages: Sequence[MessageT], send_turn: Callable[[Sequence[MessageT]], Awaitable[None] | None]
    ) -> None:
        """Give `send_turn` the messages of one event-loop turn, turn by turn, and report when the sinks have all."""
        burst, window = self.options.burst, self.options.window or WINDOW
        turns = [messages[start : start + burst] for start in range(0, CYCLE, burst)]
        delivered = self._progress()
        self.start()
        sent = 0
        while sent < self.messages:
            for turn in turns:
                waiting = send_turn(turn)
                if waiting is not None:
                    await waiting
                await asyncio.sleep(0)
            sent += CYCLE
            # The sinks are another process, that has nothing but memory to tell by.
            while sent - delivered[0] > window:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await self.sent_all()

    async def paced(
        self, emit: Callable[[int], Awaitable[Any] | None], found: Callable[[], dict[str, Any]] = dict
    ) -> None:
        """Call `emit` with the time stamp of each message when it is due, on an open-loop schedule.

        The stamp is the time the message was due, not the time it left: a sender that falls behind shows it.
        """
        clock, rate, total = time.monotonic_ns, self.options.rate, self.messages
        self.start()
        begin = clock()
        sent = 0
        while sent < total:
            due = min(total, (clock() - begin) * rate // 1_000_000_000 + 1)
            while sent < due:
                waiting = emit(TIME_BASE + begin + sent * 1_000_000_000 // rate)
                if waiting is not None:
                    await waiting
                sent += 1
            await asyncio.sleep(0)
        await self.sent_all(found)

    async def ticks(self, emit: Callable[[int], Awaitable[Any] | None]) -> None:
        """Call `emit` at a slow rate, as `paced` does, but asleep in between; and once more than there are messages."""
        clock, rate = time.monotonic_ns, self.options.rate
        self.start()
        begin = clock() + 1_000_000_000 // rate
        for number in range(self.messages + 1):
            due = begin + number * 1_000_000_000 // rate
            # Timers of an event loop are right to a millisecond or so.
            await asyncio.sleep(max(0.0, (due - clock()) / 1e9 - TIMER))
            # The next tick is no event but a time.
            while clock() < due:  # noqa: ASYNC110
                await asyncio.sleep(0)
            waiting = emit(TIME_BASE + due)
            if waiting is not None:
                await waiting
        await self.sent_all()

    async def sweeps(self, send_turn: Callable[[Sequence[int], int], Awaitable[None] | None]) -> None:
        """Have one message published on each channel, over and over, in an order that is none.

        `send_turn` gets the numbers of the channels of one event-loop turn, and what is added to each for the time
        stamp of its message.
        """
        burst, channels = self.options.burst, self.options.channels
        order = list(range(channels))
        random.Random(channels).shuffle(order)
        turns = [order[start : start + burst] for start in range(0, channels, burst)]
        each = channels * SUBSCRIBERS // self.options.clients
        delivered = self._progress()
        self.start()
        for sweep in range(self.messages):
            for turn in turns:
                waiting = send_turn(turn, TIME_BASE + sweep * SWEEP)
                if waiting is not None:
                    await waiting
                await asyncio.sleep(0)
            # As in a broadcast, but counted in messages of one client.
            while (sweep + 1) * each - delivered[0] > SWEEP_WINDOW:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await self.sent_all()

    def watch_memory(self) -> Callable[[], float]:
        """Begin to watch resident memory; what is returned tells by how many KiB it has been above what it is now."""
        gc.collect()
        # Linux forgets the greatest value that there was.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _resident_bytes()
        return lambda: max(0.0, _greatest_resident_bytes() - before) / 1024

    async def round_trips(self, trip: Callable[[], Awaitable[None]]) -> None:
        """Await `trip` over and over and report each one's time."""
        clock = time.perf_counter_ns
        for _ in range(ROUND_TRIP_WARM_UP):
            await trip()
        times = []
        self.start()
        for _ in range(self.messages):
            sent = clock()
            await trip()
            times.append(clock() - sent)
        self.stop()
        self.round_trip_result(times)

    def round_trip_result(self, times: list[int]) -> None:
        """Report percentiles of round trips in nanoseconds."""
        times.sort()
        self.result(p50_ns=times[len(times) // 2], p99_ns=times[len(times) * 99 // 100])

    async def flapping(self, dialling: Coroutine[Any, Any, None]) -> None:
        """Leave a client alone with a server that ends each connection, until the harness has counted its dials."""
        self.start()
        task = asyncio.create_task(dialling)
        await self.command("done")
        self.stop()
        self.result()
        task.cancel()

    async def idle(self, port: int, connections: Callable[[], int], received: Callable[[], int] | None = None) -> None:
        """Report how much resident memory the last `clients` connections of a server on `port` take.

        Where each of them sends a message first, `received` tells how many came.
        """
        # The first connections of a process also pay for what is made once: the harness opens some before.
        self.say(port=port)
        await self.command("warm")
        await until(lambda: connections() > 0 and (received is None or received() >= connections()))
        before, held = await self._settled(), connections()
        self.say(ready=True)
        await self.command("go")
        expected = held + self.options.clients
        await until(lambda: connections() >= expected and (received is None or received() >= expected))
        after = await self._settled()
        self.result(bytes_per_connection=(after - before) / self.options.clients)

    async def _settled(self) -> int:
        await asyncio.sleep(self.options.settle)
        gc.collect()
        return _resident_bytes()

    def _progress(self) -> memoryview:
        if self.options.progress is None:
            raise RuntimeError("a broadcast needs the file of progress")
        with open(self.options.progress, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)).cast("Q")


class Arrivals:
    """When the first message of each connection came: `drops` of them were reset, and the one behind is the last."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._decode = msgspec.json.Decoder(_Dropped).decode
        self._first: list[int] = []
        run.start()

    def received(self, payload: bytes | str) -> bool:
        """Note a message; return whether that is all."""
        now = time.monotonic_ns()
        connection = self._decode(payload).connection
        if connection == len(self._first):
            self._first.append(now)
        elif connection != len(self._first) - 1:
            raise RuntimeError(f"connection {connection} follows number {len(self._first) - 1}")
        return connection == self._run.messages

    def report(self) -> None:
        """Report when they came."""
        self._run.stop()
        self._run.result(arrived_ns=self._first)


class _Dropped(msgspec.Struct):
    """What a server whose connections do not last sends."""

    connection: int


class RoundTripCallback:
    """Round trips with one message in flight, each sent from inside the callback that received the last."""

    def __init__(self, run: Run, send: Callable[[], object]) -> None:
        self._run = run
        self._send = send
        self._left = run.messages + ROUND_TRIP_WARM_UP
        self._times: list[int] = []
        self._sent = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Send the first message."""
        self._sent = time.perf_counter_ns()
        self._send()

    def received(self) -> None:
        """Take the time and send the next message."""
        now = time.perf_counter_ns()
        self._times.append(now - self._sent)
        self._left -= 1
        if self._left == self._run.messages:
            self._times.clear()
            self._run.start()
        if self._left:
            self._sent = time.perf_counter_ns()
            self._send()
        elif not self.finished.done():
            self._run.stop()
            self._run.round_trip_result(self._times)
            self.finished.set_result(None)


async def until(true: Callable[[], bool]) -> None:
    """Wait until `true()`, at most some ten seconds."""
    for _ in range(CONNECT_TURNS):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the expected connections did not come")


def _greatest_resident_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _yardstick_ns() -> int:
    """Return how long a fixed calculation takes: it tells whether this core has its full speed just now."""
    begin = time.process_time_ns()
    for number in range(YARDSTICK_STEPS):
        number & 7  # work for its own sake
    return time.process_time_ns() - begin


def _cpu_ns(other: int | None) -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    if other is not None:
        # Behind the name, which may hold spaces: user and system time are the twelfth and the thirteenth.
        fields = Path(f"/proc/{other}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return round(seconds * 1e9)


async def _main(peer: str, scenario: str, options: Options) -> None:
    run = Run(options)
    run.watch_commands()
    await getattr(importlib.import_module(f"benches.peers.{peer}"), scenario)(run)


def main(peer: str, scenario: str, options: str) -> None:
    """Run `scenario` of `peer` on uvloop."""
    parsed = msgspec.json.decode(options, type=Options)
    # Nothing here may outlive its harness, not even a loop that never returns to its event loop.
    signal.alarm(parsed.timeout)
    if parsed.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {parsed.core})
    # A descriptor for each client, where the system lets us have them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_main(peer, scenario, parsed))


if __name__ == "__main__":
    main(*sys.argv[1:])
    # The result is out: what a library would still do at its exit (threads of a runtime, pings) is not of interest.
    os._exit(0)

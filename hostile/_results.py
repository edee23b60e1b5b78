"""What the attacks, the mutations and the comparisons found: `hostile/results/*.json`."""

from pathlib import Path
from typing import Final, TypeVar

import msgspec
from benches._results import Machine

RESULTS: Final = Path(__file__).parent / "results"
# The most that one hostile peer may make a server hold, in KiB: what the third issue asks for.
BAR_KIB: Final = 4096
# The most that memory may drift over a mutation run, in KiB.
DRIFT_KIB: Final = 5 * 1024
# The most that memory may drift over millions of decodes, in KiB: less than a byte for each.
DECODE_DRIFT_KIB: Final = 2 * 1024
# A full fuzz run: each of these that long.
FUZZ_TARGETS: Final = ("decoder", "deflate", "handshake", "json", "msgpack", "protobuf", "publication", "pubsub")
FUZZ_SECONDS: Final = 600
# The most dials that a server which accepts and drops may see of one client: what the fifth issue asks for.
DIALS_FIRST_SECOND: Final = 5
DIALS_FIRST_MINUTE: Final = 30
# The most that the fullest 100 ms of a crowd's return may hold, as a multiple of the mean.
HERD_RATIO: Final = 3.0
# The most that memory may drift over a storm of reconnects, in KiB: a tenth of a KiB for each.
STORM_DRIFT_KIB: Final = 1024
# The most that a drain may end behind its deadline, in milliseconds: what the sixth issue asks for.
DRAIN_LATE_MS: Final = 100.0
# The longest that a thousand clients may take to be back behind a restart, in seconds: what the sixth issue asks for.
RECOVERY_SECONDS: Final = 2.0
# The most that memory may drift over a soak, in KiB: what a few stalled clients hold (`max_lag` each) comes and goes.
SOAK_DRIFT_KIB: Final = 4096

ResultT = TypeVar("ResultT", bound="Result")


class Result(msgspec.Struct, kw_only=True):
    """Where and when it was found."""

    date: str
    commit: str
    machine: Machine
    versions: dict[str, str]


class Outcome(msgspec.Struct, kw_only=True):
    """What one attack did."""

    name: str
    title: str
    settings: dict[str, int | float | bool] = {}
    # Bytes that the peer had sent at the end.
    sent: int
    # Growth of the server's resident memory: at its peak, and what was left once the peer was gone.
    peak_kib: int
    kept_kib: int
    how: str
    seconds: float
    # CPU time of the server for it.
    cpu_ms: float
    # Calls of the event loop's exception handler.
    loop_errors: int
    # Whether a peer that keeps to the protocol was served afterwards.
    served: bool

    @property
    def met(self) -> bool:
        """Whether it is within the bar, and harmed nobody else."""
        return self.peak_kib <= BAR_KIB and self.loop_errors == 0 and self.served


class AttackResult(Result, kw_only=True):
    """One run of all attacks."""

    max_message_size: int
    attacks: list[Outcome]
    # Attacks on what this version of the library does not have.
    left_out: list[str] = []


class Side(msgspec.Struct, kw_only=True):
    """What mutated connections did to one role."""

    # The role under attack.
    role: str
    connections: int
    seed: int
    sent: int
    # Connections whose opening handshake was accepted: the others ended in it.
    opened: int
    # How connections ended, as the mutating side saw it.
    endings: dict[str, int]
    loop_errors: int
    first_loop_errors: list[str] = []
    # Resident memory after a tenth of the connections and at the end.
    warm_kib: int
    end_kib: int
    # Connections that the role still held seconds after the last peer was gone.
    left: int
    seconds: float
    served: bool

    @property
    def drift_kib(self) -> int:
        """Growth of memory behind the warm-up."""
        return self.end_kib - self.warm_kib

    @property
    def met(self) -> bool:
        """Whether nothing was harmed."""
        return self.loop_errors == 0 and self.drift_kib < DRIFT_KIB and self.left == 0 and self.served


class MutationResult(Result, kw_only=True):
    """One run of mutated connections."""

    sides: list[Side]


class Target(msgspec.Struct, kw_only=True):
    """What libFuzzer did with one target."""

    name: str
    seconds: int
    runs: int
    # Edges of the program that were reached, and those with the counts that the fuzzer tells apart.
    coverage: int
    features: int
    # Inputs that each reach something no other does.
    corpus: int
    # It crashed, hung, or did not end.
    failed: bool


class FuzzResult(Result, kw_only=True):
    """One full run of all fuzz targets."""

    targets: list[Target]


class CodecResult(Result, kw_only=True):
    """One run of the codec against msgspec."""

    seed: int
    formats: list[str]
    cases: int
    # Random types; decoders of them, and those that have a plan.
    types: int
    decoders: int
    compiled: int
    accepted: int
    refused: int
    # Types for which ours and msgspec's differ somewhere.
    differences: int
    seconds: float


class KeptShape(msgspec.Struct, kw_only=True):
    """What decodes of one type left behind, in all formats."""

    name: str
    decodes: int
    refused: int
    references: int
    blocks: int
    flat: bool


class ReferenceResult(Result, kw_only=True):
    """One run of many decodes, with references and memory counted."""

    formats: list[str]
    shapes: list[KeptShape]
    # Growth of resident memory over the whole run.
    grown_kib: int

    @property
    def met(self) -> bool:
        """Whether nothing grew."""
        return all(shape.flat for shape in self.shapes) and self.grown_kib < DECODE_DRIFT_KIB


class DialRow(msgspec.Struct, kw_only=True):
    """What a server that accepts and drops sees of one client, at worst."""

    # The close code.
    title: str
    runs: int
    # The most dials of any run.
    first_second: int
    first_minute: int
    # What became of the client.
    how: str

    @property
    def met(self) -> bool:
        """Whether the server is spared."""
        return self.first_second <= DIALS_FIRST_SECOND and self.first_minute <= DIALS_FIRST_MINUTE


class HerdRow(msgspec.Struct, kw_only=True):
    """How a crowd of clients, dropped at once, came back."""

    clients: int
    seed: int
    # `reconnect_interval`.
    interval: float
    # How long the server was away, in seconds.
    downtime: float
    # Dials of all, those that failed included.
    dials: int
    # Bins of 100 ms from the first return to the last, and what the fullest holds.
    bins: int
    fullest: int
    # After the server was back, in seconds.
    median_s: float
    last_s: float

    @property
    def ratio(self) -> float:
        """The fullest bin as a multiple of the mean."""
        return self.fullest * self.bins / self.clients

    @property
    def met(self) -> bool:
        """Whether the crowd was spread."""
        return self.ratio <= HERD_RATIO


class HerdResult(Result, kw_only=True):
    """One run of all simulations."""

    dials: list[DialRow]
    crowds: list[HerdRow]


class LedgerResult(Result, kw_only=True):
    """What became of numbered messages that went both ways while connections were killed."""

    seed: int
    # Each way.
    messages: int
    losses: int
    # Connections that the proxy ended.
    kills: int
    # As the client counts them.
    accepted: int
    written: int
    dropped: int
    expired: int
    unknown: int
    # How often each fate was told by what `send` had returned.
    told: dict[str, int]
    # Of the client's messages: how many reached the server, and how many of them were neither written nor unknown.
    arrived: int
    arrived_untold: int
    # Of the server's messages: how many reached the client.
    received: int
    # Both ways.
    reordered: int
    repeated: int
    # Sent after the client was closed, and delivered.
    late: int
    # Messages of the server that are missing where no `Gap` stands.
    untold: int = 0
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the books balance."""
        ends = {"written": self.written, "dropped": self.dropped, "expired": self.expired, "unknown": self.unknown}
        return (
            self.accepted == sum(ends.values())
            and all(self.told.get(fate, 0) == count for fate, count in ends.items())
            and self.losses > 0
            and self.arrived <= self.written + self.unknown
            and self.arrived_untold == self.reordered == self.repeated == self.late == self.untold == 0
        )


class StormResult(Result, kw_only=True):
    """What many reconnects, one after the other, left behind."""

    cycles: int
    reconnects: int
    # Resident memory after a tenth of the cycles and at the end.
    warm_kib: int
    end_kib: int
    # Growth since then.
    descriptors: int
    tasks: int
    # Of the last ones: from the loss to live.
    median_us: float
    seconds: float

    @property
    def met(self) -> bool:
        """Whether nothing grew."""
        grown_kib = self.end_kib - self.warm_kib
        return self.reconnects >= self.cycles and grown_kib < STORM_DRIFT_KIB and self.descriptors <= 0 >= self.tasks


class DrainRun(msgspec.Struct, kw_only=True):
    """One drain of a server with many clients."""

    # From the call to its end.
    seconds: float
    # The latest that a timer of the server's event loop was meanwhile.
    latest_turn_ms: float
    # Of the clients that read: how many had a notice, and how they ended.
    told: int
    left: int
    closed: int
    cut: int


class DrainResult(Result, kw_only=True):
    """Drains of servers with clients that read nothing among others."""

    clients: int
    silent: int
    deadline: float
    window: float
    runs: list[DrainRun]

    @property
    def worst_ms(self) -> float:
        """How far behind the deadline the latest of them ended."""
        return 1000 * (max(one.seconds for one in self.runs) - self.deadline)

    @property
    def met(self) -> bool:
        """Whether all ended in time, and whoever reads was not cut."""
        return self.worst_ms <= DRAIN_LATE_MS and not any(one.cut for one in self.runs)


class RecoveryRow(msgspec.Struct, kw_only=True):
    """What the clients of killed workers went through."""

    # Of the two workers.
    killed: int
    clients: int
    # How many had lost their connection.
    back: int
    # From the kill to the first worker that took the place of one.
    restart_s: float
    # The last client that was back: since the kill, and since there was a worker to go to.
    since_kill_s: float
    since_served_s: float
    # Of all clients: messages missing and messages twice, and clients that were not told that nothing is missing.
    lost: int
    doubled: int
    unproven: int

    @property
    def met(self) -> bool:
        """Whether all were back in time with all that was published."""
        return self.since_served_s <= RECOVERY_SECONDS and self.lost == self.doubled == self.unproven == 0


class RecoveryResult(Result, kw_only=True):
    """Some workers killed, one after the other."""

    # Messages a second, to each client.
    rate: int
    rows: list[RecoveryRow]

    @property
    def met(self) -> bool:
        """Whether each of them met the bar."""
        return all(row.met for row in self.rows)


class SoakResult(Result, kw_only=True):
    """What hours of clients that come and go, stall, are slow and are cut left behind, and what they were brought."""

    seed: int
    # Clients that read to the end; others came and went, or never read.
    readers: int
    churned: int
    stalled: int
    # Connections that were cut, and those that readers made anew.
    kills: int
    reconnects: int
    # Publications, and how many subscribers their receipts named in all.
    published: int
    subscribers: int
    # As the server counts them.
    deliveries: int
    conflated: int
    dropped: int
    lag_disconnects: int
    recovered: int
    # What readers were brought, and told that it was left out.
    received: int
    left_out: int
    # Of the readers' channels: numbers that came twice, or are missing where nobody said so; channels whose numbers do
    # not add up; gaps where the history covers every outage.
    repeated: int
    untold: int
    unbalanced: int
    kept_gaps: int
    # Connections that the crowd opened, and the server accepted.
    opened: int
    accepted: int
    # Connections, subscriptions and laggards that the server still counts when all are gone.
    left: int
    loop_errors: int
    # Resident memory of the server: the medians of its second tenth and of its last fifth, and when all are gone.
    warm_kib: int
    late_kib: int
    end_kib: int
    descriptors: int
    tasks: int
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the books balance, and nothing grew."""
        return self.is_balanced and self.late_kib - self.warm_kib < SOAK_DRIFT_KIB

    @property
    def is_balanced(self) -> bool:
        """Whether the books balance, and everything has happened that they are kept for."""
        return (
            self.subscribers == self.deliveries
            and self.opened == self.accepted
            and self.repeated == self.untold == self.unbalanced == self.kept_gaps == 0
            and self.left == self.loop_errors == 0
            and self.received > 0
            and self.left_out > 0
            and self.conflated > 0
            and self.dropped > 0
            and self.reconnects > 0
        )


def save(result: Result, name: str, folder: Path = RESULTS) -> Path:
    """Write a result where the report is rendered from."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def load(kind: type[ResultT], name: str, folder: Path = RESULTS) -> ResultT | None:
    """Read a result, if there is one."""
    path = folder / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None

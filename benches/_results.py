"""What a bench is, what it found, and where that is kept: `benches/results/<bench>.json`."""

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Final, Literal, NamedTuple

import msgspec

BENCHES: Final = Path(__file__).parent
ROOT: Final = BENCHES.parent
RESULTS: Final = BENCHES / "results"
# Their shapes differ from the others': many cases in one process, no peers in turn; two versions in place of peers.
MICRO: Final = "micro.json"
COMPARISON: Final = "compare.json"
LIBRARIES: Final = (
    "websocket_utils",
    "picows",
    "aiofastnet",
    "uvloop",
    "msgspec",
    "websockets",
    "aiohttp",
    "nautilus_trader",
    "socketify",
    "orjson",
)
MICRO_LIBRARIES: Final = (
    "websocket_utils",
    "msgspec",
    "orjson",
    "ormsgpack",
    "msgpack",
    "protobuf",
    "pytest-benchmark",
)

Kind = Literal[
    "receive",
    "send",
    "round_trip",
    "broadcast",
    "paced_send",
    "paced_broadcast",
    "idle",
    "reconnect",
    "standby",
    "flapping",
    "spread",
    "channels",
    "stalled",
    "decode",
]
Numbers = dict[str, float]
# What the rounds of a comparison run: the older version, this one, and the older one once more, under another name.
Version = Literal["before", "after", "control"]
# More of these is better; of all other metrics, less is.
GAINS: Final = frozenset({"rate", "mb_s"})
# How many times as many runs as rounds are asked for are tried until enough are undisturbed.
MOST_TRIES: Final = 5
# "Not slower", within the noise that is granted.
MOST_SLOWER: Final = 1.03


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One way to do the work of a bench: a library, and the scenario of its module in `benches/peers`."""

    name: str
    module: str
    scenario: str
    # The distribution that must be installed; the side is left out where it isn't.
    needs: str
    # Or the program of a peer that is no Python library: on the path, or where the variable BENCH_<PROGRAM> says.
    program: str = ""
    # Messages per second for the first round, which finds the real rate.
    guess: int = 200_000
    # Method of the client that older versions of ours may lack: a comparison with one of these leaves the side out.
    method: str = ""
    # The interpreter of another version of the library, where a comparison runs one.
    python: str | None = None
    # The first client does not read.
    is_stalled: bool = False


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What an issue asks of one side: a ratio to a peer, or to the best of some, or (without any) a value."""

    scenario: str
    text: str
    ours: str
    metric: str
    peer: str | None = None
    best_of: tuple[str, ...] = ()
    # A value counts as far as it is above that of this side.
    beyond: str | None = None
    at_most: float | None = None
    at_least: float | None = None


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison."""

    name: str
    title: str
    kind: Kind
    method: str
    sides: tuple[Side, ...]
    bars: tuple[Bar, ...] = ()
    # What each round reports, in the order of the table's columns.
    metrics: tuple[str, ...]
    clients: int = 1
    # Messages that a server sends per event-loop turn, and frames that the feed writes at once.
    burst: int = 1
    per_write: int = 512
    # Messages per second of an open-loop schedule.
    rate: int = 0
    # Frames that the feed sends in place of the usual messages: a name of `_wires.WIRES`.
    wire: str = ""
    # What the bench's clients offer, as the load generator does.
    extensions: str = ""
    # Messages that may be on their way to the slowest sink; 0 leaves it to the process under test.
    window: int = 0
    # What idle clients are subscribed to: a channel each, whose name begins with this; and what subprotocol they offer.
    channel: str = ""
    subprotocol: str = ""
    # Channels that are published on, ten clients on each.
    channels: int = 0
    # Bytes of the one message that each idle connection sends first, and seconds it gets for giving memory back; or
    # bytes of the data in what is decoded.
    message_bytes: int = 0
    settle: float = 0.2
    # In a round of one second: drops, promotions.
    messages: int = 0
    # As many as rounds times this are run, to have enough that are undisturbed.
    tries: int = MOST_TRIES
    # With what a server ends each connection at once; 0: without a close frame.
    close_code: int = 0


class SideResult(msgspec.Struct, kw_only=True):
    """What one side reported in each of the rounds that count."""

    name: str
    rounds: list[Numbers] = []
    # Rounds that do not count, because the core was slower than its best: other guests of the host took their share.
    disturbed: int = 0

    def median(self, metric: str) -> float:
        """Return the median of `metric` over the rounds."""
        return median(numbers[metric] for numbers in self.rounds)

    def spread(self, metric: str) -> tuple[float, float]:
        """Return the least and the greatest value of `metric`."""
        values = [numbers[metric] for numbers in self.rounds]
        return min(values), max(values)


class Machine(msgspec.Struct, kw_only=True):
    """Where a bench ran."""

    cpu: str
    cores: int
    kernel: str
    python: str


class BenchResult(msgspec.Struct, kw_only=True):
    """One run of a bench: all that the report shows."""

    name: str
    title: str
    method: str
    metrics: list[str]
    bars: list[Bar]
    sides: list[SideResult]
    # Sides whose library was not installed.
    left_out: list[str]
    rounds: int
    seconds: float
    date: str
    commit: str
    machine: Machine
    versions: dict[str, str]

    def side(self, name: str) -> SideResult | None:
        """Return the side called `name`, if it ran."""
        return next((side for side in self.sides if side.name == name), None)


class MicroCase(SideResult, kw_only=True):
    """One case of a micro-bench: in each round the median (`ns`) and the least (`least_ns`) of one message."""

    group: str


class MicroResult(msgspec.Struct, kw_only=True):
    """One run of all micro-benches."""

    cases: list[MicroCase]
    bars: list[Bar]
    # Cases whose library was not installed, as `group/name`.
    left_out: list[str]
    rounds: int
    seconds: float
    date: str
    commit: str
    machine: Machine
    versions: dict[str, str]

    def side(self, name: str) -> MicroCase | None:
        """Return the case called `group/name`, if it ran."""
        return next((case for case in self.cases if f"{case.group}/{case.name}" == name), None)


class Ratio(NamedTuple):
    """The median of the ratios of rounds, and their quartiles."""

    low: float
    middle: float
    high: float


class ComparedCase(msgspec.Struct, kw_only=True):
    """What one side of a bench reported with two versions of the library, round by round that counts."""

    bench: str
    side: str
    metrics: list[str]
    rounds: list[dict[Version, Numbers]]
    # Rounds that do not count, because the core was slower than its best in one of their runs.
    disturbed: int = 0

    def median(self, version: Version, metric: str) -> float:
        """Return the median of `metric` over the rounds."""
        return median(numbers[version][metric] for numbers in self.rounds)

    def ratio(self, version: Version, metric: str) -> Ratio:
        """Compare `version` with the one before, within each round: above 1 is slower, whatever the metric."""
        pairs = [(numbers[version][metric], numbers["before"][metric]) for numbers in self.rounds]
        ratios = [before / value if metric in GAINS else value / before for value, before in pairs]
        # One round alone has no quartiles.
        return Ratio(*quantiles(ratios, method="inclusive")) if len(ratios) > 1 else Ratio(*ratios * 3)

    def within(self, metric: str) -> bool:
        """Tell whether this version is not slower than the one before, within what is granted to noise."""
        return self.ratio("after", metric).middle <= MOST_SLOWER

    def noisy(self, metric: str) -> bool:
        """Tell whether the version before differs from itself by more than what is granted to noise.

        Ratios of rounds that lie further apart, or all on one side, are noise alike.
        """
        control, granted = self.ratio("control", metric), MOST_SLOWER - 1
        return control.high - control.low > granted or abs(control.middle - 1) > granted


class Comparison(msgspec.Struct, kw_only=True):
    """This version against an older one, side by side."""

    cases: list[ComparedCase]
    rounds: int
    seconds: float
    date: str
    before: str
    commit: str
    machine: Machine
    versions: dict[str, str]


class Verdict(msgspec.Struct, frozen=True):
    """A bar against what was measured; `measured` is None where a side did not run."""

    bar: Bar
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met."""
        if self.measured is None:
            return None
        if self.bar.at_most is not None:
            return self.measured <= self.bar.at_most
        return self.bar.at_least is not None and self.measured >= self.bar.at_least


def judge(result: BenchResult | MicroResult) -> list[Verdict]:
    """Compare a result with its bars."""
    verdicts = []
    for bar in result.bars:
        ours = result.side(bar.ours)
        measured = ours.median(bar.metric) if ours else None
        peers = (bar.peer,) if bar.peer is not None else bar.best_of
        if peers and measured is not None:
            found = [peer.median(bar.metric) for peer in map(result.side, peers) if peer is not None]
            best = max if bar.metric in GAINS else min
            measured = measured / best(found) if found else None
        if bar.beyond is not None and measured is not None:
            usual = result.side(bar.beyond)
            measured = max(0.0, measured - usual.median(bar.metric)) if usual else None
        verdicts.append(Verdict(bar, measured))
    return verdicts


def save(result: BenchResult | MicroResult | Comparison, folder: Path = RESULTS) -> Path:
    """Write a result where the report is rendered from."""
    folder.mkdir(parents=True, exist_ok=True)
    match result:
        case MicroResult():
            path = folder / MICRO
        case Comparison():
            path = folder / COMPARISON
        case _:
            path = folder / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def load(folder: Path = RESULTS) -> dict[str, BenchResult]:
    """Read all results of end-to-end benches, by name of the bench."""
    paths = (path for path in sorted(folder.glob("*.json")) if path.name not in {MICRO, COMPARISON})
    results = (msgspec.json.decode(path.read_bytes(), type=BenchResult) for path in paths)
    return {result.name: result for result in results}


def load_micro(folder: Path = RESULTS) -> MicroResult | None:
    """Read the result of the micro-benches, if they have run."""
    path = folder / MICRO
    return msgspec.json.decode(path.read_bytes(), type=MicroResult) if path.exists() else None


def load_comparison(folder: Path = RESULTS) -> Comparison | None:
    """Read the comparison with an older version, if there was one."""
    path = folder / COMPARISON
    return msgspec.json.decode(path.read_bytes(), type=Comparison) if path.exists() else None


def file_name(row: str) -> str:
    """Return what files about a row of the micro-benches are called: its profile, its note."""
    return row.replace("/", "-")


def today() -> str:
    """Return the date in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")


def is_installed(module: str) -> bool:
    """Tell whether the library of a side can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # The package that it would be in.
        return False


def program(name: str) -> str | None:
    """Return where a peer's program is; None where it isn't installed."""
    return os.environ.get(f"BENCH_{name.upper()}") or shutil.which(name)


def is_there(side: Side) -> bool:
    """Tell whether all that a side needs is installed."""
    return is_installed(side.needs) and (not side.program or program(side.program) is not None)


def versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of what is installed."""
    found = {}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release().split('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def commit() -> str:
    """Return the commit that ran, with a mark when code differed from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "rust", "python", "benches", "hostile", ":!*/results")
    return f"{head}+changes" if changed else head


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10)
    return done.stdout.strip()


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

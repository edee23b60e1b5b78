"""Many cases: random types, random values of them, random mutations of valid bytes."""

import gc
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from tests.property.codec.chance import Chance, Format
from tests.property.codec.judging import Difference, Judge
from tests.property.codec.mutation import Mutator
from tests.property.codec.scheme import Scheme, scheme
from tests.property.codec.spelling import spelled

__all__ = ["FORMATS", "Failure", "Found", "compare"]

FORMATS: Final[tuple[Format, ...]] = ("json", "msgpack")
# Cases of one type before the next is made, in all formats; then the cost of making it is small.
_CASES_PER_TYPE: Final = 2000
_MUTATIONS: Final = 20
_SPELLINGS: Final = 2
_LONG: Final = 1000
_MOST_FAILURES: Final = 10


class Failure(msgspec.Struct, kw_only=True):
    """One case in which ours is not what msgspec makes of it."""

    index: int
    format: str
    strict: bool
    what: str
    payload: bytes
    source: str

    def __str__(self) -> str:
        """A program that shows it, with what is different above it."""
        if self.format == "protobuf":
            return (
                f"# type {self.index}, protobuf: {self.what}\n{self.source}\nimport websocket_utils\n"
                f"payload = {self.payload!r}\nprint(websocket_utils.schema.proto(ROOT))\n"
                "print(websocket_utils.Decoder(ROOT, format='protobuf').decode(payload))\n"
            )
        options = f"strict={self.strict}" + (", dec_hook=dec_hook" if "Custom" in self.source else "")
        return (
            f"# type {self.index}, {self.format}, strict={self.strict}: {self.what}\n{self.source}\n"
            "import websocket_utils\n"
            f"payload = {self.payload!r}\n"
            f"print(websocket_utils.Decoder(ROOT, format={self.format!r}, {options}).decode(payload))\n"
            f"print(msgspec.{self.format}.decode(payload, type=ROOT, {options}))\n"
        )


class Found(msgspec.Struct, kw_only=True):
    """What a run found."""

    seed: int
    formats: list[str]
    cases: int = 0
    types: int = 0
    # Types that msgspec has no decoder for: ours must have none either.
    no_types: int = 0
    # Decoders of ours with a plan, and all of them.
    compiled: int = 0
    decoders: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    # The type to go on with.
    end: int = 0
    failures: list[Failure] = []

    def add(self, other: "Found") -> None:
        """Count in what went on where this ended."""
        for name in ("cases", "types", "no_types", "compiled", "decoders", "accepted", "refused", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.end = other.end
        self.failures = [*self.failures, *other.failures]


def compare(cases: int, seed: int, formats: Sequence[Format] = FORMATS, *, first: int = 0) -> Found:
    """Compare that many cases, of types from the `first` of a seed on.

    A type that fails is left, and the run ends with the tenth.
    """
    found = Found(seed=seed, formats=list(formats))
    began = time.perf_counter()
    index = first
    was_enabled = gc.isenabled()
    # It would untrack tuples and dicts between two looks at them; nothing here is a cycle but the classes.
    gc.disable()
    try:
        while found.cases < cases and len(found.failures) < _MOST_FAILURES:
            _compare_type(found, index, min(_CASES_PER_TYPE, cases - found.cases))
            index += 1
            if index % 20 == 0:
                gc.collect()
    finally:
        if was_enabled:
            gc.enable()
    found.end = index
    found.seconds = time.perf_counter() - began
    return found


def _compare_type(found: Found, index: int, cases: int) -> None:
    seed = f"{found.seed}:{index}"
    made = scheme(seed)
    try:
        with made.loaded():
            judges = _judges(made, found)
            if not judges:
                found.no_types += 1
                return
            found.types += 1
            for at, judge in enumerate(judges):
                chance = Chance(f"{seed}:{at}")
                chance.format = judge.format
                try:
                    _compare_payloads(found, made, judge, chance, -(-cases // len(judges)))
                except Difference as difference:
                    found.failures.append(_failure(made, judge, at, index, difference))
                finally:
                    found.accepted += judge.accepted
                    found.refused += judge.refused
    except (TypeError, ValueError) as error:
        # A class that Python or msgspec refuses to make.
        if made.type is not None:
            raise
        found.no_types += 1
        del error


def _judges(made: Scheme, found: Found) -> list[Judge]:
    """Judges of a type in all formats, strict and not; none for what is no type to msgspec."""
    try:
        msgspec.json.Decoder(made.type)
    except TypeError:
        return []
    judges = [Judge(made, each, strict=strict) for each in FORMATS if each in found.formats for strict in (True, False)]
    found.decoders += len(judges)
    found.compiled += sum(judge.decoder.plan == "compiled" for judge in judges)
    return judges


def _failure(made: Scheme, judge: Judge, at: int, index: int, difference: Difference) -> Failure:
    return Failure(
        index=index,
        format=judge.format,
        strict=at % 2 == 0,
        what=str(difference),
        payload=difference.payload,
        source=made.source,
    )


def _compare_payloads(found: Found, made: Scheme, judge: Judge, chance: Chance, cases: int) -> None:
    end = found.cases + cases
    encode = msgspec.json.encode if judge.format == "json" else msgspec.msgpack.encode
    mutator = None
    while found.cases < end:
        wire = made.wire(chance)
        has_other_tag = judge.has_other_tags and isinstance(wire, dict) and chance.often(0.2)
        if has_other_tag:
            wire = judge.with_other_tag(wire)
        payload = encode(wire)
        mutator = Mutator(chance, payload, mutator)
        for candidate, closely in _candidates(chance, wire, mutator):
            judge.check(candidate, closely=closely, has_other_tag=has_other_tag)
            found.cases += 1


def _candidates(chance: Chance, wire: Any, mutator: Mutator) -> Iterator[tuple[bytes, bool]]:
    """Payloads of a value, and whether to look at what comes of them closely."""
    yield mutator.payload, True
    # A long one takes longer to write in another way than to decode many times.
    if len(mutator.payload) < _LONG or chance.often(0.1):
        for _ in range(_SPELLINGS):
            payload = spelled(chance, wire)
            yield payload, True
            yield mutator.with_other_bytes(payload), False
    for _ in range(_MUTATIONS):
        yield mutator.one(), False

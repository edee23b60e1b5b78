"""Many cases of Protocol Buffers: random classes, random messages of them, random mutations of their bytes."""

import gc
import time
from typing import Final

from tests.property.codec.chance import Chance
from tests.property.codec.comparing import Failure, Found
from tests.property.codec.protobuf_judging import ProtobufDifference, ProtobufJudge
from tests.property.codec.protobuf_payloads import Filler, Mutator
from tests.property.codec.protobuf_scheme import ProtobufScheme, protobuf_scheme

__all__ = ["PROTOBUF", "compare_protobuf"]

PROTOBUF: Final = "protobuf"
# Cases of one type before the next is made: Google's classes take long to make.
_CASES_PER_TYPE: Final = 2000
_MUTATIONS: Final = 20
_MOST_FAILURES: Final = 10


def compare_protobuf(cases: int, seed: int, *, first: int = 0) -> Found:
    """Compare that many cases with Google's library, of types from the `first` of a seed on.

    A type that fails is left, and the run ends with the tenth.
    """
    found = Found(seed=seed, formats=[PROTOBUF], end=first)
    began = time.perf_counter()
    while found.cases < cases and len(found.failures) < _MOST_FAILURES:
        _compare_type(found, found.end, min(_CASES_PER_TYPE, cases - found.cases))
        found.end += 1
        if found.end % 20 == 0:
            gc.collect()
    found.seconds = time.perf_counter() - began
    return found


def _compare_type(found: Found, index: int, cases: int) -> None:
    seed = f"{found.seed}:{index}"
    made = protobuf_scheme(seed)
    with made.loaded():
        judge = ProtobufJudge(made.type)
        found.types += 1
        found.decoders += 1
        found.compiled += judge.decoder.plan == "compiled"
        try:
            _compare_payloads(found, judge, Chance(f"{seed}:0"), cases)
        except ProtobufDifference as difference:
            found.failures.append(_failure(made, index, difference))
        finally:
            found.accepted += judge.accepted
            found.refused += judge.refused


def _failure(made: ProtobufScheme, index: int, difference: ProtobufDifference) -> Failure:
    return Failure(
        index=index,
        format=PROTOBUF,
        strict=True,
        what=str(difference),
        payload=difference.payload,
        source=made.source,
    )


def _compare_payloads(found: Found, judge: ProtobufJudge, chance: Chance, cases: int) -> None:
    end = found.cases + cases
    filler = Filler(judge.messages, chance)
    before = b""
    while found.cases < end:
        at = chance.one_of(judge.roots)
        message = judge.classes[at]()
        filler.root(message, at, with_tag=len(judge.roots) > 1)
        payload = message.SerializeToString()
        judge.check(payload, is_valid=True)
        mutator = Mutator(chance, payload, before)
        for _ in range(_MUTATIONS):
            judge.check(mutator.one())
        found.cases += 1 + _MUTATIONS
        before = payload

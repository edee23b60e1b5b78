"""Attack a server in every way of `hostile/attacks.py` and keep what it cost: `python hostile/run.py [NAME ...]`.

Linux only: peaks of memory are the kernel's own mark in /proc. With names nothing is kept.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._peer import answers_honestly
from hostile._results import BAR_KIB, AttackResult, Outcome, save
from hostile._subject import Subject
from hostile.attacks import ATTACKS, Attack
from websocket_utils import WebSocketConfig

# Seconds that the server gets to see that a peer is gone.
GONE_TIMEOUT = 5.0


def attack(one: Attack) -> Outcome:
    """Run one attack against a fresh server."""
    settings = {"max_connections": 100_000, **one.settings} if "max_connections" in _known() else one.settings
    limit = WebSocketConfig().max_message_size
    with Subject("hostile._server", json.dumps(settings)) as server:
        port = server.hear()["port"]
        # The first connection pays for what a process makes once.
        served = answers_honestly(port)
        script = one.script(port, limit)
        next(script)
        time.sleep(0.1)
        server.reset_peak()
        idle, cpu, began = server.resident_kib(), server.cpu_ms(), time.monotonic()
        try:
            next(script)
        except StopIteration as stop:
            ending = stop.value
        else:
            raise RuntimeError(f"{one.name} yields twice")
        seconds = time.monotonic() - began
        peak, cpu = server.peak_kib() - idle, server.cpu_ms() - cpu
        deadline = time.monotonic() + GONE_TIMEOUT
        while server.ask()["connections"] and time.monotonic() < deadline:
            time.sleep(0.05)
        kept = server.resident_kib() - idle
        served = served and answers_honestly(port)
        errors = server.ask()["loop_errors"]
    return Outcome(
        name=one.name,
        title=one.title,
        settings=one.settings,
        sent=ending.sent,
        peak_kib=max(0, peak),
        kept_kib=max(0, kept),
        how=ending.how,
        seconds=round(seconds, 2),
        cpu_ms=round(cpu, 1),
        loop_errors=len(errors),
        served=served,
    )


def run(attacks: Iterable[Attack]) -> tuple[list[Outcome], list[str]]:
    """Run attacks one after the other, and say in a line what each came to."""
    known = _known()
    outcomes, left_out = [], []
    for one in attacks:
        if not known.issuperset(one.settings):
            left_out.append(one.title)
            continue
        outcome = attack(one)
        outcomes.append(outcome)
        print(
            f"{'ok  ' if outcome.met else 'OVER'} {outcome.name:<20} sent {outcome.sent:>11,}  "
            f"peak +{outcome.peak_kib:>7,} KiB  kept +{outcome.kept_kib:>6,} KiB  {outcome.seconds:>5.2f} s  "
            f"{outcome.cpu_ms:>8.1f} ms  {outcome.how}"
            + ("" if outcome.served else "  NOT SERVED AFTERWARDS")
            + (f"  {outcome.loop_errors} ERRORS IN THE LOOP" if outcome.loop_errors else ""),
            flush=True,
        )
    return outcomes, left_out


def _known() -> set[str]:
    return {spec.name for spec in fields(WebSocketConfig)}


def main() -> int:
    """Run from the command line."""
    names = [one.name for one in ATTACKS]
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"attacks: {', '.join(names)}")
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks to run (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no attack called {', '.join(sorted(unknown))}")
    # Hundreds of connections at once, on both sides.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcomes, left_out = run(one for one in ATTACKS if not arguments.names or one.name in arguments.names)
    if not arguments.names:
        result = AttackResult(
            max_message_size=WebSocketConfig().max_message_size,
            attacks=outcomes,
            left_out=left_out,
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(("websocket_utils", "aiofastnet", "uvloop")),
        )
        print(f"kept in {save(result, 'attacks').relative_to(Path.cwd())}; render: python hostile/render.py")
    over = [outcome.name for outcome in outcomes if not outcome.met]
    if over:
        print(f"over {BAR_KIB} KiB, or harmful to others: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

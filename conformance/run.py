"""Run the Autobahn suite against this library in both roles, and compare with what is expected: `make autobahn`.

`AUTOBAHN_CASES` says which cases: `all` (the default), `core`, `sample` (core, and what CI takes of compression), or
patterns such as `6.4.*,7.1.2`.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trustme

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conformance import render
from conformance._endpoints import count_cases, echo_case, echo_server, write_report
from conformance.grades import (
    SETS,
    Comparison,
    Grades,
    compare,
    count,
    is_in,
    load_expected,
    parse_index,
    raised,
    save_expected,
)
from conformance.suite import FOLDER, WSTEST, SuiteError, install
from websocket_utils import run

ROLES = ("server", "client")
# Seconds. A case ends by itself within ten; the suite's own part of the compression set takes minutes.
CASE_TIMEOUT = 60
RUN_TIMEOUT = 1800


@dataclass(frozen=True)
class Plan:
    """One run of the suite."""

    role: str
    name: str
    patterns: tuple[str, ...]
    is_secure: bool
    compression: bool

    @property
    def title(self) -> str:
        """What it is called on the screen."""
        return f"{self.role} {self.name} {'wss' if self.is_secure else 'ws'}"

    @property
    def folder(self) -> Path:
        """Where the suite writes its reports."""
        return FOLDER / "out" / self.title.replace(" ", "-")


class Certificates:
    """A certificate for 127.0.0.1, made for this run alone; the suite reads it from files in `folder`."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.key, self.chain = folder / "key.pem", folder / "certificate.pem"
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.chain)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


def plans(cases: str, roles: Sequence[str]) -> list[Plan]:
    """Return the runs that `AUTOBAHN_CASES` asks for."""
    made: list[Plan] = []
    for role in roles:
        if cases in {"all", "core", "sample"}:
            made.append(Plan(role, "core", SETS["core"], is_secure=False, compression=False))
            made.append(Plan(role, "core", SETS["core"], is_secure=True, compression=False))
            if cases != "core":
                name = "compression" if cases == "all" else "sample"
                made.append(Plan(role, name, SETS[name], is_secure=False, compression=True))
        else:
            patterns = tuple(cases.split(","))
            compressed = tuple(pattern for pattern in patterns if pattern.split(".")[0] in {"12", "13"})
            plain = tuple(pattern for pattern in patterns if pattern not in compressed)
            if plain:
                made.append(Plan(role, "chosen", plain, is_secure=False, compression=False))
                made.append(Plan(role, "chosen", plain, is_secure=True, compression=False))
            if compressed:
                made.append(Plan(role, "chosen-deflate", compressed, is_secure=False, compression=True))
    return made


async def grade(plan: Plan, certificates: Certificates) -> Grades:
    """Run the suite once."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.mkdir(parents=True)
    async with asyncio.timeout(RUN_TIMEOUT):
        await (_grade_server if plan.role == "server" else _grade_client)(plan, certificates)
    return parse_index((plan.folder / "index.json").read_text("utf-8"))


async def _grade_server(plan: Plan, certificates: Certificates) -> None:
    context = certificates.server if plan.is_secure else None
    async with (
        echo_server(ssl=context, compression=plan.compression) as url,
        _wstest(plan, "fuzzingclient", servers=[{"agent": "websocket_utils", "url": f"{url}/"}]) as process,
    ):
        if await process.wait():
            raise SuiteError(f"the suite ended with {process.returncode}: {_log(plan)}")


async def _grade_client(plan: Plan, certificates: Certificates) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"{'wss' if plan.is_secure else 'ws'}://127.0.0.1:{port}"
    context = certificates.client if plan.is_secure else None
    tls = {"key": str(certificates.key), "cert": str(certificates.chain)} if plan.is_secure else {}
    async with _wstest(plan, "fuzzingserver", "-u", "0", url=url, **tls) as process:
        for case in range(1, await _first_answer(plan, process, url, context) + 1):
            async with asyncio.timeout(CASE_TIMEOUT):
                await echo_case(url, case, ssl=context, compression=plan.compression)
        await write_report(url, ssl=context)


async def _first_answer(plan: Plan, process: asyncio.subprocess.Process, url: str, context: Any) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await count_cases(url, ssl=context)
        except OSError:
            if process.returncode is not None or time.monotonic() > deadline:
                raise SuiteError(f"the suite's server does not answer: {_log(plan)}") from None
            # It says nowhere when it listens.
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _wstest(plan: Plan, mode: str, *options: str, **spec: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    path = plan.folder / "spec.json"
    cases = {"cases": plan.patterns, "exclude-cases": [], "exclude-agent-cases": {}}
    path.write_text(json.dumps({"outdir": str(plan.folder), **cases, **spec}), "utf-8")
    with _log(plan).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            WSTEST, "-m", mode, "-s", path, *options, cwd=plan.folder, stdout=log, stderr=asyncio.subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _log(plan: Plan) -> Path:
    return plan.folder / "wstest.log"


def tell(plan: Plan, comparison: Comparison) -> None:
    """Print how a run differs from what was expected, and where the suite says why."""
    print(f"{plan.title}: {'as expected' if comparison.is_as_expected else 'differs'}", flush=True)
    for case, (before, now) in comparison.worse.items():
        print(f"  WORSE: {case} is {' / '.join(now)}, expected was {' / '.join(before)}\n    {_why(plan, case)}")
    for case in comparison.missing:
        print(f"  MISSING: {case} did not run")
    for case, (before, now) in comparison.better.items():
        print(f"  better than expected: {case} is {' / '.join(now)}, expected was {' / '.join(before)}")
    if comparison.new:
        counted = ", ".join(f"{number} {word}" for word, number in count(comparison.new.values()).items() if number)
        print(f"  new: {counted}")
    if comparison.better or comparison.new:
        print("  to expect that from now on: make autobahn ARGS=--save")


def _why(plan: Plan, case: str) -> str:
    name = f"*_case_{case.replace('.', '_')}.json"
    again = replace(plan, name=f"{plan.name}-again").folder
    path = next(iter([*again.glob(name), *plan.folder.glob(name)]))
    report = json.loads(path.read_text("utf-8"))
    close = f"{report['resultClose']} (we sent {report['remoteCloseCode']} {report['remoteCloseReason'] or ''})"
    return f"{report['result']} {close}; see {path.with_suffix('.html').relative_to(FOLDER.parent)}"


async def grade_all(chosen: Sequence[Plan], *, save: bool) -> bool:
    """Run all plans and compare them; returns whether they pass."""
    rows: list[render.Row] = []
    passes = True
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        for plan in chosen:
            all_expected = load_expected(plan.role)
            expected = {case: due for case, due in all_expected.items() if is_in(case, plan.patterns)}
            started = time.monotonic()
            grades = await grade(plan, certificates)
            seconds = time.monotonic() - started
            loose = compare(expected, grades).loose
            if loose:
                # A real fault shows again.
                print(f"{plan.title}: once more, NON-STRICT was not expected: {', '.join(loose)}", flush=True)
                grades |= await grade(replace(plan, name=f"{plan.name}-again", patterns=tuple(loose)), certificates)
            comparison = compare(expected, grades)
            passes &= comparison.passes
            tell(plan, comparison)
            rows.append(render.Row.of(plan.role, plan.name, plan.is_secure, grades, seconds))
            if save:
                save_expected(plan.role, raised(all_expected, comparison))
    print()
    print(render.table(rows))
    if save:
        # Figures of cases that somebody chose are nobody else's.
        render.save(row for row in rows if row.name in SETS)
        print("written: conformance/expected, conformance/results.json and docs/CONFORMANCE.md")
    return passes


def main(arguments: Sequence[str]) -> int:
    """Run what the command line and `AUTOBAHN_CASES` ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--cases", default=os.environ.get("AUTOBAHN_CASES") or "all", help="all, core, sample or patterns"
    )
    parser.add_argument("--role", choices=ROLES, action="append", help="one role alone")
    parser.add_argument("--save", action="store_true", help="keep the figures, and expect from now on what is better")
    options = parser.parse_args(arguments)
    try:
        install()
        passes = run(grade_all(plans(options.cases, options.role or ROLES), save=options.save))
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 2
    print("passed" if passes else "FAILED: worse than conformance/expected")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

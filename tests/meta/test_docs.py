"""Runs every Python block of README.md and the guides, as a reader would: each in a process of its own.

A block marked ```` ```python background ```` is a server: it is started before the other blocks of its page, and
interrupted (Ctrl-C) after them. Only its port is changed, to a free one.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
BLOCK = re.compile(r"^```python( background)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The port that pages show; what runs takes a free one instead.
PORT_IN_PAGES = "8080"
SECONDS = 15


class Block(NamedTuple):
    line: int
    background: bool
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(text.count("\n", 0, match.start()) + 2, bool(match[1]), match[2]) for match in BLOCK.finditer(text)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(page: Path, block: Block, port: int, folder: Path) -> subprocess.Popen[str]:
    script = folder / f"{page.stem}_{block.line}.py"
    # Blank lines in front make a traceback's line numbers those of the page.
    code = "\n" * (block.line - 1) + block.code.replace(PORT_IN_PAGES, str(port))
    script.write_text(code, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(script)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("WS_")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"the background block does not listen:\n{process.communicate()[1]}")


@contextlib.contextmanager
def background(page: Path, block: Block, port: int, folder: Path) -> Iterator[None]:
    process = start(page, block, port, folder)
    try:
        wait_until_listening(process, port)
        yield
        assert process.poll() is None, f"the background block ended by itself:\n{process.communicate()[1]}"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode in {0, 130, -signal.SIGINT}, errors
        assert "never awaited" not in errors
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    port = free_port()
    blocks = blocks_of(page)
    assert blocks, f"{page.name} has no Python block"
    with contextlib.ExitStack() as servers:
        for block in filter(lambda block: block.background, blocks):
            servers.enter_context(background(page, block, port, tmp_path))
        for block in filter(lambda block: not block.background, blocks):
            process = start(page, block, port, tmp_path)
            try:
                output, errors = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(f"{page.name}:{block.line} ran longer than {SECONDS} s:\n{process.communicate()[1]}")
            assert process.returncode == 0, f"{page.name}:{block.line} failed:\n{output}{errors}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_names_a_language(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(fences[::2]), f"{page.name} has a block without a language, which no test looks at"


def test_readme_fits_its_budget() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 170


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda page: page.name
)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []

"""A page in a real browser that uses the client of edge/browser/, and what it has seen."""

import asyncio
import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Browser, missing_packages

__all__ = ["PROJECT", "Page", "built_module", "pages", "skip_without_what_is_needed"]

PROJECT = Path(__file__).resolve().parents[2] / "edge" / "browser"

# What is written down: each event, and each message with where it stands; bigint as text with an n.
_PAGE = """<!doctype html><meta charset="utf-8"><title>client</title><link rel="icon" href="data:,">
<script type="module">
import { connect } from "/websocket-utils.js";
const plain = (value) => JSON.parse(JSON.stringify(value, (key, one) =>
  typeof one === "bigint" ? one + "n" : one instanceof Uint8Array ? [...one] : one === undefined ? null : one));
window.log = [];
window.tokens = [];
window.asked = [];
window.begin = (url, options, names) => {
  if (tokens.length) options.token = (about) => {
    asked.push(about.refresh);
    if (tokens[0] === "throw") throw new Error(tokens.shift());
    return tokens.length > 1 ? tokens.shift() : tokens[0];
  };
  window.client = connect(url, options);
  for (const event of ["state", "gap", "lagged", "rejected", "error", "message"])
    client.on(event, (value) => log.push([event, plain(value)]));
  window.subscriptions = names.map(([name, slow]) => subscribe(name, slow));
};
window.subscribe = (name, slow) => client.subscribe(name, (message, at) =>
  log.push(["update", plain(message), plain(at)]), slow ? { slow } : {});
window.freezes = 0;
document.addEventListener("freeze", () => freezes++);
window.isReady = true;
</script>"""


def skip_without_what_is_needed(what: str) -> None:
    """Skip, and say what is missing."""
    if packages := missing_packages():
        pytest.skip(f"NOT RUN: {what} in a real browser, for want of the Debian packages {' and '.join(packages)}")
    if not (PROJECT / "node_modules" / ".bin" / "esbuild").exists() or shutil.which("npm") is None:
        pytest.skip(f"NOT RUN: {what}, for want of npm's packages in edge/browser: 'make edge' brings them")


def built_module() -> Path:
    """Build the client as it is shipped; its types are left to `npm run check`."""
    done = subprocess.run(
        ["npm", "run", "--silent", "bundle"], cwd=PROJECT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return PROJECT / "dist" / "websocket-utils.js"


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, *arguments: Any, module: bytes) -> None:
        self._module = module
        super().__init__(*arguments)

    def do_GET(self) -> None:  # the name is http.server's
        is_module = self.path == "/websocket-utils.js"
        body = self._module if is_module else _PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_module else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # the name is http.server's
        """Say nothing."""


@contextmanager
def pages(module: Path) -> Generator[str]:
    """Serve the page and the module; gives the page's URL."""
    handler = functools.partial(_Handler, module=module.read_bytes())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class Page:
    """The page, opened anew for each test."""

    def __init__(self, window: Browser, url: str) -> None:
        self.window = window
        self._url = url

    async def open(self) -> None:
        await asyncio.to_thread(self.window.open, self._url)
        await self.until("return window.isReady", bool)

    async def run(self, script: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(self.window.run, script, *arguments)

    async def begin(
        self, url: str, *names: str | tuple[str, str], tokens: tuple[str, ...] = (), **options: Any
    ) -> None:
        """Connect, with every wait short, and subscribe."""
        brisk = {"backoff": {"first": 0.02, "base": 0.05, "longest": 0.3}, **options}
        wishes = [[name] if isinstance(name, str) else list(name) for name in names]
        await self.run("window.tokens = arguments[3]; begin(...arguments)", url, brisk, wishes, list(tokens))

    async def until(self, script: str, wanted: Callable[[Any], object], seconds: float = 10) -> Any:
        """Wait until what a script returns in the page is as wanted; tells what it was otherwise."""
        value: Any = None
        try:
            async with asyncio.timeout(seconds):
                # A page tells nobody when it has changed.
                while not wanted(value := await self.run(script)):  # noqa: ASYNC110  # as said
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log = json.dumps(await self.run("return log.slice(-20)"))
            pytest.fail(f"the page still has {json.dumps(value)[:2000]}; the last events are {log[:4000]}")
        return value

    async def until_state(self, state: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until it was in a state so often; returns all changes to it."""
        script = f"return log.filter(([event, value]) => event === 'state' && value.state === '{state}')"
        found = await self.until(script, lambda changes: len(changes) >= count)
        return [value for _, value in found]

    async def until_seen(self, count: int, seconds: float = 10) -> list[Any]:
        """Wait for so many messages of channels; returns them."""
        counted = "return log.filter(([event]) => event === 'update').length"
        await self.until(counted, lambda seen: seen >= count, seconds)
        return [message for message, _ in await self.seen()]

    async def seen(self) -> list[tuple[Any, dict[str, Any]]]:
        """Messages of channels, each with where it stands."""
        found = await self.run("return log.filter(([event]) => event === 'update')")
        return [(message, at) for _, message, at in found]

    async def of(self, event: str) -> list[Any]:
        """What was told of one kind."""
        return [value for kind, value, *_ in await self.run("return log") if kind == event]

    async def window_shows(self) -> None:
        """What a browser tells a page that was hidden. A headless one never hides it."""
        await self.run("document.dispatchEvent(new Event('visibilitychange'))")

    async def end(self) -> None:
        await self.run("window.client?.close()")

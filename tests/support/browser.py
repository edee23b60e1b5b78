"""A real browser, driven by the WebDriver protocol (W3C) over the standard library's HTTP client."""

import base64
import contextlib
import http.client
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

NEEDED = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""Programs, each with the Debian package that brings it."""

# As root in a container there is no sandbox, and nothing but the page is to be asked for anything.
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,1000",
    "--hide-scrollbars",
]
_SECONDS = 60
_STARTED = re.compile(r"started successfully on port (\d+)")


class BrowserError(Exception):
    """The browser did not do what it was told."""


class Browser:
    """One window of a browser. Its calls block: use `asyncio.to_thread` where a server lives on the event loop."""

    def __init__(self, port: int, profile: str) -> None:
        self._port = port
        options = {"binary": shutil.which("chromium"), "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
        self._session = ""
        self._session = "/" + self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        with contextlib.closing(connection):
            prefix = f"/session{self._session}" if self._session else ""
            connection.request(method, prefix + path, None if method == "GET" else json.dumps(body or {}))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        if answer.status != http.client.OK:
            raise BrowserError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page, and return what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: Any) -> Any:
        """The same; the function calls its last argument when it is done."""
        return self._ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def type(self, selector: str, text: str) -> None:
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{next(iter(found.values()))}/value", {"text": text})

    def point(self, x: int, y: int) -> None:
        """Move the pointer to a place of the window."""
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 0}]
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}
        self._ask("POST", "/actions", {"actions": [pointer]})

    def develop(self, command: str, **parameters: Any) -> Any:
        """Send a command of the browser's own debugging protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Be a screen of so many pixels, of somebody who likes it `light` or `dark`."""
        self.develop(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.develop("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self) -> bytes:
        """The whole page as a PNG file."""
        shot = self.develop("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def requested(self) -> list[str]:
        """URLs that pages have asked for since the last call."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the browser has written to its console since the last call: errors, and what a policy forbade."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def colours(self, png: bytes) -> int:
        """How many colours a picture has. Leaves the page."""
        self.open("about:blank")
        count = self.run_async(_COUNT_COLOURS, base64.b64encode(png).decode())
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        self._ask("DELETE", "")


_COUNT_COLOURS = """
const [data, done] = arguments, image = new Image();
image.onload = () => {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  done(new Set(pixels).size);
};
image.src = "data:image/png;base64," + data;
"""


def missing_packages() -> list[str]:
    """Debian packages without which there is no browser here."""
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, with a new profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen(
            [shutil.which("chromedriver") or "", "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert driver.stdout is not None
        try:
            started = next(filter(None, map(_STARTED.search, driver.stdout)), None)
            if started is None:
                raise BrowserError("the driver did not start")
            window = Browser(int(started[1]), profile)
            try:
                yield window
            finally:
                window.close()
        finally:
            driver.terminate()
            driver.communicate(timeout=_SECONDS)

"""The processes of a run, and what goes wrong with them."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from typing import Any

from benches._results import ROOT

# Seconds that one run may take, start of its processes included.
TIMEOUT = 60


class BenchError(Exception):
    """A run failed, or its result is wrong."""


class Child:
    """A process that talks in JSON lines, and ends with the block that it belongs to."""

    def __init__(self, command: list[str]) -> None:
        self._name = " ".join(command[-3:])
        # Not closed by a block: it lives as long as the process that writes to it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._text = b""

    def hear(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Return the next line that the process says."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise BenchError(f"{self._name}: nothing heard for {timeout:.0f} s")
            data = os.read(self._process.stdout.fileno(), 65_536)
            if not data:
                raise BenchError(f"{self._name} ended too early:\n{self._last_words()}")
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        values: dict[str, Any] = json.loads(line)
        return values

    def tell(self, command: str) -> None:
        """Say `command` to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End the process and close what leads to it."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode(errors="replace")

"""The process under attack, seen from outside: how it is started, what it holds, what it cost."""

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
# Seconds within which the process has to say what it was asked for, the start of an interpreter included.
ANSWER_TIMEOUT = 20.0


class SubjectError(Exception):
    """The process under attack is gone, or says nothing any more."""


class Subject:
    """A process that talks in JSON lines, and ends with the block it belongs to. Linux only: it is watched by /proc."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Peers that break the protocol are logged: thousands of lines that nobody asked for.
            stderr=subprocess.DEVNULL,
        )
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.communicate()

    def hear(self, seconds: float = ANSWER_TIMEOUT) -> dict[str, Any]:
        """Return the next line that the process says."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise SubjectError(f"{self._name} said nothing for {seconds:.0f} s")
            data = os.read(self._process.stdout.fileno(), 65_536)
            if not data:
                raise SubjectError(f"{self._name} ended with status {self._process.wait()}")
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        values: dict[str, Any] = json.loads(line)
        return values

    def ask(self, command: str = "stats", seconds: float = ANSWER_TIMEOUT) -> dict[str, Any]:
        """Return what the process answers: by itself, what it counted so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        return self.hear(seconds)

    def resident_kib(self) -> int:
        """Return the memory that it holds now, in KiB."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """Return the most that it held since `reset_peak`, in KiB: the kernel's own mark, which misses nothing."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new peak (`5` is the kernel's word for it, see proc(5))."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5", encoding="ascii")

    def cpu_ms(self) -> float:
        """Return the CPU time of its main thread so far, in milliseconds; the kernel's work for it included."""
        text = Path(f"/proc/{self._process.pid}/schedstat").read_text(encoding="ascii")
        return int(text.split()[0]) / 1e6

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def limit_descriptors(self, most: int) -> None:
        """Let it open no more than so many descriptors."""
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (most, most))

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise SubjectError(f"{self._name} is gone: the kernel has no {name} of it")

"""Serves a Python function by the code that `vercel dev` runs, `vercel-runtime`, without a login.

    target/vercel-python/bin/python edge/vercel/dev/serve_python.py api/publish_price.py

Prints one line of JSON on stdout when it listens: `{"api/publish_price.py": "http://127.0.0.1:PORT"}`; everything else
is on stderr. Ends with its standard input, or by Ctrl-C.
"""

import importlib
import json
import logging
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

PROJECT = Path(__file__).resolve().parent.parent
LISTENS = re.compile(r"running on (http://127\.0\.0\.1:\d+)")


def end_with_stdin() -> None:
    """Wait for the end of what started this, and end at once."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


class Listening(logging.Handler):
    """Prints where the server listens, once it says so."""

    def __init__(self, entrypoint: str, output: TextIO) -> None:
        super().__init__()
        self.entrypoint = entrypoint
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print the address of the record that has one."""
        found = LISTENS.search(record.getMessage())
        if found:
            self.output.write(json.dumps({self.entrypoint: found[1]}) + "\n")
            self.output.flush()


def main() -> None:
    """Serve the function that is named by the first argument."""
    entrypoint = sys.argv[1]
    path = PROJECT / entrypoint
    # What anything prints from here on is no announcement.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.chdir(PROJECT)
    sys.path.insert(0, str(PROJECT))
    os.environ |= {
        "PORT": "0",
        "NO_COLOR": "1",
        "VERCEL_DEV_MODULE_NAME": ".".join(Path(entrypoint).with_suffix("").parts),
        "VERCEL_DEV_ENTRY_ABS": str(path),
        "VERCEL_DEV_FRAMEWORK": "python",
        "VERCEL_DEV_VARIABLE_NAME": "app",
    }
    threading.Thread(target=end_with_stdin, daemon=True).start()
    # Imported by now, it reads the variables.
    dev: Any = importlib.import_module("vercel_runtime.dev")

    # The application of `vercel dev`, on the server of `vercel dev`, in this process: its own `main` watches files and
    # starts a process for each change, whose port it does not tell.
    logged = dev._build_uvicorn_log_config()
    config = dev.vendored_uvicorn.Config(dev.asgi_app, host="127.0.0.1", port=0, log_config=logged)
    logging.getLogger("uvicorn.error").addHandler(Listening(entrypoint, output))
    dev.vendored_uvicorn.Server(config).run()


if __name__ == "__main__":
    main()

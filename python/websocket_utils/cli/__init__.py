"""The command line: `websocket-utils`, or `python -m websocket_utils`. It is described in docs/guides/cli.md."""

import importlib
import sys
from collections.abc import Sequence

__all__ = ["main"]

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: Words of the command; None takes those of the process.

    Returns:
        0 when all went well, 1 when something failed, 2 when the command was called wrongly or something it needs is
        not installed, 130 when Ctrl-C cut it short.
    """
    try:
        # Here, because the library works without them and its import must not pay for them.
        for library in ("click", "rich"):
            importlib.import_module(library)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"websocket-utils: the command line needs {error.name}, which is not installed: "
            "pip install 'websocket_utils[cli]'\n"
        )
        return _USAGE
    from websocket_utils.cli._app import run_command  # noqa: PLC0415

    return run_command(arguments)

"""The command `websocket-utils`, also `python -m websocket_utils`; needs the extra `cli`."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; where its libraries are missing, say what to install.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage or not installed.
    """
    try:
        # Here and not above: the import is what fails without the extra.
        from .cli import main as run_command_line  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if missing.name not in {"click", "rich"}:
            raise
        sys.stderr.write(
            f"The command line needs {missing.name}, which is not installed: pip install 'websocket_utils[cli]'\n"
        )
        return 2
    return run_command_line() or 0


if __name__ == "__main__":
    sys.exit(main())

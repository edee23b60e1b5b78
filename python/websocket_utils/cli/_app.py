"""The group of all commands, and the one place where a failure becomes a line and an exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from websocket_utils.cli._bench import bench
from websocket_utils.cli._demo import demo
from websocket_utils.cli._failures import EXPECTED, Failure, one_line
from websocket_utils.cli._feed import feed
from websocket_utils.cli._laserstream import laserstream
from websocket_utils.cli._output import OutputClosed
from websocket_utils.cli._record import record
from websocket_utils.cli._schema import schema
from websocket_utils.cli._send import send
from websocket_utils.cli._tail import tail
from websocket_utils.cli._worker import worker
from websocket_utils.exceptions import ConfigError, InvalidURL

_FAILED, _CALLED_WRONGLY, _INTERRUPTED = 1, 2, 130


@dataclass(slots=True)
class _Run:
    """What the options that every command has say about this run."""

    debug: bool = False


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(_Run).debug = True


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all went well, 1 something failed, 2 called wrongly, 130 cut short by Ctrl-C.",
)
@click.version_option(package_name="websocket_utils", prog_name="websocket-utils")
def _commands() -> None:
    r"""Serve, watch and test WebSocket feeds of typed messages.

    \b
    A first look:
      websocket-utils demo
      websocket-utils tail wss://your.server/stream --count 5
    """


for _command in (demo, feed, laserstream, record, tail, send, schema, bench, worker):
    _command.params.append(
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks of failures."
        )
    )
    _commands.add_command(_command)


def run_command(arguments: Sequence[str] | None) -> int:
    """Run one command and return its exit code; every failure is one line on stderr."""
    run = _Run()
    with _logging(run):
        return _run(arguments, run)


def _run(arguments: Sequence[str] | None, run: _Run) -> int:
    try:
        code = _commands.main(
            args=None if arguments is None else list(arguments),
            prog_name="websocket-utils",
            standalone_mode=False,
            obj=run,
        )
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _say(error.format_message() + _where_help_is(error))
        return error.exit_code
    except OutputClosed:
        # Whoever read us has enough, as `head` does. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except (ConfigError, InvalidURL) as error:
        _say(one_line(error))
        return _CALLED_WRONGLY
    except (Failure, *EXPECTED) as error:
        if run.debug:
            traceback.print_exc()
        _say(one_line(error))
        return _FAILED
    except Exception as error:  # noqa: BLE001  # a user gets a line and what to do, whatever we did wrong
        if run.debug:
            traceback.print_exc()
        _say(
            f"unexpected {type(error).__name__}: {one_line(error)}; this is a fault of websocket-utils: "
            "run it again with --debug and report what it shows"
        )
        return _FAILED


@contextmanager
def _logging(run: _Run) -> Generator[None]:
    """Show what our own loggers warn of as lines like any other, and what other libraries log with --debug alone."""

    def wanted(record: logging.LogRecord) -> bool:
        if run.debug:
            return True
        # The end of a client is raised as well, and becomes the command's own line.
        is_end = record.levelno == logging.ERROR and not record.exc_info
        return record.name.startswith("websocket_utils.") and not is_end

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("websocket-utils: %(message)s"))
    handler.addFilter(wanted)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _where_help_is(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context is not None else ""


def _say(text: str) -> None:
    sys.stderr.write(f"websocket-utils: {text}\n")

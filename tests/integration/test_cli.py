"""The commands as a user starts them: processes, pipes, signals and terminals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets.asyncio.server as peer
from tests.integration.commands import COMMAND, ENVIRONMENT, SECONDS, command, feed, finish, start

from websocket_utils.cli import main

# The commands choose their own event loop: on which one a test waits for them is no matter.
pytestmark = pytest.mark.one_loop

CHANNELS = "prices:SOL-USDC,prices:JUP-USDC"


@asynccontextmanager
async def server(handle: Callable[[peer.ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """Somebody else's server."""
    async with peer.serve(handle, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"


# --- feed and tail ---


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_tail_prints_a_feed_as_json_lines(codec: str) -> None:
    async with feed("--rate", "2000") as url:
        code, output, errors = await command("tail", url, "--channels", CHANNELS, "--count", "20", "--codec", codec)
    messages = [json.loads(line) for line in output.splitlines()]
    assert (code, len(messages), errors) == (0, 20, f"connected to {url}\n")
    assert {message["type"] for message in messages} == {"PriceUpdate"}
    assert len({message["input_mint"] for message in messages}) == 2


async def test_tail_typed_prints_the_same_for_all_codecs() -> None:
    async with feed("--rate", "2000") as url:
        for codec in ("json", "msgpack", "protobuf"):
            arguments = ("tail", url, "--channels", CHANNELS, "--count", "2", "--typed", "--codec", codec)
            code, output, _ = await command(*arguments)
            assert code == 0
            assert [json.loads(line)["type"] for line in output.splitlines()] == ["PriceUpdate"] * 2


async def test_tail_shows_any_server_and_ends_well_when_it_closes() -> None:
    async def handle(connection: peer.ServerConnection) -> None:
        assert connection.request is not None
        await connection.send(connection.request.headers["X-Key"])
        await connection.send("two\nlines")
        await connection.send(b"\x00\xff")

    async with server(handle) as url:
        code, output, errors = await command("tail", url, "--header", "X-Key: a: b")
    assert (code, output) == (0, "a: b\ntwo\\nlines\n00ff\n")
    assert "the server closed the connection after 3 messages" in errors


async def test_tail_typed_tells_what_is_no_message_and_goes_on() -> None:
    async def handle(connection: peer.ServerConnection) -> None:
        for text in ('{"type":"Ping"}', "nonsense", '{"type":"Pong"}'):
            await connection.send(text)

    async with server(handle) as url:
        code, output, errors = await command("tail", url, "--typed")
    assert (code, output) == (0, '{"type":"Ping"}\n{"type":"Pong"}\n')
    assert "cannot decode the json message" in errors


async def test_tail_of_a_lost_connection_fails_with_one_line() -> None:
    async def handle(connection: peer.ServerConnection) -> None:
        await connection.send("last")
        await connection.close(1011, "overloaded")

    async with server(handle) as url:
        code, output, errors = await command("tail", url)
    assert (code, output) == (1, "last\n")
    connected, lost = errors.splitlines()
    assert connected == f"connected to {url}"
    assert lost.startswith(f"websocket-utils: lost {url}: ")
    assert "1011 (overloaded)" in lost


async def test_tail_ends_after_its_seconds_and_prints_rates() -> None:
    async with feed() as url:
        code, output, errors = await command("tail", url, "--channels", CHANNELS, "--seconds", "1.5", "--stats")
    assert code == 0
    assert output.count("\n") > 50
    assert "msg/s" in errors


async def test_tail_ends_well_when_its_reader_is_gone() -> None:
    async with feed() as url:
        process = subprocess.Popen(  # noqa: ASYNC220  # asyncio has no way to close its end of stdout
            [*COMMAND, "tail", url, "--channels", CHANNELS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        code = await asyncio.to_thread(process.wait, SECONDS)
        errors = process.stderr.read().decode()
        process.stderr.close()
    assert (code, errors) == (0, f"connected to {url}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_and_termination_end_tail_and_feed_well(number: signal.Signals) -> None:
    feeding = await start("feed", "--host", "127.0.0.1", "--port", "0")
    assert feeding.stdout is not None
    url = (await feeding.stdout.readline()).decode().split()[-1]
    tailing = await start("tail", url, "--channels", CHANNELS)
    assert tailing.stdout is not None
    await tailing.stdout.readline()
    for process in (tailing, feeding):
        process.send_signal(number)
        code, _, errors = await finish(process, None)
        assert code == 0, errors
        assert "Traceback" not in errors


async def test_feed_on_a_port_in_use_says_which_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, errors = await command("feed", "--host", "127.0.0.1", "--port", str(port))
    assert (code, output) == (1, "")
    assert errors == (
        f"websocket-utils: port {port} on 127.0.0.1 is in use: choose another with --port, "
        "or --port 0 for any free one\n"
    )


# --- send ---


async def test_send_makes_messages_of_lines_and_prints_answers() -> None:
    async with feed() as url:
        for codec in ("json", "msgpack", "protobuf"):
            given = b'{"type":"Ping"}\n\n{"type":"ping"}'
            result = await command("send", url, "--wait", "0.3", "--codec", codec, given=given)
            assert result == (0, '{"type":"Pong"}\n' * 2, "sent 2 messages\n")


async def test_send_stops_at_a_broken_line_with_its_number() -> None:
    async with feed() as url:
        code, output, errors = await command(
            "send", url, given=b'{"type":"Ping"}\n{"type":"Subscribe","channels":[1]}\n'
        )
    assert (code, output) == (1, "")
    assert errors.startswith("sent 1 message\nwebsocket-utils: line 2: Expected `str`, got `int` - at `$.channels[0]`")


async def test_send_raw_to_an_echo_that_is_read_while_it_is_fed() -> None:
    async def echo(connection: peer.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    lines = [f"{n} {'x' * 1000}" for n in range(8000)]
    async with server(echo) as url:
        code, output, errors = await command("send", url, "--raw", "--wait", "3", given="\n".join(lines).encode())
    assert (code, errors) == (0, "sent 8,000 messages\n")
    assert output.splitlines() == lines


async def test_send_from_a_file_and_to_a_server_that_goes(tmp_path: Path) -> None:
    async def leave(connection: peer.ServerConnection) -> None:
        await connection.recv()

    path = tmp_path / "lines"
    path.write_text("hello\n")
    async with server(leave) as url:
        with path.open("rb") as file:
            assert await finish(await start("send", url, "--raw", stdin=file.fileno()), None) == (
                0,
                "",
                "sent 1 message\n",
            )
        # Its input stays open: the end of the connection ends it.
        process = await start("send", url, "--raw")
        assert process.stdin is not None
        process.stdin.write(b"hello\n")
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 1
        code, _, errors = await finish(process)
    assert code == 1
    assert "the server closed the connection before the end of the input" in errors


async def test_ctrl_c_before_the_end_of_the_input_is_an_exit_code_of_its_own() -> None:
    async def echo(connection: peer.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with server(echo) as url:
        process = await start("send", url, "--raw", "--wait", "9")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        assert await process.stdout.readline() == b"hello\n"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 130
        _, _, errors = await finish(process)
    # The empty line is click's: it ends the one in which a terminal shows ^C.
    assert errors == "sent 1 message\n\n"


# --- demo ---


async def test_demo_without_a_terminal_prints_lines_and_a_summary() -> None:
    code, output, errors = await command("demo", "--seconds", "2.5")
    assert (code, errors) == (0, "")
    *lines, summary = output.splitlines()
    assert len(lines) == 2
    assert all("msg/s  age p50" in line and "SOL-USDC" in line for line in lines)
    assert summary.startswith("received ")


async def test_demo_on_a_terminal_shows_a_table_until_ctrl_c() -> None:
    ours, theirs = os.openpty()
    process = await start("demo", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        async with asyncio.timeout(SECONDS):
            while shown.count(b"mSOL-SOL") < 2:
                shown += await asyncio.to_thread(os.read, ours, 65_536)
            process.send_signal(signal.SIGINT)
            while b"received " not in shown:
                shown += await asyncio.to_thread(os.read, ours, 65_536)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    assert b"age p50 us" in shown
    assert b"Traceback" not in shown


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tail", "http://x"), 2, "the scheme is 'http'"),
        (("tail", "ws://127.0.0.1:1"), 1, "refused: no server listens there"),
        (
            ("tail", "ws://user:secret@name.invalid"),
            1,
            "cannot connect to ws://name.invalid: the host's name is not known",
        ),
        (("tail",), 2, "Missing argument 'URL'. (see websocket-utils tail --help)"),
        (("tail", "ws://x", "--header", "nonsense"), 2, "'nonsense' is no header; write 'Name: value'"),
        (("feed", "--markets", "X"), 2, "no market 'X'; there are SOL-USDC"),
        (("feed", "--speed", "0"), 2, "'0' is neither 'max' nor a factor above 0"),
        (("feed", "--port", "70000"), 2, "port: must be at most 65535"),
        (("feed", "--host", "203.0.113.7"), 1, "203.0.113.7 is no address of this machine"),
        (("feed", "--replay", "missing.jsonl"), 1, "missing.jsonl: No such file or directory"),
        (("bench", "nonsense"), 2, "no bench 'nonsense'; there are"),
        (("nonsense",), 2, "No such command 'nonsense'"),
    ],
)
def test_failure_is_one_line_on_stderr(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors
    assert errors.startswith("websocket-utils: ")
    assert errors.count("\n") == 1


async def test_secure_url_of_a_plain_server_is_one_line() -> None:
    async def handle(_: peer.ServerConnection) -> None: ...

    async with server(handle) as url:
        code, _, errors = await command("tail", url.replace("ws:", "wss:"))
    assert code == 1
    assert "ws://" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("status", "advice"), [(401, "check the credentials"), (404, "check the path")])
async def test_refused_handshake_names_the_status(status: int, advice: str) -> None:
    def refuse(connection: peer.ServerConnection, _: object) -> object:
        return connection.respond(status, "no")

    async def handle(_: peer.ServerConnection) -> None: ...

    async with peer.serve(handle, "127.0.0.1", 0, process_request=refuse) as listening:  # type: ignore[arg-type]  # it may be a function
        port = next(iter(listening.sockets)).getsockname()[1]
        code, _, errors = await command("tail", f"ws://127.0.0.1:{port}/x")
    assert code == 1
    assert str(status) in errors
    assert advice in errors
    assert errors.count("\n") == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "ws://127.0.0.1:1", "--debug"]) == 1
    errors = capsys.readouterr().err
    assert "Traceback" in errors
    assert errors.splitlines()[-1].startswith("websocket-utils: cannot connect")


@pytest.mark.parametrize("name", ["demo", "feed", "laserstream", "record", "tail", "send", "bench"])
def test_help_has_examples_and_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert f"\n    websocket-utils {name}" in output or f"| websocket-utils {name}" in output
    assert "Exit codes: 0" in output


@pytest.mark.parametrize("missing", ["click", "rich"])
async def test_without_its_libraries_it_says_what_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from websocket_utils.cli import main; sys.exit(main(['--help']))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    result, output, errors = await finish(process, None)
    assert (result, output) == (2, "")
    assert errors == (
        f"websocket-utils: the command line needs {missing}, which is not installed: "
        "pip install 'websocket_utils[cli]'\n"
    )

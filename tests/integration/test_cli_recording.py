"""The commands that write recordings and serve them, as a user starts them."""

import json
import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tests.integration.commands import command, feed

# The commands choose their own event loop: on which one a test waits for them is no matter.
pytestmark = pytest.mark.one_loop


# --- replay ---


def recording(path: Path, count: int, step: int = 1) -> Path:
    lines = (
        {"type": "PriceUpdate", "input_mint": "A", "output_mint": "B", "price": n, "timestamp": n * step}
        for n in range(count)
    )
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


@pytest.mark.parametrize("options", [(), ("--speed", "max", "--broadcast"), ("--speed", "2")])
async def test_replay_begins_with_the_first_listener_and_loses_nothing(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = recording(tmp_path / "r.jsonl", 3000)
    async with feed("--replay", str(path), *options) as url:
        code, output, errors = await command("tail", url, "--channels", "prices:A/B")
    assert code == 0, errors
    assert [json.loads(line)["price"] for line in output.splitlines()] == list(range(3000))


async def test_replay_of_a_file_broken_in_line_3_serves_nothing_and_says_where(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", 2)
    with path.open("a") as file:
        file.write('{"type":"PriceUpdate","input_mint":"A","output_mint":"B","price":"high","timestamp":3}\n')
    code, output, errors = await command("feed", "--host", "127.0.0.1", "--port", "0", "--replay", str(path))
    assert (code, output) == (1, "")
    assert errors.startswith(f"websocket-utils: {path}, line 3: Expected `float`, got `str` - at `$.price`")
    assert errors.count("\n") == 1


# --- record ---


async def test_recorded_channel_is_served_again_by_a_feed(tmp_path: Path) -> None:
    path, again = tmp_path / "r.jsonl", tmp_path / "again.jsonl"
    options = ("--channel", "prices:SOL-USDC", "--count", "50")
    async with feed("--rate", "2000") as url:
        code, output, errors = await command("record", url, str(path), *options)
        assert (code, output) == (0, ""), errors
        assert f"recorded 50 messages in {path}" in errors
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 50
    assert {line["channel"] for line in lines} == {"prices:SOL-USDC"}
    assert all(one["at"] <= other["at"] for one, other in pairwise(lines))
    async with feed("--replay", str(path), "--speed", "max") as url:
        code, _, errors = await command("record", url, str(again), *options)
        assert code == 0, errors
    served = [json.loads(line) for line in again.read_text().splitlines()]
    assert [(line["channel"], line["message"]) for line in served] == [
        (line["channel"], line["message"]) for line in lines
    ]


async def test_record_into_a_file_that_is_there_says_so_and_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("kept")
    code, output, errors = await command("record", "ws://127.0.0.1:9", str(path), "--channel", "prices:*")
    assert (code, output) == (1, "")
    assert errors == f"websocket-utils: {path} is there already: choose another name, or move it away\n"
    assert path.read_text() == "kept"


async def test_record_from_a_server_that_is_not_there_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    code, output, errors = await command("record", "ws://127.0.0.1:9", str(path), "--channel", "prices:*")
    assert (code, output) == (1, "")
    assert errors.startswith("websocket-utils: cannot connect to ws://127.0.0.1:9")
    assert os.listdir(tmp_path) == []

"""Reading files of recorded publications: both kinds of line, and what is wrong with any other."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import Message, Ping, PriceUpdate, RecordingError, read_recording
from websocket_utils._recorded import MAX_LINE, check_recording, part_of


class Fill(Message):
    price: float


def price(timestamp: int, **fields: object) -> dict[str, object]:
    return {
        "type": "PriceUpdate",
        "input_mint": "SOL",
        "output_mint": "USDC",
        "price": 1.5,
        "volume": 1,
        "timestamp": timestamp,
        **fields,
    }


def write(path: Path, *lines: object) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def entry(at: object = 1, channel: object = "prices:a", **fields: object) -> dict[str, object]:
    return {"at": at, "channel": channel, **(fields or {"message": {"type": "Ping"}})}


def test_recording_is_read_in_order_without_its_empty_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", price(1), "", "  ", price(2, type="price_update"), {"type": "Ping"})
    entries = list(read_recording(path))
    assert [type(entry.message) for entry in entries] == [PriceUpdate, PriceUpdate, Ping]
    assert check_recording(path) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"type":"PriceUpdate","input_mint":3}', "`$.input_mint`"),
        ('{"type":"Nope"}', "unknown tag 'Nope'"),
        ('{"type":', "truncated"),
        ("[1]", "$"),
        ('{"type":"PriceUpdate"}', "input_mint"),
        ("[" * 5000, ""),
    ],
)
def test_fault_in_line_3_names_file_line_path_and_what_to_do(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "broken.jsonl", price(1), "", line, price(2))
    with pytest.raises(RecordingError) as caught:
        check_recording(path)
    assert caught.value.line == 3
    text = str(caught.value)
    assert text.startswith(f"{path}, line 3: ")
    assert reason in text
    assert "correct the line or remove it" in text


def test_bytes_that_are_no_utf8_are_a_fault_of_their_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"type":"Ping"}\n{"type":"Subscribe","channels":["\xff"]}\n')
    with pytest.raises(RecordingError, match="line 2"):
        check_recording(path)


def test_line_over_the_limit_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with path.open("wb") as file:
        file.write(b'{"type":"Ping"}\n')
        # A hole: a file of any size that takes no space.
        file.truncate(MAX_LINE * 8)
    with pytest.raises(RecordingError, match=f"line 2: longer than {MAX_LINE} bytes"):
        check_recording(path)


def test_recording_without_a_message_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no message"):
        check_recording(write(tmp_path / "empty.jsonl", "", ""))
    with pytest.raises(RecordingError, match="no regular file"):
        check_recording(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_recording(tmp_path / "missing.jsonl")


# --- entries ---


def test_entry_tells_time_channel_position_and_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", "", entry(5, "prices:a", epoch=7, sequence=8, message=price(3)))
    (found,) = read_recording(path)
    assert (found.at, found.channel, found.epoch, found.sequence) == (5, "prices:a", 7, 8)
    assert found.message == PriceUpdate("SOL", "USDC", 1.5, 1, 3)
    assert (found.path, found.line, found.size) == (path, 2, path.stat().st_size - 1)


def test_entry_of_text_or_bytes_is_what_was_published(tmp_path: Path) -> None:
    data = base64.b64encode(b"\0\xff").decode()
    path = write(tmp_path / "r.jsonl", entry(text="a\nb"), entry(data=data))
    assert [one.message for one in read_recording(path)] == ["a\nb", b"\0\xff"]


def test_message_is_of_the_class_of_its_channel(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        entry(channel="fills:a", message={"type": "Fill", "price": 2}),
        entry(channel="prices:a"),
        entry(channel="any:a", message=[1]),
    )
    types: dict[str, Any] = {"fills:a": Fill, "any:a": list[int]}
    assert [one.message for one in read_recording(path, type_of=types.get)] == [Fill(2.0), Ping(), [1]]


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ("*", ["a:1", "a:2", "b:1"]),
        ("a:*", ["a:1", "a:2"]),
        ("a:2", ["a:2"]),
        (["b:*", "a:1"], ["a:1", "b:1"]),
        ([], []),
    ],
)
def test_channels_are_chosen_by_name_and_pattern(tmp_path: Path, channels: Any, found: list[str]) -> None:
    path = write(tmp_path / "r.jsonl", *(entry(channel=name) for name in ("a:1", "a:2", "b:1")))
    assert [one.channel for one in read_recording(path, channels=channels)] == found


def test_line_of_a_channel_that_is_not_wanted_is_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", entry(channel="a", message={"type": "Nope"}), entry(channel="b"))
    assert [one.channel for one in read_recording(path, channels="b")] == ["b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (entry(-1), "no time"),
        (entry(2**63), "no time"),
        (entry("1"), "`$.at`"),
        (entry(channel=3), "`$.channel`"),
        (entry(channel=""), "1 to 256 characters"),
        (entry(channel="a*"), "`*`"),
        (entry(channel="a\nb"), "control characters"),
        (entry(channel="x" * 100_000), "1 to 256 characters"),
        ({"at": 1}, "channel"),
        ({"at": 1, "channel": "a"}, "one of `message`, `text` and `data`"),
        (entry(text="a", message={"type": "Ping"}), "one of `message`, `text` and `data`"),
        (entry(data="%%"), "$.data"),
        (entry(message={"type": "Nope"}), "unknown tag 'Nope'"),
        (entry(message={"type": "Subscribe", "channels": 1}), "`$.message.channels`"),
        ('{"at":1,"channel":"a","message":' + "[" * 5000, ""),
    ],
)
def test_fault_of_an_entry_names_its_line(tmp_path: Path, line: object, reason: str) -> None:
    path = write(tmp_path / "r.jsonl", entry(), line, entry())
    found: list[object] = []
    with pytest.raises(RecordingError) as caught:
        found.extend(read_recording(path))
    assert (len(found), caught.value.path, caught.value.line) == (1, path, 2)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_last_line_torn_at_any_byte_is_passed_over(tmp_path: Path) -> None:
    whole = json.dumps(entry(message=price(3), epoch=3, sequence=4), ensure_ascii=False).replace("SOL", "S€L").encode()
    path = tmp_path / "r.jsonl"
    for cut in range(len(whole) + 2):
        path.write_bytes(b'{"type":"Ping"}\n' + (whole + b"\n")[:cut])
        assert len(list(read_recording(path))) == (2 if cut >= len(whole) else 1), cut


def test_last_line_that_is_whole_and_wrong_is_a_fault_with_and_without_its_line_break(tmp_path: Path) -> None:
    for end in ("", "\n"):
        path = tmp_path / "r.jsonl"
        path.write_text('{"type":"Ping"}\n{"type":"Nope"}' + end, encoding="utf-8")
        with pytest.raises(RecordingError, match="line 2"):
            check_recording(path)


def test_recording_in_several_files_is_read_as_one_and_faults_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for number in range(3):
        write(part_of(path, number), entry(channel=f"c{number}"))
    write(part_of(path, 4), entry(channel="of another"))
    assert [one.channel for one in read_recording(path)] == ["c0", "c1", "c2"]
    write(part_of(path, 2), "{}")
    with pytest.raises(RecordingError) as caught:
        list(read_recording(path))
    assert (caught.value.path, caught.value.line) == (part_of(path, 2), 1)


@given(st.binary(max_size=200))
def test_any_bytes_are_entries_or_a_recording_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "r.jsonl"
    path.write_bytes(data)
    fault = None
    try:
        assert all(one.size for one in read_recording(path))
    except RecordingError as error:
        fault = error
    assert fault is None or (fault.path == path and fault.line)

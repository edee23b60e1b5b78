"""`websocket-utils schema`, in this process; a user's module is found where the user is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.message_classes import Nesting, Quote

from websocket_utils import PriceUpdate, WsMessage
from websocket_utils.cli import main
from websocket_utils.schema import json_schema, proto, typescript

MODULE = """
from websocket_utils import Message


class Fill(Message):
    order_id: str
    qty: float


class Book:
    class Level(Message):
        price: float


class Vague(Message):
    what: object


class Dangling(Message):
    other: "Nowhere"


NUMBER = 5
"""


@pytest.fixture
def strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "strategy_of_test").mkdir()
    (tmp_path / "strategy_of_test" / "messages.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "strategy_of_test" / "broken.py").write_text("raise RuntimeError('no\\nkey')", encoding="utf-8")
    (tmp_path / "strategy_of_test" / "needy.py").write_text("import no_such_library", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("strategy_of_test")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], proto(WsMessage)),
        (["PriceUpdate"], proto(PriceUpdate)),
        (["--package", "desk.v1", "PriceUpdate", "PriceUpdate"], proto(PriceUpdate, package="desk.v1")),
        (["--format", "typescript"], typescript(WsMessage)),
        (["--format", "typescript", "--bigint", "PriceUpdate"], typescript(PriceUpdate, bigint=True)),
        (["--format", "proto", "tests.support.message_classes:Nesting"], proto(Nesting)),
        (["tests.support.message_classes:Quote", "PriceUpdate"], proto(Quote, PriceUpdate)),
        (["websocket_utils:WsMessage"], proto(WsMessage)),
    ],
)
def test_schema_is_printed(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", *arguments]) == 0
    assert capsys.readouterr() == (expected, "")


def test_json_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--format", "json-schema", "PriceUpdate"]) == 0
    output = capsys.readouterr().out
    assert json.loads(output) == json_schema(PriceUpdate)
    assert output.endswith("}\n")


def test_schema_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "standard.proto"
    file.write_text("before", encoding="utf-8")
    assert main(["schema", "--output", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == proto()
    assert capsys.readouterr() == ("", "")


def test_class_of_the_current_folder_is_found(strategy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "strategy_of_test.messages:Fill", "strategy_of_test.messages:Book.Level"]) == 0
    output = capsys.readouterr().out
    assert "message Fill {" in output
    assert "message Level {" in output


def test_installed_command_finds_the_current_folder_too(strategy: Path) -> None:
    # The script's own folder stands first in sys.path, and the current one nowhere.
    script = "import sys; sys.path.remove(''); from websocket_utils.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script, "schema", "strategy_of_test.messages:Fill"],
        cwd=strategy,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "message Fill {" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["PriceUpdat"], 2, ["no standard message 'PriceUpdat'", "PriceUpdate", "package.module:Class"]),
        (["no_such_module_here:Fill"], 2, ["no module 'no_such_module_here'"]),
        (["strategy_of_test.nowhere:Fill"], 2, ["no module 'strategy_of_test.nowhere'"]),
        (["strategy_of_test.messages:Fil"], 2, ["no 'Fil' in strategy_of_test.messages"]),
        (["strategy_of_test.messages:"], 2, ["no '' in strategy_of_test.messages"]),
        (["strategy_of_test.messages:NUMBER"], 2, ["5 is no message class"]),
        (["strategy_of_test.messages:Book"], 2, ["Book is no message class"]),
        ([":Fill"], 2, ["'' is no module's name"]),
        ([".messages:Fill"], 2, ["'.messages' is no module's name"]),
        (["strategy_of_test.needy:Fill"], 1, ["strategy_of_test.needy needs no_such_library"]),
        (["strategy_of_test.broken:Fill"], 1, ["strategy_of_test.broken can't be imported: RuntimeError: no key"]),
        (["strategy_of_test.messages:Dangling"], 1, ["annotation can't be resolved", "Nowhere"]),
        (["strategy_of_test.messages:Vague"], 1, ["field 'what' of Vague has no form in Protocol Buffers"]),
        (["--package", "a b", "PriceUpdate"], 2, ["'a b' is no Protocol Buffers package"]),
        (["--format", "typescript", "--package", "a"], 2, ["--package is for --format proto"]),
        (["--bigint"], 2, ["--bigint is for --format typescript"]),
        (["--format", "yaml"], 2, ["yaml"]),
        (["--output", "no_such_folder/x.proto"], 1, ["no_such_folder/x.proto: No such file"]),
    ],
)
def test_wrong_call_is_one_line(
    strategy: Path, arguments: list[str], code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", *arguments]) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("websocket-utils: ")
    assert errors.count("\n") == 1
    assert [word for word in words if word not in errors] == []

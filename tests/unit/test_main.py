import sys

import pytest

from websocket_utils import __main__


@pytest.mark.parametrize("library", ["click", "rich"])
def test_missing_library_names_the_extra_to_install(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("websocket_utils.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert __main__.main() == 2
    assert f"needs {library}, which is not installed: pip install 'websocket_utils[cli]'" in capsys.readouterr().err

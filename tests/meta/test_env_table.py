"""README's table of WS_* variables is the table that parses them."""

from pathlib import Path

from websocket_utils.config import environment_table

README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_table_is_the_table_of_the_settings() -> None:
    _, _, rest = README.read_text(encoding="utf-8").partition("<!-- env:begin -->\n")
    table, end, _ = rest.partition("\n<!-- env:end -->")
    assert end, "README.md lost its env markers"
    expected = environment_table()
    assert table == expected, f"put this between the env markers of README.md:\n{expected}"

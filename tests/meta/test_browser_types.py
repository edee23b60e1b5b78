"""The message types of the client for browsers are those of the Python classes, printed anew."""

from pathlib import Path

from websocket_utils import messages
from websocket_utils.schema import typescript

MESSAGES = Path(__file__).resolve().parents[2] / "edge" / "browser" / "src" / "messages.ts"
CLASSES = [
    value
    for value in vars(messages).values()
    if isinstance(value, type) and issubclass(value, messages.Message) and value is not messages.Message
]
COMMAND = "websocket-utils schema --format typescript --bigint --output edge/browser/src/messages.ts " + " ".join(
    f"websocket_utils.messages:{one.__name__}" for one in CLASSES
)


def test_types_of_the_browser_client_are_printed_from_all_message_classes() -> None:
    assert len(CLASSES) > 10
    printed = typescript(*CLASSES, bigint=True)
    assert MESSAGES.read_text(encoding="utf-8") == printed, f"print them anew: {COMMAND}"

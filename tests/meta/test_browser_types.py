"""The message types of the client for browsers are those of the Python classes, printed anew."""

from pathlib import Path

from websocket_utils import messages
from websocket_utils.schema import typescript

MESSAGES = Path(__file__).resolve().parents[2] / "edge" / "browser" / "src" / "messages.ts"
NAMES = (
    "PriceUpdate",
    "AccountUpdate",
    "Subscribe",
    "Subscribed",
    "SubscriptionRejected",
    "Unsubscribe",
    "LagNotice",
    "GoAway",
    "Authenticate",
    "Authenticated",
    "Ping",
    "Pong",
)
# As the command does that docs/guides/browser.md names.
COMMAND = "websocket-utils schema --format typescript --bigint --output edge/browser/src/messages.ts " + " ".join(
    f"websocket_utils.messages:{name}" for name in NAMES
)


def test_types_of_the_browser_client_are_printed_from_the_classes() -> None:
    printed = typescript(*(getattr(messages, name) for name in NAMES), bigint=True)
    assert MESSAGES.read_text(encoding="utf-8") == printed, f"print them anew: {COMMAND}"


def test_every_message_of_the_connection_is_among_them() -> None:
    classes = {
        name
        for name, value in vars(messages).items()
        if isinstance(value, type) and issubclass(value, messages.Message) and value is not messages.Message
    }
    assert classes == set(NAMES)

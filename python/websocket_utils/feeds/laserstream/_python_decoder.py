"""Notifications as messages, frame by frame: what `_core.PubSubDecoder` does, by msgspec."""

from ...exceptions import DecodeError
from ._decoding import decode_frame, decode_notification
from ._topics import Topic

__all__ = ["PubSubDecoder"]


class PubSubDecoder:
    """The plain form of the compiled decoder."""

    def __init__(self) -> None:
        self._topics: dict[int, Topic] = {}

    def watch_account(self, subscription: int, pubkey: str, route: Topic, /) -> None:
        self._topics[subscription] = route

    def watch(self, subscription: int, route: Topic, /) -> None:
        self._topics[subscription] = route

    def forget(self, subscription: int, /) -> None:
        self._topics.pop(subscription, None)

    def decode(self, frame: str | bytes, timestamp: int, /) -> tuple[Topic, object] | None:
        try:
            found = decode_frame(frame)
            if found.params is None or found.method is None:
                return None
            topic = self._topics.get(found.params.subscription)
            if topic is None or found.method != f"{topic.request.kind}Notification":
                return None
            return topic, decode_notification(topic.request, found.params.result, timestamp, frame)
        except DecodeError:
            return None

"""Subscriptions of one connection to a node: numbers of requests and subscriptions, which mean nothing on another one.

    subscribe() -> request 7 ... {"result":23784,"id":7} -> settle(): 23784 is this topic's, until it is ended

A node ends one subscription for all who share it, so that each request is made once (`Subscriptions` counts for whom).
Nothing here sleeps or reads a clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..._core import PubSubDecoder
from ...exceptions import RequestRejected, SubscribeRejected
from ._decoding import Reply, is_number
from ._topics import AccountTopic, ProgramTopic, SlotTopic, Topic

__all__ = ["PubSub"]

# Notifications that come before the acknowledgement of their subscription: as many are kept.
_MOST_PARKED = 256
_MOST_PARKED_BYTES = 1 << 20


@dataclass(slots=True)
class _Asked:
    topic: Topic
    is_wanted: bool = True


class PubSub:
    """The `SubscriptionProtocol` of one connection.

    Args:
        topics: What channels are, those that are wanted among them.
        decoder: Makes messages of this connection's notifications.
        placed: Is called when messages come from this connection from now on.
        unexpected: Is told of answers that nobody asked for: what it is, and more about it.
        arrived: Is given frames that were kept until their subscription was known.
    """

    replies = (Reply,)

    def __init__(
        self,
        topics: Mapping[str, Topic],
        decoder: PubSubDecoder,
        *,
        placed: Callable[["PubSub"], object],
        unexpected: Callable[[str, str], object],
        arrived: Callable[[str | bytes], object],
    ) -> None:
        self._all = topics
        self.decoder = decoder
        self._placed = placed
        self._unexpected = unexpected
        self._arrived = arrived
        self._last_number = 0
        self._asked: dict[int, _Asked] = {}
        # Topics that were asked for and are not acknowledged, by channel: the request's number.
        self._pending: dict[str, int] = {}
        self._topics: dict[int, Topic] = {}
        self._subscriptions: dict[str, int] = {}
        # Subscriptions that are being ended, whose notifications may still come: by their requests, and the other way.
        self._ending: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._follow_up: list[str] = []
        self._parked: list[tuple[int, str | bytes]] = []
        self._parked_bytes = 0

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    # --- as a protocol of subscriptions ---

    def speaks(self, subprotocol: str | None) -> bool:
        """Every node answers."""
        return True

    def take_place(self, epoch: int) -> None:
        """Messages come from this connection from now on."""
        self._placed(self)

    def subscribe(self, channels: Sequence[str]) -> Sequence[str]:
        """One request for each channel that is not asked for already."""
        messages: list[str] = []
        for channel in channels:
            topic = self._all.get(channel)
            if topic is None:
                continue
            if channel in self._pending:
                # Unsubscribed from before the node had answered: its answer is wanted again.
                self._asked[self._pending[channel]] = _Asked(topic)
                continue
            number = self._number()
            self._asked[number] = _Asked(topic)
            self._pending[channel] = number
            messages.append(topic.request.text(number))
        return messages

    def unsubscribe(self, channels: Sequence[str]) -> Sequence[str]:
        """End each by its number; what is not acknowledged has none yet, and is ended when it is."""
        messages: list[str] = []
        for channel in channels:
            if channel in self._pending:
                self._asked[self._pending[channel]].is_wanted = False
            subscription = self._subscriptions.pop(channel, None)
            if subscription is not None:
                messages.append(self._end(self._topics.pop(subscription), subscription))
        return messages

    def _end(self, topic: Topic, subscription: int) -> str:
        self.decoder.forget(subscription)
        number = self._number()
        self._ending[number] = subscription
        self._ended[subscription] = number
        return topic.request.ending(number, subscription)

    def settle(self, reply: Reply) -> Sequence[tuple[str, SubscribeRejected | None]]:
        """Read an answer to a request."""
        number = -1 if reply.id is None else reply.id
        ended = self._ending.pop(number, None)
        if ended is not None:
            # Asked for and ended once more meanwhile, it may have its number again.
            if self._ended.get(ended) == number:
                del self._ended[ended]
            if reply.error is not None:
                self._unexpected("error behind unsubscribe", f"{reply.error.message} (code {reply.error.code})")
            return ()
        asked = self._asked.pop(number, None)
        if asked is None:
            what = "answer to no request" if reply.error is None else "error about no request"
            detail = "" if reply.error is None else f"{reply.error.message} (code {reply.error.code})"
            self._unexpected(what, detail or f"number {reply.id}")
            return ()
        channel = asked.topic.request.channel
        self._pending.pop(channel, None)
        settled = self._acknowledged(asked, reply)
        if not self._pending:
            self._unpark()
        if not asked.is_wanted:
            return ()
        return ((channel, settled),)

    def _acknowledged(self, asked: _Asked, reply: Reply) -> RequestRejected | None:
        request, subscription = asked.topic.request, reply.result
        if reply.error is not None:
            return RequestRejected(request.channel, reply.error.code, reply.error.message, request.method)
        if not is_number(subscription):
            reason = f"the node acknowledged it with no number of a subscription: {str(subscription)[:80]!r}"
            return RequestRejected(request.channel, 0, reason, request.method)
        if subscription in self._topics:
            reason = f"the node gave it the number {subscription}, which another subscription has"
            return RequestRejected(request.channel, 0, reason, request.method)
        if not asked.is_wanted:
            self._follow_up.append(self._end(asked.topic, subscription))
            return None
        self._watch(subscription, asked.topic)
        return None

    def _watch(self, subscription: int, topic: Topic) -> None:
        self._topics[subscription] = topic
        self._subscriptions[topic.request.channel] = subscription
        if isinstance(topic, AccountTopic):
            self.decoder.watch_account(subscription, topic.request.pubkey, topic.take)
        elif isinstance(topic, (SlotTopic, ProgramTopic)):
            self.decoder.watch(subscription, topic.take)
        parked = [frame for number, frame in self._parked if number == subscription]
        if parked:
            self._parked = [one for one in self._parked if one[0] != subscription]
            self._parked_bytes -= sum(map(len, parked))
        for frame in parked:
            self._arrived(frame)

    def follow_up(self) -> Sequence[str]:
        """What ends subscriptions that nobody wanted any more when they were acknowledged."""
        messages, self._follow_up = self._follow_up, []
        return messages

    # --- as a table of subscriptions ---

    def topic_of(self, subscription: int) -> Topic | None:
        """Whose notifications have this number."""
        return self._topics.get(subscription)

    def is_ending(self, subscription: int) -> bool:
        """Whether it was ended, and the node has not confirmed that."""
        return subscription in self._ended

    def park(self, subscription: int, frame: str | bytes) -> bool:
        """Keep a notification whose subscription may yet be acknowledged; returns whether it may, and there is room."""
        size = len(frame)
        if not self._pending or len(self._parked) >= _MOST_PARKED or self._parked_bytes + size > _MOST_PARKED_BYTES:
            return False
        self._parked.append((subscription, frame))
        self._parked_bytes += size
        return True

    def _unpark(self) -> None:
        """Everything is answered: what is still kept belongs to nobody."""
        parked, self._parked, self._parked_bytes = self._parked, [], 0
        for _, frame in parked:
            self._arrived(frame)

"""Prometheus metrics, read from the counters when they are scraped; nothing is counted for them before.

No label names a client or a channel: who connects would choose how many series there are.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ._facts import Facts
from ._pulse import Pulse

__all__ = ["Exposition"]

_PREFIX = "websocket_utils_"

# Name, field of `ServerStats`, help.
_GAUGES = (
    ("clients", "connections", "Connections that are open."),
    ("clients_lagging", "lagging", "Connections that have not taken all that was published to them."),
    ("channels", "channels", "Channels that are known."),
    ("subscriptions", "subscriptions", "Subscriptions of all connections."),
    ("history_messages", "history_messages", "Publications kept for those who come back."),
    ("history_bytes", "history_bytes", "Bytes of these publications."),
    ("log_bytes", "log_bytes", "Memory of the logs that clients are sent from."),
)
_COUNTERS = (
    ("connections_accepted", "accepted", "Opening handshakes completed."),
    ("connections_rejected", "rejected", "Opening handshakes that failed or were refused."),
    ("messages_received", "messages_received", "Messages that clients sent."),
    ("received_bytes", "bytes_received", "Bytes of these messages."),
    ("messages_sent", "messages_sent", "Messages published, broadcast or sent; each counts once."),
    ("deliveries", "deliveries", "Messages handed to connections."),
    ("sent_bytes", "bytes_sent", "Bytes of these deliveries."),
    ("conflated", "conflated", "Deliveries that a newer message of the key took the place of."),
    ("dropped", "dropped", "Deliveries left out because a slow client had too many waiting."),
    ("lag_notices", "lag_notices", "How often clients were told of either."),
    ("unauthorized", "unauthorized", "Clients that did not prove who they are."),
    ("commands_refused", "commands_refused", "Commands of clients beyond what they may ask a second."),
    ("decode_errors", "decode_errors", "Messages of clients that are none."),
    ("handler_errors", "handler_errors", "Exceptions of handlers."),
    ("unhandled", "unhandled", "Messages of clients that no handler asked for."),
)


class Exposition(Collector):
    """Makes the text of `/metrics`.

    Args:
        facts: Reads the server.
        pulse: Measures the event loop.
        requests: Requests to the door, by endpoint and status.
    """

    def __init__(
        self, facts: Callable[[], Facts], pulse: Pulse, requests: Callable[[], Mapping[tuple[str, int], int]]
    ) -> None:
        self._facts = facts
        self._pulse = pulse
        self._requests = requests
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics, in the best format that a scraper accepts, and their content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Spare the registry from reading everything once when this is made."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read everything."""
        facts = self._facts()
        stats = facts.stats
        for name, field, text in _GAUGES:
            yield GaugeMetricFamily(_PREFIX + name, text, value=getattr(stats, field))
        for name, field, text in _COUNTERS:
            yield CounterMetricFamily(_PREFIX + name, text, value=getattr(stats, field))
        recover = CounterMetricFamily(
            _PREFIX + "client_recover", "Channels that clients came back to.", labels=["recovered"]
        )
        recover.add_metric(["true"], stats.recovered)
        recover.add_metric(["false"], stats.unrecovered)
        yield recover
        cut = CounterMetricFamily(_PREFIX + "server_disconnects", "Connections that the server cut.", labels=["reason"])
        cut.add_metric(["lag"], stats.lag_disconnects)
        cut.add_metric(["unread_answers"], stats.unread_disconnects)
        yield cut
        yield GaugeMetricFamily(
            _PREFIX + "queue_bytes", "Bytes that the slowest client has not taken.", value=facts.counted.behind
        )
        yield GaugeMetricFamily(
            _PREFIX + "queue_age_seconds",
            "For how long the socket of a client has taken nothing, at most.",
            value=max((blocked for _, _, blocked in facts.slowest), default=0.0),
        )
        yield GaugeMetricFamily(
            _PREFIX + "loop_lag_seconds", "The event loop's longest lag of late.", value=self._pulse.worst_lag
        )
        yield GaugeMetricFamily(_PREFIX + "draining", "1 while it lets its clients go.", value=float(stats.draining))
        yield GaugeMetricFamily(_PREFIX + "ready", "1 while clients are welcome.", value=float(facts.is_ready))
        requests = CounterMetricFamily(
            _PREFIX + "http_requests", "Requests to the side door.", labels=["endpoint", "status"]
        )
        for (endpoint, status), count in sorted(self._requests().items()):
            requests.add_metric([endpoint, str(status)], count)
        yield requests

"""Publishing to the edge: an adapter pushes its updates to a Durable Object, which serves the clients.

    adapter -- EdgePublisher -- one socket --> Cloudflare Worker -> Durable Object --> any number of clients

`docs/guides/edge_publisher.md` tells how; the Worker is in `edge/cloudflare/`.
"""

from ._events import (
    AcknowledgementsStalled,
    EdgeForgot,
    PublisherEvent,
    PublishingResumed,
    UpdateRejected,
    UpdatesDropped,
)
from ._messages import PublicationRejected, PublisherAcknowledged, PublisherWelcome
from ._publisher import EdgePublisher
from ._statistics import EdgePublisherStats
from ._unacknowledged import MAX_BATCH, MAX_BATCH_UPDATES, WhenFull

__all__ = [
    "MAX_BATCH",
    "MAX_BATCH_UPDATES",
    "AcknowledgementsStalled",
    "EdgeForgot",
    "EdgePublisher",
    "EdgePublisherStats",
    "PublicationRejected",
    "PublisherAcknowledged",
    "PublisherEvent",
    "PublisherWelcome",
    "PublishingResumed",
    "UpdateRejected",
    "UpdatesDropped",
    "WhenFull",
]

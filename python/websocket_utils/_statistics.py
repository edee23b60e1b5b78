"""What a client has done so far, put together from its parts."""

from collections.abc import Sequence

from ._core import Inbox
from ._held import HeldMessages
from ._link import Link
from ._terms import Terms
from .metrics import ClientState, ClientStats, LegStats, SendCounts

__all__ = ["client_stats"]


def client_stats(
    state: ClientState,
    epoch: int,
    inbox: Inbox,
    held: HeldMessages,
    terms: Terms,
    links: Sequence[Link],
    legs: tuple[LegStats, ...],
    missed: tuple[int, int],
) -> ClientStats:
    """Take a snapshot of all counters; `missed` are gaps, and messages that servers left out."""
    messages, size, decode_errors, handler_errors, unhandled, waiting, waiting_bytes, *losses = inbox.counters()
    dropped, conflated, events_dropped = losses
    counted = [0] * 6
    queued = 0
    for link in links:
        if link.session is not None:
            link.downtimes.note_first_data(link.session.epoch, link.inbox.first_message_ns)
        for part in (link.totals, *(session.counted() for session in link.sessions)):
            counted = [before + now for before, now in zip(counted, part, strict=True)]
        queued += sum(session.connection.send_queue_bytes for session in link.sessions)
    sent, sent_bytes, accepted, written, lost, unknown = counted
    connects = sum(link.connects for link in links)
    return ClientStats(
        state=state,
        epoch=epoch,
        connects=connects,
        reconnects=max(0, connects - len([link for link in links if link.connects])),
        messages_received=messages,
        bytes_received=size,
        messages_sent=sent,
        bytes_sent=sent_bytes,
        sends=SendCounts(
            # What was kept and handed to a connection is counted there.
            accepted=accepted + held.accepted - held.handed,
            written=written,
            dropped=lost + held.dropped,
            expired=held.expired,
            unknown=unknown,
        ),
        decode_errors=decode_errors,
        handler_errors=handler_errors,
        unhandled=unhandled,
        inbox_messages=waiting,
        inbox_bytes=waiting_bytes,
        inbox_dropped=dropped,
        inbox_conflated=conflated,
        events_dropped=events_dropped,
        duplicates=sum(link.recovery.positions.duplicates for link in links),
        gaps=missed[0],
        lagged=missed[1],
        send_queue_bytes=queued,
        rtt=terms.rtt.copy(),
        message_age=inbox.ages.copy(),
        downtime_ns=sum(link.downtimes.total_ns for link in links),
        downtimes=tuple(downtime for link in links for downtime in link.downtimes.history()),
        legs=legs,
    )

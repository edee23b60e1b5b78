"""How long each reconnect of a link took, phase by phase."""

from collections import deque

from ._phases import DialPhases
from .metrics import Downtime

__all__ = ["Downtimes"]

_KEPT = 64


class _Reconnect:
    """What is known of one reconnect so far."""

    __slots__ = ("epoch", "first_data_ns", "phases", "subscribe_ns", "total_ns", "wait_ns")

    def __init__(self, epoch: int, total_ns: int, wait_ns: int, subscribe_ns: int, phases: DialPhases | None) -> None:
        self.epoch = epoch
        self.total_ns = total_ns
        self.wait_ns = wait_ns
        self.subscribe_ns = subscribe_ns
        # The dial returns after the first moments of its connection.
        self.phases = phases
        self.first_data_ns: int | None = None

    def downtime(self) -> Downtime:
        phases = self.phases or DialPhases()
        return Downtime(
            epoch=self.epoch,
            total_ns=self.total_ns,
            wait_ns=self.wait_ns,
            provider_ns=phases.provider_ns,
            dns_ns=phases.dns_ns,
            tcp_ns=phases.tcp_ns,
            tls_ns=phases.tls_ns,
            upgrade_ns=phases.upgrade_ns,
            subscribe_ns=self.subscribe_ns,
            first_data_ns=self.first_data_ns,
        )


class Downtimes:
    """The last reconnects of a link; all times are monotonic nanoseconds."""

    __slots__ = ("_dialled_ns", "_history", "_lost_ns", "_phases", "total_ns")

    def __init__(self) -> None:
        self._history: deque[_Reconnect] = deque(maxlen=_KEPT)
        self._lost_ns: int | None = None
        self._dialled_ns = 0
        self._phases: DialPhases | None = None
        self.total_ns = 0
        """All downtime that is over."""

    def lost(self, now_ns: int) -> None:
        """A connection was lost."""
        self._lost_ns = now_ns

    def dialled(self, now_ns: int) -> None:
        """A dial begins."""
        self._dialled_ns = now_ns
        self._phases = None

    def dial_returned(self, phases: DialPhases) -> None:
        """The dial has returned, before or after its connection was live."""
        self._phases = phases
        if self._history and self._history[-1].phases is None:
            self._history[-1].phases = phases

    def live(self, epoch: int, opened_ns: int, now_ns: int) -> int | None:
        """A connection is live; return the nanoseconds since the one before was lost, None for the first."""
        if self._lost_ns is None:
            return None
        downtime_ns = now_ns - self._lost_ns
        self.total_ns += downtime_ns
        wait_ns = max(0, self._dialled_ns - self._lost_ns)
        self._history.append(_Reconnect(epoch, downtime_ns, wait_ns, now_ns - opened_ns, self._phases))
        return downtime_ns

    def note_first_data(self, epoch: int, first_message_ns: int) -> None:
        """When that connection's first message was read; 0 if none was."""
        if self._history and first_message_ns and self._lost_ns is not None:
            last = self._history[-1]
            if last.epoch == epoch and last.first_data_ns is None:
                last.first_data_ns = max(0, first_message_ns - self._lost_ns)

    def history(self) -> tuple[Downtime, ...]:
        """The last reconnects, each split into its phases."""
        return tuple(one.downtime() for one in self._history)

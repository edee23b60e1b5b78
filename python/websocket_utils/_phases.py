"""How long each part of a dial took, and how far it got."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["DialPhases", "Phase"]

Phase = Literal["provider", "dns", "tcp", "tls", "upgrade"]


@dataclass(slots=True)
class DialPhases:
    """Nanoseconds for each phase of one dial; None for those that it has not been through.

    A redirect goes through them again: they are sums then.
    """

    reached: Phase = "provider"
    """The phase that it is in, or ended in."""
    provider_ns: int | None = None
    """Callables that gave the URL, the headers or the token."""
    dns_ns: int | None = None
    """Name resolution."""
    tcp_ns: int | None = None
    """Until the first address took the connection."""
    tls_ns: int | None = None
    """TLS handshake."""
    upgrade_ns: int | None = None
    """From the request to the 101."""
    _since: int | None = None

    def enter(self, phase: Phase, now_ns: int) -> None:
        """A phase begins, which ends the one before; `now_ns` is monotonic."""
        self.leave(now_ns)
        self.reached = phase
        self._since = now_ns

    def leave(self, now_ns: int) -> None:
        """The phase is over, and nothing follows it yet."""
        if self._since is None:
            return
        took = now_ns - self._since
        self._since = None
        if self.reached == "provider":
            self.provider_ns = (self.provider_ns or 0) + took
        elif self.reached == "dns":
            self.dns_ns = (self.dns_ns or 0) + took
        elif self.reached == "tcp":
            self.tcp_ns = (self.tcp_ns or 0) + took
        elif self.reached == "tls":
            self.tls_ns = (self.tls_ns or 0) + took
        else:
            self.upgrade_ns = (self.upgrade_ns or 0) + took

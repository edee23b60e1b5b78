"""A client's lifecycle with a clock of its own."""

from websocket_utils import Close, ClosePolicy, ConnectionClosedError, ReconnectPolicy
from websocket_utils._lifecycle import Decision, Fail, Lifecycle, Wait

__all__ = ["RESET", "STABLE_AFTER", "Link", "failed", "peer", "waited"]

STABLE_AFTER = 5.0
RESET = ConnectionClosedError(initiator="transport")


def peer(code: int) -> ConnectionClosedError:
    return ConnectionClosedError(Close(code), Close(code), "peer")


class Link:
    """A lifecycle with a clock, and with chance in the middle unless told."""

    def __init__(
        self,
        policy: ReconnectPolicy | None = None,
        *,
        interval: float = 5.0,
        max_attempts: int | None = None,
        closes: ClosePolicy | None = None,
    ) -> None:
        self.now = 100.0
        self.unit = 0.5
        self.life = Lifecycle(
            policy or ReconnectPolicy(),
            closes or ClosePolicy(),
            reconnect_interval=interval,
            max_attempts=max_attempts,
            stable_after=STABLE_AFTER,
        )

    def up(self) -> int:
        """Dial, with success, up to live."""
        self.life.dial(self.now)
        epoch = self.life.opened(self.now)
        assert self.life.authenticated(epoch, self.now)
        assert self.life.restored(epoch, self.now)
        return epoch

    def lose(
        self,
        error: BaseException = RESET,
        *,
        lived: float = 0.0,
        messages: int = 1,
        holds: bool = True,
        epoch: int | None = None,
    ) -> Decision | None:
        self.now += lived
        decision = self.life.lost(
            self.life.epoch if epoch is None else epoch,
            error,
            now=self.now,
            wall_now=1e9,
            unit=self.unit,
            messages=messages,
            holds_subscriptions=holds,
        )
        if isinstance(decision, Wait):
            self.now += decision.delay
        return decision

    def refuse(self, error: BaseException | None = None) -> Decision | None:
        """Dial, without success."""
        self.life.dial(self.now)
        decision = self.life.dial_failed(error or ConnectionRefusedError(), now=self.now, wall_now=1e9, unit=self.unit)
        if isinstance(decision, Wait):
            self.now += decision.delay
        return decision


def waited(decision: Decision | None) -> float:
    assert isinstance(decision, Wait)
    return decision.delay


def failed(decision: Decision | None) -> BaseException:
    assert isinstance(decision, Fail)
    return decision.error

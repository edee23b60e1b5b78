"""All 65 536 close codes, received and sent (RFC 6455 section 7.4)."""

import pytest
from tests.property.scale import BOUNDED
from tests.property.seen import ours
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import CLOSE, Frame, close_frame

from websocket_utils.exceptions import LocalProtocolError

pytestmark = BOUNDED

# Registered and not reserved for local use, registered by libraries, private. 1004, 1005, 1006 and 1015 never travel.
MAY_TRAVEL = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@BOTH_ROLES
def test_every_code_that_may_travel_is_taken_and_every_other_is_a_violation(is_client: bool) -> None:
    for code in range(1 << 16):
        seen = ours([close_frame(code, masked=not is_client)], is_client=is_client)
        assert (seen.closed, seen.violation) == ((code, None) if code in MAY_TRAVEL else (None, 1002)), code


@BOTH_ROLES
def test_every_code_that_may_travel_is_sent_and_every_other_raises(is_client: bool) -> None:
    # One connection serves for all that raise: nothing of it may have changed.
    refusing = Link(is_client=is_client)
    for code in range(1 << 16):
        if code in MAY_TRAVEL:
            link = Link(is_client=is_client)
            link.connection.close(code)
            assert link.sent() == [Frame(CLOSE, code.to_bytes(2, "big"), masked=is_client)], code
        else:
            with pytest.raises(LocalProtocolError):
                refusing.connection.close(code)
    assert refusing.sent() == []
    assert refusing.connection.is_open


@pytest.mark.parametrize("code", [-1, 1 << 16, 1 << 40])
def test_number_that_is_no_code_raises_and_sends_nothing(code: int) -> None:
    link = Link()
    with pytest.raises((LocalProtocolError, ValueError, OverflowError)):
        link.connection.close(code)
    assert link.sent() == []
    assert link.connection.is_open

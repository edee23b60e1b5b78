"""Several legs that carry the same messages become one stream. Pure: time is an argument, and nothing waits.

A payload is decoded here for its key alone; what is delivered is the payload, as it came. `take` says of each whether
it is to be delivered now. Where it returns False, `ready` may have something to deliver in its place, in that order.
"""

from ._keys import Key, Keys, Payload
from ._legs import Leads, Received
from ._race import Race
from ._standby import Standby

__all__ = ["Key", "Keys", "Leads", "Payload", "Race", "Received", "Standby"]

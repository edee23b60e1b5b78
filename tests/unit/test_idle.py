"""A client with nothing to do: it wakes for nothing."""

import pytest

from websocket_utils import WebSocketClient
from websocket_utils.testing import MemoryNetwork, VirtualClock

URL = "ws://exchange.test/feed"


def test_idle_client_that_neither_pings_nor_watches_sets_no_timer() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            server = network.serve(URL)
            async with WebSocketClient.connect(URL, ping_interval=None) as client:
                await client.subscribe("prices")
                await server.until_subscribed("prices")
                await client.receive()

    # Virtual time has nothing to go on to: no timer is set anywhere.
    with pytest.raises(RuntimeError, match="for ever"):
        VirtualClock().run(main())

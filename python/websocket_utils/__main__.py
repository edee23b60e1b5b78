"""`python -m websocket_utils`: the same as the command `websocket-utils`."""

import sys

from websocket_utils.cli import main

sys.exit(main())

"""`python -m websocket_utils`: the same as the command `websocket-utils`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

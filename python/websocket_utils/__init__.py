"""WebSocket utilities for trading adapters and strategies."""

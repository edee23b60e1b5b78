"""The HTTP side door of a server: publishing, facts, metrics and health, on a port of its own."""

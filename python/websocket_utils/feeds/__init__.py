"""Feeds of others, as typed messages: each in a package of its own, to be imported by name."""

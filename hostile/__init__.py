"""Peers that mean harm, and what they cost: `make hostile` and `make mutate`.

A folder of its own beside `benches/`, because it measures survival instead of speed, and has no peers to compare with.
"""

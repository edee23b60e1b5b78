"""One module per library, each of them used in the fastest way that its own documentation shows.

A scenario is a coroutine function that takes a :class:`benches._subject.Run`.
"""

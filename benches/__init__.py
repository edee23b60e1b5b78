"""End-to-end benches: this library and its peers, each in its own process, against a bare load generator of our own.

Entry point: ``python benches/run.py``. How they measure is told in ``docs/BENCHMARKS.md``.
"""

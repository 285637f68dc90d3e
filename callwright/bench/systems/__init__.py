"""The systems under test, each in a long-lived process of its own: `python -m callwright.bench.systems.NAME`."""

"""The fence: the only package that touches private names of Pipecat and LiveKit.

Everything here leans on `pipecat-ai` 1.14 as released; tests/test_upstream.py holds one contract
test for each private name, so that an upgrade fails loudly and in one place.
"""

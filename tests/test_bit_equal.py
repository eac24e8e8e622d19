"""The plain payoff's credit, weights, history and decisions are what they were before objectives had a type."""
import json

import bit_equal
import pytest


def test_nothing_has_moved():
    kept = json.loads(bit_equal.FILE.read_text())
    if kept["machine"] != bit_equal.machine(): pytest.skip(f"the digests were taken with {kept['machine']}, and other "
                                                           "libraries or another processor round differently")
    moved = bit_equal.differences(kept["digests"], bit_equal.everything())
    assert not moved, "\n".join(moved)

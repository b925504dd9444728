"""Files, pictures, settings and addresses that were changed at random; trust/fuzz.py does it for hours."""

from __future__ import annotations

from trust.fuzz import fuzzed


def test_whatever_was_changed_is_answered_or_refused_in_a_sentence():
    found = fuzzed(seed=1, seconds=20, most=600)
    assert found.failures == []
    assert found.n > 60

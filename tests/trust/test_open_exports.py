"""The short form of R22e: what `trust/open_exports.py` tries for hours."""

from __future__ import annotations

from trust import open_exports


def test_exports_become_the_same_library_and_broken_ones_change_nothing(tell):
    found = open_exports.exported_again(seed=3, seconds=600, most=6)
    assert found.failures == []
    tell(f"R22e: {found.n} libraries exported and imported, {found.note}")

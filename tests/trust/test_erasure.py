"""Erasing people, in short: random libraries on every store looked through byte by byte, and kills on the way."""

from __future__ import annotations

from trust import erasure
from trust.measure import Found


def held(found: Found, at_least: int) -> None:
    assert found.n >= at_least
    assert found.failures == []


def test_an_erased_person_leaves_no_byte_on_any_store_and_the_others_keep_all(tell):
    found = erasure.tried_on_every_store(seed=11, seconds=600, most=3)
    held(found, 3)
    tell(found.note)


def test_an_erasing_that_is_killed_anywhere_is_finished_by_the_next_start_or_the_same_command(tell):
    found = erasure.tried_with_kills(seed=4, seconds=600, most=12)
    held(found, 6)
    tell(found.note)

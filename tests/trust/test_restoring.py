"""The short forms of R22: what `trust/restoring.py` tries for hours."""

from __future__ import annotations

from trust import restoring


def test_a_backup_made_while_others_write_is_one_moment(tell):
    found = restoring.under_writes(seed=5, seconds=600, most=5)
    assert found.failures == []
    tell(f"R22a: {found.n} backups of a library that was written to, {found.note}")


def test_a_broken_backup_changes_nothing(tell):
    found = restoring.broken_archives(seed=6, seconds=600, most=160)
    assert found.failures == []
    tell(f"R22b: {found.n} broken backups, {found.note}")


def test_a_kill_leaves_the_old_library_or_the_new_one():
    found = restoring.kills(seed=7, seconds=0, step=1)
    assert found.failures == []
    assert found.n >= 30


def test_every_older_format_is_restored_and_opened():
    found = restoring.formats(seed=0, seconds=0)
    assert found.failures == []

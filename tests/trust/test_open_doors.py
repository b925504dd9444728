"""R18 in short: one real server that must not start, and one that answers this machine only."""

from __future__ import annotations

import pytest

from trust import open_doors

# A server beside three other jobs gets a second try; the summary says so.
pytestmark = pytest.mark.flaky(reruns=1)


def test_a_server_with_an_open_door_is_not_started():
    found = open_doors.refused_starts(3, 0.0)
    assert found.failures == []
    assert found.n == 1


def test_without_sign_in_only_this_machine_is_answered():
    found = open_doors.other_hosts(1, 0.0)
    assert found.failures == []
    assert found.n > 60

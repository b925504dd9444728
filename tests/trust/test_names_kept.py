"""Names through many clusterings, and edits taken back; the histories of tests/test_histories.py in their long form."""

from __future__ import annotations

import pytest

from trust import histories
from trust.acts import make_template


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_template(tmp_path_factory.mktemp("names"))


def test_no_name_is_lost_in_clusterings_by_chance(template, tmp_path):
    found = histories.names_kept(template, tmp_path, 1, 30)
    assert found.failures == []
    assert found.n == 30


def test_a_hundred_edits_are_taken_back_to_exactly_what_was(template, tmp_path):
    assert histories.undone(template, tmp_path, 1, 100) == []


def test_a_long_history_runs_as_the_short_ones_do(tmp_path):
    histories.test_histories.make_template(tmp_path)
    assert histories.run_histories(histories.MACHINES[0], 1, 3) == ""

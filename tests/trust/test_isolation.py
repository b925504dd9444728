"""R11 in short: a few of the probes in SQL, by REST and by ids."""

from __future__ import annotations

import pytest

from trust import isolation

# A server beside three other jobs gets a second try; the summary says so.
pytestmark = pytest.mark.flaky(reruns=1)


@pytest.mark.parametrize("probe", [isolation.in_sql, isolation.by_rest], ids=["in SQL", "by REST"])
def test_a_few_probes_reach_nothing_of_anothers(probe):
    found = probe(1, 2.0)
    if found.not_run:
        pytest.skip(found.not_run)
    assert found.failures == []
    assert found.n > 50


def test_ids_of_another_do_nothing_in_ones_own_library():
    found = isolation.by_id(1, 0.0)
    assert found.failures == []
    assert found.n == 27

"""Hosted stores under a script of faults; `python -m trust` tries a thousand."""

from __future__ import annotations

import pytest
from contracts.builders import SERVERS

from trust import backends, far_kills


@pytest.fixture(scope="module", autouse=True)
def _servers_end():
    yield
    SERVERS.close()


@pytest.mark.parametrize("case", [backends.people_case, backends.faces_case])
def test_the_end_is_what_the_model_has(case, tmp_path, tell):
    from contracts.builders import clients_closed

    with backends.hurried():
        for seed in range(3):
            with clients_closed():
                assert case(tmp_path, seed) == []
    tell(f"3 schedules of faults of a hosted store ({case.__name__})")


def test_a_client_killed_between_requests_leaves_the_old_or_the_new(tell):
    found = far_kills.changing_requests(1)
    if found.not_run:
        pytest.skip(found.not_run)
    assert found.failures == []
    assert found.n >= 14
    tell(f"a client killed at {found.n} of its requests that change a hosted store")

"""R11 and R17 in short: a few of the hostile sign-ins and addresses, on one real server."""

from __future__ import annotations

import pytest

from trust import isolation, signing_in
from trust.signed_place import place

# A server beside three other jobs gets a second try; the summary says so.
pytestmark = pytest.mark.flaky(reruns=1)

# One of each kind; the long form tries all.
FEW = (
    "aud of another client, azp ours", "expired", "wrong nonce", "alg none, on the provider's list",
    "HS256 by the public key, on the provider's list", "a stranger's key", "email not verified",
    "code and state twice", "made up cookies", "writes while it lives", "signed out elsewhere", "off the list",
    "other origins",
)  # fmt: skip


@pytest.fixture(scope="module")
def at():
    with place() as found:
        yield found


@pytest.mark.parametrize("name", FEW)
def test_nobody_is_signed_in_who_should_not_be(at, name):
    assert signing_in.tried(at, [name]).failures == []


def test_nobody_opens_what_is_anothers_by_its_address(at):
    found = isolation.asked_for(at, 1, 2.0)
    assert found.failures == []
    assert found.n > 10

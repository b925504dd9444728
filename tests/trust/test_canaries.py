"""Keys and passwords of an installation, and every way to fail: no message tells one; trust/canaries.py tries more."""

from __future__ import annotations

import pytest

from facecluster.config import load_settings
from facecluster.errors import InputError, StoreDataError, without_secrets
from trust.canaries import canaries_kept

SLOW = ("an echo of Pinecone", "Pinecone that is not there", "Supabase that is not there", "a job", "pages")


def test_no_way_to_fail_tells_a_key():
    found = canaries_kept(seed=1, seconds=600, but=SLOW)
    assert found.failures == []
    assert found.n == 42


def test_what_a_service_repeats_is_taken_out_of_every_error():
    load_settings(pinecone_api_key="pcsk_a-key-of-this-test")
    with pytest.raises(StoreDataError, match=r"^It said \*\*\*\*, twice: \*\*\*\*\.$"):
        raise StoreDataError("It said pcsk_a-key-of-this-test, twice: pcsk_a-key-of-this-test.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://anna:pass@host/x is no project", "https://****@host/x is no project"),
        ("tls://token@host:8786", "tls://****@host:8786"),
        ("no secret in anna@example.org or https://host/@x", "no secret in anna@example.org or https://host/@x"),
    ],
)
def test_who_signs_in_by_an_address_is_not_said(text, said):
    assert without_secrets(text) == str(InputError(text)) == said

"""Whom claims name, and whom a list lets in."""

from __future__ import annotations

import pytest

from facecluster.config import load_settings
from facecluster.errors import ConfigError, SignedOutError
from facecluster.guarded import GuardedFaces, GuardedPeople
from facecluster.identity import allow_list, identity_of
from facecluster.model import ChangeSet, UserId
from facecluster.wiring import open_service, settings_of

CLAIMS = {"iss": "https://id.example", "sub": "anna", "email": "Anna@Example.org", "email_verified": True}


def test_a_user_is_issuer_and_subject():
    assert identity_of(CLAIMS).user == "https://id.example|anna"


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": None}, {"sub": None}, {"iss": ""}, {"sub": ""}, {"sub": 7}, {"sub": ["anna"]}, {"iss": "a|b"},
        {"sub": "a\0b"}, {"sub": "a\nb"}, {"sub": "\ud800"}, {"sub": "\u202eanna"}, {"sub": "a" * 600},
    ],
)  # fmt: skip
def test_claims_that_name_nobody_for_sure_name_nobody(wrong):
    assert identity_of({**CLAIMS, **wrong}) is None


def test_a_bar_in_a_subject_makes_nobody_else():
    """Only the first bar can end an issuer, for an issuer has none."""
    assert identity_of({**CLAIMS, "sub": "x|y"}).user == "https://id.example|x|y"


@pytest.mark.parametrize("said", [False, None, "true", 1, "yes", [True]])
def test_an_address_that_is_not_verified_is_none(said):
    assert identity_of({**CLAIMS, "email_verified": said}).email == ""


@pytest.mark.parametrize(
    ("entry", "is_let_in"),
    [
        ("*", True), ("https://id.example|anna", True), ("anna@example.org", True), ("ANNA@EXAMPLE.ORG", True),
        ("@example.org", True), ("@Example.ORG", True), ("https://id.example|ann", False),
        ("https://id.example|Anna", False), ("nna@example.org", False), ("@ample.org", False), ("@org", False),
        ("bert@example.org", False),
    ],
)  # fmt: skip
def test_a_list_lets_in_whom_it_names(entry, is_let_in):
    assert allow_list([entry]).admits(identity_of(CLAIMS)) is is_let_in


def test_nobody_is_let_in_by_an_empty_list_or_without_an_address():
    assert not allow_list([]).admits(identity_of(CLAIMS))
    assert not allow_list(["@example.org", "anna@example.org"]).admits(identity_of({**CLAIMS, "email": None}))


@pytest.mark.parametrize("entry", ["anna", "@", "anna@", "|anna", "https://id.example|", "*@example.org", "a@b@c"])
def test_an_entry_that_names_nobody_is_refused(entry):
    with pytest.raises(ConfigError, match="Nobody was let in"):
        allow_list([entry])


def test_a_store_asks_before_each_write_and_at_no_reading(make_batch):
    asked: list[str] = []

    def refuse() -> None:
        asked.append("asked")
        raise SignedOutError("You are signed out.")

    service = open_service(load_settings(), may_write=refuse)
    assert isinstance(service._faces, GuardedFaces)
    assert isinstance(service._people, GuardedPeople)
    service.view()
    service.history()
    service.runs()
    assert asked == []
    writes = [
        lambda: service._faces.add(make_batch(["a"])),
        lambda: service._faces.remove(["a"]),
        lambda: service._faces.fetch(),
        lambda: service._people.apply(ChangeSet(base_revision=0, author="x", title="x", decisions=())),
    ]
    for write in writes:
        with pytest.raises(SignedOutError):
            write()
    assert len(asked) == len(writes)
    assert service.view().snapshot.revision == 0


def test_an_index_that_keeps_no_users_apart_is_nobodys_who_signs_in():
    settings = load_settings(pinecone_api_key="x")
    with pytest.raises(ConfigError, match="keeps the faces"):
        settings_of(settings, UserId("https://id.example|anna"))
    apart = settings.model_copy(update={"pinecone_namespace": "faces-{user}"})
    assert settings_of(apart, UserId("https://id.example|anna")).user == "https://id.example|anna"

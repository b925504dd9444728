"""Who looks like two people, in words: told without waiting, and with a way to the split."""

from __future__ import annotations

import threading

import pytest
from planted_library import planted

from facecluster.ui import blended, session


@pytest.fixture
def library(tmp_path, monkeypatch):
    made = planted(tmp_path, 1500)
    monkeypatch.setattr(session, "view", lambda: made.view)
    monkeypatch.setattr(session, "library", lambda: str(tmp_path))
    return made


def truly(view):
    return {person for person in view.state.people if blended.blend_of(view, person) is not None}


def test_a_large_library_is_looked_at_in_the_background_and_told_when_it_is_known(library, monkeypatch):
    may_look, look = threading.Event(), blended.Blends.look
    monkeypatch.setattr(blended.Blends, "look", lambda self, view: None if not may_look.wait(20) else look(self, view))
    monkeypatch.setattr(blended, "_AT_ONCE", 20)
    assert len(library.view.state.people) > 20
    assert blended.warnings() == {}, "nothing is known, and nobody waits for it"
    assert blended.warnings() == {}
    workers = [thread for thread in threading.enumerate() if thread.name == "blended"]
    assert len(workers) == 1, "one look is enough"
    may_look.set()
    workers[0].join(20)
    told = blended.warnings()
    assert set(told) == truly(library.view)
    assert set(told.values()) <= {"perhaps two people"}


def test_after_an_act_its_people_are_looked_at_at_once_and_the_others_are_not_forgotten(library):
    blended._kept(repr(session.settings())).look(library.view)
    before = blended.warnings()
    person = next(iter(before))
    halves = blended.blend_of(library.view, person)
    assert halves is not None
    library.service.confirm(person)
    now = blended.warnings()
    assert now == {other: words for other, words in before.items() if other != person}
    assert blended.sentence(person) == ""


def test_the_sentence_says_how_many_faces_are_unlike_and_how_alike_the_halves_are(library):
    person = next(iter(truly(library.view)))
    blend = blended.blend_of(library.view, person)
    library.service.rename(person, "Anna")
    said = blended.sentence(person)
    assert said.startswith(
        f"Anna looks like two people: {blend.n_apart} of {blend.n_faces} faces are unlike the others"
    )
    assert f"cosine {blend.cosine:.2f} · distance " in said

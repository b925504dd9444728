"""Who looks like two people: found where people were joined, and kept from one moment to the next."""

from __future__ import annotations

import numpy as np
import pytest
from planted_library import planted

from facecluster import blended
from facecluster.blended import Blends, blend_of
from facecluster.doubts import doubts_of, halves_of, matters
from facecluster.review import queue_of


@pytest.fixture
def library(tmp_path):
    return planted(tmp_path, 1500)


def everybody(view):
    return {person: found for person in view.state.people if (found := blend_of(view, person)) is not None}


def two_people(library):
    """People of whom a second human has enough faces to matter, by the truth."""
    view, found = library.view, set()
    for person in view.state.people:
        counts = np.sort(np.bincount(library.truth[view.rows(person)]))
        if len(counts) > 1 and counts[-2] >= matters(len(view.rows(person))):
            found.add(person)
    return found


def test_people_who_were_joined_look_blended_and_hardly_anybody_else_does(library):
    found, true = set(everybody(library.view)), two_people(library)
    assert len(true) >= 3
    assert found == true


def test_a_blend_by_halves_is_the_split_that_review_asks_about_when_it_is_likelier_than_not(library):
    doubts = doubts_of(library.view)
    asked = {ask.person: len(ask.rows) for ask in queue_of(doubts).asks if ask.kind == "split" and ask.chance >= 0.5}
    found = {person: blend.n_apart for person, blend in everybody(library.view).items() if blend.n_apart}
    assert found == asked
    for person, halves in doubts.halves.items():
        again = halves_of(library.view, person)
        assert again is not None
        assert (again.stays.tolist(), again.leaves.tolist()) == (halves.stays.tolist(), halves.leaves.tolist())


def twice_in(view, person):
    """Photos in which somebody is twice, not confirmed both times, by looking at every pair of faces."""
    rows, photo, pin = view.rows(person).tolist(), view.faces.photo, view.state.pin
    return {
        photo[a]
        for a in rows
        for b in rows
        if a < b and photo[a] and photo[a] == photo[b] and (pin[a] < 0 or pin[b] < 0)
    }


def test_somebody_twice_in_enough_photos_looks_blended_until_those_faces_are_confirmed(library):
    view, service = library.view, library.service
    # Each merge confirms a face of either, and a photo in which both are confirmed speaks no longer.
    in_photos = {card.id: view.faces.photo_number[view.rows(card.id)] for card in view.cards[:40]}
    one, other = max(
        ((a, b) for a in in_photos for b in in_photos if a < b),
        key=lambda pair: len(np.intersect1d(*(in_photos[person] for person in pair))),
    )
    service.merge(one, [other])
    joined = one if one in library.view.number else other
    n_twice = len(twice_in(library.view, joined))
    assert n_twice >= matters(len(library.view.rows(joined)))
    found = blend_of(library.view, joined)
    assert found is not None
    assert found.n_twice == n_twice
    service.confirm(joined)
    assert blend_of(library.view, joined) is None


def test_what_is_kept_is_what_is_reckoned_anew_whatever_was_done(library):
    kept, rng = Blends(), np.random.default_rng(2)
    kept.look(library.view)
    for _ in range(6):
        view = library.view
        assert kept.so_far(view) == (everybody(view), 0)
        some = [view.faces.ids[row] for row in rng.choice(len(view.faces), 4, replace=False)]
        a, b = (view.cards[at].id for at in rng.choice(len(view.cards), 2, replace=False))
        library.service.move(some, a)
        library.service.merge(a, [b])
        library.service.confirm(a)
        now = library.view
        found, n_left = kept.so_far(now)
        assert n_left >= 1
        assert found.items() <= everybody(now).items(), "what is not known is left out, and nothing else"
        kept.look(now)


def test_only_people_who_changed_are_looked_at_again(library, monkeypatch):
    kept = Blends()
    kept.look(library.view)
    looked = []
    monkeypatch.setattr(blended, "blend_of", lambda view, person: looked.append(person))
    a, b = (card.id for card in library.view.cards[:2])
    library.service.move([library.view.faces.ids[library.view.rows(a)[0]]], b)
    kept.look(library.view)
    assert sorted(looked) == sorted([a, b])

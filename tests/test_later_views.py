"""A view that follows another says exactly what one says that is made from nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pytest
from small_library import make_library, open_library

from facecluster.errors import FaceClusterError
from facecluster.row_state import RowState
from facecluster.view import View

WHAT = ("cards", "card_of", "number", "label", "strength", "noise", "too_blurred", "covers", "n_new")


def asked_for(view: View) -> None:
    """Everything that is reckoned once, so that the next view has it to take over."""
    for name in WHAT:
        getattr(view, name)


def assert_equal(one: View, other: View) -> None:
    assert one.snapshot.facts == other.snapshot.facts
    assert one.snapshot.people == other.snapshot.people
    assert list(one.snapshot.people) == list(other.snapshot.people)
    for field in fields(RowState):
        assert np.array_equal(getattr(one.state, field.name), getattr(other.state, field.name)), field.name
    for name in WHAT:
        assert as_told(getattr(one, name)) == as_told(getattr(other, name)), name


def as_told(value: object) -> object:
    return list(value) if isinstance(value, Sequence | np.ndarray) else value


def something(rng: random.Random, service) -> None:
    """One deed of a curator: mostly a name, as in life."""
    view = service.view()
    known = list(view.number)
    person, other = rng.choice(known), rng.choice(known)
    faces = view.ids_of(person)
    deeds = [
        lambda: service.rename(person, rng.choice(("Anna", "Ben", "", "Cleo"))),
        lambda: service.rename(person, f"Name {rng.random()}"),
        lambda: service.hide([person], rng.random() < 0.7),
        lambda: service.set_cover(person, rng.choice(faces) if faces and rng.random() < 0.7 else None),
        lambda: service.move([rng.choice(view.faces.ids)], person),
        lambda: service.reject(faces[:1], person) if faces else None,
        lambda: service.merge(person, [other]) if person != other else None,
        lambda: service.tell_apart([person, other]) if person != other and faces and view.ids_of(other) else None,
        lambda: service.mark([rng.choice(view.faces.ids)], rng.choice(("ignored", None))),
        lambda: service.rename(person, "Zoe", confirm=True) if faces else None,
        lambda: service.undo(rng.randrange(2, view.snapshot.revision + 1)) if view.snapshot.revision > 1 else None,
    ]
    with suppress(FaceClusterError):  # it may not be allowed: an undo that meets a later word
        rng.choices(deeds, (4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 2))[0]()


@pytest.mark.parametrize("seed", range(4))
def test_after_any_deeds_the_view_is_as_if_opened_anew(tmp_path, seed):
    service, rng = make_library(tmp_path), random.Random(seed)  # noqa: S311
    asked_for(service.view())
    for turn in range(40):
        something(rng, service)
        if turn % 3 == 0:  # and sometimes several changes come before anybody looks
            asked_for(service.view())
        if turn % 5 == 0:
            assert_equal(service.view(), open_library(tmp_path / "library").view())
    assert_equal(service.view(), open_library(tmp_path / "library").view())


def test_a_name_leaves_whose_the_faces_are_and_what_is_near_to_whom(tmp_path):
    service = make_library(tmp_path)
    before = service.view()
    asked_for(before)
    person = before.cards[0].id
    service.rename(person, "Anna")
    after = service.view()
    assert after.version != before.version
    assert after.version_but_names == before.version_but_names
    assert after.state.owner is before.state.owner
    assert after.noise is before.noise
    assert after.card_of[person].name == "Anna"
    assert [a is b for a, b in zip(after.cards[1:], before.cards[1:], strict=True)] == [True] * (len(before.cards) - 1)


def test_a_face_that_moves_is_more_than_a_name(tmp_path):
    service = make_library(tmp_path)
    before = service.view()
    service.move([before.noise[0].face], before.cards[0].id)
    assert service.view().version_but_names != before.version_but_names


def test_a_library_that_was_restored_beside_us_is_read_anew(tmp_path):
    """Its log has as many changes, and they are others."""
    service = make_library(tmp_path)
    person = service.view().cards[0].id
    service.rename(person, "Anna")
    assert service.view().card_of[person].name == "Anna"
    with open_library(tmp_path / "library")._people._db.write() as db:
        db.execute("drop trigger log_is_append_only_1")
        db.execute("update log set at = 'another time' where revision = (select max(revision) from log)")
        db.execute("update facts set value = 'Berta' where kind = 'name'")
    assert service._people.read().people[person].name == "Berta"

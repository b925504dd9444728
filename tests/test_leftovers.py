"""Sections of loose faces, on a library with planted people of whom nobody made a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_library import Planted, planted, publish
from small_library import PARAMS, faces, open_library, write_faces

from facecluster.leftovers import NEAR, Leftovers, look_alike_now, sections
from facecluster.model import Question


@pytest.fixture
def library(tmp_path: Path) -> Planted:
    return planted(tmp_path, 600, seed=2)


@pytest.fixture
def taken_apart(library: Planted) -> Planted:
    """The same, with three people of whom the curator said that they are nobody."""
    for card in library.view.cards[:3]:
        library.service.reject(library.view.ids_of(card.id), card.id)
    return library


def as_sets(groups):
    return [frozenset(group.rows.tolist()) for group in groups]


def test_faces_of_a_person_of_whom_nobody_made_one_are_a_group(taken_apart: Planted):
    groups = Leftovers().groups(taken_apart.view)
    largest = [np.bincount(taken_apart.truth[group.rows]) for group in groups[:3]]
    assert all(count.max() == count.sum() for count in largest), "three people, nobody else among them"
    assert [len(group.rows) for group in groups[:3]] == sorted((len(g.rows) for g in groups), reverse=True)[:3]


def test_groups_kept_over_many_acts_are_those_found_anew(taken_apart: Planted):
    rng, kept = np.random.default_rng(0), Leftovers()
    service = taken_apart.service
    for _ in range(12):
        view = taken_apart.view
        kept.groups(view)
        some = [view.faces.ids[row] for row in rng.choice(view.noise_rows, 3, replace=False).tolist()]
        person = view.cards[int(rng.integers(20))].id
        act = rng.integers(4)
        if act == 0:
            service.move(some, person)
        elif act == 1:
            service.mark(some, "ignored")
        elif act == 2:
            service.reject(view.ids_of(person)[:2], person)
        else:
            service.undo(view.snapshot.revision)
        assert as_sets(kept.groups(taken_apart.view)) == as_sets(Leftovers().groups(taken_apart.view))


def test_every_loose_face_stands_in_one_section(taken_apart: Planted):
    view = taken_apart.view
    found = sections(view, Leftovers().groups(view))
    ids = [face for section in found for face in section.ids]
    assert len(ids) == len(set(ids)) == len(view.noise)
    assert {section.kind for section in found} == {"person", "alike", "nobody"}
    for section in found:
        assert len(section.likeness) == len(section.faces)
        assert list(section.likeness) == sorted(section.likeness, reverse=True)
        if section.kind == "person":
            assert min(section.likeness) >= NEAR
            assert {one.person for one in section.faces} == {section.person}


def test_likely_faces_are_with_their_person_and_in_no_group(taken_apart: Planted):
    view = taken_apart.view
    for section in sections(view, Leftovers().groups(view)):
        if section.kind == "alike":
            assert all(one.cosine < view.usual_cosine for one in section.faces)


def test_only_the_faces_that_are_asked_for_are_in_sections(taken_apart: Planted):
    view = taken_apart.view
    wanted = view.noise[:7]
    is_shown = np.isin(np.arange(len(view.faces)), wanted.rows)
    found = sections(view, Leftovers().groups(view), is_shown)
    assert sorted(face for section in found for face in section.ids) == sorted(wanted.ids)


def test_two_faces_that_were_told_apart_are_in_no_group_together(taken_apart: Planted):
    a, b = (int(row) for row in Leftovers().groups(taken_apart.view)[0].rows[:2])
    ids = taken_apart.view.faces.ids
    one = taken_apart.service.new_person([ids[a]])
    other = taken_apart.service.new_person([ids[b]])
    taken_apart.service.answer(Question("same", one, other, 1), is_yes=False)
    for face, person in ((ids[a], one), (ids[b], other)):
        taken_apart.service.reject([face], person)
    view = taken_apart.view
    assert view.state.owner[a] == view.state.owner[b] == -1
    for group in Leftovers().groups(view):
        assert not {a, b} <= set(group.rows.tolist())


def likely_of(library: Planted, person) -> set:
    view = library.view
    return {one.face for one in view.noise if one.person == person and one.cosine >= view.usual_cosine}


def test_what_looks_like_somebody_since_an_act_did_not_before_and_does_now(taken_apart: Planted):
    """A new person of a few faces, to whom the others of the same human are likely to belong."""
    group = next(g for g in Leftovers().groups(taken_apart.view) if len(g.rows) > 5)
    faces = [taken_apart.view.faces.ids[row] for row in group.rows.tolist()]
    before = taken_apart.view
    person = taken_apart.service.new_person(faces[:2])
    told = look_alike_now(before, taken_apart.view)
    assert told is not None
    assert told[0] == person
    assert set(told[1]) == likely_of(taken_apart, person) != set()
    truth = {face: taken_apart.truth[taken_apart.view.row(face)] for face in (*told[1], faces[0])}
    assert np.mean([truth[face] == truth[faces[0]] for face in told[1]]) > 0.9

    before, was = taken_apart.view, likely_of(taken_apart, person)
    taken_apart.service.move(told[1][:2], person)
    told = look_alike_now(before, taken_apart.view)
    assert told is not None
    assert set(told[1]) == likely_of(taken_apart, person) - was


def test_an_act_that_gives_nobody_a_face_makes_nothing_look_like_somebody(library: Planted):
    before = library.view
    library.service.confirm(before.cards[0].id)
    assert look_alike_now(before, library.view) is None
    before = library.view
    library.service.rename(before.cards[0].id, "Anna")
    assert look_alike_now(before, library.view) is None


def test_publishing_gives_many_people_faces_and_says_nothing_of_them(library: Planted):
    before = library.view
    library.service.publish(library.service.plan(library.service.defaults))
    assert look_alike_now(before, library.view) is None


def test_after_two_people_became_one_the_faces_that_look_like_the_other_look_like_them(library: Planted):
    view = library.view
    gone = next(one.person for one in view.noise if one.cosine >= view.usual_cosine)
    into = next(card.id for card in view.cards if card.id != gone)
    theirs = likely_of(library, gone)
    library.service.merge(into, [gone])
    told = look_alike_now(view, library.view)
    assert told is not None
    assert set(told[1]) == theirs


def test_where_nobody_has_two_faces_no_face_is_likely_somebodys(library: Planted):
    """A run that found nobody, and the first person made by hand: the mark is not what nobody had before."""
    publish(library.service, np.full(len(library.truth), -1), run="run-2")
    before = library.view
    groups = Leftovers().groups(before)
    assert not any(section.likely for section in sections(before, groups))
    rows = next(group.rows for group in groups if len(group.rows) > 5)
    person = library.service.new_person([before.faces.ids[row] for row in rows[:3].tolist()])
    told = look_alike_now(before, library.view)
    assert told is not None
    assert told[0] == person
    assert len(told[1]) <= np.count_nonzero(library.truth == library.truth[rows[0]])


def test_groups_of_a_library_from_which_all_loose_faces_were_erased_are_none(library: Planted):
    kept, service = Leftovers(), library.service
    kept.groups(library.view)
    person = service.new_person([library.view.faces.ids[row] for row in library.view.noise_rows.tolist()])
    service.erase(person, len(library.view.rows(person)))
    assert kept.groups(library.view) == ()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_libraries_have_their_loose_faces_in_groups_or_alone(tmp_path, n):
    """Their neighbour lists hold nobody, or all the others."""
    service = open_library(tmp_path / "library")
    service.import_files([write_faces(tmp_path / "few.npz", **{key: value[:n] for key, value in faces().items()})])
    service.publish(service.plan(PARAMS))
    view = service.view()
    assert view.lists is not None
    found = sections(view, Leftovers().groups(view))
    assert sorted(one.face for section in found for one in section.faces) == sorted(one.face for one in view.noise)

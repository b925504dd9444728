"""What a search finds is what a slow search finds, and each face says truly why it is there."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from planted_library import planted
from small_library import make_library

from facecluster.answers import Asked, answer, answer_as_json, answer_table
from facecluster.doubts import doubts_of
from facecluster.errors import InputError
from facecluster.model import Question
from facecluster.review import queue_of
from facecluster.tables import as_csv


@pytest.fixture
def service(tmp_path):
    return make_library(tmp_path)


@pytest.fixture
def view(service):
    return service.view()


@pytest.fixture
def people(view):
    return [card.id for card in view.people()]


def cosines(view, vector):
    return view.faces.vectors.astype(np.float64) @ np.asarray(vector, np.float64)


def ids(found):
    return [one.face for one in found.faces]


def by_hand(view, person):
    return {view.faces.ids[row] for row in range(len(view.faces)) if view.owner(view.faces.ids[row]) == person}


@pytest.mark.parametrize("least", [-1.0, 0.3, 0.7, 1.1])
def test_a_vector_finds_its_nearest_faces_and_the_rest_of_their_people_down_to_the_least_cosine(view, least):
    vector = view.faces.vectors[3]
    alike = cosines(view, vector)
    nearest = sorted(range(len(alike)), key=lambda row: (-alike[row], row))[:6]
    owners = {view.owner(view.faces.ids[row]) for row in nearest} - {None}
    expected = {
        view.faces.ids[row]: "direct" if row in nearest else "same person"
        for row in range(len(alike))
        if (row in nearest or view.owner(view.faces.ids[row]) in owners) and alike[row] >= least
    }
    found = answer(view, Asked(vector=vector, least=least, most=6))
    assert {one.face: one.why for one in found.faces} == expected
    for one in found.faces:
        assert one.cosine == pytest.approx(alike[view.row(one.face)], abs=1e-6)
        assert one.distance == pytest.approx(np.sqrt(max(0.0, 2 - 2 * one.cosine)), abs=1e-6)


def test_an_answer_stands_person_by_person_and_those_with_the_nearest_face_come_first(view):
    found = answer(view, Asked(vector=view.faces.vectors[3], most=10)).faces
    nearest: dict = {}
    for one in found:
        nearest.setdefault(one.person, one.distance)
    assert list(nearest.values()) == sorted(nearest.values())
    groups = [one.person for at, one in enumerate(found) if not at or found[at - 1].person != one.person]
    assert len(groups) == len(set(groups)) > 1


def test_a_person_finds_nobody_of_their_own_and_a_face_not_itself(view, people):
    own = by_hand(view, people[0])
    assert not own & set(ids(answer(view, Asked(person=people[0]))))
    face = min(own)
    found = ids(answer(view, Asked(face=face)))
    assert face not in found
    assert own - {face} <= set(found)


def test_who_is_likely_the_same_is_suggested_with_all_faces_only_when_asked_for(view, people):
    face = min(by_hand(view, people[0]))
    plain = answer(view, Asked(face=face, most=1))
    near = {one.person for one in plain.faces}
    other = next(person for person in people if person not in near)
    found = answer(view, Asked(face=face, most=1), {people[0]: {other}, other: {people[0]}})
    suggested = {one.face for one in found.faces if one.why == "suggested"}
    assert suggested == by_hand(view, other)
    assert {one.face: one.why for one in plain.faces}.items() <= {one.face: one.why for one in found.faces}.items()
    assert "suggested" not in {one.why for one in plain.faces}


def photos_of(view, wanted, without=frozenset()):
    """Photos that hold somebody of each group of `wanted` and nobody of `without`, by looking at every face."""
    there: dict[str, set] = {}
    for row, face in enumerate(view.faces.ids):
        there.setdefault(view.faces.photo[row] or face, set()).add(view.owner(face))
    return {photo for photo, who in there.items() if all(who & group for group in wanted) and not who & without}


def test_photos_are_found_by_all_of_any_of_and_without(view, people):
    a, b = next((one, two) for one in people for two in people if one < two and photos_of(view, [{one}, {two}]))
    for asked, expected in (
        (Asked(all_of=(a, b), most=99), photos_of(view, [{a}, {b}])),
        (Asked(any_of=(a, b), most=99), photos_of(view, [{a, b}])),
        (Asked(all_of=(a,), without=(b,), most=99), photos_of(view, [{a}], {b})),
        (Asked(all_of=(a,), any_of=(b, people[0]), most=99), photos_of(view, [{a}, {b, people[0]}])),
        (Asked(without=(a, b), most=99), photos_of(view, [], {a, b})),
        (Asked(all_of=(a,), without=(a,), most=99), set()),
    ):
        found = answer(view, asked)
        assert {view.face(face).photo for face in ids(found)} == expected
        assert found.n_photos == found.n_photos_there == len(expected)


def test_in_photos_the_faces_of_who_was_asked_for_stand_photo_by_photo_the_surest_first(view, people):
    a, b = people[:2]
    found = answer(view, Asked(any_of=(a, b), most=5))
    assert (found.n_photos, found.n_photos_there) == (5, len(photos_of(view, [{a, b}])))
    assert {one.person for one in found.faces} <= {a, b}
    photos = [view.face(one.face).photo for one in found.faces]
    order = list(dict.fromkeys(photos))
    assert [p for at, p in enumerate(photos) if not at or photos[at - 1] != p] == order
    worst = [max(one.distance for one, p in zip(found.faces, photos, strict=True) if p == photo) for photo in order]
    assert worst == sorted(worst)
    for one in found.faces:
        assert one.cosine == pytest.approx(cosines(view, view.centre(one.person))[view.row(one.face)], abs=1e-6)


def test_in_photos_a_doubtful_face_counts_against_but_not_for_a_person_unless_it_is_confirmed(service, people):
    a, b = next(
        (one, two) for one in people for two in people if one != two and photos_of(service.view(), [{one}, {two}])
    )
    view = service.view()
    own = answer(view, Asked(all_of=(a,), most=99)).faces
    doubtful = max(own, key=lambda one: one.distance)
    least = doubtful.cosine + 1e-6
    assert doubtful.face not in ids(answer(view, Asked(all_of=(a,), least=least, most=99)))
    service.confirm(a, [doubtful.face])
    assert doubtful.face in ids(answer(service.view(), Asked(all_of=(a,), least=least, most=99)))
    service.confirm(b)
    without = [answer(service.view(), Asked(all_of=(b,), without=(a,), least=x, most=99)).faces for x in (-1.0, 1.0)]
    assert without[0] == without[1]


def test_in_photos_who_is_likely_the_same_counts_as_the_person_and_is_said_to_be_suggested(view, people):
    a, b = people[:2]
    plain, found = (answer(view, Asked(all_of=(a,), most=99), likely) for likely in ({}, {a: {b}, b: {a}}))
    assert {one.face for one in found.faces if one.why == "suggested"} == by_hand(view, b)
    assert {one.face for one in plain.faces} == by_hand(view, a)


def test_who_is_likely_somebody_unwanted_rules_a_photo_out_as_they_do(view, people):
    a, b = next((one, two) for one in people for two in people if one < two and photos_of(view, [{one}, {two}]))
    c = next(person for person in people if person not in (a, b))
    found = answer(view, Asked(all_of=(a,), without=(c,), most=99), {c: {b}})
    expected = photos_of(view, [{a}], {b, c})
    assert {view.face(face).photo for face in ids(found)} == expected != photos_of(view, [{a}], {c})


def test_nobody_is_asked_for_who_is_not_there(view, people):
    with pytest.raises(InputError, match="There is no person 'p-gone'"):
        answer(view, Asked(all_of=(people[0], "p-gone")))
    with pytest.raises(InputError, match="Nothing to search by"):
        answer(view, Asked())


def test_the_table_says_whose_where_how_alike_and_why_and_runs_no_formula(service, people):
    service.rename(people[0], "=cmd()")
    view = service.view()
    face = sorted(by_hand(view, people[0]))[0]
    service.confirm(people[0], [sorted(by_hand(view, people[0]))[1]])
    view = service.view()
    asked = Asked(face=face, most=1)
    found = answer(view, asked)
    table = answer_table(view, found.faces)
    assert [row["face"] for row in table] == ids(found)
    assert list(table[0]) == ["face", "person", "name", "photo", "folder", "distance", "cosine", "why"]
    assert {row["name"] for row in table if row["person"] == people[0]} == {"=cmd()"}
    why = {row["why"] for row in table}
    assert "direct" in why
    assert all(w in ("direct", "same person, confirmed") or w.startswith("same person, strength ") for w in why)
    read = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert {row["name"] for row in read if row["person"] == people[0]} == {"'=cmd()"}
    told = json.loads(answer_as_json(view, asked, found))
    assert told["faces"] == table
    assert told["asked"]["face"] == face
    assert told["asked"]["most"] == 1


def test_an_answer_by_who_is_not_there_has_no_distances_and_leaves_out_what_is_no_face(service, people):
    nobodys = [face for face in service.view().faces.ids if service.view().owner(face) is None]
    service.mark(nobodys[:1], "not_a_face")
    view = service.view()
    found = answer(view, Asked(without=(people[0],), most=99))
    assert nobodys[0] not in ids(found)
    assert set(nobodys[1:]) & set(ids(found))
    assert {(one.distance, one.cosine, one.why) for one in found.faces} == {(None, None, "in the photo")}
    assert answer_table(view, found.faces)[0]["distance"] is None


def test_review_suggests_only_those_whom_it_holds_for_the_same_person(tmp_path):
    library = planted(tmp_path)
    likely = queue_of(doubts_of(library.view)).likely_same
    pairs = {frozenset((a, b)) for a, others in likely.items() for b in others}
    assert len(pairs) > 5
    truth = [len({library.whose(library.view.rows(person)) for person in pair}) == 1 for pair in pairs]
    assert np.mean(truth) > 0.9
    one, other = sorted(next(iter(pairs)))
    assert other in likely[one]
    assert one in likely[other]
    library.service.answer(Question("same", one, other, 1), False)
    assert other not in queue_of(doubts_of(library.view)).likely_same.get(one, ())


def test_two_people_named_in_one_question_are_two_however_likely_they_are_one(view, people):
    a, b = next((one, two) for one in people for two in people if one < two and photos_of(view, [{one}], {two}))
    likely = {a: {b}, b: {a}}
    for asked in (Asked(all_of=(a, b), most=99), Asked(all_of=(a,), without=(b,), most=99)):
        assert answer(view, asked, likely) == answer(view, asked)

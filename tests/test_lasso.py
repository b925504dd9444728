"""What is drawn on the map: which faces a shape holds, which are drawn as points, and whom they are like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_library import make_library

from facecluster import lasso
from facecluster.lasso import FaceMap
from facecluster.view import View


def face_map(xy, owner=None) -> FaceMap:
    xy = np.asarray(xy, np.float32)
    n = len(xy)
    return FaceMap(np.arange(n) * 3, xy, np.full(n, -1, np.int32) if owner is None else np.asarray(owner, np.int32))


@pytest.fixture
def view(tmp_path: Path) -> View:
    return make_library(tmp_path).view()


def naive_inside(point, corners) -> bool:
    """The even-odd rule, one point and one edge at a time."""
    x, y = point
    found = False
    for i, (ax, ay) in enumerate(corners):
        bx, by = corners[i - 1]
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            found = not found
    return found


@pytest.mark.parametrize("n_corners", [0, 1, 2, 3, 4, 30])
def test_a_polygon_holds_the_points_that_the_plain_rule_says(n_corners):
    drawn = np.random.default_rng(n_corners)
    xy = drawn.uniform(-1, 1, (500, 2)).astype(np.float32)
    corners = drawn.uniform(-1, 1, (n_corners, 2))
    found = lasso.inside(xy, corners[:, 0].tolist(), corners[:, 1].tolist())
    assert found.tolist() == [naive_inside(point, corners) for point in xy.astype(float)]


def test_several_shapes_hold_what_any_of_them_holds():
    faces = face_map([[0, 0], [1, 1], [3, 3]])
    triangle = {"x": [2.5, 3.5, 3], "y": [2.5, 2.5, 4]}
    box = {"x": [-1, 0.5, 0.5, -1], "y": [-1, -1, 0.5, 0.5]}
    assert faces.enclosed([triangle, box]).tolist() == [0, 6]
    assert faces.enclosed([]).tolist() == []


def test_a_click_takes_the_face_that_was_hit():
    faces = face_map([[0, 0], [1, 1], [3, 3]])
    assert faces.nearest(1.0, 1.0) == 3
    assert faces.nearest(9.0, 9.0) == 6
    assert face_map(np.empty((0, 2))).nearest(0.0, 0.0) is None


def test_few_points_are_all_drawn():
    assert lasso.spread(np.zeros(10, np.int32), np.arange(10), most=10).tolist() == list(range(10))


def test_of_many_points_everybody_keeps_some_and_the_rest_is_spread_evenly():
    owner = np.repeat(np.array([-1, 0, 1, 2], np.int32), [5000, 4000, 20, 5])
    owner = owner[np.random.default_rng(1).permutation(len(owner))]
    some = lasso.spread(owner, np.arange(len(owner)), most=1000)
    assert len(some) == 1000
    assert np.array_equal(some, np.unique(some))
    assert (owner[some] == 2).sum() == 5
    assert (owner[some] == 1).sum() >= 8
    assert 0.45 < (owner[some] == -1).mean() < 0.65


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=80),
    n_loose=st.integers(0, 800),
    most=st.integers(1, 600),
    seed=st.integers(0, 99),
)
def test_nobody_vanishes_while_there_are_as_many_points_as_people(sizes, n_loose, most, seed):
    owner = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(n_loose, -1)]).astype(np.int32)
    owner = owner[np.random.default_rng(seed).permutation(len(owner))]
    some = lasso.spread(owner, np.arange(len(owner)), most)
    assert len(some) == min(most, len(owner))
    n_drawn = np.bincount(owner[some][owner[some] >= 0], minlength=len(sizes))
    if most >= len(sizes):
        assert (n_drawn >= 1).all()
    if most * 0.75 >= sum(min(size, 8) for size in sizes):
        assert (n_drawn >= np.minimum(sizes, 8)).all()


def test_five_thousand_people_are_all_on_the_map_and_so_are_the_faces_of_nobody():
    rng = np.random.default_rng(0)
    owner = np.where(rng.random(100_000) < 0.6, rng.integers(0, 5000, 100_000), -1).astype(np.int32)
    faces = face_map(rng.uniform(-50, 50, (100_000, 2)), owner)
    some = faces.to_draw()
    assert len(some) == lasso.MOST_DRAWN
    assert len(np.unique(owner[some][owner[some] >= 0])) == len(np.unique(owner[owner >= 0]))
    assert (owner[some] < 0).sum() > 1000


def test_a_look_closer_shows_more_of_what_is_looked_at_and_keeps_what_was_there():
    rng = np.random.default_rng(0)
    faces = face_map(rng.uniform(0, 10, (60_000, 2)), rng.integers(-1, 40, 60_000))
    window = (2.0, 2.0, 4.0, 4.0)
    at_first, closer = faces.to_draw(most=5000), faces.to_draw(window, most=5000)
    is_in = faces.within(window)
    seen, seen_closer = at_first[is_in[at_first]], closer[is_in[closer]]
    assert len(closer) == 5000
    assert len(seen_closer) > 5 * len(seen)
    assert np.isin(seen, seen_closer).mean() > 0.95
    assert (~is_in[closer]).sum() > 500, "nothing is left around it"


def test_somebody_who_is_looked_for_is_drawn_with_all_their_faces():
    owner = np.repeat(np.array([-1, 0, 1], np.int32), [4000, 3000, 200])
    faces = face_map(np.random.default_rng(0).uniform(size=(7200, 2)), owner)
    some = faces.to_draw(most=500, always=1)
    assert (owner[some] == 1).sum() == 200
    assert len(some) == 500


def test_faces_set_aside_are_not_on_the_map(tmp_path: Path):
    service = make_library(tmp_path)
    service.mark([service.view().faces.ids[0]], "ignored")
    view = service.view()
    rows = np.arange(len(view.faces))
    assert 0 not in FaceMap.of(view, rows, np.zeros((len(rows), 2), np.float32)).row


def test_likeness_finds_the_faces_that_are_nearer_to_somebody_else(view: View):
    first, second = view.cards[0].id, view.cards[1].id
    mine, theirs = view.ids_of(first)[:6], view.ids_of(second)[:2]
    found = lasso.likeness(view, [*mine, *theirs], lasso.middles(view))
    near = {one.face: one.person for one in view.nearest([*mine, *theirs])}
    assert found.person == first
    assert set(found.faces) == {face for face, person in near.items() if person == first}
    assert dict(found.others).get(second) == tuple(face for face in theirs if near[face] == second)
    assert found.n_others == len(mine) + len(theirs) - len(found.faces)


def test_many_faces_are_told_the_same_person_as_a_few_are(view: View):
    rows = np.flatnonzero(view.state.owner >= 0)
    exact = {one.face: one.person for one in view.nearest([view.faces.ids[row] for row in rows])}
    near = lasso.nearest_people(view, rows, lasso.middles(view))
    told = {view.faces.ids[row]: view.state.people[who] for row, who in zip(rows, near, strict=True)}
    assert told == exact


@pytest.mark.parametrize("is_many", [False, True])
def test_somebody_ruled_out_by_the_curator_is_not_whom_a_face_is_like(tmp_path: Path, monkeypatch, is_many):
    service = make_library(tmp_path)
    view = service.view()
    person = view.cards[0].id
    face = view.ids_of(person)[0]
    service.reject([face], person)
    view = service.view()
    if is_many:
        monkeypatch.setattr(lasso, "MOST_EXACT", 0)
    assert lasso.likeness(view, [face], lasso.middles(view)).person not in (None, person)


def test_where_there_is_nobody_faces_are_like_nobody(tmp_path: Path):
    view = make_library(tmp_path, publish=False).view()
    found = lasso.likeness(view, view.faces.ids[:5], lasso.middles(view))
    assert (found.person, found.faces, found.others) == (None, view.faces.ids[:5], ())
    assert lasso.nearest_people(view, np.arange(3), lasso.middles(view)).tolist() == [-1, -1, -1]


def test_all_faces_of_one_person_are_that_person_and_a_part_or_a_mixture_is_not(view: View):
    person, other = view.cards[0].id, view.cards[1].id
    everything = view.ids_of(person)
    assert lasso.whole_person(view, everything[::-1]) == person
    assert lasso.whole_person(view, everything[1:]) is None
    assert lasso.whole_person(view, [*everything, *view.ids_of(other)[:1]]) is None
    assert lasso.whole_person(view, []) is None

"""A person's own tree, the parts that cuts on it make, and several people made of one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facecluster import splitting
from facecluster.clustering import build_hierarchy
from facecluster.errors import InputError
from facecluster.splitting import cut, likeliest, parts, person_tree, steps
from tests.small_library import PARAMS, make_library


@pytest.fixture
def library(tmp_path):
    return make_library(tmp_path)


@pytest.fixture
def two(library):
    """Two people who were merged, and which faces were whose."""
    a, b = [card.id for card in library.view().people()[:2]]
    of_a, of_b = library.view().ids_of(a), library.view().ids_of(b)
    library.merge(a, [b])
    library.rename(a, "Anna")
    return a, of_a, of_b


def tree_of(library, person, min_samples=1):
    view = library.view()
    return person_tree(view.faces.vectors, view.rows(person), min_samples)


def groups(n, sizes, seed=0, dimension=16):
    """Unit vectors around as many centres as there are sizes."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(sizes), dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.repeat(centres, sizes, axis=0) + 0.05 * rng.standard_normal((sum(sizes), dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)[:n]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 60), min_samples=st.integers(1, 5), seed=st.integers(0, 1000))
def test_the_tree_is_as_light_as_that_of_the_engine(n, min_samples, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    tree = person_tree(vectors, np.arange(n), min_samples)
    wanted = build_hierarchy(vectors, min_samples).mst.weight
    np.testing.assert_allclose(np.sort(tree.weight), np.sort(wanted), atol=1e-3)


def test_the_order_of_the_edges_is_ascending_and_they_span_every_face():
    vectors = groups(30, (12, 10, 8))
    tree = person_tree(vectors, np.arange(30), 2)
    assert (np.diff(tree.weight) >= 0).all()
    assert set(tree.u.tolist()) | set(tree.v.tolist()) == set(range(30))
    assert cut(tree, len(tree.u), 1).tolist() == [0] * 30


def test_of_many_faces_a_sample_makes_the_tree_and_the_rest_hang_on_it(monkeypatch):
    monkeypatch.setattr(splitting, "_MOST_PAIRED", 40)
    vectors = groups(100, (60, 40))
    tree = person_tree(vectors, np.arange(100), 2)
    assert len(tree.u) == 99
    label = cut(tree, steps(tree, 10)[0].n_edges, 10)
    assert label.tolist() == [0] * 60 + [1] * 40


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_faces_have_a_tree_too(n):
    tree = person_tree(groups(n, (2,)), np.arange(n), 3)
    assert len(tree) == n
    assert len(tree.u) == n - 1
    assert cut(tree, 0, 1).tolist() == list(range(n))


def test_copies_of_one_picture_are_at_distance_zero():
    vectors = np.repeat(groups(2, (1, 1)), 3, axis=0)
    tree = person_tree(vectors, np.arange(6), 2)
    assert (tree.weight[:4] == 0).all()
    assert tree.weight[4] > 0


def test_cuts_are_offered_from_the_loosest_and_make_as_many_parts_as_they_say():
    vectors = groups(60, (25, 20, 15), seed=3)
    tree = person_tree(vectors, np.arange(60), 2)
    found = steps(tree, 5)
    assert [step.n_parts for step in found][:2] == [2, 3]
    assert [step.weight for step in found] == sorted((step.weight for step in found), reverse=True)
    for step in found:
        assert cut(tree, step.n_edges, 5).max() + 1 == step.n_parts
    three = cut(tree, found[1].n_edges, 5)
    assert three.tolist() == [0] * 25 + [1] * 20 + [2] * 15


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 60), least=st.integers(1, 8), seed=st.integers(0, 1000))
def test_no_part_is_smaller_than_asked_for_and_each_step_tells_its_number(n, least, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    tree = person_tree(vectors, np.arange(n), 1)
    for step in steps(tree, least):
        counts = np.bincount(cut(tree, step.n_edges, least))
        assert len(counts) == step.n_parts <= splitting.MOST_PARTS
        assert counts.min() >= least
        assert (np.diff(counts) <= 0).all()
        assert step.n_comes_off >= least


def test_the_cut_shown_first_is_the_one_that_takes_most_off():
    vectors = groups(70, (40, 25, 5), seed=1)
    tree = person_tree(vectors, np.arange(70), 2)
    found = steps(tree, 2)
    assert found[likeliest(found)].n_comes_off == max(step.n_comes_off for step in found) >= 25


def test_two_people_who_were_merged_fall_apart_into_the_two(library, two):
    person, of_a, of_b = two
    tree = tree_of(library, person)
    found = steps(tree, 4)
    label = cut(tree, found[likeliest(found)].n_edges, 4)
    some = parts(library.view(), tree, label)
    assert {frozenset(part.faces) for part in some} == {frozenset(of_a), frozenset(of_b)}


def test_the_part_with_the_confirmed_faces_keeps_the_person_also_where_it_is_smaller(library, two):
    person, of_a, of_b = two
    small = min(of_a, of_b, key=len)
    library.confirm(person, small)
    tree = tree_of(library, person)
    label = np.array([int(face in set(small)) for face in library.view().ids_of(person)], np.int32)
    some = parts(library.view(), tree, label)
    assert set(some[0].faces) == set(small)
    assert set(some[0].confirmed) == set(small)


def test_a_split_keeps_the_name_and_pins_the_new_people(library, two):
    person, of_a, of_b = two
    library.split(person, [of_b[:3], of_b[3:]])
    view = library.view()
    assert view.person(person).name == "Anna"
    assert view.ids_of(person) == sorted(of_a)
    assert {view.owner(face) for face in of_b[:3]} != {view.owner(face) for face in of_b[3:]}
    assert all(view.face(face).is_confirmed for face in of_b)
    assert library.history(1)[0].title.startswith("Split “Anna”: 2 people of 3 and")


def test_undo_takes_the_whole_split_back(library, two):
    person, of_a, of_b = two
    before = dict(library.view().snapshot.facts)
    library.split(person, [of_b[:3], of_b[3:]])
    library.undo(library.history(1)[0].revision)
    assert dict(library.view().snapshot.facts) == before
    assert library.view().ids_of(person) == sorted([*of_a, *of_b])


@pytest.mark.parametrize("min_cluster_size", [2, 3, 5, 8])
def test_no_later_clustering_puts_the_parts_together_again_or_asks_about_them(library, two, min_cluster_size):
    person, of_a, of_b = two
    library.split(person, [of_b[:4], of_b[4:]])
    whose = {face: library.view().owner(face) for face in [*of_a, *of_b]}
    again = PARAMS.__class__(2, min_cluster_size, 0.6, "eom", 50.0)
    plan = library.plan(again)
    parted = set(whose.values())
    assert not [q for q in plan.questions if q.other is not None and {q.person, q.other} <= parted]
    library.publish(plan)
    now = {face: library.view().owner(face) for face in of_b}
    assert now == {face: whose[face] for face in of_b}
    assert not parted - {person} & {library.view().owner(face) for face in of_a}


def test_faces_that_stay_are_left_out_of_every_part(library, two):
    person, of_a, of_b = two
    library.split(person, [of_b], stay=of_b[:2])
    assert library.view().ids_of(person) == sorted([*of_a, *of_b[:2]])


def test_a_split_of_an_unnamed_person_is_told_by_its_faces(library):
    person = library.view().people()[0].id
    faces = library.view().ids_of(person)
    library.split(person, [faces[:1]])
    assert library.history(1)[0].title == f"Split an unnamed person ({len(faces)} faces): 1 person of 1 face came off"


@pytest.mark.parametrize(
    "choose",
    [
        lambda mine, others: [],
        lambda mine, others: [[]],
        lambda mine, others: [mine],
        lambda mine, others: [others[:2]],
        lambda mine, others: [mine[:2], mine[1:3]],
    ],
    ids=["nothing", "an empty part", "everybody", "somebody else's", "twice"],
)
def test_what_cannot_be_split_is_refused_and_changes_nothing(library, two, choose):
    person, _, _ = two
    other = next(card.id for card in library.view().people() if card.id != person)
    view = library.view()
    with pytest.raises(InputError, match="Nothing was split"):
        library.split(person, choose(view.ids_of(person), view.ids_of(other)))
    assert library.view().snapshot.revision == view.snapshot.revision


def test_the_same_split_makes_the_same_people(library, two):
    person, _, of_b = two
    library.split(person, [of_b])
    first = library.view().owner(of_b[0])
    library.undo(library.history(1)[0].revision)
    library.split(person, [list(reversed(of_b))])
    assert library.view().owner(of_b[0]) == first
    assert Counter(map(library.view().owner, of_b)) == {first: len(of_b)}

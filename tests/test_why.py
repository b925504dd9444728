"""Evidence for a face where it is, and what came to a person since."""

from __future__ import annotations

import numpy as np
import pytest

from facecluster import visits
from facecluster.search import cosine
from facecluster.splitting import person_tree
from facecluster.why import bridges, why
from tests.small_library import PARAMS, make_library, open_library


@pytest.fixture
def library(tmp_path):
    return make_library(tmp_path)


@pytest.fixture
def person(library):
    return library.view().people()[0].id


def tree_of(library, person, min_samples=1):
    view = library.view()
    return person_tree(view.faces.vectors, view.rows(person), min_samples)


def test_the_nearest_faces_are_the_nearest_by_difference(library, person):
    view = library.view()
    for face in view.ids_of(person):
        found = why(view, face, tree_of(library, person))
        own = view.faces.vectors[view.row(face)].astype(float)
        mates = [other for other in view.ids_of(person) if other != face]
        away = {other: float(np.linalg.norm(own - view.faces.vectors[view.row(other)])) for other in mates}
        assert [near.face for near in found.nearest] == sorted(away, key=away.__getitem__)[:3]
        assert found.nearest[0].distance == pytest.approx(min(away.values()))
        assert found.nearest[0].cosine == pytest.approx(cosine(min(away.values())))


def test_only_confirmed_faces_speak_where_there_are_some(library, person):
    faces = library.view().ids_of(person)
    tree = tree_of(library, person)
    assert not why(library.view(), faces[0], tree).is_by_confirmed
    library.confirm(person, faces[1:3])
    found = why(library.view(), faces[0], tree)
    assert found.is_by_confirmed
    assert {near.face for near in found.nearest} == set(faces[1:3])
    assert faces[1] not in [near.face for near in why(library.view(), faces[1], tree).nearest]


def test_the_nearest_of_anybody_else_is_nobody_who_was_ruled_out(library, person):
    face = library.view().ids_of(person)[0]
    tree = tree_of(library, person)
    first = why(library.view(), face, tree).elsewhere
    assert first.person not in (None, person)
    library.reject([face], first.person)
    second = why(library.view(), face, tree).elsewhere
    assert second.person not in (first.person, person)
    assert second.distance >= first.distance


def test_a_face_with_somebody_else_nearer_is_doubtful(library, person):
    other = library.view().people()[1].id
    face = library.view().ids_of(other)[0]
    assert not why(library.view(), face, tree_of(library, other)).is_doubtful
    library.confirm(person, [face])
    found = why(library.view(), face, tree_of(library, person))
    assert found.is_doubtful
    assert found.elsewhere.person == other
    assert found.elsewhere.distance <= found.nearest[0].distance


def test_somebody_alone_has_no_edge_and_no_neighbour(library):
    face = library.view().noise[0].face
    alone = library.new_person([face])
    found = why(library.view(), face, tree_of(library, alone))
    assert found.joined is None
    assert found.nearest == ()
    assert found.elsewhere is not None
    assert bridges(library.view(), tree_of(library, alone)) == ()


def test_it_is_joined_by_its_lightest_edge(library, person):
    tree = tree_of(library, person, 2)
    for at, face in enumerate(library.view().ids_of(person)):
        found = why(library.view(), face, tree).joined
        mine = (tree.u == at) | (tree.v == at)
        assert found.weight == tree.weight[mine].min()
        assert found.distance <= found.weight


def parts_without(tree, at):
    """Sizes of what is left of a tree without one place: by brute force."""
    left = set(range(len(tree))) - {at}
    sizes = []
    while left:
        todo, piece = [left.pop()], 0
        while todo:
            x = todo.pop()
            piece += 1
            for u, v in zip(tree.u.tolist(), tree.v.tolist(), strict=True):
                for a, b in ((u, v), (v, u)):
                    if a == x and b in left:
                        left.discard(b)
                        todo.append(b)
        sizes.append(piece)
    return sizes


def test_what_hangs_on_a_face_is_all_but_the_largest_part_without_it(library, person):
    tree = tree_of(library, person)
    for at, face in enumerate(library.view().ids_of(person)):
        sizes = parts_without(tree, at)
        assert why(library.view(), face, tree).joined.n_hanging == sum(sizes) - max(sizes)


def test_a_bridge_says_what_would_part_without_its_first_face(library, person):
    tree, ids = tree_of(library, person), library.view().ids_of(person)
    for bridge in bridges(library.view(), tree, most=100):
        sizes = parts_without(tree, ids.index(bridge.face))
        assert bridge.n_hanging == sum(sizes) - max(sizes)


def test_the_bridge_of_two_people_who_were_merged_lies_between_them(library):
    a, b = [card.id for card in library.view().people()[:2]]
    of_a, of_b = library.view().ids_of(a), library.view().ids_of(b)
    library.merge(a, [b])
    view = library.view()
    (between,) = [
        bridge for bridge in bridges(view, tree_of(library, a), 100) if (bridge.face in of_a) != (bridge.other in of_a)
    ]
    assert between.n_smaller == min(len(of_a), len(of_b))
    assert len(of_a if between.face in of_a else of_b) == between.n_smaller


def test_bridges_hold_a_tenth_on_either_side_and_the_weakest_comes_first(library, person):
    tree = tree_of(library, person)
    found = bridges(library.view(), tree, most=100)
    assert [bridge.weight for bridge in found] == sorted((bridge.weight for bridge in found), reverse=True)
    for bridge in found:
        assert max(0.1 * len(tree), 2) <= bridge.n_smaller <= len(tree) / 2


def test_the_reason_is_that_of_the_live_run(library):
    run = library.view().snapshot.run
    face = next(face for face in run.reason if library.view().owner(face) is not None)
    owner = library.view().owner(face)
    assert why(library.view(), face, tree_of(library, owner)).reason == run.reason[face]


# --- since the last visit ------------------------------------------------------------------------------------------


def test_an_earlier_moment_is_what_was_read_then(library, person):
    moments = [library.view().snapshot]
    library.rename(person, "Anna", confirm=True)
    moments.append(library.view().snapshot)
    library.merge(person, [library.view().people()[1].id])
    moments.append(library.view().snapshot)
    library.publish(library.plan(PARAMS.__class__(2, 4, 0.0, "eom", 50.0)))
    library.undo(library.history(2)[1].revision)
    for then in moments:
        found = visits.snapshot_at(library.view().snapshot, then.revision, library._people)
        assert dict(found.facts) == dict(then.facts)
        assert found.run.id == then.run.id
        assert found.revision == then.revision


def test_a_moment_whose_run_is_gone_is_not_known(library):
    then = library.view().snapshot.revision
    for size in (2, 4, 5, 6, 7, 8, 9):
        library.publish(library.plan(PARAMS.__class__(2, size, 0.0, "eom", 50.0)))
    assert visits.snapshot_at(library.view().snapshot, then, library._people) is None
    assert library.came_since(library.view().people()[0].id, then) == []


def test_what_a_run_brought_came_since_and_what_was_confirmed_did_not(library):
    view = library.view()
    person = view.people()[0].id
    taken = view.ids_of(person)[:3]
    library.rename(person, "Anna")
    library.reject(taken, person)
    then = library.view().snapshot.revision
    library.undo(library.history(1)[0].revision)
    assert library.came_since(person, then) == taken
    library.confirm(person, taken[:1])
    assert library.came_since(person, then) == taken[1:]


def test_the_last_word_on_a_person_is_found_by_who_said_it(library, tmp_path):
    a, b = [card.id for card in library.view().people()[:2]]
    revision = library.rename(a, "Anna")
    library.rename(b, "Ben")
    colleague = open_library(tmp_path / "library")
    assert last(colleague, a) == revision
    assert last(library, a, author="somebody else") is None


def test_a_publishing_speaks_of_nobody(library, person):
    revision = library.rename(person, "Anna")
    library.publish(library.plan(PARAMS), author=library.user)
    assert last(library, person) == revision


def test_whoever_was_merged_in_counts_as_spoken_of(library, person):
    other = library.view().people()[1].id
    library.rename(other, "Ben")
    revision = library.merge(person, [other])
    assert last(library, person) == revision


def last(library, person, author=None):
    view = library.view()
    return visits.last_spoken_of(library.history(), author or library.user, person, view.snapshot)

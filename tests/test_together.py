"""Photos by who is in them are those that a slow look at each photo finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facecluster.together import photo_groups, photos_with

PEOPLE = st.sets(st.integers(0, 4), max_size=3)


def slowly(owner, photo, all_of, any_of, without):
    """Faces in a photo that is right, one photo after the other; a face of an unknown photo is alone in its own."""
    photos = [photo.tolist().index(p) if p >= 0 else row for row, p in enumerate(photo.tolist())]
    found = []
    for row, here in enumerate(photos):
        there = {owner[other] for other, where in enumerate(photos) if where == here}
        if all_of <= there and (not any_of or any_of & there) and not without & there:
            found.append(row)
    return found


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 6)), max_size=30), PEOPLE, PEOPLE, PEOPLE)
def test_photos_with_all_any_and_without_are_those_of_a_slow_look(faces, all_of, any_of, without):
    owner, photo = (np.array([face[at] for face in faces], np.int32) for at in (0, 1))
    group = photo_groups(photo)

    def rows(people):
        return [np.flatnonzero(owner == p) for p in people]

    found = photos_with(group, rows(all_of), rows(any_of), rows(without))
    assert np.flatnonzero(found[group]).tolist() == slowly(owner, photo, all_of, any_of, without)


def test_faces_without_a_photo_are_in_no_photo_with_anybody():
    group = photo_groups(np.array([-1, 3, -1, 3], np.int32))
    assert group[1] == group[3]
    assert len(set(group.tolist())) == 3
    both = photos_with(group, [np.array([0, 1]), np.array([2, 3])], [], [])
    assert np.flatnonzero(both[group]).tolist() == [1, 3]

"""Two runs side by side, against a count by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_library

from facecluster.comparing import compared


@pytest.fixture
def service(tmp_path):
    return small_library.make_library(tmp_path)


@pytest.fixture
def runs(service):
    """The first run, and a coarser one that is live."""
    first = service.view().snapshot.run
    service.publish(service.plan(replace(small_library.PARAMS, epsilon=1.0)))
    return first, service.view().snapshot.run


def owners(run):
    return dict(zip(run.faces, run.owner, strict=True))


def test_a_run_does_not_differ_from_itself(service):
    run = service.view().snapshot.run
    plan = compared(service.view(), run, run)
    assert not [line for line in plan.lines if len(line.gained) + len(line.lost)]
    assert sum(line.after for line in plan.lines) == sum(owner is not None for owner in run.owner)


def test_each_face_that_changed_hands_is_gained_and_lost_once(service, runs):
    a, b = runs
    view = service.view()
    plan = compared(view, a, b)
    then, now = owners(a), owners(b)
    changed = {face for face in then if then[face] != now[face]}
    assert changed, "the two runs are alike: choose others"
    gained = {(view.faces.ids[row], line.person) for line in plan.lines for row in line.gained}
    lost = {(view.faces.ids[row], line.person) for line in plan.lines for row in line.lost}
    assert gained == {(face, now[face]) for face in changed if now[face] is not None}
    assert lost == {(face, then[face]) for face in changed if then[face] is not None}


def test_the_other_way_round_is_the_inverse(service, runs):
    there, back = compared(service.view(), *runs), compared(service.view(), *runs[::-1])
    assert np.array_equal(there.before, back.after)
    assert np.array_equal(there.after, back.before)


def test_people_who_were_merged_since_are_one_in_both(service, runs):
    one, other = runs[0].owners[0][:2]
    service.merge(one, [other])
    plan = compared(service.view(), *runs)
    assert other not in plan.people
    assert service.view().survivor(other) in plan.people


def test_faces_that_are_gone_and_faces_that_came_since_count_nowhere(service, runs, tmp_path):
    view = service.view()
    person = view.people()[0].id
    service.erase(person, len(view.everything_of(person)[0]))
    more = small_library.faces(seed=5, prefix="more")
    service.import_files([small_library.write_faces(tmp_path / "more.npz", **{k: v[:9] for k, v in more.items()})])
    view = service.view()
    plan = service.compared(runs[0].id, runs[1].id)
    assert len(plan.before) == len(view.faces)
    came = [view.row(face) for face in view.faces.ids if face.startswith("more")]
    assert set(plan.before[came]) == set(plan.after[came]) == {-1}

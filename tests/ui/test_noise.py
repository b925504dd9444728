"""The Noise page, on the demo and on an empty library."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from facecluster.service import Service


def pick(page, scope: str, *faces: str) -> None:
    for face in faces:
        page.checkbox(key=f"pick-{scope}-0-{face}").check()
    page.run()
    assert not page.exception


def of_one_person(service: Service, n: int) -> list:
    """Loose faces that share their nearest person and are on the first page of the flat list."""
    first = service.view().noise[:60]
    person, _ = Counter(one.person for one in first).most_common(1)[0]
    return [one for one in first if one.person == person][:n]


@pytest.fixture
def flat(app, demo_library: Service):
    """The page with the best first."""
    page = app("noise")
    page.selectbox(key="noise-order").set_value("best").run()
    assert not page.exception
    return page


@pytest.fixture
def alone(demo_library: Service) -> Service:
    """The demo as HDBSCAN alone has it: the second layer leaves nobody in the noise who is much like a person."""
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, refine=False)))
    return demo_library


def test_an_empty_library_says_what_to_do(app, empty_library: Service, texts):
    assert "No faces yet" in texts(app("noise"))


def test_faces_without_a_run_lead_to_tune(app, empty_library: Service, make_batch, texts):
    empty_library._faces.add(make_batch(["a", "b", "c"]))
    assert "Nobody found yet" in texts(app("noise"))


def test_the_page_counts_what_it_shows(app, demo_library: Service, texts):
    view = demo_library.view()
    page = app("noise")
    assert f"{len(view.noise):,} faces that belong to nobody yet" in texts(page)
    assert list(page.segmented_control(key="noise-tab").options) == [
        f"In nobody {len(view.noise):,}", f"Too blurred {len(view.too_blurred):,}", "Set aside 0"
    ]  # fmt: skip
    best = view.noise[0]
    assert f"cosine {best.cosine:.2f}\ndistance {best.distance:.2f}" in texts(page)


def test_a_section_is_given_to_the_person_it_is_nearest_to(app, demo_library: Service):
    best = demo_library.view().noise[0]
    together = [one.face for one in demo_library.view().noise if one.person == best.person]
    page = app("noise")
    page.button(key=f"assign-{best.person}-{best.face}").click().run()
    assert not page.exception
    assert {demo_library.view().owner(face) for face in together} == {best.person}
    page.button(key="fc-news-undo").click().run()
    assert {demo_library.view().owner(face) for face in together} == {None}


def test_the_likely_ones_of_a_section_can_be_given_alone(app, demo_library: Service, alone: Service):
    view = demo_library.view()
    page = app("noise")
    likely = [button for button in page.button if button.key.startswith("likely-")]
    assert likely
    person = likely[0].key.split("-", 1)[1][: len(view.noise[0].person)]
    wanted = {one.face for one in view.noise if one.person == person and one.cosine >= view.usual_cosine}
    others = {one.face for one in view.noise if one.person == person} - wanted
    likely[0].click().run()
    now = demo_library.view()
    assert {now.owner(face) for face in wanted} == {person}
    assert {now.owner(face) for face in others} == {None}


def test_selected_faces_that_share_a_nearest_person_are_assigned_at_once(flat, demo_library: Service):
    some = of_one_person(demo_library, 2)
    pick(flat, "noise-nobody", *(one.face for one in some))
    assert flat.button(key="noise-assign").label.startswith(f"Assign {len(some)} to ")
    flat.button(key="noise-assign").click().run()
    assert {demo_library.view().owner(one.face) for one in some} == {some[0].person}


def test_selected_faces_become_a_new_person(flat, demo_library: Service):
    faces = [one.face for one in demo_library.view().noise[:3]]
    pick(flat, "noise-nobody", *faces)
    flat.button(key="noise-new").click().run()
    assert len({demo_library.view().owner(face) for face in faces}) == 1


def test_selected_faces_are_assigned_to_somebody_else(flat, demo_library: Service):
    face, person = demo_library.view().noise[0].face, demo_library.view().cards[5].id
    pick(flat, "noise-nobody", face)
    flat.button(key="noise-move").click().run()
    flat.selectbox(key="give-to").set_value(person).run()
    flat.button(key="give-now").click().run()
    assert demo_library.view().owner(face) == person


def test_faces_set_aside_are_listed_and_taken_back(flat, demo_library: Service, texts):
    first, second = (one.face for one in demo_library.view().noise[:2])
    pick(flat, "noise-nobody", first)
    flat.button(key="noise-ignore").click().run()
    flat.checkbox(key=f"pick-noise-nobody-1-{second}").check().run()
    flat.button(key="noise-no-face").click().run()
    assert demo_library.view().set_aside == sorted([(first, "ignored"), (second, "not_a_face")])
    flat.session_state["noise-tab"] = "aside"
    flat.run()
    assert "Ignored" in texts(flat)
    assert "Not a face" in texts(flat)
    pick(flat, "noise-aside", first)
    flat.button(key="noise-back").click().run()
    assert demo_library.view().set_aside == [(second, "not_a_face")]


def test_the_too_blurred_have_a_tab_of_their_own(app, demo_library: Service):
    blurred = demo_library.view().too_blurred
    page = app("noise")
    page.session_state["noise-tab"] = "blurred"
    page.run()
    assert not page.exception
    face = blurred[0].face
    assert page.checkbox(key=f"pick-noise-blurred-0-{face}")
    pick(page, "noise-blurred", face)
    page.button(key="noise-assign").click().run()
    assert demo_library.view().owner(face) == blurred[0].person


def test_only_the_alike_are_shown_where_that_is_asked_for(app, demo_library: Service, alone: Service, texts):
    alike = [one for one in demo_library.view().noise if one.cosine >= 0.4]
    page = app("noise")
    page.selectbox(key="noise-least").set_value(0.4).run()
    assert not page.exception
    assert f"{len(alike):,} of {len(demo_library.view().noise):,} faces reach cosine 0.40." in texts(page)


def test_new_faces_are_announced(app, demo_library: Service, make_batch, texts):
    width = demo_library.view().faces.vectors.shape[1]
    demo_library._faces.add(make_batch(["zz-1", "zz-2"], dimension=width))
    assert "2 faces came after the last run; Tune sorts them in." in texts(app("noise"))


def test_somebody_who_was_ruled_out_is_not_offered(demo_library: Service):
    best = demo_library.view().noise[0]
    demo_library.reject([best.face], best.person)
    again = next(one for one in demo_library.view().noise if one.face == best.face)
    assert again.person not in (None, best.person)
    assert again.distance >= best.distance


def test_nearest_leaves_the_face_itself_out(demo_library: Service):
    view = demo_library.view()
    card = view.cards[0]
    faces = [face.id for face in view.faces_of(card.id)]
    near = view.nearest(faces)
    assert all(one.near != one.face for one in near)
    assert np.mean([one.person == card.id for one in near]) > 0.9

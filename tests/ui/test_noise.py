"""The Noise page, on the demo and on an empty library."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from facecluster.leftovers import Leftovers, sections
from facecluster.service import Service
from facecluster.ui import noise


def pick(page: AppTest, scope: str, *faces: str) -> None:
    for face in faces:
        page.checkbox(key=f"pick-{scope}-0-{face}").check()
    page.run()
    assert not page.exception


def shown(service: Service) -> list:
    """Sections of the page as it opens."""
    view = service.view()
    return sections(view, Leftovers().groups(view))


def on_first_page(service: Service) -> list:
    """Loose faces that the page shows without turning it over."""
    return [one for section in shown(service) for one in section.faces][:60]


@pytest.fixture
def page(app, demo_library: Service) -> AppTest:
    return app("noise")


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


def test_the_page_counts_what_it_shows(page, demo_library: Service, texts):
    view = demo_library.view()
    assert f"{len(view.noise):,} faces that belong to nobody yet" in texts(page)
    assert list(page.segmented_control(key="noise-tab").options) == [
        f"In nobody {len(view.noise):,}", f"Too blurred {len(view.too_blurred):,}", "Set aside 0"
    ]  # fmt: skip
    first = shown(demo_library)[0]
    assert f"{first.likeness[0]:.2f}" in texts(page)


def section_of(service: Service, kind: str, at_least: int = 1):
    return next(one for one in shown(service) if one.kind == kind and len(one.faces) >= at_least)


def test_a_section_is_given_to_the_person_it_is_nearest_to(app, alone: Service):
    section = section_of(alone, "person")
    page = app("noise")
    page.button(key=f"deed-{section.id}-all").click().run()
    assert not page.exception
    assert {alone.view().owner(face) for face in section.ids} == {section.person}
    page.button(key="fc-news-undo").click().run()
    assert {alone.view().owner(face) for face in section.ids} == {None}


def partly_likely(service: Service):
    return next(one for one in shown(service) if one.kind == "person" and 0 < len(one.likely) < len(one.faces))


def test_the_likely_ones_of_a_section_can_be_given_alone(app, alone: Service):
    section = partly_likely(alone)
    page = app("noise")
    assert page.button(key=f"deed-{section.id}-likely").label == f"Assign {len(section.likely):,} likely"
    page.button(key=f"deed-{section.id}-likely").click().run()
    assert {alone.view().owner(face) for face in section.likely} == {section.person}
    assert {alone.view().owner(face) for face in set(section.ids) - set(section.likely)} == {None}


def test_those_of_a_section_that_are_not_likely_can_be_ruled_out_at_once(app, alone: Service):
    section = partly_likely(alone)
    rest = set(section.ids) - set(section.likely)
    page = app("noise")
    assert page.button(key=f"deed-{section.id}-not").label.endswith(f": {len(rest):,}")
    page.button(key=f"deed-{section.id}-not").click().run()
    assert not page.exception
    now = {one.face: one.person for one in alone.view().noise}
    assert section.person not in {now[face] for face in rest}
    assert {now[face] for face in section.likely} == {section.person}


def test_faces_that_are_alike_become_a_new_person(app, alone: Service):
    section = section_of(alone, "alike", 2)
    page = app("noise")
    page.segmented_control(key="noise-order").set_value("alike").run()
    button = page.button(key=f"deed-{section.id}-new")
    assert button.label == f"New person from {len(section.ids)}"
    button.click().run()
    owners = {alone.view().owner(face) for face in section.ids}
    assert len(owners) == 1
    assert None not in owners


def test_a_whole_section_can_be_set_aside(page, demo_library: Service):
    section = next(one for one in shown(demo_library) if one.kind == "alike")
    page.button(key=f"deed-{section.id}-ignore").click().run()
    assert {face for face, _ in demo_library.view().set_aside} == set(section.ids)


def test_what_looks_like_somebody_after_an_act_is_told_and_shown_alone(app, alone: Service, texts):
    """Half of the largest person's faces are nobody's; given one more, others of them look like them."""
    view = alone.view()
    person = view.cards[0].id
    alone.reject(view.ids_of(person), person)
    group = max((one for one in shown(alone) if one.kind == "alike"), key=lambda one: len(one.faces))
    page = app("noise")
    pick(page, "noise-nobody", *group.ids[:2])
    page.button(key="noise-new").click().run()
    view = alone.view()
    made = view.owner(group.ids[0])
    likely = [one.face for one in view.noise if one.person == made and one.cosine >= view.usual_cosine]
    assert likely
    assert page.button(key="fc-news-alike").label == f"{len(likely)} more look like this person now"
    page.button(key="fc-news-alike").click().run()
    assert not page.exception
    assert f"{len(likely)} look like this person now" in texts(page)
    assert {box.key for box in page.checkbox if box.key.startswith("pick-")} == {
        f"pick-noise-nobody-1-{face}" for face in likely[:60]
    }
    page.button(key=f"deed-{made}-all").click().run()
    assert {alone.view().owner(face) for face in likely} == {made}
    page.button(key="noise-everything").click().run()
    assert page.segmented_control(key="noise-tab")


def test_selected_faces_that_share_a_nearest_person_are_assigned_at_once(page, demo_library: Service):
    one = on_first_page(demo_library)[0]
    pick(page, "noise-nobody", one.face)
    assert page.button(key="noise-assign").label.startswith("Assign 1 to ")
    page.button(key="noise-assign").click().run()
    assert demo_library.view().owner(one.face) == one.person


def test_selected_faces_become_a_new_person(page, demo_library: Service):
    faces = [one.face for one in on_first_page(demo_library)[:3]]
    pick(page, "noise-nobody", *faces)
    page.button(key="noise-new").click().run()
    assert len({demo_library.view().owner(face) for face in faces}) == 1


def test_selected_faces_are_assigned_to_somebody_else(page, demo_library: Service):
    face, person = on_first_page(demo_library)[0].face, demo_library.view().cards[5].id
    pick(page, "noise-nobody", face)
    page.button(key="noise-move").click().run()
    page.selectbox(key="give-to").set_value(person).run()
    page.button(key="give-now").click().run()
    assert demo_library.view().owner(face) == person


def test_faces_set_aside_are_listed_and_taken_back(page, demo_library: Service, texts):
    first, second = (one.face for one in on_first_page(demo_library)[:2])
    pick(page, "noise-nobody", first)
    page.button(key="noise-ignore").click().run()
    page.checkbox(key=f"pick-noise-nobody-1-{second}").check().run()
    page.button(key="noise-no-face").click().run()
    assert demo_library.view().set_aside == sorted([(first, "ignored"), (second, "not_a_face")])
    page.session_state["noise-tab"] = "aside"
    page.run()
    assert "Ignored" in texts(page)
    assert "Not a face" in texts(page)
    pick(page, "noise-aside", first)
    page.button(key="noise-back").click().run()
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


def test_the_sharpest_come_first_where_that_is_asked_for(page, demo_library: Service):
    page.segmented_control(key="noise-order").set_value("sharp").run()
    assert not page.exception
    view = demo_library.view()
    keys = [box.key.removeprefix("pick-noise-nobody-0-") for box in page.checkbox if box.key.startswith("pick-")]
    blur = [float(view.faces.blur_score[view.row(face)]) for face in keys]
    assert blur == sorted((float(view.faces.blur_score[row]) for row in view.noise_rows), reverse=True)[:60]


def test_only_sharp_faces_are_shown_where_that_is_asked_for(app, demo_library: Service, texts):
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, blur_threshold=200.0)))
    view = demo_library.view()
    scores = view.faces.blur_score[view.noise_rows]
    assert 0 < (scores < 300).sum() < len(scores), "some are nearly blurred"
    page = app("noise")
    page.segmented_control(key="noise-order").set_value("sharp").run()
    page.toggle(key="noise-sharp").set_value(True).run()
    assert not page.exception
    keys = [box.key.removeprefix("pick-noise-nobody-0-") for box in page.checkbox if box.key.startswith("pick-")]
    assert len(keys) == min((scores >= 300).sum(), 60)
    assert all(view.faces.blur_score[view.row(face)] >= 300 for face in keys)
    page.toggle(key="noise-sharp").set_value(False).run()
    assert page.checkbox(key=f"pick-noise-nobody-0-{keys[0]}")


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


def test_a_long_list_is_begun_and_goes_on_when_asked(demo_library, app, monkeypatch):
    monkeypatch.setattr(noise, "AT_ONCE", 5)
    n = len(demo_library.view().noise_rows)
    page = app("noise")
    (more,) = [button for button in page.button if button.key == "noise-longer"]
    n_first = n - int(more.label.split(" more of ")[1].split()[0])
    assert 5 <= n_first < n
    assert more.label == f"Show 5 more of {n - n_first} faces"
    more.click().run()
    assert not page.exception
    left = [button.label for button in page.button if button.key == "noise-longer"]
    assert left == [] or int(left[0].split(" more of ")[1].split()[0]) <= n - n_first - 5

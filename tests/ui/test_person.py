"""The page of one person: what stands on it, and what its buttons write."""

from __future__ import annotations

import re

import pytest

from facecluster.config import load_settings
from facecluster.wiring import open_service

NASTY = "**A** <img src=x> :dog: $x$ [b](http://c)"


@pytest.fixture
def anna(demo_library):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    return demo_library.view().card_of[card.id]


def pick(test, face):
    test.checkbox(key=next(box.key for box in test.checkbox if box.key.endswith(f"-{face}"))).check()
    return test.run()


def card(library, person):
    return library.view().card_of[person]


def test_the_head_says_how_many_faces_photos_and_confirmed_ones(app, demo_library, anna, texts):
    first = demo_library.view().faces_of(anna.id)[0].id
    demo_library.confirm(anna.id, [first])
    test = app("person", id=anna.id)
    n_photos = demo_library.view().n_photos(anna.id)
    assert f"{anna.n_faces} faces in {n_photos} photos, 1 confirmed" in texts(test)
    assert test.text_input[0].value == "Anna"


def test_the_least_certain_faces_come_first_and_confirmed_ones_last(demo_library, anna):
    faces = demo_library.view().faces_of(anna.id)
    demo_library.confirm(anna.id, [faces[0].id])
    again = demo_library.view().faces_of(anna.id)
    assert again[-1].id == faces[0].id
    assert [face.id for face in again[:-1]] == [face.id for face in faces[1:]]
    assert [face.strength for face in faces] == sorted(face.strength for face in faces)


def test_a_typed_name_is_saved_and_undo_brings_the_old_one_back(app, demo_library, anna):
    test = app("person", id=anna.id)
    test.text_input[0].set_value("Grace").run()
    assert card(demo_library, anna.id).name == "Grace"
    test.button(key="fc-news-undo").click().run()
    assert card(demo_library, anna.id).name == "Anna"
    assert not test.exception


def test_a_name_that_somebody_has_is_asked_about_first(app, demo_library, anna, texts):
    other = demo_library.view().people()[1]
    test = app("person", id=other.id)
    test.text_input[0].set_value("anna").run()
    assert card(demo_library, other.id).name == ""
    test.button(key="same-merge").click().run()
    assert card(demo_library, anna.id).n_faces == anna.n_faces + other.n_faces
    assert "merged into Anna" in texts(test)


def test_all_faces_are_confirmed_by_one_button(app, demo_library, anna):
    test = app("person", id=anna.id)
    button = test.button(key="confirm-all")
    assert button.label == f"Confirm all {anna.n_faces} faces"
    button.click().run()
    assert card(demo_library, anna.id).n_confirmed == anna.n_faces
    assert "confirm-all" not in [b.key for b in test.button]


def test_selected_faces_are_no_longer_hers_after_not_anna(app, demo_library, anna):
    faces = [face.id for face in demo_library.view().faces_of(anna.id)[:2]]
    test = pick(pick(app("person", id=anna.id), faces[0]), faces[1])
    assert test.button(key="reject").label == "Not Anna: 2"
    test.button(key="reject").click().run()
    assert [demo_library.view().owner(face) for face in faces] == [None, None]
    test.button(key="fc-news-undo").click().run()
    assert [demo_library.view().owner(face) for face in faces] == [anna.id, anna.id]


def test_selected_faces_move_to_the_person_chosen_in_the_dialog(app, demo_library, anna):
    to = demo_library.view().people()[1]
    face = demo_library.view().faces_of(anna.id)[0].id
    test = pick(app("person", id=anna.id), face)
    test.button(key="move").click().run()
    test.selectbox(key="other").select(to.id).run()
    assert test.button(key="move-now").label == "Move 1 face to this person"
    test.button(key="move-now").click().run()
    assert demo_library.view().owner(face) == to.id
    assert not test.exception


def test_selected_faces_become_a_new_person(app, demo_library, anna):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = pick(app("person", id=anna.id), face)
    test.button(key="new-person").click().run()
    assert demo_library.view().owner(face) not in (None, anna.id)


def test_one_selected_face_becomes_the_cover_and_the_choice_is_taken_back(app, demo_library, anna):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = pick(app("person", id=anna.id), face)
    test.button(key="cover").click().run()
    assert card(demo_library, anna.id).cover == face
    test.button(key="cover-auto").click().run()
    assert demo_library.view().person(anna.id).cover is None


def test_merging_keeps_the_name_whichever_page_it_starts_on(app, demo_library, anna):
    unnamed = demo_library.view().people()[1]
    test = app("person", id=unnamed.id)
    test.button(key="merge").click().run()
    test.selectbox(key="other").select(anna.id).run()
    test.button(key="merge-now").click().run()
    assert demo_library.view().survivor(unnamed.id) == anna.id
    assert card(demo_library, anna.id).name == "Anna"
    assert not test.exception


def test_those_who_look_alike_are_a_click_away(app, demo_library, anna):
    test = app("person", id=anna.id)
    test.button(key="find-similar").click().run()
    assert test.query_params["person"] == anna.id
    assert "Find" in [title.value for title in test.title]


def test_hiding_and_showing_again(app, demo_library, anna):
    test = app("person", id=anna.id)
    test.button(key="hide").click().run()
    assert card(demo_library, anna.id).is_hidden
    test.button(key="hide").click().run()
    assert not card(demo_library, anna.id).is_hidden


@pytest.mark.parametrize("order", ["photo", "folder"])
def test_faces_are_shown_by_photo_and_by_folder(app, demo_library, anna, order, texts):
    test = app("person", id=anna.id)
    test.segmented_control(key="person-order").set_value(order).run()
    assert not test.exception
    face = demo_library.view().faces_of(anna.id, order)[0]
    assert getattr(face, order) in texts(test)


def test_a_face_opens_its_photo_with_who_else_is_there(app, demo_library, anna, texts):
    view = demo_library.view()
    face = next(f.id for f in view.faces_of(anna.id) if len(view.in_photo(f.id)) > 1)
    test = app("person", id=anna.id)
    test.button(key=f"fc-open-{face}").click().run()
    assert test.query_params["photo"] == face
    assert view.face(face).photo in texts(test)
    assert f"Also in this photo: {len(view.in_photo(face)) - 1} face" in texts(test)
    test.button(key="one-confirm").click().run()
    assert demo_library.view().face(face).is_confirmed
    assert not test.exception


def test_a_merged_person_leads_to_whom_they_are_now(app, demo_library, anna, texts):
    other = demo_library.view().people()[1]
    demo_library.merge(anna.id, [other.id])
    assert "This person was merged into Anna" in texts(app("person", id=other.id))


@pytest.mark.parametrize("query", [{}, {"id": "p-nobody"}, {"id": "<b>"}])
def test_without_a_person_there_is_a_sentence(app, demo_library, query, texts):
    assert "Nobody" in texts(app("person", **query))


def test_an_empty_library_says_so(app, empty_library, texts):
    assert "Nobody" in texts(app("person", id="p-1"))


def test_a_name_is_shown_as_it_is_and_never_as_markup(app, demo_library, anna):
    demo_library.rename(anna.id, NASTY)
    face = demo_library.view().faces_of(anna.id)[0].id
    test = pick(app("person", id=anna.id), face)
    assert test.text_input[0].value == NASTY
    raw = re.compile(r"(?<!\\)(\*\*A|<img|:dog:|\$x\$|\[b\])")  # a label is markdown, also one that is not shown
    labels = [e.label for kind in (test.button, test.checkbox, test.text_input) for e in kind]
    assert [label for label in labels if "A" in label and "dog" in label]
    assert not [label for label in labels if raw.search(label)]
    assert not [m.value for m in test.markdown if raw.search(m.value)]


def test_a_photo_is_loaded_by_the_browser_only_from_an_allowed_host(app, make_batch, monkeypatch):
    own = open_service(load_settings())
    own._faces.add(make_batch(["a", "b"], url=["https://ok.example/1.jpg", "https://no.example/2.jpg"]))
    person = own.new_person(["a", "b"], "Anna")
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "ok.example")
    allowed, refused = app("person", id=person, photo="a"), app("person", id=person, photo="b")
    assert "https://ok.example/1.jpg" in repr([e.proto for e in allowed.get("bidi_component")])
    assert "no.example" not in repr([e.proto for e in refused.get("bidi_component")])
    assert "Status shows the setting" in "".join(e.value for e in refused.text)

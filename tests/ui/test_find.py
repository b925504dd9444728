"""Find: whom a face or a person looks like, and why each face is there."""

from __future__ import annotations

import pytest


@pytest.fixture
def anna(demo_library):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    return demo_library.view().card_of[card.id]


def test_without_a_question_it_offers_people_and_faces_to_search_by(app, demo_library, texts):
    test = app("find")
    assert "Or by somebody from People" in texts(test)
    loose = demo_library.view().noise[0].face
    test.button(key=f"fc-open-pick-{loose}").click().run()
    assert test.query_params["face"] == loose
    assert not test.exception


def test_a_face_finds_its_own_person_first_and_each_tile_says_why(app, demo_library, anna, texts):
    face = demo_library.view().faces_of(anna.id)[-1].id
    said = texts(app("find", face=face))
    assert f"{anna.n_faces - 1} faces, the nearest at cosine" in said
    assert "direct\ncosine" in said
    assert said.index("One face of Anna") < said.index("direct\ncosine")


def test_a_few_faces_of_each_person_are_shown_and_all_when_asked_for(app, demo_library, anna):
    view = demo_library.view()
    test = app("find", face=view.faces_of(anna.id)[-1].id)

    def shown() -> int:
        keys = [b.key.removeprefix("fc-open-found-") for b in test.button if b.key.startswith("fc-open-found-")]
        return sum(view.owner(key) == anna.id for key in keys)

    assert shown() == 12
    test.toggle(key="find-every").set_value(True).run()
    assert shown() == 60  # a page of them


def test_a_person_finds_others_and_never_their_own_faces(app, demo_library, anna, texts):
    hits = demo_library.find(person=anna.id)
    own = set(demo_library.view().rows(anna.id).tolist())
    assert hits
    assert not own & {hit.row for hit in hits}
    assert "Nine of ten of their own faces lie within cosine" in texts(app("find", person=anna.id))


def test_the_chosen_person_is_searched_by(app, demo_library, anna):
    test = app("find")
    test.selectbox[0].select(anna.id).run()
    assert test.query_params["person"] == anna.id
    assert "Anna" in [e.value for e in test.subheader]


def test_found_faces_can_be_given_to_the_person_searched_by(app, demo_library, anna):
    hit = next(h for h in demo_library.find(person=anna.id) if h.person < 0)
    face = demo_library.view().faces.ids[hit.row]
    test = app("find", person=anna.id)
    test.checkbox(key=f"pick-find-0-{face}").check().run()
    assert test.button(key="give").label == "Give 1 face to Anna"
    test.button(key="give").click().run()
    assert demo_library.view().owner(face) == anna.id


@pytest.mark.parametrize("query", [{"face": "gone"}, {"person": "p-gone"}])
def test_a_question_about_nobody_is_answered_by_a_sentence(app, demo_library, query, texts):
    assert "in this library any more. Choose again." in texts(app("find", **query))


def test_an_empty_library_leads_on(app, empty_library, texts):
    assert "No faces yet" in texts(app("find"))

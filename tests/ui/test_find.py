"""Find: whom a face, a person or a vector looks like, which photos people are in, and why each face is there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from planted_library import planted, publish
from small_library import write_faces

from facecluster.answers import Asked, answer
from facecluster.config import load_settings
from facecluster.query_vectors import query_vectors
from facecluster.ui import finding, found_table, widgets


@pytest.fixture
def anna(demo_library):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    return demo_library.view().card_of[card.id]


@pytest.fixture
def ben(demo_library, anna):
    """Somebody who is in photos with Anna."""
    view = demo_library.view()
    card = max(view.people()[1:], key=lambda card: len(photos(view, card) & photos(view, anna)))
    demo_library.rename(card.id, "Ben")
    return demo_library.view().card_of[card.id]


def photos(view, card):
    return {view.faces.photo[row] for row in view.rows(card.id).tolist()} - {""}


def shown(test) -> list[str]:
    """Faces, or people, in the grids of a page."""
    return [button.key.removeprefix("fc-open-") for button in test.button if button.key.startswith("fc-open-")]


def widget(test, kind, name):
    return next(one for one in test.get(kind) if one.key and one.key.startswith(f"find-{name}-"))


def in_address(test, name) -> list[str]:
    found = test.query_params[name]
    return found if isinstance(found, list) else [found]


def vector_file(vectors, name="mine.npy"):
    out = io.BytesIO()
    np.save(out, vectors)
    return (name, out.getvalue(), "application/octet-stream")


# --- by a face and by a person --------------------------------------------------------------------------------------


def test_without_a_question_it_offers_people_and_faces_to_search_by(app, demo_library, anna, texts):
    test = app("find")
    assert "Or by somebody from People" in texts(test)
    loose = finding.loose(demo_library.view())
    face = demo_library.view().faces.ids[int(np.flatnonzero(loose)[0])]
    test.button(key=f"fc-open-{face}").click().run()
    assert in_address(test, "face") == [face]
    assert not test.exception
    test = app("find")
    test.button(key=f"fc-open-{anna.id}").click().run()
    assert in_address(test, "person") == [anna.id]
    assert "Anna" in [e.value for e in test.subheader]


def test_a_face_finds_its_own_person_first_and_each_tile_says_why(app, demo_library, anna, texts):
    view = demo_library.view()
    face = view.faces_of(anna.id)[-1].id
    said, whys = texts(app("find", face=face)), ("direct", "same person")
    found = answer(view, Asked(face=face))
    assert f"{anna.n_faces - 1} faces, the nearest at cosine" in said
    second = next(one.person for one in found.faces if one.person not in (anna.id, None))
    n_direct, n = (sum(one.person == second and one.why in why for one in found.faces) for why in (("direct",), whys))
    assert f"{n} faces, {n_direct} direct, the nearest at cosine" in said
    assert "\nstrength " in said
    assert f"direct {found.faces[0].cosine:.2f}" in said
    assert said.index("One face of Anna") < said.index("direct ")


def test_a_few_faces_of_each_person_are_shown_and_all_when_asked_for(app, demo_library, anna):
    view = demo_library.view()
    test = app("find", face=view.faces_of(anna.id)[-1].id)

    def of_anna() -> int:
        return sum(view.owner(face) == anna.id for face in shown(test))

    assert of_anna() == 12
    button = test.button(key=f"deed-{anna.id}-all")
    assert button.label == f"Show all {anna.n_faces - 1}"
    button.click().run()
    assert of_anna() == 60  # a page of them


def test_a_person_finds_others_and_never_their_own_faces(app, demo_library, anna, texts):
    own = set(demo_library.view().ids_of(anna.id))
    test = app("find", person=anna.id)
    assert shown(test)
    assert not own & set(shown(test))
    assert "Nine of ten of their own faces lie within cosine" in texts(test)


def test_the_chosen_person_is_searched_by(app, demo_library, anna):
    test = app("find")
    test.selectbox[0].select(anna.id).run()
    assert in_address(test, "person") == [anna.id]
    assert "Anna" in [e.value for e in test.subheader]


def test_a_link_to_somebody_who_was_merged_searches_by_who_they_are_now(app, demo_library, anna):
    other = demo_library.view().people()[1]
    demo_library.merge(anna.id, [other.id])
    assert "Anna" in [e.value for e in app("find", person=other.id).subheader]


@pytest.mark.parametrize("query", [{"face": "gone"}, {"person": "p-gone"}, {"all": "p-gone"}])
def test_a_question_about_nobody_is_answered_by_a_sentence(app, demo_library, query, texts):
    assert "in this library any more. Choose again." in texts(app("find", **query))


@pytest.mark.parametrize("query", [{"least": "nan"}, {"least": "x"}, {"most": "1e9"}, {"by": "x"}, {"as": "x"}])
def test_an_address_that_asks_for_what_cannot_be_is_taken_as_usual(app, demo_library, anna, query, texts):
    usual = texts(app("find", person=anna.id))
    assert texts(app("find", person=anna.id, **query)) == usual


def test_an_empty_library_leads_on(app, empty_library, texts):
    assert "No faces yet" in texts(app("find"))


def test_before_anybody_was_found_faces_are_offered_and_photos_lead_on_to_finding_people(
    app, empty_library, tmp_path, texts
):
    empty_library.import_files([write_faces(tmp_path / "faces.npz")])
    assert len(shown(app("find"))) == finding.OFFERED
    test = app("find", face=empty_library.view().faces.ids[0])
    assert "Nobody's face" in [e.value for e in test.subheader]
    assert "Nobody's faces" in texts(test)
    assert "Nobody to ask for" in texts(app("find", by="photos"))


# --- the slider, the number and who is suggested --------------------------------------------------------------------


def test_the_slider_narrows_the_answer_stands_in_the_address_and_starts_anew_with_another_question(
    app, demo_library, anna, texts
):
    view = demo_library.view()
    face = view.faces_of(anna.id)[-1].id
    test = app("find", face=face)
    widget(test, "slider", "least").set_value(0.75).run()
    assert in_address(test, "least") == ["0.75"]
    expected = answer(view, Asked(face=face, least=0.75)).faces
    assert 0 < len(expected) < len(answer(view, Asked(face=face)).faces)
    assert set(shown(test)) == {one.face for one in expected[:12]}
    assert ", at cosine 0.75 · distance 0.71 or nearer" in texts(test)
    assert widget(test, "slider", "least").label == "At least cosine 0.75 · distance 0.71"
    widget(test, "slider", "least").set_value(0.99).run()
    assert "Nobody so alike" in texts(test)
    test.selectbox[0].select(anna.id).run()
    assert "least" not in test.query_params
    assert widget(test, "slider", "least").value == 0.0


def test_a_link_brings_slider_number_and_toggle(app, demo_library, anna):
    test = app("find", person=anna.id, least="0.4", most="200", suggested="1")
    assert widget(test, "slider", "least").value == 0.4
    assert widget(test, "selectbox", "most").value == 200
    assert widget(test, "toggle", "suggested").value is True


def test_more_faces_come_when_more_are_asked_for(app, demo_library, anna, texts):
    test = app("find", person=anna.id)
    assert "Nearest: 50 faces" in texts(test)
    widget(test, "selectbox", "most").select(200).run()
    assert in_address(test, "most") == ["200"]
    assert "Nearest: 200 faces" in texts(test)


def test_who_may_be_the_same_is_suggested_only_with_the_toggle(app, demo_library, anna, texts, monkeypatch):
    view = demo_library.view()
    face = view.faces_of(anna.id)[-1].id
    near = {one.person for one in answer(view, Asked(face=face)).faces}
    other = next(card for card in view.people() if card.id not in near)
    monkeypatch.setattr(finding, "likely_same", lambda: {anna.id: {other.id}, other.id: {anna.id}})
    monkeypatch.setattr(widgets, "PAGE", 1000)
    test = app("find", face=face)
    assert "who may be the same" not in texts(test)
    widget(test, "toggle", "suggested").set_value(True).run()
    assert in_address(test, "suggested") == ["1"]
    assert f"{other.n_faces} of who may be the same" in texts(test)
    assert f"{other.n_faces} faces, the nearest at cosine" in texts(test)
    assert "probably the same person" in texts(test)


# --- by photos ------------------------------------------------------------------------------------------------------


def test_photos_with_one_and_another_are_found_and_each_shows_both(app, demo_library, anna, ben, texts):
    view = demo_library.view()
    both = photos(view, anna) & photos(view, ben)
    test = app("find", all=[anna.id, ben.id])
    assert {view.face(face).photo for face in shown(test)} == both
    assert {view.owner(face) for face in shown(test)} == {anna.id, ben.id}
    assert f"{2 * len(both)} faces in {len(both)} photos" in texts(test)
    assert all("distance" not in line or "cosine" in line for line in texts(test).splitlines())


def test_a_name_added_under_without_takes_those_photos_away(app, demo_library, anna, ben, texts):
    view = demo_library.view()
    test = app("find", by="photos")
    test.button(key=f"fc-open-{anna.id}").click().run()
    assert in_address(test, "all") == [anna.id]
    widget(test, "multiselect", "without").select(ben.id).run()
    assert in_address(test, "without") == [ben.id]
    alone = photos(view, anna) - photos(view, ben)
    widget(test, "selectbox", "most").select(200).run()
    assert f"{len(alone)} photos" in texts(test)
    widget(test, "multiselect", "all").unselect(anna.id).run()
    assert "all" not in test.query_params
    assert "photos, the surest of" in texts(test)
    widget(test, "multiselect", "without").unselect(ben.id).run()
    assert "Or begin with somebody from People" in texts(test), "still asking for photos"


def test_a_photo_that_nobody_can_be_in_is_said_to_be_none(app, demo_library, anna, texts):
    assert "No such photo" in texts(app("find", all=anna.id, without=anna.id))


# --- by a vector ----------------------------------------------------------------------------------------------------


def test_an_uploaded_vector_finds_its_face_and_the_chosen_row_of_several(app, demo_library, texts):
    view = demo_library.view()
    test = app("find", by="vector")
    test.get("file_uploader")[0].set_value(vector_file(view.faces.vectors[3] * 7)).run()
    assert f"direct {1:.2f}" in texts(test)
    assert view.faces.ids[3] in shown(test)
    test.get("file_uploader")[0].set_value(vector_file(view.faces.vectors[[3, 700]])).run()
    field = test.number_input[0]
    assert field.label == "Which of its 2 vectors, counted from the first row"
    field.set_value(2).run()
    assert view.faces.ids[700] in shown(test)


def test_a_file_that_cannot_be_searched_by_gets_one_sentence_and_nothing_else(app, demo_library, texts):
    test = app("find", by="vector")
    test.get("file_uploader")[0].set_value(vector_file(np.ones(7))).run()
    assert "The vectors of mine.npy have 7 numbers, and those of this library 512. Nothing was searched." in texts(test)
    assert not shown(test)
    assert not test.slider


def test_an_uploaded_file_is_read_once_however_often_the_page_is_drawn(app, demo_library, monkeypatch):
    read = []
    monkeypatch.setattr(finding, "query_vectors", lambda *given: read.append(given[0]) or query_vectors(*given))
    test = app("find", by="vector")
    test.get("file_uploader")[0].set_value(vector_file(demo_library.view().faces.vectors[[3, 700]])).run()
    test.number_input[0].set_value(2).run()
    test.run()
    assert read == ["mine.npy"]
    assert demo_library.view().faces.ids[700] in shown(test)


def test_the_answer_of_one_library_is_not_shown_in_another(app, demo_library):
    """Both were imported once and published once, so they say the same of their version."""
    own = planted(load_settings().library.parent)
    assert own.view.version == demo_library.view().version
    vector = vector_file(demo_library.view().faces.vectors[3])
    test = app("find", by="vector")
    test.session_state["fc_library"] = "demo"
    test.run()
    test.get("file_uploader")[0].set_value(vector).run()
    assert demo_library.view().faces.ids[3] in shown(test)
    test.session_state["fc_library"] = "own"
    test.run()
    assert not test.exception
    assert shown(test)
    assert set(shown(test)) <= set(own.view.faces.ids)


# --- what is done with an answer ------------------------------------------------------------------------------------


def test_found_faces_can_be_given_to_the_person_searched_by(app, demo_library, anna):
    face = next(one.face for one in demo_library.find(Asked(person=anna.id)).faces if one.person is None)
    test = app("find", person=anna.id)
    test.checkbox(key=f"pick-find-0-{face}").check().run()
    assert test.button(key="give").label == "Give 1 face to Anna"
    test.button(key="give").click().run()
    assert demo_library.view().owner(face) == anna.id


def test_found_faces_can_become_somebody_new_or_somebody_elses(app, demo_library, anna, ben):
    test = app("find", by="vector")
    vector = demo_library.view().faces.vectors[demo_library.view().rows(anna.id)[0]]
    test.get("file_uploader")[0].set_value(vector_file(vector)).run()
    first, second = shown(test)[:2]
    test.checkbox(key=f"pick-find-0-{first}").check().run()
    test.button(key="new-person").click().run()
    assert demo_library.view().owner(first) not in (anna.id, None)
    test.checkbox(key=f"pick-find-1-{second}").check().run()
    test.button(key="give-them").click().run()
    next(box for box in test.selectbox if box.label == "Type a name").select(ben.id).run()
    test.button(key="give-now").click().run()
    assert demo_library.view().owner(second) == ben.id
    assert not test.exception


def test_the_table_holds_the_answer_and_goes_along_as_csv_and_json(app, demo_library, anna):
    view = demo_library.view()
    face = view.faces_of(anna.id)[-1].id
    test = app("find", face=face, least="0.5", **{"as": "table"})
    expected = answer(view, Asked(face=face, least=0.5)).faces
    table = test.dataframe[0].value
    assert list(table.columns) == ["face", "person", "name", "photo", "folder", "distance", "cosine", "why"]
    assert table["face"].tolist() == [one.face for one in expected]
    labels = [button.label for button in test.get("download_button")]
    assert labels == [f"CSV of these {len(expected)} faces", f"JSON of these {len(expected)} faces"]
    assert not shown(test)


def test_the_files_of_an_answer_are_made_when_they_are_asked_for(app, demo_library, anna, monkeypatch):
    made = []
    for name in ("as_csv", "answer_as_json"):
        monkeypatch.setattr(found_table, name, lambda *_: made.append(1) or "")
    test = app("find", person=anna.id, **{"as": "table"})
    assert len(test.get("download_button")) == 2
    assert not made


def test_somebody_who_looks_like_two_is_said_to_and_the_way_to_the_split_is_a_button(app, demo_library, texts):
    view = demo_library.view()
    one, other = (view.rows(card.id) for card in view.people()[:2])
    label = view.state.owner.copy()
    label[other] = label[one[0]]
    publish(demo_library, label)
    person = demo_library.view().owner(view.faces.ids[one[0]])
    demo_library.rename(person, "Anna")
    test = app("find", person=person)
    assert "Anna looks like two people: " in texts(test)
    test.button(key=f"blend-{person}").click().run()
    assert in_address(test, "id") == [person]
    assert not test.exception
    assert "Stays Anna" in texts(test)
